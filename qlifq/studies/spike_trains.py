"""What is measured of spike trains: rates, the intervals between spikes, and how far two trains are apart."""

import numpy as np
import numpy.typing as npt

from qlifq.reporting.intervals import Floats

__all__ = ["Integers", "coefficient_of_variation", "first_difference", "interval_sums", "van_rossum"]

Integers = npt.NDArray[np.int64]


def van_rossum(first: Floats, second: Floats, tau: float) -> Floats:
    """The distance of van Rossum between spike trains.

        D² = (1/τ) Σ_t (f(t) − g(t))²,   f(t) = f(t − 1) e^(−1/τ) + s(t)

    For τ of many steps, one spike more or less is a D of about 1/√2, and two trains of n spikes each with none in common are
    about √n apart.

    Args:
        first: `(time, ...)`, 0 and 1, or graded spikes.
        second: the same shape, or one that broadcasts with it.
        tau: time constant of the kernel, steps.

    Returns:
        D, shape `(...)`.

    Reference:
        van Rossum, A novel spike distance, Neural Computation 13, 751 (2001).

    Example:
        >>> one, none = np.eye(200)[:, :1], np.zeros((200, 1))
        >>> van_rossum(one, none, tau=10.0).round(2)
        array([0.74])
    """
    # Loading it takes half a second, which those who only count spikes need not wait for.
    from scipy import signal

    # The filter is linear, so the difference of the filtered trains is the filtered difference: one pass instead of two.
    difference = signal.lfilter([1.0], [1.0, -np.exp(-1 / tau)], first - second, axis=0)
    return np.asarray(np.sqrt((difference**2).sum(axis=0) / tau))


def interval_sums(spikes: Floats) -> Floats:
    """The intervals between successive spikes of each train, as sums from which their mean and spread follow.

    Args:
        spikes: `(time, runs)`, 0 and 1.

    Returns:
        `(runs, 3)`: how many intervals, their sum and the sum of their squares, in steps.

    Example:
        >>> interval_sums(np.array([[1.0], [0.0], [1.0], [1.0]]))
        array([[2., 3., 5.]])
    """
    sums = np.zeros((spikes.shape[1], 3))
    for run, train in enumerate(spikes.T):
        intervals = np.diff(np.flatnonzero(train)).astype(np.float64)
        sums[run] = len(intervals), intervals.sum(), (intervals**2).sum()
    return sums


def coefficient_of_variation(sums: Floats) -> Floats:
    """Standard deviation over mean of intervals from the sums (or means) of `interval_sums`, `(..., 3)` to `(...)`.

    NaN where there is no interval.
    """
    count = np.where(sums[..., 0] > 0, sums[..., 0], np.nan)
    average = sums[..., 1] / count
    # Var = E[x²] − E[x]², which rounding can take below 0 for intervals that are all the same.
    variance = np.maximum(sums[..., 2] / count - average**2, 0.0)
    return np.asarray(np.sqrt(variance) / average)


def first_difference(first: Floats, second: Floats, tolerance: float = 0.5) -> Integers:
    """The first step, from 0, in which two trains differ by more than `tolerance`; the number of steps where none does.

    Args:
        first: `(time, runs)`.
        second: the same shape, or one that broadcasts with it.
        tolerance: for graded spikes; 0 and 1 differ by 1.

    Returns:
        `(runs,)`.

    Example:
        >>> first_difference(np.array([[0.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [1.0]]))
        array([1])
    """
    differ = np.abs(first - second) > tolerance
    return np.where(differ.any(axis=0), differ.argmax(axis=0), len(differ)).astype(np.int64)
