"""A stream of seeds from one root, so that no two steps share noise and a replay agrees bit for bit."""

import torch

from qlifq._validation import integer
from qlifq.backends.interface import MAX_SEED
from qlifq.backends.sampling import Share

__all__ = ["SeedStream"]

_LOW = 0xFFFFFFFF


class SeedStream:
    """Child seeds 0, 1, 2, … of a root.

    The high half of a child is mixed from the root, the low half is a bijection of its number: within 2³² children none comes
    twice, not even for generators that keep 32 bits alone, and the streams of different roots differ.

    Args:
        root: from 0 to 2⁶³ − 1; None draws one from torch's global generator, so that `torch.manual_seed` governs it.
        share: the rows of a batch that are drawn for, where several processes hold one together; None for all.

    Raises:
        QLIFError: if the root is out of range.

    Example:
        >>> first, again = SeedStream(7), SeedStream(7)
        >>> first.take() == again.take(), first.take() == again.position
        (True, False)
    """

    def __init__(self, root: int | None = None, share: Share | None = None) -> None:
        if root is None:
            root = int(torch.randint(MAX_SEED, (), device="cpu"))
        self.root = integer("seed", root, at_least=0, at_most=MAX_SEED)
        self._high = _mix(_mix(self.root & _LOW) ^ (self.root >> 32) ^ 0x5BD1E995)
        self.share = share
        #: How many children were taken; set it to continue a stream that was interrupted.
        self.position = 0

    def take(self) -> int:
        """The next child seed, from 0 to 2⁶³ − 1."""
        low = _mix((self.position + self.root + self._high) & _LOW)
        self.position += 1
        return ((self._high & 0x7FFFFFFF) << 32) | low

    def __repr__(self) -> str:
        return f"SeedStream(root={self.root}, position={self.position})"


def _mix(word: int) -> int:
    """A bijection of 32 bits that scatters neighbours (the finaliser of MurmurHash3)."""
    word ^= word >> 16
    word = (word * 0x85EBCA6B) & _LOW
    word ^= word >> 13
    word = (word * 0xC2B2AE35) & _LOW
    return word ^ (word >> 16)
