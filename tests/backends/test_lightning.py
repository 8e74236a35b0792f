"""The Lightning backend against the closed form, its counts, seeds, gradients and refusals."""

import copy
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pennylane_lightning.lightning_qubit import LightningQubit
from torch import Tensor

from qlifq.backends import Backend, DeviceNoise, Outcome, evaluate, get, lightning
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.lightning import LightningBackend
from qlifq.circuits import BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit, SpikeTrainCircuit
from qlifq.errors import QLIFError, UnsupportedError

THREE_GATES = SpikeCircuit("ThreeGates", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2))))
CONSTANT = SpikeCircuit("Constant", (Gate("RY", 0.7),))
CIRCUITS = [
    RYSpike(),
    LeakySpike(),
    LeakySpike(0.4),
    BrandPetruccione(),
    BrandPetruccione("delay"),
    THREE_GATES,
    CONSTANT,
    SpikeCircuit("Twice", (Gate("RY", Slot(0)), Gate("RX", Slot(0)))),
    SpikeCircuit("Wait", (Gate("Delay", Slot(0)),)),
]
Follows = Callable[[Outcome, Tensor], bool]


def some_angles(circuit: SpikeCircuit, batch: int, sites: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, sites, circuit.num_angles, dtype=torch.float64, generator=generator) * 2 * math.pi


def exact(backend: Backend, circuit: SpikeCircuit, angles: Tensor, where: Tensor | None = None) -> Tensor:
    return backend.run(circuit, angles, shots=None, seed=None, where=where).probability


@pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.draw())
@pytest.mark.parametrize(("batch", "sites"), [(1, 1), (1, 8), (3, 3), (2, 17)])
def test_exact_probabilities_are_those_of_the_closed_form(circuit: SpikeCircuit, batch: int, sites: int) -> None:
    angles = some_angles(circuit, batch, sites)
    torch.testing.assert_close(
        exact(LightningBackend(), circuit, angles), exact(AnalyticBackend(), circuit, angles), atol=1e-10, rtol=0
    )


@given(st.integers(1, 10), st.integers(0, 4), st.integers(0, 5), st.integers(0, 1000))
def test_packing_never_shows(wires: int, batch: int, sites: int, seed: int) -> None:
    angles = some_angles(THREE_GATES, batch, sites, seed)
    packed = exact(LightningBackend(wires=wires), THREE_GATES, angles)
    torch.testing.assert_close(packed, exact(AnalyticBackend(), THREE_GATES, angles), atol=1e-10, rtol=0)


def test_calls_with_other_angles_do_not_leave_theirs_behind() -> None:
    """Operations are reused between calls: a smaller call after a larger one, and a larger one after that."""
    backend = LightningBackend()
    for batch in (5, 1, 9):
        angles = some_angles(THREE_GATES, batch, 7, seed=batch)
        expected = exact(AnalyticBackend(), THREE_GATES, angles)
        torch.testing.assert_close(exact(backend, THREE_GATES, angles), expected, atol=1e-10, rtol=0)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_threads_do_not_share_operations() -> None:
    failures: list[int] = []

    def work(number: int) -> None:
        for repeat in range(10):
            angles = some_angles(RYSpike(), 4, 25, seed=100 * number + repeat)
            if (exact(LightningBackend(), RYSpike(), angles) - exact(AnalyticBackend(), RYSpike(), angles)).abs().max() > 1e-10:
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("circuit", [RYSpike(), THREE_GATES], ids=lambda circuit: circuit.name)
def test_counts_follow_the_exact_probabilities(circuit: SpikeCircuit, follows: Follows) -> None:
    angles = some_angles(circuit, 2, 5)
    expected = exact(AnalyticBackend(), circuit, angles)
    outcome = LightningBackend().run(circuit, angles, shots=400_000, seed=11)
    assert follows(outcome, expected)
    biased = (expected + 0.01).clamp(0, 1)
    assert not follows(outcome, torch.where(biased < 1, biased, expected - 0.01)), "a bias of 0.01 must be seen"


def test_one_shot_is_a_bernoulli_draw(follows: Follows) -> None:
    angles = torch.full((1, 40_000, 1), 1.1, dtype=torch.float64)
    ones = LightningBackend().run(RYSpike(), angles, shots=1, seed=5).ones
    assert ones is not None
    assert set(ones.flatten().tolist()) == {0, 1}
    pooled = Outcome(torch.zeros(1, 1), ones.sum(dim=1, keepdim=True), 40_000)
    assert follows(pooled, torch.tensor([[math.sin(0.55) ** 2]]))


@pytest.mark.parametrize("shots", [None, 7])
def test_the_poles_are_certain(shots: int | None) -> None:
    angles = torch.tensor([[[0.0], [math.pi], [0.0], [3 * math.pi]]], dtype=torch.float64)
    outcome = LightningBackend().run(RYSpike(), angles, shots=shots, seed=0)
    torch.testing.assert_close(outcome.probability, torch.tensor([[0.0, 1.0, 0.0, 1.0]], dtype=torch.float64))


