"""Conformance checks that no two evaluations share their shot noise.

Each evaluation of equal angles gives one bit: whether more than half of an odd number of shots were 1. Two independent bits
with the chances p and q differ with the chance p(1 − q) + q(1 − p), so of disjoint pairs as many differ as a binomial says.
Noise that is shared leaves too few of them, mirrored noise too many.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from qlifq.backends.conformance.harness import RY, Harness, counts, population
from qlifq.errors import ConformanceError

__all__ = ["between_calls", "within"]

Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

ELEMENTS = 128


def within(axis: str, harness: Harness) -> str:
    """Between the elements of a batch, or between its sites, at every distance up to half of them."""
    along = 0 if axis == "elements" else 1
    for shots in _odd_shots(harness):
        bits, chance = _bits(harness, shots, harness.seed)
        lags = range(1, bits.shape[along] // 2 + 1)
        for lag in lags:
            first, second = _pairs(bits, along, lag)
            _independent(harness, first, second, *_pairs(chance, along, lag), 2 * len(lags), f"{axis} {lag} apart", shots)
    return f"independent between {axis}" if bits.shape[along] > 1 else f"one of the {axis} only"


def between_calls(harness: Harness) -> str:
    """Between calls with neighbouring seeds, and with seeds that are equal to a generator of 32 bits."""
    others = (harness.seed + 1, harness.seed + 2**32)
    for shots in _odd_shots(harness):
        bits, chance = _bits(harness, shots, harness.seed)
        for other in others:
            who = f"calls with seeds {harness.seed} and {other}"
            _independent(harness, bits, _bits(harness, shots, other)[0], chance, chance, 2 * len(others), who, shots)
    return "independent between calls"


def _odd_shots(harness: Harness) -> Iterator[int]:
    """One shot, which a backend may draw in its own way, and several."""
    return (shots for shots in (1, 15) if shots <= (harness.can.max_shots or shots))


def _bits(harness: Harness, shots: int, seed: int) -> tuple[Bits, Floats]:
    """One bit per evaluation, and its chance."""
    angles = harness.angles(RY, 0, harness.sites(4), all_at=(math.pi / 2,)).repeat(ELEMENTS, 1, 1)
    chance = binom.sf(shots // 2, shots, population(harness.truth(RY, angles[:1])))
    bits = counts(harness.run(angles, shots, seed=seed)) * 2 > shots
    return bits, np.broadcast_to(np.asarray(chance, dtype=np.float64), bits.shape)


def _pairs(values: npt.NDArray[Any], axis: int, lag: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Disjoint pairs that are `lag` apart along the axis."""
    first = np.array([index for index in range(values.shape[axis] - lag) if index // lag % 2 == 0])
    return values.take(first, axis), values.take(first + lag, axis)


def _independent(harness: Harness, first: Bits, second: Bits, p: Floats, q: Floats, tests: int, who: str, shots: int) -> None:
    differ = p * (1 - q) + q * (1 - p)
    unequal = int((first != second).sum())
    # The chances vary with the noise of the sites: the least and the greatest of them bound the tails.
    tail = min(binom.cdf(unequal, differ.size, differ.min()), binom.sf(unequal - 1, differ.size, differ.max()))
    if 2 * tail * tests < harness.level:
        raise ConformanceError(
            f"{who} share their shot noise: {unequal} of {differ.size} pairs differ with {shots} shots, "
            f"but {differ.sum():.0f} should"
        )
