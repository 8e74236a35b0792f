"""Draws with a seed of their own: generators, and numbers that do not depend on how a batch is divided."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["MAX_SEED", "BatchShard", "bernoulli", "generator", "shared"]

#: Seeds are whole numbers from 0 up to this one, what every vendor takes.
MAX_SEED = 2**63 - 1


class BatchShard(NamedTuple):
    """The rows that one process holds of a batch that several processes hold together.

    Args:
        first: the first of its rows.
        total: the rows of the whole batch.
    """

    first: int
    total: int


def bernoulli(probability: Tensor, seed: int | None, shard: BatchShard | None = None) -> Tensor:
    """1 with the given probability and else 0, in its shape and dtype; `seed` as for `draw`, `shard` as for `shared`."""
    uniform = shared(torch.rand, probability, seed, shard)
    return torch.lt(uniform, probability, out=uniform)


def shared(draw: Callable[..., Tensor], like: Tensor, seed: int | None, shard: BatchShard | None) -> Tensor:
    """Random numbers in the shape and dtype of `like`, the same for a row of a batch whichever process holds it.

    Every process draws for the whole batch and keeps its rows: what is drawn does not depend on how many there are.

    Args:
        draw: `torch.rand` or `torch.randn`.
        like: `(batch, ...)`.
        seed: for a torch generator on its device; None draws from torch's global one.
        shard: which rows `like` holds; None where it is the whole batch.
    """
    source = None if seed is None else generator(seed, like.device)
    if shard is None:
        return draw(like.shape, dtype=like.dtype, device=like.device, generator=source)
    whole = draw((shard.total, *like.shape[1:]), dtype=like.dtype, device=like.device, generator=source)
    return whole[shard.first : shard.first + len(like)]


def generator(seed: int, device: torch.device) -> torch.Generator:
    """A torch generator that uses all 63 bits of the seed.

    On CPU torch keeps the low 32 bits alone, so that s and s + 2³² would share their noise: the high bits are folded in.
    """
    folded = seed if device.type != "cpu" else (seed ^ ((seed >> 32) * 0x9E3779B1)) & 0xFFFFFFFF
    return torch.Generator(device=device).manual_seed(folded)
