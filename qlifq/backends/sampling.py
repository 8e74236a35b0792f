"""Counts drawn from exact probabilities on torch tensors."""

import torch
from torch import Tensor

from qlifq.backends.interface import Outcome

__all__ = ["draw", "generator"]


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
    source = None if seed is None else generator(seed, exact.device)
    if shots == 1:
        uniform = torch.rand(exact.shape, dtype=exact.dtype, device=exact.device, generator=source)
        ones = (uniform < exact).to(torch.int64)
    else:
        # float32 cannot hold counts above 2²⁴.
        count = torch.full_like(exact, shots, dtype=torch.float64)
        ones = torch.binomial(count, exact.to(torch.float64), generator=source).to(torch.int64)
    estimate = (ones.to(torch.float64) / shots).to(exact.dtype)
    if probability.requires_grad:
        estimate = estimate + (probability - exact)
    return Outcome(estimate, ones, shots)


def generator(seed: int, device: torch.device) -> torch.Generator:
    """A torch generator that uses all 63 bits of the seed.

    On CPU torch keeps the low 32 bits alone, so that s and s + 2³² would share their noise: the high bits are folded in.
    """
    folded = seed if device.type != "cpu" else (seed ^ ((seed >> 32) * 0x9E3779B1)) & 0xFFFFFFFF
    return torch.Generator(device=device).manual_seed(folded)
