"""Whether the decisions of a layer have a closed form, and what a sequence of them is calculated from."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.circuits import SpikeCircuit, excitation_at
from qlifq.neurons.dynamics import Dynamics
from qlifq.neurons.formula import Decision, Structure
from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.parameters import Settings
from qlifq.neurons.thresholds import just_above

__all__ = ["ClosedForm", "Obstacle", "closed_form"]


class Obstacle(NamedTuple):
    """Why the decisions of a layer are made step by step, as a phrase."""

    words: str


class ClosedForm(NamedTuple):
    """What decides, as far as it is not a number, and the numbers.

    Args:
        decision: how spikes are decided.
        constants: by name, `()` or `(num_neurons,)` each; those of the dynamics among them.
        dynamics: the constants of the dynamics, as `integrate` and `settle` take them.
    """

    decision: Decision
    constants: Mapping[str, Tensor]
    dynamics: Dynamics

    def structure(self, *, modulated: bool, outputs: tuple[str, ...]) -> Structure:
        """Everything that decides which operations a step consists of."""
        own, names = self.dynamics, tuple(self.constants)
        dynamics = tuple(own.constants)
        return Structure(own.membrane, own.mechanisms, own.decay_input, self.decision, dynamics, names, modulated, outputs)


def closed_form(
    settings: Settings,
    backend: Backend,
    circuit: SpikeCircuit,
    *,
    shots: int | None,
    gradient: str,
    dynamics: Dynamics,
    parameters: Mapping[str, Tensor],
) -> ClosedForm | Obstacle:
    """The closed form of a layer's decisions, or which setting stands in the way.

    Args:
        settings: the layer's.
        backend: who answers.
        circuit: what a decision runs.
        shots: per qubit and step.
        gradient: as for `qlifq.backends.evaluate`.
        dynamics: the constants of the dynamics.
        parameters: the other numbers of the layer with one value per neuron, `q_scale` and `q_bias` among them.
    """
    constants = dict(dynamics.constants)
    like = dynamics.V_th

    def number(name: str) -> Tensor:
        given = parameters.get(name)
        return torch.full((), getattr(settings, name), dtype=like.dtype, device=like.device) if given is None else given

    if not settings.quantum_mode:
        name = "base_alpha" if settings.stochastic else "alpha"
        constants[name] = number(name)
        kind, surrogate = (
            ("stochastic", None) if settings.stochastic else ("deterministic", settings.surrogate_gradient_function)
        )
        return ClosedForm(Decision(kind, surrogate=surrogate), constants, dynamics)
    if shots is not None and settings.decision != "sample":
        # A sample of an estimate is one of the probability itself; of a threshold or an average the shots are the point.
        return Obstacle(f"decision={settings.decision!r} with shots={shots}")
    if gradient not in {"auto", "analytic"} or (gradient == "analytic" and not backend.capabilities.ideal):
        return Obstacle(f"gradient={gradient!r}")
    wires = settings.quantum_wire
    response = None
    if not backend.capabilities.ideal:
        response = backend.response(circuit, len(parameters["q_scale"]) * wires)
        if response is None:
            return Obstacle(f"backend={backend.name!r}")
        parts = {name: value.to(like) for name, value in response._asdict().items()}
        # The qubits of one neuron are pooled: with one angle for all, so are their responses.
        constants |= {name: value.reshape(-1, wires).mean(-1) if value.ndim else value for name, value in parts.items()}
    mapping = MAPPINGS[settings.mapping]
    # Without a leak the bias itself: another tensor would take memory for each neuron.
    leaks = "quantum_leak" in parameters or settings.quantum_leak != 0
    offset = parameters["q_bias"] - number("quantum_leak") if leaks else parameters["q_bias"]
    constants |= {"q_scale": parameters["q_scale"], "offset": offset}
    constants |= {name: number(name) for name in mapping.parameters}
    if settings.decision == "threshold":
        level = just_above(excitation_at(settings.quantum_threshold), like.dtype)
        constants["level"] = torch.full((), level, dtype=like.dtype, device=like.device)
    decision = Decision(settings.decision, mapping, circuit if response is None else None)
    return ClosedForm(decision, constants, dynamics)
