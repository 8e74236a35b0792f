"""Counts drawn from exact probabilities on torch tensors."""

import torch
from torch import Tensor

from qlifq._transforms import constant, transformed
from qlifq.backends.interface import Outcome
from qlifq.random import bernoulli, generator

__all__ = ["draw", "masked", "straight_through"]


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


def straight_through(drawn: Tensor, probability: Tensor) -> Tensor:
    """What was drawn, with the derivatives of its probability; p − p is exactly 0, so the values stay as they are."""
    if probability.requires_grad or transformed(probability):
        return drawn + (probability - probability.detach())
    return drawn


def masked(probability: Tensor, where: Tensor | None) -> Tensor:
    """The probability where the mask is True, and 0 where it is False; None keeps all."""
    # Seen as bytes, a mask turns into floats seven times faster than as bools.
    return probability if where is None else probability * where.view(torch.uint8).to(probability.dtype)
