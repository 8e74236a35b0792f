"""Whether two sets of spike trains follow one law: their rates, the intervals between spikes, and their autocovariance.

Trains of one neuron under one input are independent, so that under one law those of both sets can be exchanged. A permutation
test is exact then, whatever the correlations within a train.

Reference: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapter 3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qlifq.reporting.intervals import Floats, Interval, percentile, resampled_means
from qlifq.studies.spike_trains import coefficient_of_variation

__all__ = ["PERMUTATIONS", "QUANTITIES", "Measured", "measured", "p_values"]

#: What a test compares, and its statistic.
QUANTITIES = {
    "rate": "the largest difference of the rate of a neuron in its standard deviations over trains",
    "intervals": "the largest difference of the cumulative distributions of the intervals between spikes",
    "autocovariance": "the largest difference of the autocovariance at a lag in its standard deviations over trains",
}
PERMUTATIONS = 4000

Spikes = npt.NDArray[np.bool_]


class Measured(NamedTuple):
    """A quantity of a set of trains.

    Args:
        interval: its value with its bounds.
        draws: the bootstrap draws behind them, `(draws,)`.
    """

    interval: Interval
    draws: Floats

    def less(self, other: "Measured") -> Interval:
        """How much more it is than the same quantity of an independent set."""
        return percentile(self.interval.value - other.interval.value, self.draws - other.draws)


def measured(spikes: Spikes, lags: Sequence[int], rng: np.random.Generator) -> dict[str, Measured]:
    """Rate, intervals and autocovariance of a set of trains.

    The autocovariance at lag k is the mean over time and neurons of Cov[s(t), s(t + k)], over trains.

    Args:
        spikes: `(runs, time, neurons)`, at least two runs.
        lags: from 1 on, below the number of steps.
        rng: of the resampling.

    Returns:
        "rate", "isi" (mean steps between two spikes), "isi_cv" and "autocovariance k" for every lag.
    """
    runs = len(spikes)
    counts = _interval_counts(spikes)
    sizes = np.arange(counts.shape[1], dtype=np.float64)
    sums = np.stack([counts.sum(axis=1), counts @ sizes, counts @ sizes**2], axis=1)
    # The mean that is taken off is estimated from the same trains.
    products = _products(spikes, spikes.mean(axis=0), lags) * runs / (runs - 1)
    columns = np.column_stack([spikes.mean(axis=(1, 2)), sums, products])
    means, draws = columns.mean(axis=0), resampled_means(columns, rng)
    functions: dict[str, Callable[[Floats], Floats]] = {
        "rate": lambda draw: draw[..., 0],
        "isi": lambda draw: draw[..., 2] / np.where(draw[..., 1] > 0, draw[..., 1], np.nan),
        "isi_cv": lambda draw: coefficient_of_variation(draw[..., 1:4]),
        **{f"autocovariance {lag}": _column(4 + place) for place, lag in enumerate(lags)},
    }
    found = {}
    for name, function in functions.items():
        drawn = function(draws)
        found[name] = Measured(percentile(float(function(means)), drawn), drawn)
    return found


def p_values(first: Spikes, second: Spikes, lags: Sequence[int], rng: np.random.Generator) -> Mapping[str, tuple[float, float]]:
    """Permutation tests of one law against two.

    Args:
        first: `(runs, time, neurons)`; a run is exchanged as a whole.
        second: the same steps and neurons; the number of runs may differ.
        lags: of the autocovariance.
        rng: of the permutations.

    Returns:
        For each of `QUANTITIES` the statistic and its p-value: the share of the permutations, the one observed among them,
        whose statistic is at least as great. Under one law it is below α with a probability of at most α.
    """
    spikes = np.concatenate([first, second])
    chosen = np.tile(np.arange(len(spikes)) < len(first), (PERMUTATIONS, 1))
    chosen[1:] = rng.permuted(chosen[1:], axis=1)
    contrast = np.where(chosen, 1 / len(first), -1 / len(second))
    counts = _interval_counts(spikes)
    taken = np.cumsum(chosen.astype(np.float64) @ counts, axis=1)
    left = np.cumsum(counts.sum(axis=0)) - taken
    statistics = {
        "rate": _largest(contrast, spikes.mean(axis=1)),
        "intervals": np.abs(_shares(taken) - _shares(left)).max(axis=1),
        # Under one law the mean over both sets is that of each.
        "autocovariance": _largest(contrast, _products(spikes, spikes.mean(axis=0), lags)),
    }
    # Sums in another order differ by rounding.
    return {name: (float(each[0]), float((each >= each[0] - 1e-9).mean())) for name, each in statistics.items()}


def _column(place: int) -> Callable[[Floats], Floats]:
    return lambda draw: draw[..., place]


def _largest(contrast: Floats, values: Floats) -> Floats:
    """The largest difference of means in standard deviations, for each permutation; values `(runs, quantities)`."""
    spread = values.std(axis=0)
    return np.asarray(np.abs(contrast @ (values[:, spread > 0] / spread[spread > 0])).max(axis=1, initial=0.0))


def _shares(cumulative: Floats) -> Floats:
    return np.asarray(cumulative / np.maximum(cumulative[:, -1:], 1.0))


def _interval_counts(spikes: Spikes) -> Floats:
    """How often each run has an interval of 0, 1, … steps between two spikes of a neuron, `(runs, time)`."""
    runs, steps, neurons = spikes.shape
    train, step = np.nonzero(spikes.transpose(0, 2, 1).reshape(runs * neurons, steps))
    same = train[1:] == train[:-1]
    places = train[1:][same] // neurons * steps + np.diff(step)[same]
    return np.bincount(places, minlength=runs * steps).reshape(runs, steps).astype(np.float64)


def _products(spikes: Spikes, rate: Floats, lags: Sequence[int]) -> Floats:
    """The mean over time and neurons of (s(t) − rate(t)) (s(t + k) − rate(t + k)) of each run, `(runs, lags)`."""
    away = spikes - rate
    return np.stack([(away[:, :-lag] * away[:, lag:]).mean(axis=(1, 2)) for lag in lags], axis=1)
