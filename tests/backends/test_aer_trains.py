"""Spike trains on Aer against their exact law, over all trains; and the faults that this must see."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error
from scipy.stats import chi2
from torch import Tensor

from qlifq.backends import DeviceNoise, get
from qlifq.backends.aer import trains
from qlifq.backends.aer.noise import QubitModel, on_site
from qlifq.circuits import Condition, SpikeTrainCircuit

#: No p-value of this file falls below it by chance but once in 10¹⁰ runs, so that 1e-9 holds where counts are no Gaussians.
LIMIT = 1e-12
STEPS = 8
SHOTS = 1500
NEURONS = 20
NOISE = DeviceNoise(t1=20e-6, t2=15e-6, gate_time=1e-6, gate_error=0.02, readout_p01=0.06, readout_p10=0.15)
EVERYTHING = replace(NOISE, reset_error=0.15)


def p_value(spikes: Tensor, law: Tensor) -> float:
    """That of the chi-squared statistic over all trains of all neurons; trains are pooled until 10 of them are expected.

    Args:
        spikes: `(shots, time, batch, sites)`.
        law: `(2**time, batch, sites)`.
    """
    shots, steps = spikes.shape[:2]
    numbers = (spikes.long() * (1 << torch.arange(steps))[:, None, None]).sum(1).flatten(1)
    statistic, freedom = 0.0, 0
    for found, expected in zip(numbers.T, shots * law.flatten(1).T.double().numpy(), strict=True):
        assert expected.sum() == pytest.approx(shots)
        counts = np.bincount(found.numpy(), minlength=len(expected))
        order = np.argsort(expected)
        pool = np.floor(np.cumsum(expected[order]) / 10)
        starts = np.flatnonzero(np.diff(pool, prepend=-1.0))
        observed, pooled = (np.add.reduceat(each[order], starts) for each in (counts, expected))
        statistic += float(((observed - pooled) ** 2 / pooled)[pooled > 0].sum())
        freedom += len(starts) - 1
    return float(chi2.sf(statistic, freedom))


def law(train: SpikeTrainCircuit, noise: DeviceNoise | None) -> Tensor:
    return train.distribution(None if noise is None else noise.of_trains(train.base.dtype, train.base.device))


def additive(neurons: int = NEURONS, seed: int = 0) -> SpikeTrainCircuit:
    """Every earlier bit rotates by an angle of its own, as for neurons with a soft reset."""
    source = torch.Generator().manual_seed(seed)
    conditions = tuple(Condition(step, past, past) for step in range(STEPS) for past in range(step))
    ages = torch.tensor([condition.step - condition.first for condition in conditions], dtype=torch.float64)
    decay = torch.rand(neurons, generator=source, dtype=torch.float64) * 0.4 + 0.4
    angles = -1.3 * decay ** ages[:, None]
    base = torch.rand((STEPS, 1, neurons), generator=source, dtype=torch.float64) * 2 + 0.4
    return SpikeTrainCircuit(base, conditions, angles[:, None])


def renewal(neurons: int = NEURONS, seed: int = 0, *, newest: bool = True) -> SpikeTrainCircuit:
    """The angle depends on how long ago the last spike was, as for neurons with a hard reset."""
    source = torch.Generator().manual_seed(seed)
    conditions = tuple(
        Condition(step, first, first if newest else step - 1, newest=newest) for step in range(STEPS) for first in range(step)
    )
    base = torch.rand((STEPS, 1, neurons), generator=source, dtype=torch.float64) * 1.5 + 1.0
    angles = torch.randn((len(conditions), 1, neurons), generator=source, dtype=torch.float64) * 0.5
    return SpikeTrainCircuit(base, conditions, angles)


def windows(neurons: int = NEURONS, seed: int = 0) -> SpikeTrainCircuit:
    """The same by one rotation for every step since the last spike."""
    return renewal(neurons, seed, newest=False)


KINDS = {"additive": additive, "renewal": renewal, "windows": windows}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", [None, NOISE, EVERYTHING], ids=["ideal", "noise", "reset error too"])
def test_counts_of_all_trains_follow_the_exact_law(kind: str, noise: DeviceNoise | None) -> None:
    train = KINDS[kind]()
    outcome = get("aer", noise=noise).run_train(train, shots=SHOTS, seed=1)
    assert p_value(outcome.spikes, law(train, noise)) > LIMIT


def wrong_sign(train: SpikeTrainCircuit, _: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    return replace(train, angles=-train.angles)


def swapped_bits(train: SpikeTrainCircuit, patch: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    real = trains._bits
    patch.setattr(trains, "_bits", lambda memory, count: real(memory, count).reshape(-1, STEPS)[:, ::-1].reshape(-1, count))
    return train


def short_window(train: SpikeTrainCircuit, _: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    """The oldest bit that a rotation depends on is forgotten."""
    kept = torch.tensor([condition.first > 0 for condition in train.conditions])
    return replace(train, angles=train.angles * kept[:, None, None])


def no_reset(train: SpikeTrainCircuit, patch: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    patch.setattr(QubitModel, "resetting", lambda self: np.eye(4, dtype=np.complex128))
    return train


def no_noise_in_branches(train: SpikeTrainCircuit, patch: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    real = trains._channel
    error = on_site(NOISE.at(0)).after("ry")
    assert error is not None
    clean = np.linalg.inv(error)
    patch.setattr(trains, "_channel", lambda given, condition=None: real(clean @ given if condition else given, condition))
    return train


def error_after_the_bit(train: SpikeTrainCircuit, patch: pytest.MonkeyPatch) -> SpikeTrainCircuit:
    """Later conditions see what the qubit was, and not what was read."""
    real = trains._bits
    source, site = np.random.default_rng(0), NOISE.at(0)

    def read(memory: list[str], count: int) -> npt.NDArray[np.uint8]:
        bits = real(memory, count)
        return bits ^ (source.random(bits.shape) < np.where(bits, site.readout_p10, site.readout_p01)).astype(np.uint8)

    patch.setattr(QubitModel, "reading", lambda self: None)
    patch.setattr(trains, "_bits", read)
    return train


@pytest.mark.parametrize("kind", ["additive", "renewal"])
@pytest.mark.parametrize("fault", [wrong_sign, swapped_bits, short_window, no_reset, no_noise_in_branches, error_after_the_bit])
def test_planted_faults_are_seen(
    kind: str, fault: Callable[[SpikeTrainCircuit, pytest.MonkeyPatch], SpikeTrainCircuit], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = KINDS[kind]()
    truth = law(train, NOISE)
    faulty = fault(train, monkeypatch)
    spikes = get("aer", noise=NOISE).run_train(faulty, shots=SHOTS, seed=1).spikes
    assert p_value(spikes, truth) < LIMIT


def test_without_a_reset_a_train_goes_on_from_the_state_that_was_there() -> None:
    train = replace(renewal(), reset=False)
    for noise in (None, NOISE):
        spikes = get("aer", noise=noise).run_train(train, shots=SHOTS, seed=1).spikes
        assert p_value(spikes, law(train, noise)) > LIMIT
        assert p_value(spikes, law(renewal(), noise)) < LIMIT


def test_each_site_has_its_own_noise_and_each_element_its_own_angles() -> None:
    noise = replace(EVERYTHING, gate_error=(0.0, 0.1, 0.3), readout_p01=(0.2, 0.0, 0.05), reset_error=(0.0, 0.3, 0.0))
    one, two = renewal(3), renewal(3, seed=1)
    train = SpikeTrainCircuit(torch.cat((one.base, two.base), 1), one.conditions, torch.cat((one.angles, two.angles), 1))
    spikes = get("aer", noise=noise).run_train(train, shots=5 * SHOTS, seed=1).spikes
    truth = law(train, noise)
    assert p_value(spikes, truth) > LIMIT
    assert p_value(spikes, truth.flip(1)) < LIMIT
    assert p_value(spikes, truth.flip(2)) < LIMIT


def test_the_errors_of_a_noise_model_act_at_gates_in_branches_at_measurements_and_at_resets() -> None:
    """Written as a DeviceNoise too, whose reset error is one of a qubit that was in |1⟩."""
    model = NoiseModel(basis_gates=["rx", "ry", "rz"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.08, 1), ["rx", "ry"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    same = DeviceNoise(gate_error=0.04, readout_p01=0.05, readout_p10=0.1)
    train = renewal()
    spikes = get("aer", noise=model).run_train(train, shots=SHOTS, seed=1).spikes
    assert p_value(spikes, law(train, same)) > LIMIT
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.2), ("I", 0.8)]), "reset")
    spikes = get("aer", noise=model).run_train(train, shots=SHOTS, seed=1).spikes
    assert p_value(spikes, law(train, same)) < LIMIT
    # A qubit that is flipped before a step spikes with the probability of the angle plus π.
    first = replace(train, base=train.base + torch.tensor([0.0] + [torch.pi] * (STEPS - 1))[:, None, None])
    ideal = get("aer", noise=NoiseModel(basis_gates=["ry"])).run_train(train, shots=SHOTS, seed=1).spikes
    assert p_value(ideal, law(train, None)) > LIMIT
    assert p_value(ideal, law(first, None)) < LIMIT


def test_bits_of_one_site_rotate_another() -> None:
    """The product law of all sites together, with a reset error that each site keeps while the others are run."""
    conditions = tuple(Condition(step, past, past, source=0) for step in range(4) for past in range(step + 1))
    source = torch.Generator().manual_seed(2)
    base = torch.rand((4, 1, 2), generator=source, dtype=torch.float64) * 2 + 0.4
    angles = torch.randn((len(conditions), 1, 2), generator=source, dtype=torch.float64)
    angles[..., 0] = 0
    train = SpikeTrainCircuit(base, conditions, angles)
    for noise in (None, NOISE, DeviceNoise(reset_error=0.3), EVERYTHING):
        spikes = get("aer", noise=noise).run_train(train, shots=2 * SHOTS, seed=1).spikes
        listed = ((torch.arange(256)[:, None] >> torch.arange(8)) & 1).bool().reshape(256, 4, 1, 2)
        of_trains = None if noise is None else noise.of_trains(base.dtype, base.device)
        truth = train.probability(listed, of_trains).prod(-1, keepdim=True)
        assert p_value(spikes.reshape(len(spikes), 8, 1, 1), truth) > LIMIT


def test_a_version_of_aer_that_ignores_conditions_of_channels_gets_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    train = renewal(2)
    direct = get("aer", noise=EVERYTHING).run_train(train, shots=100, seed=1).spikes
    assert trains.conditions_are_kept()
    monkeypatch.setattr(trains, "conditions_are_kept", lambda: False)
    assert torch.equal(get("aer", noise=EVERYTHING).run_train(train, shots=100, seed=1).spikes, direct)


def test_a_channel_whose_condition_is_ignored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trains._channel
    monkeypatch.setattr(trains, "_channel", lambda matrix, condition=None: real(matrix))
    trains.conditions_are_kept.cache_clear()
    assert not trains.conditions_are_kept()
    monkeypatch.undo()
    trains.conditions_are_kept.cache_clear()
    assert trains.conditions_are_kept()


def test_trains_depend_on_the_seed_and_on_no_number_of_threads_and_large_calls_are_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = additive(5)
    first = get("aer").run_train(train, shots=50, seed=3)
    assert torch.equal(get("aer", threads=2).run_train(train, shots=50, seed=3).spikes, first.spikes)
    assert not torch.equal(get("aer").run_train(train, shots=50, seed=4).spikes, first.spikes)
    monkeypatch.setattr(trains, "_CIRCUIT_BITS", 2 * STEPS)
    monkeypatch.setattr(trains, "_SUBMISSION_BITS", 2 * STEPS * 400)
    plan = get("aer").plan_train(train, shots=SHOTS)
    assert (plan.circuits, plan.jobs, plan.executions) == (3, 12, 3 * SHOTS)
    assert p_value(get("aer").run_train(train, shots=SHOTS, seed=3).spikes, law(train, None)) > LIMIT


def test_trains_of_more_steps_than_a_register_has_bits() -> None:
    """After 31 silent steps the angle of step 40 depends on whether there was a spike at step 3 or at step 35."""
    steps = 41
    base = torch.zeros((steps, 1, 2), dtype=torch.float64)
    base[3, :, 0] = base[35, :, 1] = torch.pi
    conditions = (Condition(40, 4, 39), Condition(40, 3, 39))
    train = SpikeTrainCircuit(base, conditions, torch.full((2, 1, 2), torch.pi / 2, dtype=torch.float64))
    rates = get("aer").run_train(train, shots=400, seed=1).spikes.double().mean(0)[:, 0]
    assert rates[3].tolist() == [1, 0]
    assert rates[35].tolist() == [0, 1]
    assert rates[40, 1] == 1
    assert 0.3 < rates[40, 0] < 0.7


def test_trains_run_shot_by_shot_whatever_single_decisions_do() -> None:
    outcomes = [get("aer", sampling=sampling).run_train(renewal(2), shots=50, seed=1) for sampling in ("shots", "law")]
    assert torch.equal(outcomes[0].spikes, outcomes[1].spikes)
