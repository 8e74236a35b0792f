"""How sure a number is: exact intervals of proportions, bootstrap intervals of everything else.

Every statistic of a study is a function of means over independent runs, so one way of resampling serves them all: draw the
runs again with replacement, take the means, and apply the function.

Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Clopper and Pearson, Biometrika 26, 404
(1934); Newcombe, Statistics in Medicine 17, 2635 (1998).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qlifq._proportions import clopper_pearson

__all__ = [
    "CONFIDENCE",
    "DRAWS",
    "Floats",
    "Interval",
    "binomial",
    "blocked_mean",
    "large_sample_mean",
    "mean",
    "paired_difference",
    "percentile",
    "proportion",
    "resampled_means",
    "slopes",
    "student_mean",
]

Floats = npt.NDArray[np.float64]

#: The confidence of every interval of a report: a report holds about a hundred, and one in twenty would often mislead.
CONFIDENCE = 0.99
DRAWS = 4000


class Interval(NamedTuple):
    """A number and the bounds that hold it with the stated confidence; bounds of NaN where there are none.

    Example:
        >>> print(Interval(-0.4983, -0.5121, -0.4847))
        -0.498 (-0.512 to -0.485)
        >>> Interval(0.2, 0.1, 0.3).holds(0.3)
        True
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Mapping[Any, Any], name: str) -> "Interval":
        """From the columns `name`, `name_low` and `name_high` of a table's row."""
        return cls(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]))

    def columns(self, name: str) -> dict[str, float]:
        """As the columns `name`, `name_low` and `name_high` of a table's row."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def to_dict(self) -> dict[str, float | None]:
        """As JSON values, where a bound that is no number is null."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Interval":
        """From what `to_dict` gave, perhaps through a file."""
        return cls(*(math.nan if values[name] is None else float(values[name]) for name in cls._fields))

    @property
    def bounded(self) -> bool:
        """Whether it has bounds."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def holds(self, number: float) -> bool:
        """Whether a number lies within the bounds."""
        return self.low <= number <= self.high

    def overlaps(self, other: "Interval") -> bool:
        """Whether two intervals have a number in common."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "none"
        if not self.bounded:
            return f"{self.value:.3g}"
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def binomial(ones: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """The exact interval of Clopper and Pearson for a proportion.

    Args:
        ones: how often it happened, any shape.
        trials: out of how often, at least 1, broadcastable.
        confidence: that the interval holds the true proportion, at least.

    Returns:
        The lower and the upper bounds.

    Example:
        >>> low, high = binomial(0, 10, 0.95)
        >>> float(low), round(float(high), 4)
        (0.0, 0.3085)
    """
    return clopper_pearson(ones, trials, confidence)


def proportion(happened: npt.ArrayLike) -> Interval:
    """How often something happened, `(trials,)` bool, with the exact interval."""
    counted = np.asarray(happened, dtype=bool)
    low, high = binomial(counted.sum(), len(counted))
    return Interval(float(counted.mean()), float(low), float(high))


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """How much more often one thing happened than another in the same trials, by Newcombe's tenth method.

    It holds up where the two seldom or never differ, where a bootstrap would see no doubt at all.

    Args:
        first: `(trials,)` bool.
        second: same shape.
        confidence: that the interval holds the true difference, nearly.

    Returns:
        The difference of the proportions, first less second.

    Example:
        >>> print(paired_difference([True] * 90 + [False] * 10, [True] * 80 + [False] * 20, 0.95))
        0.1 (0.0385 to 0.17)
    """
    from scipy import stats

    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    trials = len(one)
    both, none = int((one & other).sum()), int((~one & ~other).sum())
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    shares = np.array([both + only_one, both + only_other]) / trials
    z = stats.norm.ppf((1 + confidence) / 2)
    middle = (shares + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * np.sqrt(shares * (1 - shares) / trials + z**2 / (4 * trials**2))
    below, above = shares - (middle - reach), middle + reach - shares
    margins = float(both + only_one) * (only_other + none) * (both + only_other) * (only_one + none)
    product = float(both) * none - float(only_one) * only_other
    # The correction for continuity that the method has, towards no correlation.
    kept = max(product - trials / 2, 0.0) if product > 0 else product
    phi = kept / math.sqrt(margins) if margins else 0.0

    def together(mine: float, its: float) -> float:
        return math.sqrt(max(mine**2 - 2 * phi * mine * its + its**2, 0.0))

    difference = float(shares[0] - shares[1])
    return Interval(difference, difference - together(below[0], above[1]), difference + together(above[0], below[1]))


def large_sample_mean(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The mean of many independent values, `(values,)`, with the interval that the central limit theorem gives."""
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    middle = float(sample.mean())
    reach = float(stats.norm.ppf((1 + confidence) / 2) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Interval(middle, middle - reach, middle + reach)


def student_mean(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """The mean of a few independent values, `(values,)`, at least two, with Student's interval; they should be near to normal.

    Example:
        >>> print(student_mean([0.9, 1.0, 1.1], 0.95))
        1 (0.752 to 1.25)
    """
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    middle = float(sample.mean())
    reach = float(stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return Interval(middle, middle - reach, middle + reach)


def blocked_mean(values: npt.ArrayLike, blocks: int = 20, confidence: float = CONFIDENCE) -> Interval:
    """The mean of values in the order of time, `(values,)`, with Student's interval of the means of blocks of neighbours.

    Neighbours may depend on each other; blocks that are longer than that dependence are nearly independent.
    """
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(blocks, len(np.asarray(values))))
    middle, low, high = student_mean([part.mean() for part in parts], confidence)
    mean_of_all = float(np.concatenate(parts).mean())
    return Interval(mean_of_all, mean_of_all - (middle - low), mean_of_all + (high - middle))


def resampled_means(values: Floats, rng: np.random.Generator, draws: int = DRAWS) -> Floats:
    """Means over runs that are drawn again with replacement.

    Args:
        values: `(runs, ...)`, what each run gave; a run is drawn with all it gave, so what is paired stays paired.
        rng: where the draws come from.
        draws: how many.

    Returns:
        `(draws, ...)`.
    """
    runs = len(values)
    weights = rng.multinomial(runs, np.full(runs, 1 / runs), size=draws) / runs
    return np.asarray((weights @ values.reshape(runs, -1)).reshape(draws, *values.shape[1:]))


def percentile(value: float, draws: Floats, confidence: float = CONFIDENCE) -> Interval:
    """A statistic with the interval that leaves equal parts of its bootstrap draws on both sides.

    Where a draw has no value (a run without spikes has no interval between them), it counts for neither side.
    """
    kept = draws[np.isfinite(draws)]
    if not len(kept):
        return Interval(value, np.nan, np.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def mean(values: Floats, rng: np.random.Generator) -> Interval:
    """The mean over runs, `(runs,)`, with its interval."""
    return percentile(float(values.mean()), resampled_means(values, rng))


def slopes(x: npt.ArrayLike, y: Floats) -> Floats:
    """Least-squares slopes of `y`, `(..., points)`, on `x`, `(points,)`; returns `(...)`."""
    at = np.asarray(x, dtype=np.float64)
    centred = at - at.mean()
    return np.asarray(y @ centred / (centred @ centred))
