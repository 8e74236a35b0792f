"""Whether a measured fraction exceeds a threshold, decided the same in every dtype.

A fraction of ones is a rational number, and a threshold such as sin²(π/4) comes out some ulp beside the one that was meant: a
float comparison of the two is a tie that rounding decides. Here what is equal within rounding is a tie, and a tie does not
exceed.
"""

import math
import sys

import torch

__all__ = ["comparable", "just_above", "largest_silent_count"]

#: How far sin²(θ/2) of θ = 2 arcsin √x comes out beside x in float64, with some room: 3 ulp were seen.
_ROUNDING = 8 * sys.float_info.epsilon


def largest_silent_count(threshold: float, shots: int) -> int:
    """The most ones of this many shots that do not exceed a threshold: ⌊threshold · shots⌋, ties within rounding included.

    Args:
        threshold: of the fraction of ones, within [0, 1].
        shots: behind the count, at least 1.

    Example:
        >>> largest_silent_count(math.sin(math.pi / 4) ** 2, 2)
        1
    """
    return math.floor((threshold + _ROUNDING) * shots)


def comparable(threshold: float, shots: int | None, dtype: torch.dtype) -> float:
    """The threshold that separates fractions of ones in a dtype exactly as it separates their counts.

    At a tie it is the fraction itself as the dtype rounds it, and else it lies between the two fractions beside it. So a count
    exceeds, equals or falls short of it the same in every dtype that represents the counts themselves; up to 2²² shots float32
    does.

    Args:
        threshold: of the fraction, within [0, 1].
        shots: behind the fractions; None where they are no fractions, which leaves the threshold as it is.
        dtype: of the fractions, each rounded from float64.
    """
    if shots is None:
        return threshold
    silent = largest_silent_count(threshold, shots)
    low, high, value = torch.tensor([silent / shots, (silent + 1) / shots, threshold], dtype=torch.float64).to(dtype).tolist()
    if silent >= (threshold - _ROUNDING) * shots:
        return float(low)
    return float(value if low < value < high else (low + high) / 2)


def just_above(threshold: float, dtype: torch.dtype) -> float:
    """What a probability that was computed in a dtype must exceed to exceed the threshold by more than rounding.

    sin²(θ/2) comes out within 3 ulp of itself, so θ = threshold angle would else decide by chance.
    """
    return threshold * (1 + 4 * torch.finfo(dtype).eps)
