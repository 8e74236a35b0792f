"""Random numbers as a function of a key, a step and a place: the same on every route, in every order, in any number of parts.

Philox 4×32-10 turns a counter of four words into four random words. The counter holds the place of an element in its whole
batch and the number of a block of four steps, so that one call serves an element for four steps: word j of a block is that of
its step j. Kernels draw the very same numbers while they run; these functions serve everything else.

Reference: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["NORMAL", "UNIFORM", "Place", "words"]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

#: The kinds of numbers, which never share a counter.
UNIFORM, NORMAL = 0, 1


def words(place: Tensor, block: int, kind: int, key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four words of every place.

    Args:
        place: int64, any shape, its 64 bits as they are.
        block: the number of the block of four steps, below 2⁵⁶.
        kind: `UNIFORM` or `NORMAL`.
        key: 64 bits.

    Returns:
        Four int64 tensors in the shape of `place`, each from 0 to 2³² − 1.
    """
    c0, c1 = place & _WORD, (place >> 32) & _WORD
    c2 = torch.full_like(place, block & _WORD)
    c3 = torch.full_like(place, (block >> 32) ^ (kind << 24))
    k0, k1 = key & _WORD, (key >> 32) & _WORD
    for _ in range(_ROUNDS):
        # The product of two words fills 64 bits: int64 holds them all, and the mask drops the sign that the shift draws in.
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((b >> 32) & _WORD) ^ c1 ^ k0, b & _WORD, ((a >> 32) & _WORD) ^ c3 ^ k1, a & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


class Place(NamedTuple):
    """Where in the stream of random numbers a step stands: what is drawn there is a function of this alone.

    Args:
        key: 64 bits.
        position: the number of the step, or of the first of several, from 0.
        first: the place of the first element in the whole batch.
    """

    key: int
    position: int
    first: int

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers within [0, 1), in shape, dtype and on the device of a tensor.

        They are multiples of 2⁻²⁴ in float32, and of 2⁻³² in float64.
        """
        word = words(self._places(like), self.position >> 2, UNIFORM, self.key)[self.position & 3]
        return _unit(word, like.dtype)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, by the transform of Box and Muller, in shape, dtype and on the device of a tensor."""
        four = words(self._places(like), self.position >> 2, NORMAL, self.key)
        first, second = four[self.position & 2 :][:2]
        bits, step = (first >> 8, 2.0**-24) if like.dtype == torch.float32 else (first, 2.0**-32)
        # Half a step off 0, whose logarithm is infinite.
        radius = ((bits.to(like.dtype) + 0.5) * step).log().mul_(-2).sqrt_()
        angle = _unit(second, like.dtype) * (2 * math.pi)
        return radius * (angle.sin() if self.position & 1 else angle.cos())

    def _places(self, like: Tensor) -> Tensor:
        return torch.arange(self.first, self.first + like.numel(), device=like.device).reshape(like.shape)


def _unit(word: Tensor, dtype: torch.dtype) -> Tensor:
    # A float has 24 bits for a number below 1, and not one more.
    return (word >> 8).to(dtype) * 2.0**-24 if dtype == torch.float32 else word.to(dtype) * 2.0**-32
