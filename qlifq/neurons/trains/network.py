"""A feed-forward network as one circuit: a synapse is a rotation of the next layer's qubit on the condition of a bit."""

from collections import defaultdict
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from qlifq._validation import real
from qlifq.backends import TrainOutcome
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.errors import ArgumentError, ShapeError, UnsupportedError
from qlifq.neurons.dynamics import Dynamics
from qlifq.neurons.qlif import QLIF
from qlifq.neurons.sequential import SpikingSequential
from qlifq.neurons.trains.compiler import (
    TOLERANCE,
    Neuron,
    check_unclipped,
    driven_angles,
    single_spikes,
    without_the_smallest,
)
from qlifq.neurons.trains.obstacles import check_additive, check_trainable

__all__ = ["NetworkCircuit", "compile_network"]

Module = TypeVar("Module", bound=nn.Module)

#: The most weights between two layers, of all pairs of steps: more than any device or simulator runs as rotations.
_MOST_WEIGHTS = 2**25

#: The angles of each condition, by the first site that it turns: `(1 or batch, neurons)`.
_Turns = dict[Condition, dict[int, Tensor]]


class NetworkCircuit(NamedTuple):
    """A network as one circuit, with a qubit for every neuron.

    `backend.plan_train(network_circuit.train, shots=…)` says what it costs, and `backend.run_train` runs it.

    Args:
        train: the program; its sites are the neurons of all layers, in order.
        sites: of each layer.
    """

    train: SpikeTrainCircuit
    sites: tuple[slice, ...]

    def spikes(self, outcome: TrainOutcome) -> tuple[Tensor, ...]:
        """The trains of each layer, `(shots, time, batch, num_neurons)` bool."""
        return tuple(outcome.spikes[..., sites] for sites in self.sites)


def compile_network(network: SpikingSequential, sequence: Tensor, *, tolerance: float = TOLERANCE) -> NetworkCircuit:
    """A network of `QLIF` layers with `nn.Linear` between them as one circuit, from rest.

    The first layer is driven by its input, which may have passed further modules, and may be any neuron of
    `QLIF.train_circuit`. Every other one has reset="soft" and mapping="linear": its angle is a sum over its own spikes and over
    those of the layer before, of the same step too, and each term is one rotation,

        θ_k(t) = θ_free(t) + Σ_j w_k(t, j) s_k(j) + Σ_i Σ_{j ≤ t} W_ki h_k(t, j) s_i(j)

    with h(t, j) what a unit of current at step j changes at step t.

    Args:
        network: modules before the first `QLIF`, then `QLIF` and `nn.Linear` in turn, a `QLIF` last.
        sequence: what the network runs on, `(time, batch, ...)`.
        tolerance: the largest error of an angle, radians, for which rotations are left out.

    Raises:
        UnsupportedError: for another module, or a neuron that no circuit holds, by the parameter that stands in the way.
        ArgumentError: for a tolerance below 0, or a network with more weights and steps than any circuit runs.
        ShapeError: for an input that does not fit.

    Example:
        >>> additive = {"reset": "soft", "mapping": "linear"}
        >>> network = SpikingSequential(nn.Linear(2, 3), QLIF(3), nn.Linear(3, 2), QLIF(2, **additive))
        >>> circuit = compile_network(network, torch.rand(4, 1, 2))
        >>> circuit.train.sites, circuit.sites[1]
        (5, slice(3, 5, None))
    """
    tolerance = real("tolerance", tolerance, at_least=0.0)
    modules = list(network)
    first = next((place for place, module in enumerate(modules) if isinstance(module, QLIF)), None)
    if first is None or (len(modules) - first) % 2 == 0:
        raise UnsupportedError(
            "Argument `network` must end with a QLIF layer for one circuit: leave out what follows its spikes."
        )
    layers = [_expected(modules[place], QLIF) for place in range(first, len(modules), 2)]
    weights = [_expected(modules[place], nn.Linear) for place in range(first + 1, len(modules), 2)]
    with torch.no_grad():
        current = SpikingSequential(*modules[:first])(sequence)[0] if first else sequence
        program = layers[0].train_circuit(current, tolerance=tolerance)
        turns: _Turns = defaultdict(dict)
        for number, condition in enumerate(program.conditions):
            turns[condition][0] = program.angles[number]
        bases, errors = [program.base], [program.error]
        sites = [slice(0, layers[0].num_neurons)]
        for layer, linear in zip(layers[1:], weights, strict=True):
            before, start = sites[-1], sites[-1].stop
            base, error = _driven(layer, linear, program.steps, before, start, tolerance, turns)
            bases.append(base.expand(-1, program.batch, -1))
            errors.append(error)
            sites.append(slice(start, start + layer.num_neurons))
    return NetworkCircuit(_assembled(torch.cat(bases, dim=-1), turns, max(errors)), tuple(sites))