def test_unwanted_evaluations_are_zero_and_the_others_as_without_where() -> None:
    angles = some_angles(RYSpike(), 5, 9)
    where = torch.rand(5, 9, generator=torch.Generator().manual_seed(3)) < 0.5
    expected = exact(AnalyticBackend(), RYSpike(), angles) * where
    torch.testing.assert_close(exact(LightningBackend(), RYSpike(), angles, where), expected, atol=1e-10, rtol=0)
    ones = LightningBackend().run(RYSpike(), angles, shots=50, seed=0, where=where).ones
    assert ones is not None
    assert not ones[~where].any()
    nowhere = torch.zeros_like(where)
    assert not exact(LightningBackend(), RYSpike(), angles, nowhere).any()


def test_a_seed_replays_and_another_one_does_not() -> None:
    angles = some_angles(RYSpike(), 20, 10)
    runs = [LightningBackend().run(RYSpike(), angles, shots=100, seed=seed).ones for seed in (3, 3, 4, 3 + 2**32, None, None)]
    assert all(run is not None for run in runs)
    first, again, *others = (run for run in runs if run is not None)
    assert torch.equal(first, again)
    assert all(not torch.equal(first, other) for other in others)
    assert not torch.equal(others[-1], others[-2])


def test_evaluations_of_a_call_do_not_share_their_noise() -> None:
    ones = LightningBackend().run(RYSpike(), torch.full((30, 8, 1), 1.5), shots=1000, seed=1).ones
    assert ones is not None
    assert len(set(ones.flatten().tolist())) > 30


@pytest.mark.parametrize("circuit", [RYSpike(), LeakySpike(), BrandPetruccione(), THREE_GATES], ids=lambda item: item.name)
def test_the_parameter_shift_is_the_derivative_of_the_closed_form(circuit: SpikeCircuit) -> None:
    angles = some_angles(circuit, 3, 4)
    where = torch.rand(3, 4, generator=torch.Generator().manual_seed(1)) < 0.7
    gradients: list[Tensor] = []
    for backend in (LightningBackend(), AnalyticBackend()):
        leaf = angles.clone().requires_grad_()
        loss = evaluate(backend, circuit, leaf, shots=None, seed=None, where=where).probability.square().sum()
        gradients += torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=0)


def test_a_gradient_with_shots_is_within_its_standard_error() -> None:
    shots = 10_000
    leaf = torch.full((1, 100, 1), 1.0, dtype=torch.float64, requires_grad=True)
    outcome = evaluate(LightningBackend(), RYSpike(), leaf, shots=1, seed=2, gradient_shots=shots, gradient_seed=3)
    (gradient,) = torch.autograd.grad(outcome.probability.sum(), leaf)
    # ½(p₊ − p₋) has variance at most ¼ · 2 · ¼ / shots; the mean of 100 is normal to well within 6.1 deviations, 1e-9.
    assert abs(float(gradient.mean()) - math.sin(1.0) / 2) < 6.1 * math.sqrt(1 / 8 / shots / 100)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("shots", [None, 4])
def test_an_empty_call_has_an_empty_outcome(shape: tuple[int, int], shots: int | None) -> None:
    outcome = LightningBackend().run(RYSpike(), torch.zeros(*shape, 1), shots=shots, seed=None)
    assert outcome.probability.shape == shape
    assert outcome.probability.dtype == torch.float32
    assert LightningBackend().plan(RYSpike(), *shape, shots=shots).circuits == 0


def test_the_plan_counts_what_is_run() -> None:
    plan = LightningBackend().plan(RYSpike(), 10, 10, shots=20)
    assert (plan.evaluations, plan.circuits, plan.qubits, plan.jobs, plan.executions) == (100, 13, 8, 1, 260)
    assert LightningBackend(wires=4).plan(RYSpike(), 10, 10, shots=None).circuits == 25
    assert plan.estimated_seconds is not None
    assert plan.estimated_seconds > 0


def test_large_calls_go_in_several_jobs() -> None:
    backend = LightningBackend(wires=1)
    angles = some_angles(RYSpike(), 1, 4100)
    assert backend.plan(RYSpike(), 1, 4100, shots=None).jobs == 2
    expected = exact(AnalyticBackend(), RYSpike(), angles)
    torch.testing.assert_close(exact(backend, RYSpike(), angles), expected, atol=1e-10, rtol=0)


