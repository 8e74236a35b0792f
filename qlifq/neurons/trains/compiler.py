"""From the settings of a neuron and its input to the angles of a spike-train circuit.

Two kinds of neurons have histories that rotations can hold. With s_j the spikes so far and V_free the potential without any,

    additive  (reset="soft", mapping="linear", leaky)   θ(t) = θ_free(t) + Σ_j w(t, j) s_j
    renewal   (reset="hard")                            θ(t) = f(t, steps since the last spike)

and an adaptive threshold that is not clipped adds its own sum to a renewal neuron with mapping="linear". Both are read off the
trains with one spike alone: w(t, j) is what a spike at j changes at t, and f(t, d) is the angle at t where the only spike was d
steps before. So the neuron itself is written nowhere but in `dynamics` and `mapping`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._validation import real
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.errors import ArgumentError
from qlifq.neurons.dynamics import Dynamics, integrate, settle
from qlifq.neurons.formula import angle_of
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = [
    "TOLERANCE",
    "Angles",
    "Neuron",
    "check_unclipped",
    "compile_train",
    "driven_angles",
    "joined",
    "single_spikes",
    "without_the_smallest",
]

#: The default error of an angle, radians: P(1) = sin²(θ/2) changes by half of it at most, which is 1e-4.
TOLERANCE = 2e-4
#: How many angles of trains with one spike are worked out at once, and how many at most for one row of a batch.
_AT_ONCE, _MOST_ANGLES = 2**24, 2**27


class Neuron(NamedTuple):
    """The neurons of a layer, in a row, in float64.

    Args:
        settings: the parameters.
        values: those with one value per neuron, `(num_neurons,)` each.
    """

    settings: Settings
    values: Mapping[str, Tensor]

    @classmethod
    def of(cls, settings: Settings, values: Mapping[str, Tensor]) -> "Neuron":
        """The neurons with these values, in float64 and without a graph."""
        return cls(settings, {name: value.detach().double() for name, value in values.items()})


class Angles(NamedTuple):
    """The angles of a program before they become one, each `(..., batch, neurons)`.

    Args:
        base: `(time, ...)`.
        conditions: of the conditional rotations.
        conditional: `(len(conditions), ...)`.
        error: the largest error of an angle, radians.
    """

    base: Tensor
    conditions: list[Condition]
    conditional: Tensor
    error: float


def compile_train(
    neuron: Neuron, current: Tensor, state: QLIFState, modulation: Tensor | None, tolerance: float
) -> SpikeTrainCircuit:
    """The program of a sequence.

    Args:
        neuron: neurons that `check_trainable` lets pass.
        current: `(time, batch, num_neurons)`.
        state: before the first step, `(batch, num_neurons)` each.
        modulation: transformed, `(time, 1 or batch, 1 or num_neurons)`, or None.
        tolerance: the largest error of an angle, radians, for which conditional rotations are left out.

    Returns:
        A program whose `error` is at most the tolerance, per batch element and neuron.

    Raises:
        ArgumentError: for a tolerance below 0, or if spikes could carry a mechanism to its bound.
    """
    tolerance = real("tolerance", tolerance, at_least=0.0)
    steps, batch, neurons = current.shape
    if not current.numel():
        return SpikeTrainCircuit(current.detach().double(), (), current.new_zeros(0, batch, neurons).double())
    if (angles := steps * (steps + 1) * neurons) > _MOST_ANGLES:
        raise ArgumentError(
            f"Argument `current` must have at most {_MOST_ANGLES:,} pairs of steps and neurons for one circuit, but has "
            f"{angles:,}: run the sequence in parts, or with loop='host'."
        )
    part = max(1, _AT_ONCE // angles)
    parts = []
    for first in range(0, batch, part):
        rows = slice(first, first + part)
        own = modulation if modulation is None or modulation.shape[1] == 1 else modulation[:, rows]
        parts.append(_compile(neuron, current[:, rows], type(state)(*(value[rows] for value in state)), own, tolerance))
    return joined(parts)


def _compile(neuron: Neuron, current: Tensor, state: QLIFState, modulation: Tensor | None, tolerance: float) -> Angles:
    dynamics = Dynamics.of(neuron.settings, neuron.values)
    check_unclipped(dynamics, state, len(current))
    angles = single_spikes(neuron, dynamics, current, state, modulation)
    if neuron.settings.reset == "soft":
        return _sums(angles, tolerance)
    silent = {name: torch.zeros_like(dynamics.constants[name]) for row in dynamics.mechanisms for name in row.summed}
    if not silent:
        return _since_last(angles, tolerance)
    # Such as the threshold: a sum over the spikes. What is left without it follows the last one; each has half of the error.
    level = single_spikes(neuron, dynamics.with_constants(**silent), current, state, modulation)
    last, added = _since_last(level, tolerance / 2), _sums(angles - level, tolerance / 2)
    return Angles(
        last.base + added.base,
        last.conditions + added.conditions,
        torch.cat((last.conditional, added.conditional)),
        last.error + added.error,
    )


def single_spikes(neuron: Neuron, dynamics: Dynamics, current: Tensor, state: QLIFState, modulation: Tensor | None) -> Tensor:
    """The angles at every step of the trains that have one spike alone.

    Returns:
        `(time, time + 1, batch, num_neurons)`: at a step, where the only spike was at each step; in the last place without any.
    """
    steps = len(current)
    lone = torch.eye(steps, steps + 1, dtype=torch.float64, device=current.device)[:, :, None, None]
    return driven_angles(neuron, dynamics, current.unsqueeze(1), state, modulation, lone)


def driven_angles(
    neuron: Neuron, dynamics: Dynamics, current: Tensor, state: QLIFState, modulation: Tensor | None, spikes: Tensor
) -> Tensor:
    """The angles along given spikes and currents, which broadcast to `(time, trains, batch, num_neurons)`.

    A neuron in its refractory period has the angle 0.
    """
    shape, found = (current[:1] + spikes[:1]).shape, []
    now = type(state)(*(value.detach().double().expand(shape[1:]) for value in state))
    for step, given in enumerate(current.detach().double()):
        m = None if modulation is None else modulation[step].detach().double()
        active = now.refractory == 0
        now, gap = integrate(now, given, dynamics, modulation=m)
        angle = angle_of(neuron.settings, neuron.values, now, gap, dynamics, m)
        found.append(angle * active if neuron.settings.refractory_period else angle)
        now = settle(now, spikes[step].expand_as(gap), dynamics, modulation=m)
    return torch.stack(found)


def _since_last(angles: Tensor, tolerance: float) -> Angles:
    """Conditions on the last spike, for angles of single spikes that are steps of one function of it.

    At most one of them holds, and rotates from the base to the angle of its time. Times whose angles are within twice the
    tolerance of that without any spike have no condition: the base is midway between the extremes of these angles.
    """
    steps = len(angles)
    free = angles[:, -1]
    low, high = free.clone(), free.clone()
    after = free.expand(steps, *free.shape).clone()
    for ago in range(steps - 1, 0, -1):
        after[ago, ago:] = angles.diagonal(-ago).movedim(-1, 0)
        least, most = torch.minimum(low, after[ago]), torch.maximum(high, after[ago])
        joins = most - least <= 2 * tolerance
        low, high = torch.where(joins, least, low), torch.where(joins, most, high)
    base = (low + high) / 2
    conditional = torch.where((after < low) | (after > high), after - base, 0.0)
    places = [(step, ago) for step in range(steps) for ago in range(step, 0, -1) if bool(conditional[ago, step].any())]
    conditions = [Condition(step, step - ago, step - ago, newest=True) for step, ago in places]
    kept = [conditional[ago, step] for step, ago in places]
    return Angles(base, conditions, _stacked(kept, free), float(((high - low) / 2).max()))


def _sums(angles: Tensor, tolerance: float) -> Angles:
    """Conditions on single bits, for angles that are sums over the spikes."""
    steps = len(angles)
    weights, dropped = without_the_smallest(angles[:, :-1] - angles[:, -1:], tolerance)
    places = [(step, spike) for step in range(steps) for spike in range(step) if bool(weights[step, spike].any())]
    conditions = [Condition(step, spike, spike) for step, spike in places]
    stacked = _stacked([weights[step, spike] for step, spike in places], angles[:, -1])
    return Angles(angles[:, -1] + dropped.sum(1) / 2, conditions, stacked, float(dropped.abs().sum(1).max()) / 2)


def without_the_smallest(weights: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """What is kept and what is dropped of the weights of a sum, `(time, spikes, batch, num_neurons)`, the others being 0.

    The smallest of a step are dropped as long as they add up to at most twice the tolerance. Half of their sum, which is midway
    between none and all of them, belongs into the base.
    """
    size, order = weights.abs().sort(dim=1)
    small = torch.zeros_like(weights, dtype=torch.bool).scatter(1, order, size.cumsum(1) <= 2 * tolerance)
    return torch.where(small, 0.0, weights), torch.where(small, weights, 0.0)


def _stacked(values: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(values) if values else like.new_zeros(0, *like.shape[1:])


def joined(parts: list[Angles]) -> SpikeTrainCircuit:
    """One program of the parts of a batch; where a part has no use for a condition its angle is 0."""
    every = sorted(
        {condition for part in parts for condition in part.conditions}, key=lambda c: (c.step, c.newest, c.last, c.first)
    )
    places = {condition: number for number, condition in enumerate(every)}
    spread = []
    for part in parts:
        own = part.base.new_zeros(len(every), *part.base.shape[1:])
        # One bit can be a window and a weight at once: what both turn is one rotation.
        numbers = torch.tensor([places[condition] for condition in part.conditions], dtype=torch.int64, device=own.device)
        own.index_add_(0, numbers, part.conditional)
        spread.append(own)
    base = torch.cat([part.base for part in parts], dim=1)
    return SpikeTrainCircuit(base, tuple(every), torch.cat(spread, dim=1), error=max(part.error for part in parts))


def check_unclipped(dynamics: Dynamics, state: QLIFState, steps: int) -> None:
    """Refuse what a spike at every step would carry to its bound: beyond it nothing adds up any more."""
    for row in dynamics.mechanisms:
        if row.unclipped is not None:
            row.unclipped(dynamics, state, steps)