def _expected(module: nn.Module, kind: type[Module]) -> Module:
    if not isinstance(module, kind):
        raise UnsupportedError(
            "Argument `network` must hold QLIF and nn.Linear in turn from its first QLIF on for one circuit, but holds "
            f"{type(module).__name__} where {kind.__name__} must be."
        )
    return module


def _driven(
    layer: QLIF, linear: nn.Linear, steps: int, before: slice, start: int, tolerance: float, turns: _Turns
) -> tuple[Tensor, float]:
    """The base angles of a layer that another one drives, `(time, 1, neurons)`, and their error; adds its rotations."""
    check_trainable(layer.settings, layer.circuit)
    check_additive(layer.settings)
    driving = before.stop - before.start
    if (linear.in_features, linear.out_features) != (driving, layer.num_neurons):
        raise ShapeError(
            f"Argument `network` must have a Linear of {driving} to {layer.num_neurons} between these layers, "
            f"but has one of {linear.in_features} to {linear.out_features}."
        )
    if (needed := steps * steps * (driving + 1) * layer.num_neurons) > _MOST_WEIGHTS:
        raise ArgumentError(
            f"Argument `network` must need at most {_MOST_WEIGHTS:,} rotations between two layers in one circuit, but needs up "
            f"to {needed:,} for {driving} and {layer.num_neurons} neurons over {steps} steps."
        )
    own, synapses = _sums_of(layer, linear, steps)
    # All terms of a step compete for the tolerance: (time, spikes of the neuron itself and of each driving one, 1, neurons).
    every = torch.cat((own[:, :-1] - own[:, -1:], synapses.flatten(1, 2)), dim=1)
    kept, dropped = without_the_smallest(every, tolerance)
    for step, term in kept.flatten(2).any(-1).nonzero().tolist():
        if term < steps:
            condition = Condition(step, term, term)
        else:
            spike, source = divmod(term - steps, driving)
            condition = Condition(step, spike, spike, source=before.start + source)
        turns[condition][start] = kept[step, term]
    return own[:, -1] + dropped.sum(1) / 2, float(dropped.abs().sum(1).max()) / 2


def _sums_of(layer: QLIF, linear: nn.Linear, steps: int) -> tuple[Tensor, Tensor]:
    """The angles of a layer where one spike of its own is alone, see `single_spikes`, and the weights of those that drive it.

    The weights are `(time, spike, driving, 1, neurons)`.
    """
    neuron = Neuron.of(layer.settings, layer._values())
    dynamics = Dynamics.of(neuron.settings, neuron.values)
    state = layer._flat_initial_state(1)
    check_unclipped(dynamics, state, steps)
    weight = linear.weight.double()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.double()
    constant = bias.expand(steps, 1, 1, -1)
    unit = torch.eye(steps, dtype=torch.float64, device=weight.device)[:, :, None, None]
    silent = driven_angles(neuron, dynamics, constant, state, None, torch.zeros_like(unit[:, :1]))
    response = driven_angles(neuron, dynamics, constant + unit, state, None, torch.zeros_like(unit)) - silent
    own = single_spikes(neuron, dynamics, constant[:, 0], state, None)
    return own, response.unsqueeze(2) * weight.T[:, None]


def _assembled(base: Tensor, turns: _Turns, error: float) -> SpikeTrainCircuit:
    """The program of all layers: a condition turns the sites of those layers that have a use for it."""
    conditions = sorted(turns, key=lambda c: (c.step, -1 if c.source is None else c.source, c.last, c.first))
    angles = base.new_zeros(len(conditions), *base.shape[1:])
    for number, condition in enumerate(conditions):
        for start, turn in turns[condition].items():
            angles[number, :, start : start + turn.shape[-1]] = turn
    return SpikeTrainCircuit(base, tuple(conditions), angles, error=error)
