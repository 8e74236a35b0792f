"""The exact law of a spike train against sums over all histories in plain Python, and its translations against the law."""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from qlifq.backends import DeviceNoise, get
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.circuits.trains.circuit import Comparison
from qlifq.circuits.trains.law import sample
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

FALSE_FAIL = 1e-9
CPU = torch.device("cpu")
Conditions = Callable[[int], list[Condition]]
KINDS: dict[str, Conditions] = {
    "renewal": lambda steps: [Condition(t, first, t - 1) for t in range(steps) for first in range(t)],
    "newest": lambda steps: [
        Condition(t, first, min(first + first % 2, t - 1), newest=True) for t in range(steps) for first in range(t)
    ],
    "additive": lambda steps: [Condition(t, s, s) for t in range(steps) for s in range(t)],
    "both": lambda steps: [*KINDS["renewal"](steps), *KINDS["additive"](steps)],
    "two steps back": lambda steps: [Condition(t, s, s) for t in range(steps) for s in range(max(0, t - 2), t)],
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def a_train(
    conditions: Sequence[Condition], steps: int, *, sites: int = 2, seed: int = 0, reset: bool = True
) -> SpikeTrainCircuit:
    """Random angles; those of site 0 that wait for a bit of its own at the same step are 0."""
    source = torch.Generator().manual_seed(seed)
    base = torch.rand((steps, 2, sites), dtype=torch.float64, generator=source) * 3
    angles = torch.randn((len(conditions), 2, sites), dtype=torch.float64, generator=source)
    for number, condition in enumerate(conditions):
        if condition.source is not None:
            angles[number, :, : condition.source + 1] = 0
    return SpikeTrainCircuit(base, tuple(conditions), angles, reset)


def brute_force(
    train: SpikeTrainCircuit, element: int, site: int, bits: Sequence[int], noise: DeviceNoise | None = None
) -> float:
    """The probability of a train of one site: the sum over what was true at every step, with perfect gates."""
    error = 1.0 if not train.reset else 0.0 if noise is None else noise.at(site).reset_error
    p01, p10 = (0.0, 0.0) if noise is None else (noise.at(site).readout_p01, noise.at(site).readout_p10)
    whole = 0.0
    for truth in itertools.product((0, 1), repeat=len(bits)):
        chance = 1.0
        for step, (true, bit) in enumerate(zip(truth, bits, strict=True)):
            angle = float(train.base[step, element, site])
            for number, condition in enumerate(train.conditions):
                overruled = condition.newest and any(bits[condition.last + 1 : step])
                if condition.step == step and any(bits[condition.first : condition.last + 1]) and not overruled:
                    angle += float(train.angles[number, element, site])
            one = math.sin(angle / 2) ** 2
            if step and truth[step - 1]:
                one = (1 - error) * one + error * (1 - one)
            chance *= one if true else 1 - one
            chance *= (1 - p10 if bit else p10) if true else (p01 if bit else 1 - p01)
        whole += chance
    return whole


def listed(steps: int) -> Tensor:
    """All trains, `(2**steps, steps)`, in the order of `distribution`."""
    return ((torch.arange(2**steps)[:, None] >> torch.arange(steps)) & 1).bool()


NOISES = {
    "ideal": None,
    "read errors": DeviceNoise(readout_p01=(0.03, 0.1), readout_p10=0.07),
    "reset errors": DeviceNoise(readout_p01=0.05, readout_p10=(0.02, 0.2), reset_error=(0.15, 0.0)),
}
each_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
GATES = DeviceNoise(
    t1=(80e-6, 30e-6), t2=60e-6, gate_time=4e-6, gate_error=(0.02, 0.0), readout_p01=0.03, readout_p10=0.08, reset_error=0.1
)


@each_kind
@each_noise
def test_every_train_has_the_probability_of_all_its_histories(kind: str, noise: DeviceNoise | None) -> None:
    train = a_train(KINDS[kind](4), 4)
    found = train.distribution(None if noise is None else noise.of_trains(torch.float64, CPU))
    for bits, row in zip(listed(4).long().tolist(), found, strict=True):
        expected = [[brute_force(train, element, site, bits, noise) for site in range(2)] for element in range(2)]
        assert torch.allclose(row, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


def test_without_a_reset_a_step_goes_on_from_what_was_measured() -> None:
    train = a_train(KINDS["both"](4), 4, reset=False)
    found = train.distribution()
    expected = [brute_force(train, 1, 0, bits) for bits in listed(4).long().tolist()]
    assert torch.allclose(found[:, 1, 0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)
    assert float((found - replace(train, reset=True).distribution()).abs().max()) > 0.05


@each_kind
@pytest.mark.parametrize("noise", [None, GATES], ids=["ideal", "noisy"])
def test_the_moments_are_those_of_the_distribution(kind: str, noise: DeviceNoise | None) -> None:
    train = a_train(KINDS[kind](7), 7)
    of_trains = None if noise is None else noise.of_trains(torch.float64, CPU)
    chances, bits = train.distribution(of_trains), listed(7).double()
    found = train.moments(4, of_trains)
    assert torch.allclose(found.rate, torch.einsum("nbs,nt->tbs", chances, bits), rtol=0, atol=1e-13)
    assert len(found.covariances) == 5
    for lag, covariance in enumerate(found.covariances):
        joint = torch.einsum("nbs,nt->tbs", chances, bits[:, : 7 - lag] * bits[:, lag:])
        assert torch.allclose(covariance, joint - found.rate[: 7 - lag] * found.rate[lag:], rtol=0, atol=1e-13)


def counted(spikes: Tensor) -> Tensor:
    """How often each train was drawn, `(2**time, batch, sites)`."""
    steps = spikes.shape[1]
    numbers = (spikes.long() * (1 << torch.arange(steps))[:, None, None]).sum(1)
    return torch.stack([(numbers == number).sum(0) for number in range(2**steps)])


def chance_of_more(counts: Tensor, chances: Tensor) -> float:
    """The chance of so great a chi-squared, trains that are seldom taken together; the smallest over all sites, corrected."""
    smallest, families = 1.0, 0
    for count, chance in zip(counts.flatten(1).T.tolist(), chances.flatten(1).T.tolist(), strict=True):
        expected = np.array(chance) * sum(count)
        often = expected >= 20
        seen = np.append(np.array(count)[often], np.array(count)[~often].sum())
        likely = np.append(expected[often], expected[~often].sum() + 1e-9)
        keep = likely > 1e-6
        statistic = float(((seen - likely)[keep] ** 2 / likely[keep]).sum())
        smallest, families = min(smallest, float(chi2.sf(statistic, max(int(keep.sum()) - 1, 1)))), families + 1
    return smallest * families


@each_kind
@pytest.mark.parametrize("noise", [None, GATES], ids=["ideal", "noisy"])
@pytest.mark.parametrize("backend", ["analytic", "reference"])
def test_backends_draw_from_the_law(backend: str, kind: str, noise: DeviceNoise | None) -> None:
    """`reference` shares no code with the law: it follows a density matrix per shot through the instructions."""
    train = a_train(KINDS[kind](5), 5)
    of_trains = None if noise is None else noise.of_trains(torch.float64, CPU)
    outcome = get(backend, noise=noise).run_train(train, shots=8_000, seed=3)
    assert chance_of_more(counted(outcome.spikes), train.distribution(of_trains)) > FALSE_FAIL


@pytest.mark.parametrize("backend", ["analytic", "reference"])
@pytest.mark.parametrize("noise", [None, GATES], ids=["ideal", "noisy"])
def test_sites_that_turn_each_other_follow_their_joint_law(backend: str, noise: DeviceNoise | None) -> None:
    conditions = [Condition(t, s, s, source=0) for t in range(3) for s in range(t + 1)]
    train = a_train([*conditions, *KINDS["both"](3)], 3)
    assert train.coupled
    assert train.groups == ((0,), (1,))
    of_trains = None if noise is None else noise.of_trains(torch.float64, CPU)
    joint = listed(6).reshape(64, 3, 1, 2).expand(-1, -1, 2, -1)
    chances = train.probability(joint, of_trains).prod(-1, keepdim=True)
    assert torch.allclose(chances.sum(0), torch.ones(2, 1, dtype=torch.float64))
    spikes = get(backend, noise=noise).run_train(train, shots=8_000, seed=4).spikes
    assert chance_of_more(counted(spikes.transpose(2, 3).flatten(1, 2).unsqueeze(-1)), chances) > FALSE_FAIL


FAULTS: dict[str, Callable[[SpikeTrainCircuit], SpikeTrainCircuit]] = {
    "a wrong sign": lambda train: replace(train, angles=-train.angles),
    "the order of the bits swapped": lambda train: replace(
        train, conditions=tuple(Condition(c.step, c.step - 1 - c.last, c.step - 1 - c.first) for c in train.conditions)
    ),
    "a window one step too short": lambda train: replace(
        train, conditions=tuple(replace(c, first=min(c.first + 1, c.last)) for c in train.conditions)
    ),
    "no reset": lambda train: replace(train, reset=False),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("backend", ["analytic", "reference"])
def test_a_planted_fault_is_caught(backend: str, fault: str) -> None:
    # Not the last spike alone: a window whose bits change their order would then be no such window any more.
    train = a_train(KINDS["additive" if "order" in fault else "renewal"](5), 5, seed=2)
    spikes = get(backend).run_train(FAULTS[fault](train), shots=8_000, seed=3).spikes
    assert chance_of_more(counted(spikes), train.distribution()) < FALSE_FAIL


def test_windows_of_more_than_32_steps_compare_two_registers() -> None:
    """A train of 70 steps that spikes at two steps alone: the window sees the one, and not the other."""
    base = torch.zeros(70, 1, 1, dtype=torch.float64)
    base[[3, 40]] = math.pi
    conditions = [Condition(t, first, t - 1) for t in (36, 45, 68) for first in (2, 3, 4, 30, 32, 33, 40, 41, 64) if first < t]
    angles = torch.zeros(len(conditions), 1, 1, dtype=torch.float64)
    for number, condition in enumerate(conditions):
        program = replace(
            SpikeTrainCircuit(base, tuple(conditions), angles.index_fill(0, torch.tensor([number]), math.pi)), reset=True
        )
        spiked = get("reference").run_train(program, shots=1, seed=0).spikes[0, condition.step, 0, 0]
        expected = any(condition.first <= step < condition.step for step in (3, 40))
        assert bool(spiked) == expected, condition
        assert all(comparison.bit < 32 for comparison in condition.comparisons)
    assert Condition(70, 20, 69).comparisons == (Comparison(0, 20), Comparison(1, 0), Comparison(2, 0))


def test_qiskit_runs_the_same_law_over_registers() -> None:
    """The dynamic circuit on Aer, against the law: most steps never spike, so that few trains are left."""
    pytest.importorskip("qiskit_aer")
    from qiskit_aer import AerSimulator

    base = torch.zeros(36, 1, 2, dtype=torch.float64)
    base[[0, 30, 31, 33, 35]] = 1.2
    conditions = [Condition(35, first, 34) for first in (0, 1, 30, 31, 32, 33)] + [Condition(33, s, s) for s in (0, 30, 31)]
    conditions += [Condition(33, 0, 0, source=0)]
    angles = torch.linspace(-1.0, 1.5, 20, dtype=torch.float64).reshape(10, 1, 2).clone()
    angles[-1, :, 0] = 0
    train = SpikeTrainCircuit(base, tuple(conditions), angles)
    found = AerSimulator(max_parallel_threads=1).run(train.to_qiskit(), shots=2_000, seed_simulator=1).result().get_counts()
    rows = []
    for word, count in found.items():
        # Qiskit writes the last register first, and in each the last bit.
        registers = word.split(" ")[::-1]
        sites = [registers[2 * site][::-1] + registers[2 * site + 1][::-1] for site in range(2)]
        rows += [[[int(bit) for bit in site] for site in sites]] * count
    spikes = torch.tensor(rows, dtype=torch.bool).transpose(1, 2).unsqueeze(2)
    active = [0, 30, 31, 33, 35]
    assert not bool(spikes[:, [step for step in range(36) if step not in active]].any())
    joint = listed(10).reshape(1024, 5, 1, 2)
    whole = torch.zeros(1024, 36, 1, 2, dtype=torch.bool)
    whole[:, active] = joint
    chances = train.probability(whole).prod(-1, keepdim=True)
    numbers = spikes[:, active].transpose(2, 3).flatten(1, 2)
    order = joint.transpose(2, 3).flatten(1, 2)
    weights = 1 << torch.arange(10)[:, None]
    seen = torch.bincount((numbers.long() * weights).sum(1).flatten(), minlength=1024)
    likely = torch.zeros(1024, dtype=torch.float64)
    likely[(order.long() * weights).sum(1).flatten()] = chances.flatten()
    assert chance_of_more(seen[:, None, None], likely[:, None, None]) > FALSE_FAIL


def test_openqasm_is_read_back_as_the_same_circuit() -> None:
    pytest.importorskip("qiskit_qasm3_import")
    from qiskit import qasm3

    train = a_train([*KINDS["additive"](3), Condition(2, 0, 0, source=0)], 3)
    read = qasm3.loads(train.to_openqasm(1))
    assert read.count_ops() == train.to_qiskit(1).count_ops()


def test_openqasm_and_the_drawing_of_a_small_train() -> None:
    conditions = (Condition(2, 0, 1), Condition(2, 1, 1))
    train = SpikeTrainCircuit(
        torch.tensor([0.5, 0.0, 1.5])[:, None, None], conditions, torch.tensor([-0.25, 0.75])[:, None, None]
    )
    assert train.draw().splitlines() == [
        "|0⟩ ──RY(0.5)──M s0",
        "|0⟩ ──M s1",
        "|0⟩ ──RY(1.5)──[any s0…s1: RY(-0.25)]──[s1: RY(0.75)]──M s2",
    ]
    body = train.to_openqasm().split("bit[3] spike0_0;\n")[1].splitlines()
    assert body == [
        *("ry(0.5) q[0];", "spike0_0[0] = measure q[0];", "reset q[0];", "spike0_0[1] = measure q[0];", "reset q[0];"),
        *("ry(1.5) q[0];", "if (spike0_0 >= 1) { ry(-0.25) q[0]; }", "if (spike0_0[1] == true) { ry(0.75) q[0]; }"),
        *("spike0_0[2] = measure q[0];", "reset q[0];"),
    ]
    assert (train.conditionals, str(train)) == (
        2,
        "steps 3 · batch 1 · sites 1 · conditionals 2 per circuit · angles within 0 rad",
    )


ONE = torch.zeros(3, 1, 2)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: Condition(2, 2, 2), ArgumentError, "`first` must be at least 0 and at most 1, but is 2"),
        (lambda: Condition(5, 1, 3), ArgumentError, "`last` must be 1 or 4, but is 3"),
        (lambda: Condition(5, 1, 4, source=0), ArgumentError, "`last` must be 1, but is 4"),
        (lambda: SpikeTrainCircuit(ONE[0], (), ONE[:0]), ShapeError, r"`base` must have shape \(time, batch, sites\)"),
        (lambda: SpikeTrainCircuit(ONE, (Condition(1, 0, 0),), ONE[:0]), ShapeError, r"`angles` must have shape \(1, 1, 2\)"),
        (lambda: SpikeTrainCircuit(ONE, (), ONE[:0].double()), DtypeError, "`angles` must have dtype float32"),
        (lambda: SpikeTrainCircuit(ONE / 0, (), ONE[:0]), ArgumentError, "`base` must be finite, but 6 of its 6 values"),
        (
            lambda: SpikeTrainCircuit(ONE, cast("tuple[Condition]", ((1, 0, 0),)), ONE[:1]),
            DtypeError,
            r"must hold Conditions, but holds \(1, 0, 0\)",
        ),
        (lambda: SpikeTrainCircuit(ONE, (Condition(3, 0, 0),), ONE[:1]), ShapeError, "of steps below 3, but one is of step 3"),
        (lambda: SpikeTrainCircuit(ONE, (Condition(2, 0, 0, source=2),), ONE[:1]), ArgumentError, "`source` must be .* is 2"),
        (
            lambda: SpikeTrainCircuit(ONE, (Condition(2, 2, 2, source=1),), ONE[:1] + 1),
            ArgumentError,
            "must be 0 up to site 1 for the bit of site 1 at the same step 2",
        ),
        (lambda: a_train([], 21).distribution(), ArgumentError, "at most 20 steps, but has 21"),
        (lambda: a_train([Condition(1, 0, 0, source=0)], 2).distribution(), UnsupportedError, "sites that turn each other"),
        (lambda: a_train([Condition(20, 1, 1)], 21).moments(), UnsupportedError, "at most 14 steps back .* reaches 19 steps"),
        (lambda: a_train([], 3).moments(3), ArgumentError, "`max_lag` must be at least 0 and at most 2, but is 3"),
        (lambda: a_train([], 3).to_qiskit(2), ArgumentError, "`element` must be at least 0 and at most 1, but is 2"),
        (
            lambda: get("analytic", noise=GATES).run_train(a_train([], 3, sites=3), shots=1, seed=0),
            ShapeError,
            "`train` must have 2 sites for backend analytic, but has 3",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(act: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_an_outcome_keeps_every_bit() -> None:
    outcome = get("analytic").run_train(a_train(KINDS["renewal"](5), 5), shots=9, seed=1)
    assert outcome.spikes.shape == (9, 5, 2, 2)
    assert torch.equal(torch.stack([outcome.shot(number) for number in range(9)]), outcome.spikes)
    assert outcome.packed.numel() == 9 * 3
    assert re.match("steps 5 · batch 2 · sites 2 · .*9 shots", str(outcome))
    with pytest.raises(ArgumentError, match="`number` must be at least 0 and at most 8, but is 9"):
        outcome.shot(9)


def test_shots_in_parts_are_drawn_from_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    train = a_train(KINDS["renewal"](4), 4)
    monkeypatch.setattr("qlifq.backends.analytic._SPIKES_AT_ONCE", 16_000)
    spikes = get("analytic").run_train(train, shots=8_500, seed=3).spikes
    assert len(spikes) == 8_500
    assert chance_of_more(counted(spikes), train.distribution()) > FALSE_FAIL


def test_a_train_that_is_certain_is_drawn_as_it_is() -> None:
    base = torch.tensor([0.0, math.pi, 0.0, math.pi], dtype=torch.float64)[:, None, None]
    spikes = sample(SpikeTrainCircuit(base, (), base[:0]), 50, lambda *shape: torch.rand(shape, dtype=torch.float64))
    assert spikes.sum(0).flatten().tolist() == [0, 50, 0, 50]


def test_a_reset_error_moves_the_rate_as_its_closed_form_says() -> None:
    """r(t + 1) = p + e r(t) (1 − 2p): what the reset leaves in |1⟩ turns the other way. Its limit is p / (1 − e (1 − 2p))."""
    chance, error = 0.2, 0.1
    base = torch.full((40, 1, 1), 2 * math.asin(math.sqrt(chance)), dtype=torch.float64)
    noise = DeviceNoise(reset_error=error).of_trains(torch.float64, CPU)
    rate = SpikeTrainCircuit(base, (), base[:0]).moments(noise=noise).rate.flatten().tolist()
    for now, following in itertools.pairwise(rate):
        assert following == pytest.approx(chance + error * now * (1 - 2 * chance), abs=1e-14)
    assert rate[-1] == pytest.approx(chance / (1 - error * (1 - 2 * chance)), abs=1e-14)
