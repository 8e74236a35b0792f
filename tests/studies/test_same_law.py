"""Whether two sets of trains follow one law: estimates against other code and exact moments, tests against their level."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from qlifq.backends import get
from qlifq.circuits import SpikeTrainCircuit
from qlifq.neurons import QLIF
from qlifq.studies.same_law import QUANTITIES, Spikes, measured, p_values
from qlifq.studies.spike_trains import interval_sums

STEPS, NEURONS, LAGS = 16, 3, (1, 3)
CURRENT = 6 + 2 * torch.sin(torch.arange(STEPS)[:, None, None] + torch.arange(NEURONS))


def renewal() -> SpikeTrainCircuit:
    """Trains with memory: a spike resets the potential."""
    return QLIF(NEURONS, tau=5.0).train_circuit(CURRENT)


def drawn(train: SpikeTrainCircuit, seed: int, runs: int = 150) -> Spikes:
    spikes: Spikes = get("analytic").run_train(train, shots=runs, seed=seed).spikes[:, :, 0].numpy()
    return spikes


def test_estimates_are_those_of_other_code() -> None:
    spikes = drawn(renewal(), 1)
    found = {name: each.interval.value for name, each in measured(spikes, LAGS, np.random.default_rng(1)).items()}
    sums = interval_sums(spikes.transpose(1, 0, 2).reshape(STEPS, -1).astype(np.float64)).sum(axis=0)
    assert found["rate"] == pytest.approx(spikes.mean())
    assert found["isi"] == pytest.approx(sums[1] / sums[0])
    assert found["isi_cv"] == pytest.approx(np.sqrt(sums[2] / sums[0] - (sums[1] / sums[0]) ** 2) / (sums[1] / sums[0]))
    for lag in LAGS:
        pairs = [(step, neuron) for step in range(STEPS - lag) for neuron in range(NEURONS)]
        own = [np.cov(spikes[:, step, neuron], spikes[:, step + lag, neuron])[0, 1] for step, neuron in pairs]
        assert found[f"autocovariance {lag}"] == pytest.approx(np.mean(own))


def test_intervals_hold_the_exact_moments() -> None:
    """False fail 1e-9 by the normal distribution; 800 trains know a rate to 1 %."""
    train = renewal()
    law = train.moments(max(LAGS))
    found = measured(drawn(train, 2, 800), LAGS, np.random.default_rng(1))
    exact = {"rate": law.rate.mean(), **{f"autocovariance {lag}": law.covariances[lag].mean() for lag in LAGS}}
    for name, value in exact.items():
        away = abs(found[name].interval.value - float(value)) / found[name].draws.std()
        assert away < stats.norm.isf(1e-9 / 6)
    assert abs(float(law.covariances[1].mean())) > 10 * found["autocovariance 1"].draws.std()


def test_for_host_loop_and_circuit_loop_a_small_p_value_is_as_rare_as_under_one_law() -> None:
    """60 pairs of sets of 20 trains; false fail 1e-9 by the binomial distribution."""
    circuit = drawn(renewal(), 3, 60 * 20).reshape(60, 20, STEPS, NEURONS)
    with torch.no_grad():
        spikes, _ = QLIF(NEURONS, tau=5.0, shots=1, seed=4)(CURRENT.expand(-1, 60 * 20, -1))
    host = spikes.transpose(0, 1).bool().numpy().reshape(circuit.shape)
    found = [p_values(host[pair], circuit[pair], LAGS, np.random.default_rng(pair)) for pair in range(60)]
    for quantity in QUANTITIES:
        small = sum(pair[quantity][1] <= 0.1 for pair in found)
        assert small <= stats.binom.isf(1e-9 / 3, 60, 0.1)
        assert len({pair[quantity][1] for pair in found}) > 30


def without_conditionals(train: SpikeTrainCircuit) -> Spikes:
    return drawn(SpikeTrainCircuit(train.base, (), train.angles[:0]), 5)


def with_another_order(train: SpikeTrainCircuit) -> Spikes:
    """The same number of spikes in every train, at random steps."""
    return np.random.default_rng(1).permuted(drawn(train, 5), axis=1)


def with_exchanged_neurons(train: SpikeTrainCircuit) -> Spikes:
    """The mean rate of all neurons stays, that of each does not."""
    slower = SpikeTrainCircuit(train.base * torch.tensor([0.8, 1.0, 1.2]), train.conditions, train.angles)
    return drawn(slower, 5)


@pytest.mark.parametrize(
    ("fault", "quantities"),
    [
        (without_conditionals, ("rate", "intervals", "autocovariance")),
        (with_another_order, ("intervals", "autocovariance")),
        (with_exchanged_neurons, ("rate",)),
    ],
)
def test_planted_faults_are_seen(fault: Callable[[SpikeTrainCircuit], Spikes], quantities: tuple[str, ...]) -> None:
    train = renewal()
    found = p_values(drawn(train, 4), fault(train), LAGS, np.random.default_rng(1))
    for quantity in quantities:
        assert found[quantity][1] < 0.001


def test_trains_without_spikes_differ_in_nothing() -> None:
    silent = np.zeros((4, STEPS, NEURONS), dtype=np.bool_)
    assert {p for _, p in p_values(silent, silent, LAGS, np.random.default_rng(1)).values()} == {1.0}
    assert np.isnan(measured(silent, LAGS, np.random.default_rng(1))["isi"].interval.value)
