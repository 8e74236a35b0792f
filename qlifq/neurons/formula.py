"""One step of a QLIF neuron whose decision has a closed form, as a function of named tensors: what kernels are traced from."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from qlifq._transforms import constant
from qlifq.backends.sampling import straight_through
from qlifq.circuits import SinusoidalResponse, SpikeCircuit
from qlifq.neurons.dynamics import Dynamics, integrate, settle, slope, state_class, threshold
from qlifq.neurons.kernels import Formula
from qlifq.neurons.mapping import MAPPINGS, AngleMapping
from qlifq.neurons.mechanisms.mechanism import Mechanism
from qlifq.neurons.membrane import Membrane
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState
from qlifq.neurons.surrogates import SURROGATES

__all__ = ["Decision", "Structure", "angle_of", "formula_of"]

_RESPONSE = SinusoidalResponse._fields


class Decision(NamedTuple):
    """How spikes are decided, as far as it is not a number.

    Args:
        kind: "sample", "threshold" or "expectation" of a qubit; "stochastic" or "deterministic" of the classic neuron.
        mapping: from the gap to the angle; None for the classic neuron.
        circuit: the circuit whose closed form is the probability; None where a response is given as constants, and for the
            classic neuron.
        surrogate: the derivative of the deterministic neuron; None for the others.
    """

    kind: str
    mapping: AngleMapping | None = None
    circuit: SpikeCircuit | None = None
    surrogate: str | None = None


class Structure(NamedTuple):
    """Everything of a layer that decides which operations a step consists of.

    Args:
        membrane: the row of the membrane equation.
        mechanisms: the rows of the mechanisms that act.
        decay_input: whether dt/τ scales the input.
        decision: how spikes are decided.
        dynamics: the names of the constants of the dynamics.
        constants: the names of all constants.
        modulated: whether a modulation is given.
        outputs: what is kept of every step, beside the spikes: names of states, "potential", "threshold", "gap", "angle" and
            "probability".
    """

    membrane: Membrane
    mechanisms: tuple[Mechanism, ...]
    decay_input: bool
    decision: Decision
    dynamics: tuple[str, ...]
    constants: tuple[str, ...]
    modulated: bool
    outputs: tuple[str, ...]


def angle_of(
    settings: Settings,
    values: Mapping[str, Tensor],
    state: QLIFState,
    gap: Tensor,
    dynamics: Dynamics,
    modulation: Tensor | None,
) -> Tensor:
    """The angle θ of a step from the gap, `(batch, num_neurons)`, radians.

    Args:
        settings: the neuron's parameters.
        values: those with one value per neuron, `(num_neurons,)` each, `q_scale` and `q_bias` among them.
        state: as `integrate` returned it.
        gap: as `integrate` returned it.
        dynamics: the constants.
        modulation: as for `integrate`.
    """
    scale = slope(values["q_scale"], state, dynamics, modulation)
    leak, span = (values.get(name, getattr(settings, name)) for name in ("quantum_leak", "theta_max"))
    return MAPPINGS[settings.mapping].angle(gap, scale, values["q_bias"] - leak, span)


@functools.lru_cache(maxsize=256)
def formula_of(structure: Structure) -> Formula:
    """The step of a layer of this structure, the same object for the same structure."""
    decision, states = structure.decision, state_class(structure.mechanisms)

    def step(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = {name: values[name] for name in structure.dynamics}
        dynamics = Dynamics(structure.membrane, structure.mechanisms, structure.decay_input, own)
        state = states(*(values[name] for name in states._fields))
        modulation = values.get("modulation")
        state, gap = integrate(state, values["current"], dynamics, modulation=modulation, noise=values.get("noise"))
        found = {"potential": state.voltage, "gap": gap, "threshold": threshold(state, dynamics, modulation)}
        spikes = _decide(decision, values, state, gap, dynamics, modulation, found)
        after = settle(state, spikes, dynamics, modulation=modulation)
        return {**found, **after._asdict(), "spikes": spikes}

    checked = None if decision.mapping is None else "angle"
    random = decision.kind in {"sample", "stochastic"}
    noisy = any(row.noisy for row in structure.mechanisms)
    inputs = ("current", "modulation") if structure.modulated else ("current",)
    outputs = ("spikes", *(name for name in structure.outputs if name != "spikes"))
    return Formula(
        step, states._fields, inputs, structure.constants, outputs, decision.kind != "expectation", random, noisy, checked
    )


def _decide(
    decision: Decision,
    values: Mapping[str, Tensor],
    state: QLIFState,
    gap: Tensor,
    dynamics: Dynamics,
    modulation: Tensor | None,
    found: dict[str, Tensor],
) -> Tensor:
    """The spikes, with the straight-through gradient of their probability; angle and probability are added to what is found."""
    active = None
    if "refractory_period" in values:
        active = constant(state.refractory, lambda left: (left == 0).to(left.dtype))
        found["active"] = active
    if decision.kind == "deterministic":
        # s = 1 for Δ > 0, with the derivative of the surrogate's smooth function.
        smooth = SURROGATES[decision.surrogate or ""].smooth(gap, values["alpha"])
        spikes = straight_through(_decided(values, gap, lambda at: at > 0), smooth)
        return spikes if active is None else spikes * active
    base = values["base_alpha"] if decision.mapping is None else values["q_scale"]
    scale = slope(base, state, dynamics, modulation)
    if decision.mapping is None:
        # The classic stochastic neuron: p = σ(slope · Δ).
        probability = (gap * scale).sigmoid()
    else:
        angle = decision.mapping.angle(gap, scale, values["offset"], values.get("theta_max"))
        probability = (
            SinusoidalResponse(*(values[name] for name in _RESPONSE)).probability(angle)
            if decision.circuit is None
            else decision.circuit.probability(angle.unsqueeze(-1))
        )
        found["angle"] = angle
    if active is not None:
        # No draw is below 0: what does not decide does not spike.
        probability = probability * active
    found["probability"] = probability
    if decision.kind == "expectation":
        return probability
    level = "level" if decision.kind == "threshold" else "uniform"
    return straight_through(_decided(values, probability, lambda at: at > values[level]), probability)


def _decided(values: Mapping[str, Tensor], at: Tensor, spikes: Callable[[Tensor], Tensor]) -> Tensor:
    """The spikes as numbers, cut from every derivative; those that were decided before where they are given."""
    return values["drawn"] if "drawn" in values else constant(at, lambda value: spikes(value).to(value.dtype))
