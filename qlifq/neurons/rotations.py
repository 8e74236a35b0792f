"""A whole sequence of the neuron of Brand and Petruccione as one operation, on an ideal qubit.

Preparing α again and rotating on is an addition of angles, so that no arcsine is needed: with r = √(α (1 − α)),

    x = 1   α' = ½ + (α − ½) cos θ + r sin θ     ∂α'/∂α = cos θ + (1 − 2α) sin θ / 2r     ∂α'/∂θ = r cos θ + ½ (1 − 2α) sin θ
               = (√α cos θ/2 + √(1 − α) sin θ/2)²
    x = 0   α' = α e^(−τ/T1)                     ∂α'/∂α = e^(−τ/T1)                       ∂α'/∂τ = −α e^(−τ/T1) / T1

for α below the threshold, and 0 otherwise. ∂α'/∂α has no limit at 0 and 1 for x = 1; there it is taken as 0, as in
`preparing_angle`. The published leak, for which no derivative is written out, is

    x = 0   α' = (√(α (1 − β)) − √(β (1 − α)))²,   β = α e^(−τ/T1)
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["run_rotations"]


class _Numbers(NamedTuple):
    """The constants of a layer, and for how many steps it runs."""

    threshold: float
    t1: float
    steps: int
    published: bool


def run_rotations(
    theta: Tensor,
    tau: Tensor,
    driven: Tensor,
    population: Tensor,
    *,
    threshold: float,
    t1: float,
    steps: int,
    published: bool,
) -> tuple[Tensor, Tensor]:
    """Run a sequence.

    Args:
        theta: rotations, radians, `(steps, batch, neurons)`, or `(1, batch, neurons)` for the same in every step.
        tau: intervals, in the same shape.
        driven: input spikes, 0 or 1, in the same shape.
        population: α before the first step, `(batch, neurons)`.
        threshold: above it a neuron spikes.
        t1: T1, in the unit of τ.
        steps: at least 1.
        published: whether the leak is the published one; nothing may ask for a gradient then.

    Returns:
        The populations and the spikes, each `(steps, batch, neurons)`. Spikes have the derivative
        1 / (1 + (π (α' − threshold))²).
    """
    numbers = _Numbers(threshold, t1, steps, published)
    return cast(tuple[Tensor, Tensor], _Rotations.apply(theta, tau, driven, population, numbers))  # type: ignore[no-untyped-call]


class _Rotations(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        theta: Tensor,
        tau: Tensor,
        driven: Tensor,
        population: Tensor,
        numbers: _Numbers,
    ) -> tuple[Tensor, Tensor]:
        threshold, t1, steps, published = numbers
        leak = _backwards if published else torch.mul
        half = theta / 2
        cosine, sine, kept = half.cos(), half.sin(), (-tau / t1).exp()
        rotated = driven > 0
        populations = theta.new_empty((steps, *population.shape))
        before = population
        for time in range(steps):
            now = time if len(theta) > 1 else 0
            # As a square the sum keeps the last digits of a small population too.
            after = before.sqrt().mul_(cosine[now]).addcmul_((1 - before).sqrt_(), sine[now]).square_().clamp_(max=1.0)
            after = torch.where(rotated[now], after, leak(before, kept[now]))
            before = torch.mul(after, before < threshold, out=populations[time])
        ctx.save_for_backward(populations, population, cosine, sine, kept, rotated)
        ctx.numbers = numbers  # type: ignore[attr-defined]
        return populations, (populations > threshold).to(theta.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        populations, population, half_cosine, half_sine, kept, rotated = ctx.saved_tensors  # type: ignore[attr-defined]
        cosine, sine = 1 - 2 * half_sine.square(), 2 * half_sine * half_cosine
        threshold, t1, steps, _ = ctx.numbers  # type: ignore[attr-defined]
        of_populations, of_spikes = grads
        of_theta, of_tau = torch.zeros_like(cosine), torch.zeros_like(cosine)
        carried = torch.zeros_like(population)
        margin = torch.finfo(population.dtype).eps
        for time in range(steps - 1, -1, -1):
            now = time if len(cosine) > 1 else 0
            before = populations[time - 1] if time else population
            surrogate = (populations[time] - threshold).mul_(math.pi).square_().add_(1)
            carried = carried.add_(of_populations[time]).addcdiv_(of_spikes[time], surrogate).mul_(before < threshold)
            root, slant = _root(before), 0.5 - before
            turned = carried * rotated[now]
            relaxed = carried - turned
            of_theta[now].addcmul_(turned, torch.addcmul(root * cosine[now], slant, sine[now]))
            relaxed *= kept[now]
            of_tau[now].addcmul_(relaxed, before, value=-1 / t1)
            inside = (before > margin) & (before < 1 - margin)
            steep = torch.where(inside, slant / root, 0.0).mul_(sine[now]).add_(cosine[now]).mul_(inside)
            carried = torch.addcmul(relaxed, turned, steep)
        return of_theta, of_tau, None, carried, None


def _backwards(population: Tensor, kept: Tensor) -> Tensor:
    """The published leak."""
    decayed = population * kept
    return (1 - decayed).mul_(population).sqrt_().sub_((1 - population).mul_(decayed).sqrt_()).square_()


def _root(population: Tensor) -> Tensor:
    """√(α (1 − α)); 1 − α is exact near 1, where α − α² would lose half of its digits."""
    return (1 - population).mul_(population).sqrt_()
