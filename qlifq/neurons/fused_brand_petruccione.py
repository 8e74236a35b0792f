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
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from qlifq._transforms import backward_again, is_batched, transformed
from qlifq.neurons.surrogates import heaviside_spike

__all__ = ["preparing_angle", "run_rotations"]


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


def preparing_angle(population: Tensor) -> Tensor:
    """φ = 2 arcsin √α, the rotation that prepares a population, radians.

    Its derivative 1/√(α (1 − α)) has no limit at α = 0 and 1; there it is taken as 0, where a reset leaves no gradient to carry
    and an infinite one would turn into NaN.
    """
    if not (torch.is_grad_enabled() and population.requires_grad) and not transformed(population):
        return population.sqrt().asin_().mul_(2)
    margin = torch.finfo(population.dtype).eps
    inside = (population > margin) & (population < 1 - margin)
    smooth = 2 * torch.where(inside, population, 0.5).sqrt().asin()
    return torch.where(inside, smooth, 2 * population.detach().sqrt().asin())


def _recorded(
    theta: Tensor, tau: Tensor, driven: Tensor, population: Tensor, populations: Tensor, numbers: _Numbers
) -> tuple[Tensor, Tensor]:
    """The populations, known by their values, and the spikes in operations that autograd records, for the relaxation."""
    threshold, t1, steps, _ = numbers
    found, before = [], population.detach()
    for time in range(steps):
        now = time if len(theta) > 1 else 0
        turned = ((preparing_angle(population) + theta[now]) / 2).sin().square()
        relaxed = population * (-tau[now] / t1).exp()
        population = torch.where(driven[now] > 0, turned, relaxed) * (before < threshold)
        before = populations[time]
        found.append(population)
    every = torch.stack(found)
    return every, heaviside_spike(every - threshold, "arctan", math.pi)


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
        leak = _published_leak if published else torch.mul
        half = theta / 2
        cosine, sine, kept = half.cos(), half.sin(), (-tau / t1).exp()
        populations = theta.new_empty((steps, *population.shape))
        before, below, tiny = population, torch.empty_like(population), torch.finfo(population.dtype).tiny
        for time in range(steps):
            now = time if len(theta) > 1 else 0
            # As a square the sum keeps the last digits of a small population too.
            turned = _sqrt_(before.clone()).mul_(cosine[now]).addcmul_((1 - before).sqrt_(), sine[now]).square_()
            # What stood for 0 under the root is taken off again: an empty population that is not turned stays empty.
            turned.sub_(tiny).clamp_(0.0, 1.0)
            # Choices are products with 0 and 1, which a processor does ten times faster than `where`.
            after = leak(before, kept[now]).lerp_(turned, driven[now])
            before = torch.mul(after, torch.lt(before, threshold, out=below), out=populations[time])
        ctx.save_for_backward(theta, tau, driven, population, populations, cosine, sine, kept)
        ctx.numbers = numbers  # type: ignore[attr-defined]
        return populations, torch.gt(populations, threshold, out=torch.empty_like(populations))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        theta, tau, driven, population, populations, half_cosine, half_sine, kept = ctx.saved_tensors  # type: ignore[attr-defined]
        numbers: _Numbers = ctx.numbers  # type: ignore[attr-defined]
        if torch.is_grad_enabled() or any(map(is_batched, grads)):
            again = partial(_recorded, theta, tau, driven, population, populations.detach(), numbers)
            of_theta, of_tau, carried = backward_again(again, (theta, tau, population), grads)
            return of_theta, of_tau, None, carried, None
        threshold, t1, steps, _ = numbers
        of_populations, of_spikes = grads
        cosine, sine = 1 - 2 * half_sine.square(), 2 * half_sine * half_cosine
        of_theta, of_tau = torch.zeros_like(cosine), torch.zeros_like(cosine)
        carried, chosen = torch.zeros_like(population), torch.empty_like(population)
        margin = torch.finfo(population.dtype).eps
        for time in range(steps - 1, -1, -1):
            now = time if len(cosine) > 1 else 0
            before = populations[time - 1] if time else population
            surrogate = (populations[time] - threshold).mul_(math.pi).square_().add_(1)
            carried = carried.add_(of_populations[time]).addcdiv_(of_spikes[time], surrogate)
            carried.mul_(torch.lt(before, threshold, out=chosen))
            root, slant = _root(before), 0.5 - before
            turned = carried * driven[now]
            relaxed = carried.sub_(turned)
            of_theta[now].addcmul_(turned, (root * cosine[now]).addcmul_(slant, sine[now]))
            relaxed.mul_(kept[now])
            of_tau[now].addcmul_(relaxed, before, value=-1 / t1)
            # Within the margins the root is larger than this, and beyond them it does not count.
            steep = slant.div_(root.clamp_(min=margin)).mul_(sine[now]).add_(cosine[now])
            steep.mul_(torch.gt(before, margin, out=chosen)).mul_(torch.lt(before, 1 - margin, out=chosen))
            carried = relaxed.addcmul_(turned, steep)
        return of_theta, of_tau, None, carried, None


def _published_leak(population: Tensor, kept: Tensor) -> Tensor:
    """The published leak."""
    decayed = population * kept
    return _sqrt_((1 - decayed).mul_(population)).sub_(_sqrt_((1 - population).mul_(decayed))).square_()


def _root(population: Tensor) -> Tensor:
    """√(α (1 − α)); 1 − α is exact near 1, where α − α² would lose half of its digits."""
    return _sqrt_((1 - population).mul_(population))


def _sqrt_(value: Tensor) -> Tensor:
    """The square root in place; that of 0 takes the processor twenty times as long as that of the least number above it."""
    return value.clamp_(min=torch.finfo(value.dtype).tiny).sqrt_()
