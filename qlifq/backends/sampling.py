"""Counts drawn from exact probabilities on torch tensors."""

import torch
from torch import Tensor

from qlifq.backends.interface import Outcome

__all__ = ["bernoulli", "draw", "generator", "masked", "straight_through"]


def draw(probability: Tensor, shots: int, seed: int | None) -> Outcome:
    """Counts drawn from exact probabilities.

    Args:
        probability: `(batch, sites)`, within [0, 1].
        shots: at least 1.
        seed: for a torch generator on the device of `probability`; None draws from torch's global one.

    Returns:
        An `Outcome` whose probability is ones / shots, with the straight-through gradient of `probability`.
    """
    exact = probability.detach()
    if shots == 1:
        ones = bernoulli(exact, seed).to(torch.int64)
    else:
        source = None if seed is None else generator(seed, exact.device)
        # float32 cannot hold counts above 2²⁴.
        count = torch.full_like(exact, shots, dtype=torch.float64)
        ones = torch.binomial(count, exact.to(torch.float64), generator=source).to(torch.int64)
    estimate = (ones.to(torch.float64) / shots).to(exact.dtype)
    return Outcome(straight_through(estimate, probability), ones, shots)


def bernoulli(probability: Tensor, seed: int | None) -> Tensor:
    """1 with the given probability and else 0, in its shape and dtype; `seed` as for `draw`."""
    source = None if seed is None else generator(seed, probability.device)
    uniform = torch.rand(probability.shape, dtype=probability.dtype, device=probability.device, generator=source)
    return torch.lt(uniform, probability, out=uniform)


def straight_through(drawn: Tensor, probability: Tensor) -> Tensor:
    """What was drawn, with the gradient of its probability; p − p is exactly 0, so the values stay as they are."""
    return drawn + (probability - probability.detach()) if probability.requires_grad else drawn


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
