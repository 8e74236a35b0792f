"""Seeds: what is drawn is drawn once."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from scipy.stats import binom, norm
from torch import Tensor

from qlifq import QLIF, simulate
from qlifq.backends import Backend, Call, Outcome, Plan
from qlifq.backends.analytic import AnalyticBackend
from qlifq.circuits import SpikeCircuit
from qlifq.neurons import SeedStream
from qlifq.random import generator

NEURONS = 5


def test_without_a_seed_torch_governs_the_root() -> None:
    roots = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        roots.append((QLIF(1).seeds.root, QLIF(1).seeds.root))
    assert roots[0] == roots[1]
    assert roots[0] != roots[2]
    assert roots[0][0] != roots[0][1]


def test_drawing_leaves_the_global_generator_alone() -> None:
    layer = QLIF(NEURONS, seed=1, shots=9, noise_std=0.3)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    layer(torch.ones(3, 2, NEURONS))
    assert torch.equal(torch.rand(4), expected)


class Recorder(Backend):
    """The analytic backend, with a list of its calls."""

    name = "recorder"
    capabilities = AnalyticBackend.capabilities

    def __init__(self) -> None:
        self.inner = AnalyticBackend()
        self.seeds: list[int | None] = []

    def _execute(self, call: Call) -> Outcome:
        self.seeds.append(call.seed)
        return self.inner.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return self.inner.plan(circuit, batch, sites, shots=shots)


def test_every_call_of_the_backend_has_a_seed_of_its_own() -> None:
    """Steps, the shifted evaluations of the gradient, sequences and layers; on CPU 32 bits alone reach the generator."""
    recorder = Recorder()
    layers = [QLIF(NEURONS, seed=seed, backend=recorder, shots=3, gradient="parameter-shift") for seed in (1, 2)]
    current = torch.ones(30, 4, NEURONS, requires_grad=True)
    for layer in (*layers, layers[0]):
        layer(current)[0].sum().backward()
    # Each step is run once and shifted once.
    assert len(recorder.seeds) == 3 * 2 * 30
    assert None not in recorder.seeds
    states = {generator(seed, torch.device("cpu")).initial_seed() for seed in recorder.seeds if seed is not None}
    assert len(states) == len(recorder.seeds)


def membrane_noise(layer: QLIF, steps: int) -> Tensor:
    """The noise of each step, in units of its standard deviation: nothing else moves the potential from rest."""
    settings = layer.settings
    recording = simulate(layer, torch.zeros(steps, 8, NEURONS), ("potential", "voltage"))
    before = torch.cat((torch.zeros(1, 8, NEURONS), recording["voltage"][:-1]))
    moved = recording["potential"] - before * (1 - settings.dt / float(layer.tau[0]))
    return moved / (layer.shared("noise_std") * math.sqrt(settings.dt))


@pytest.mark.parametrize("dt", [1.0, 0.25, 0.01])
def test_membrane_noise_is_normal_with_a_deviation_of_sigma_root_dt(dt: float) -> None:
    """20,000 values. A normal one is below 0, within ±1 and within ±2 with known rates.

    Exact binomial tails, Bonferroni over 3 rates and 2 sides: false-fail rate 1e-9; shows 10 % in σ or 5 % of σ in the mean.
    """
    noise = membrane_noise(QLIF(NEURONS, seed=3, tau=10.0, noise_std=0.2, dt=dt), 500).flatten()
    for low, high in ((-float("inf"), 0.0), (-1.0, 1.0), (-2.0, 2.0)):
        rate = float(norm.cdf(high) - norm.cdf(low))
        count = int(((noise > low) & (noise < high)).sum())
        tail = min(binom.cdf(count, len(noise), rate), binom.sf(count - 1, len(noise), rate))
        assert tail > 1e-9 / 6, (low, high, count)


def test_two_steps_neurons_or_layers_never_share_membrane_noise() -> None:
    first, second = (membrane_noise(QLIF(NEURONS, seed=seed, noise_std=0.2), 50) for seed in (4, 5))
    # A value that comes twice would be 0 somewhere off the diagonal; float32 rounding leaves 2⁻²⁰ or so.
    steps = torch.cat((first, second)).flatten(1)
    for one, other in itertools.combinations(steps, 2):
        assert not torch.allclose(one, other, atol=1e-3)
    columns = first.flatten(1).T
    for one, other in itertools.combinations(columns, 2):
        assert not torch.allclose(one, other, atol=1e-3)


def test_neurons_of_one_step_do_not_share_shots() -> None:
    """Equal neurons with p = ½: were two of them tied, they would agree in all of 200 steps."""
    spikes, _ = QLIF(NEURONS, seed=6, tau=1.0)(torch.ones(200, 3, NEURONS))
    columns = spikes.flatten(1).T
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(columns, 2))


def low_words(root: int, children: int) -> Iterator[int]:
    stream = SeedStream(root)
    return (stream.next_seed() & 0xFFFFFFFF for _ in range(children))


@pytest.mark.parametrize("root", [0, 2**63 - 1])
def test_no_child_seed_repeats_in_its_low_word(root: int) -> None:
    """2²⁰ random words of 32 bits would hold about 128 pairs."""
    children = 2**20
    assert len(set(low_words(root, children))) == children


def test_neither_does_it_after_folding_into_a_generator() -> None:
    stream = SeedStream(5)
    seeds = {generator(stream.next_seed(), torch.device("cpu")).initial_seed() for _ in range(2**16)}
    assert len(seeds) == 2**16


def test_child_seeds_are_in_range_and_a_stream_continues_at_a_position() -> None:
    stream = SeedStream(9)
    children = [stream.next_seed() for _ in range(1000)]
    assert all(0 <= child < 2**63 for child in children)
    later = SeedStream(9)
    later.position = 600
    assert [later.next_seed() for _ in range(400)] == children[600:]
    assert repr(stream) == "SeedStream(root=9, position=1000)"


def test_neighbouring_roots_have_other_children() -> None:
    children = {tuple(low_words(root, 8)) for root in range(2000)} | {
        tuple(low_words(root << 32, 8)) for root in range(1, 2000)
    }
    assert len(children) == 2000 + 1999
