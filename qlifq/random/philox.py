"""Random numbers as a function of a key, a step and a place: the same on every route, in every order, in any number of parts.

Philox 4×32-10 turns a counter of four words into four random words. The counter holds the place of an element in its whole
batch and the number of a block of four steps, so that one call serves an element for four steps: word j of a block is that of
its step j. Kernels draw the very same numbers while they run; these functions serve everything else.

Reference: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

__all__ = ["NORMAL", "UNIFORM", "Draws", "Place", "words"]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

#: The kinds of numbers, which never share a counter.
UNIFORM, NORMAL = 0, 1

_Word = Tensor | int


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
    # The high half of a word holds anything until the word is multiplied; what is the same at all places stays a number.
    counter: tuple[_Word, ...] = (place & _WORD, place >> 32, block & _WORD, (block >> 32) ^ (kind << 24))
    c0, c1, c2, c3 = counter
    k0, k1 = key & _WORD, (key >> 32) & _WORD
    for _ in range(_ROUNDS):
        # The product of two words fills 64 bits, and int64 holds them all.
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = _mixed(b, c1, k0), b, _mixed(a, c3, k1), a
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return cast(tuple[Tensor, Tensor, Tensor, Tensor], (c0, c1 & _WORD, c2, c3 & _WORD))


def _mixed(product: _Word, word: _Word, key: int) -> _Word:
    """The high half of a product, mixed with a word and a key."""
    if isinstance(product, int):
        return (word ^ ((product >> 32) ^ key)) & _WORD
    # The mask drops the sign that the shift draws in. In place, since each of these passes costs as much as a new tensor.
    return (product >> 32).bitwise_xor_(word).bitwise_xor_(key).bitwise_and_(_WORD)


class Draws:
    """The numbers of the last block of four steps, which are drawn at once, for the steps of it that follow."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[object, list[Tensor]]] = {}

    def of_step(self, place: "Place", like: Tensor, kind: int) -> Tensor:
        """The numbers of a step, as `Place` returns them; must not be changed in place."""
        block = place.position >> 2
        # What was made in inference mode takes no part in training.
        inference = torch.is_inference_mode_enabled()
        drawn = (place.key, place.first, block, like.shape, like.dtype, like.device, inference)
        if self._kept.get(kind, (None,))[0] != drawn:
            places = torch.arange(place.first, place.first + like.numel(), device=like.device).reshape(like.shape)
            four = words(places, block, kind, place.key)
            numbers = [_unit(word, like.dtype) for word in four] if kind == UNIFORM else _normal(four, like.dtype)
            self._kept[kind] = drawn, numbers
        return self._kept[kind][1][place.position & 3]


class Place(NamedTuple):
    """Where in the stream of random numbers a step stands: what is drawn there is a function of this alone.

    Args:
        key: 64 bits.
        position: the number of the step, or of the first of several, from 0.
        first: the place of the first element in the whole batch.
        draws: keeps what the steps of a block have in common; None draws it for each step.
    """

    key: int
    position: int
    first: int
    draws: Draws | None = None

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers within [0, 1), in shape, dtype and on the device of a tensor.

        They are multiples of 2⁻²⁴ in float32, and of 2⁻³² in float64.
        """
        return (self.draws or Draws()).of_step(self, like, UNIFORM)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, by the transform of Box and Muller, in shape, dtype and on the device of a tensor."""
        return (self.draws or Draws()).of_step(self, like, NORMAL)


def _normal(four: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """By Box and Muller: a radius and an angle of two words are the polar coordinates of two numbers."""
    numbers = []
    for first, second in (four[:2], four[2:]):
        bits, step = (first >> 8, 2.0**-24) if dtype == torch.float32 else (first, 2.0**-32)
        # Half a step off 0, whose logarithm is infinite.
        radius = ((bits.to(dtype) + 0.5) * step).log().mul_(-2).sqrt_()
        angle = _unit(second, dtype) * (2 * math.pi)
        numbers += [radius * angle.cos(), radius * angle.sin()]
    return numbers


def _unit(word: Tensor, dtype: torch.dtype) -> Tensor:
    # A float has 24 bits for a number below 1, and not one more.
    return (word >> 8).to(dtype) * 2.0**-24 if dtype == torch.float32 else word.to(dtype) * 2.0**-32
