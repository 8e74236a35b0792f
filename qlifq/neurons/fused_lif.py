"""A whole sequence of the plain neuron as one operation, for layers that are trained or looked at often.

What a general layer does in many small operations a step, each with its own record for autograd, the neuron with nothing but
a leaky membrane, a hard reset and the mapping `sigmoid` does here in place, and its derivative is written out:

    V' = V + (dt/τ)(I − V)     θ = π σ(q (V' − V_th) + b)     p = sin²(θ/2)     s ~ Bernoulli(p)     V ← V' + s (V_reset − V')

Spikes carry the straight-through gradient of p. The spikes are those of the general layer bit for bit.
"""

import math
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from qlifq._transforms import backward_again, is_batched
from qlifq.backends.sampling import BatchShard, bernoulli, straight_through
from qlifq.circuits import RYSpike
from qlifq.neurons.mapping import MAPPINGS, THETA_MAX
from qlifq.random.streams import SeedStream

__all__ = ["Constants", "Traces", "run_plain", "trace_plain"]


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


class Traces(NamedTuple):
    """What happened in a sequence; what is not kept follows from what is, angle and probability to rounding.

    Args:
        potential: V at the decision, before any reset, `(time, batch, num_neurons)` as everything that follows.
        spikes: the spikes, alike.
        constants: of the neuron.
    """

    potential: Tensor
    spikes: Tensor
    constants: Constants

    @property
    def voltage(self) -> Tensor:
        """V after the step."""
        return torch.lerp(self.potential, self.constants.V_reset.expand_as(self.spikes), self.spikes)

    @property
    def gap(self) -> Tensor:
        """Δ at the decision."""
        return self.potential - self.constants.V_th

    @property
    def threshold(self) -> Tensor:
        """What V was compared with."""
        return self.potential - self.gap

    @property
    def angle(self) -> Tensor:
        """θ, radians."""
        return MAPPINGS["sigmoid"].angle(self.gap, self.constants.q_scale, self.constants.offset, THETA_MAX)

    @property
    def probability(self) -> Tensor:
        """P(1)."""
        return RYSpike().probability(self.angle.unsqueeze(-1))


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
    drawn = _drawn(len(current), seeds)
    return cast(tuple[Tensor, Tensor], _Plain.apply(current, voltage, constants, drawn, seeds.shard))  # type: ignore[no-untyped-call]


def trace_plain(current: Tensor, voltage: Tensor, constants: Constants, seeds: SeedStream) -> tuple[Traces, Tensor]:
    """Run a sequence without a gradient and keep what happened; arguments and V after the last step as for `run_plain`."""
    potential, spikes, voltage = _advance(current, voltage, constants, _drawn(len(current), seeds), seeds.shard)
    return Traces(potential, spikes, constants), voltage


def _drawn(steps: int, seeds: SeedStream) -> list[int]:
    """The seed that each step draws its spikes with."""
    return seeds.next_seeds(4 * steps)[3::4]


def _advance(
    current: Tensor, voltage: Tensor, constants: Constants, drawn: list[int], shard: BatchShard | None
) -> tuple[Tensor, Tensor, Tensor]:
    """V at every decision, the spikes, and V after the last step."""
    step, q_scale, offset, V_th, V_reset = constants
    V_reset = V_reset.expand_as(voltage)
    potentials = torch.empty_like(current, memory_format=torch.contiguous_format)
    spikes = torch.empty_like(potentials)
    voltage, angle = voltage.clone(), torch.empty_like(voltage)
    for time, now in enumerate(current):
        torch.lerp(voltage, now, step, out=potentials[time])
        # sin²(θ/2), with θ/2 = (π/2) σ(…) to the last bit.
        torch.sub(potentials[time], V_th, out=angle).mul_(q_scale).add_(offset)
        probability = angle.sigmoid_().mul_(math.pi / 2).sin_().square_()
        fired = spikes[time].copy_(bernoulli(probability, drawn[time], shard))
        torch.lerp(potentials[time], V_reset, fired, out=voltage)
    return potentials, spikes, voltage


def _recorded(current: Tensor, voltage: Tensor, spikes: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
    """The spikes and V after the last step in operations that autograd records, as by the general layer."""
    emitted = []
    for now, fired in zip(current, spikes, strict=True):
        potential = torch.lerp(voltage, now, constants.step)
        emitted.append(straight_through(fired, Traces(potential, fired, constants).probability))
        voltage = torch.lerp(potential, constants.V_reset.expand_as(fired), emitted[-1])
    return torch.stack(emitted), voltage


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        current: Tensor,
        before: Tensor,
        constants: Constants,
        drawn: list[int],
        shard: BatchShard | None,
    ) -> tuple[Tensor, Tensor]:
        potentials, spikes, voltage = _advance(current, before, constants, drawn, shard)
        ctx.save_for_backward(current, before, potentials.sub_(constants.V_th), spikes, *constants)
        return spikes, voltage

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        current, before, gaps, spikes, *constants = ctx.saved_tensors  # type: ignore[attr-defined]
        if torch.is_grad_enabled() or any(map(is_batched, grads)):
            again = partial(_recorded, current, before, spikes.detach(), Constants(*constants))
            return *backward_again(again, (current, before), grads), None, None, None
        step, q_scale, offset, V_th, V_reset = constants
        of_spikes, of_voltage = grads
        grad_current = torch.empty_like(gaps)
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
            torch.mul(carried, step, out=grad_current[time])
            carried.mul_(kept)
        return grad_current, carried, None, None, None