#: Allows 300 MB more than a first call needs, and holds the counts of the second to an exact binomial.
BOUNDED = """
import resource, torch
from scipy.stats import binom
from qlifq.backends import get
from qlifq.circuits import RYSpike
backend, angles = get("lightning"), torch.full((1, 3, 1), 1.1, dtype=torch.float64)
backend.run(RYSpike(), angles, shots=100_000, seed=0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
ones = backend.run(RYSpike(), angles, shots=5_000_001, seed=1).ones.numpy()
p = float((angles[0, 0, 0] / 2).sin().square())
assert (binom.cdf(ones, 5_000_001, p) > 1e-10).all() and (binom.sf(ones - 1, 5_000_001, p) > 1e-10).all(), ones
print("within bounds")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_memory_does_not_grow_with_the_shots() -> None:
    """Five million shots of eight wires, kept at once, take 640 MB. False-fail rate 6e-10."""
    ran = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout == "within bounds\n", ran.stderr


def test_shots_in_parts_are_the_binomial_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """37 shots in parts of 8: 4,000 equal evaluations against the exact binomial, chi-squared, false-fail rate 1e-9."""
    from scipy.stats import binom, chisquare

    monkeypatch.setattr(lightning, "_JOB_NUMBERS", 64)
    submitted: list[Any] = []
    execute = LightningQubit.execute

    def counting(self: LightningQubit, scripts: Any, *options: Any) -> Any:
        submitted.append(scripts)
        return execute(self, scripts, *options)

    monkeypatch.setattr(LightningQubit, "execute", counting)
    backend, angles = LightningBackend(), torch.full((20, 200, 1), 1.3, dtype=torch.float64)
    ones = backend.run(RYSpike(), angles, shots=37, seed=6).ones
    assert ones is not None
    plan = backend.plan(RYSpike(), 20, 200, shots=37)
    assert (plan.jobs, plan.executions) == (len(submitted), sum(script.shots.total_shots for (script,) in submitted))
    assert torch.equal(ones, cast(Tensor, backend.run(RYSpike(), angles, shots=37, seed=6).ones))
    # The tails together hold the counts that are expected less than 20 times.
    expected = binom.pmf(np.arange(38), 37, math.sin(0.65) ** 2) * 4000
    kept = np.flatnonzero(expected > 20)
    found = np.bincount(ones.flatten().clamp(kept[0], kept[-1]).numpy(), minlength=38)[kept]
    expected[kept[0]] += expected[: kept[0]].sum()
    expected[kept[-1]] += expected[kept[-1] + 1 :].sum()
    assert chisquare(found, expected[kept]).pvalue > 1e-9


def test_the_plan_is_honest_about_wires_that_stay_empty() -> None:
    """Two evaluations sample the eight wires of their circuit, as eight do."""
    two, eight = (LightningBackend().plan(RYSpike(), 1, sites, shots=10**8).estimated_seconds for sites in (2, 8))
    assert two == pytest.approx(eight, rel=1e-4)
    assert two is not None
    assert two > 5


def test_exact_probabilities_of_wide_circuits_go_in_small_jobs() -> None:
    """Each leaves 65,536 numbers: a thousand circuits at once took half a gigabyte."""
    assert LightningBackend(wires=16).plan(RYSpike(), 1000, 16, shots=None).jobs == 63


def test_a_million_shots_work(follows: Follows) -> None:
    outcome = LightningBackend().run(RYSpike(), torch.full((1, 1, 1), 0.9), shots=1_000_000, seed=0)
    assert follows(outcome, torch.full((1, 1), math.sin(0.45) ** 2))


def test_noise_is_refused_with_the_backends_that_have_it() -> None:
    with pytest.raises(UnsupportedError, match=r"must be None for backend lightning.*DeviceNoise: .*analytic.*aer"):
        get("lightning", noise=DeviceNoise(gate_error=0.1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wires": 0}, "`wires` must be at least 1 and at most 16, but is 0"),
        ({"wires": 2.0}, "`wires` must be an integer.*2.0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        get("lightning", **options)


@pytest.mark.parametrize(
    ("angles", "shots", "message"),
    [
        (torch.tensor([[[math.nan]]]), 3, "`angles` must be finite, but 1 of its 1"),
        (torch.zeros(2, 1), None, r"`angles` must have shape \(batch, sites, 1\), but has shape \(2, 1\)"),
        (torch.zeros(2, 2, 2), None, r"shape \(\.\.\., 1\) for circuit RYSpike, but has shape \(2, 2, 2\)"),
        (torch.zeros(1, 1, 1), 0, "`shots` must be at least 1, but is 0"),
    ],
)
def test_bad_calls_are_refused(angles: Tensor, shots: int | None, message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        LightningBackend().run(RYSpike(), angles, shots=shots, seed=None)


def test_a_backend_can_be_copied_and_pickled() -> None:
    backend = LightningBackend(wires=5)
    assert copy.deepcopy(backend).wires == pickle.loads(pickle.dumps(backend)).wires == 5


def test_spike_trains_are_refused_in_a_sentence() -> None:
    train = SpikeTrainCircuit(torch.zeros(3, 1, 1), (), torch.zeros(0, 1, 1))
    with pytest.raises(UnsupportedError, match="Backend lightning runs no spike trains, since it measures a circuit once"):
        LightningBackend().run_train(train, shots=1, seed=0)
