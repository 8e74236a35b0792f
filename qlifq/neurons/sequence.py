"""A whole sequence of the plain neuron as one operation, for layers that are trained often.

What a general layer does in many small operations a step, each with its own record for autograd, the neuron with nothing but
a leaky membrane, a hard reset and the mapping `sigmoid` does here in place, and its derivative is written out:

    V' = V + (dt/τ)(I − V)     θ = π σ(q (V' − V_th) + b)     p = sin²(θ/2)     s ~ Bernoulli(p)     V ← V' + s (V_reset − V')

Spikes carry the straight-through gradient of p. The spikes are those of the general layer bit for bit.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qlifq.backends.sampling import bernoulli
from qlifq.neurons.seeds import SeedStream

__all__ = ["Constants", "run_plain"]


class Constants(NamedTuple):
    """What the plain neuron consists of.

    Args:
        step: dt/τ, `(num_neurons,)`.
        q_scale: slope of the mapping, alike.
        offset: q_bias less the leak, alike.
        V_th: threshold, alike.
        V_reset: potential after a spike, a tensor without dimensions.
    """

    step: Tensor
    q_scale: Tensor
    offset: Tensor
    V_th: Tensor
    V_reset: Tensor


def run_plain(current: Tensor, voltage: Tensor, constants: Constants, seeds: SeedStream) -> tuple[Tensor, Tensor]:
    """Run a sequence.

    Args:
        current: `(time, batch, num_neurons)`, at least one step.
        voltage: V before the first step, `(batch, num_neurons)`.
        constants: none of which asks for a gradient.
        seeds: four children a step are taken, as a general layer takes them; the last is drawn with.

    Returns:
        The spikes, `(time, batch, num_neurons)`, and V after the last step.
    """
    drawn = []
    for _ in range(len(current)):
        taken = [seeds.take() for _ in range(4)]
        drawn.append(taken[-1])
    return cast(tuple[Tensor, Tensor], _Plain.apply(current, voltage, constants, drawn, seeds.share))  # type: ignore[no-untyped-call]


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        current: Tensor,
        voltage: Tensor,
        constants: Constants,
        drawn: list[int],
        share: object,
    ) -> tuple[Tensor, Tensor]:
        step, q_scale, offset, V_th, V_reset = constants
        V_reset = V_reset.expand_as(voltage)
        gaps, spikes = torch.empty_like(current, memory_format=torch.contiguous_format), torch.empty(current.shape).to(current)
        voltage, angle = voltage.clone(), torch.empty_like(voltage)
        for time, now in enumerate(current):
            voltage.lerp_(now, step)
            gap = torch.sub(voltage, V_th, out=gaps[time])
            # sin²(θ/2), with θ/2 = (π/2) σ(…) to the last bit.
            probability = torch.mul(gap, q_scale, out=angle).add_(offset).sigmoid_().mul_(math.pi / 2).sin_().square_()
            fired = spikes[time].copy_(bernoulli(probability, drawn[time], share))  # type: ignore[arg-type]
            voltage.lerp_(V_reset, fired)
        ctx.save_for_backward(gaps, spikes, *constants)
        return spikes, voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gaps, spikes, step, q_scale, offset, V_th, V_reset = ctx.saved_tensors  # type: ignore[attr-defined]
        of_spikes, of_voltage = grads
        of_current = torch.empty_like(gaps)
        carried, kept, slope = of_voltage.clone(), 1 - step, q_scale * (math.pi / 2)
        sigma, derivative, before = (torch.empty_like(carried) for _ in range(3))
        for time in range(len(gaps) - 1, -1, -1):
            gap = gaps[time]
            torch.mul(gap, q_scale, out=sigma).add_(offset).sigmoid_()
            # dp/dV = (π/2) q sin θ · σ (1 − σ)
            torch.mul(sigma, math.pi, out=derivative).sin_().mul_(torch.addcmul(sigma, sigma, sigma, value=-1)).mul_(slope)
            # A spike's own gradient, and what its reset does to the potential that is carried on.
            torch.add(gap, V_th, out=before).sub_(V_reset)
            of_spike = torch.addcmul(of_spikes[time], carried, before, value=-1)
            carried.addcmul_(carried, spikes[time], value=-1).addcmul_(of_spike, derivative)
            torch.mul(carried, step, out=of_current[time])
            carried.mul_(kept)
        return of_current, carried, None, None, None
