"""Counts drawn from exact probabilities on torch tensors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._transforms import constant, transformed
from qlifq.backends.interface import Outcome

__all__ = ["BatchShard", "bernoulli", "draw", "generator", "masked", "shared", "straight_through"]


class BatchShard(NamedTuple):
    """The rows that one process holds of a batch that several processes hold together.

    Args:
        first: the first of its rows.
        total: the rows of the whole batch.
    """

    first: int
    total: int


def draw(probability: Tensor, shots: int, seed: int | None) -> Outcome:
    """Counts drawn from exact probabilities.

    Args:
        probability: `(batch, sites)`, within [0, 1].
        shots: at least 1.
        seed: for a torch generator on the device of `probability`; None draws from torch's global one.

    Returns:
        An `Outcome` whose probability is ones / shots, with the straight-through gradient of `probability`.
    """

    def drawn(exact: Tensor) -> Tensor:
        if shots == 1:
            return bernoulli(exact, seed)
        source = None if seed is None else generator(seed, exact.device)
        # float32 cannot hold counts above 2²⁴.
        count = torch.full_like(exact, shots, dtype=torch.float64)
        return torch.binomial(count, exact.to(torch.float64), generator=source)

    ones = constant(probability, drawn).to(torch.int64)
    estimate = (ones.to(torch.float64) / shots).to(probability.dtype)
    return Outcome(straight_through(estimate, probability), ones, shots)


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


def straight_through(drawn: Tensor, probability: Tensor) -> Tensor:
    """What was drawn, with the derivatives of its probability; p − p is exactly 0, so the values stay as they are."""
    if probability.requires_grad or transformed(probability):
        return drawn + (probability - probability.detach())
    return drawn


def masked(probability: Tensor, where: Tensor | None) -> Tensor:
    """The probability where it is wanted, and 0 elsewhere; None wants all."""
    # Seen as bytes, a mask turns into floats seven times faster than as bools.
    return probability if where is None else probability * where.view(torch.uint8).to(probability.dtype)


def generator(seed: int, device: torch.device) -> torch.Generator:
    """A torch generator that uses all 63 bits of the seed.

    On CPU torch keeps the low 32 bits alone, so that s and s + 2³² would share their noise: the high bits are folded in.
    """
    folded = seed if device.type != "cpu" else (seed ^ ((seed >> 32) * 0x9E3779B1)) & 0xFFFFFFFF
    return torch.Generator(device=device).manual_seed(folded)
