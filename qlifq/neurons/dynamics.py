"""The classical dynamics of a QLIF neuron: two pure functions around the spike decision.

Nothing here knows how the decision is made. Times are in one unit of the user's choice, that of `dt` and the time constants.
This is the only place where the neuron is put together, of its membrane, its reset and the rows of its mechanisms: kernels are
traced from these functions.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qlifq.neurons.mechanisms.mechanism import Drive, Hook, Mechanism, Numbers, Settle
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.parameters import MECHANISMS, Settings
from qlifq.neurons.state import QLIFState, state_with

__all__ = ["Dynamics", "initial_state", "integrate", "settle", "slope", "state_class", "threshold"]

#: None where the kind of reset has no use for it.
_OF_RESETS = MappingProxyType({"V_reset": None, "reset_fraction": None, "reset_scale": None})


class _Hooks(NamedTuple):
    """The functions of the mechanisms that act, in their order, see `Mechanism`."""

    input: tuple[Hook, ...]
    current: tuple[Hook, ...]
    voltage: tuple[Hook, ...]
    limit: tuple[Hook, ...]
    threshold: tuple[Hook, ...]
    slope: tuple[Hook, ...]
    settle: tuple[Settle, ...]


@functools.lru_cache(maxsize=256)
def _hooks_of(mechanisms: tuple[Mechanism, ...]) -> _Hooks:
    return _Hooks(*(tuple(hook for row in mechanisms if (hook := getattr(row, name)) is not None) for name in _Hooks._fields))


@dataclass(frozen=True, eq=False)
class Dynamics:
    """The constants of the dynamics, worked out once for a whole sequence; made by `Dynamics.of`.

    Each is an attribute: a tensor without dimensions or `(num_neurons,)`. Those that a membrane leaves out at a neutral value
    are None, and so are those that only another kind of reset has.

    Args:
        membrane: the row of the membrane equation.
        mechanisms: the rows of the mechanisms that act.
        decay_input: whether dt/τ scales the input.
        constants: by name.
        hooks: the functions of the mechanisms.
    """

    membrane: Membrane
    mechanisms: tuple[Mechanism, ...]
    decay_input: bool
    constants: Mapping[str, Tensor]
    hooks: _Hooks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = self.__dict__
        own.update(_OF_RESETS, **dict.fromkeys(self.membrane.neutral))
        own.update(self.constants)
        own["hooks"] = _hooks_of(self.mechanisms)

    def __getattr__(self, name: str) -> Tensor:
        # For type checkers, which do not know the constants, and for what is none of them.
        raise AttributeError(f"These dynamics have no constant {name!r}.")

    @classmethod
    def of(cls, settings: Settings, parameters: Mapping[str, Tensor]) -> "Dynamics":
        """Work out the constants.

        Args:
            settings: the neuron's parameters.
            parameters: those with one value per neuron, `(num_neurons,)` each; `V_th` and `tau` among them. The others are
                taken from the settings.
        """
        numbers, row = Numbers(settings, parameters), MEMBRANES[settings.membrane]
        constants = {"V_th": numbers.V_th, "step": numbers.tensor(settings.dt) / numbers.tau}
        constants |= {
            name: getattr(numbers, name)
            for name in row.parameters
            if name in parameters or getattr(settings, name) != row.neutral.get(name)
        }
        if settings.reset != "soft":
            constants["V_reset"] = numbers.V_reset
        if settings.reset == "partial":
            constants["reset_fraction"] = numbers.reset_fraction
        if settings.reset == "soft" and ("reset_scale" in parameters or settings.reset_scale != 1.0):
            constants["reset_scale"] = numbers.reset_scale
        for mechanism in settings.mechanisms:
            constants |= mechanism.constants(numbers)
        tensors = {name: numbers.tensor(value) for name, value in constants.items()}
        return cls(row, settings.mechanisms, settings.decay_input, tensors)

    def with_constants(self, **constants: Tensor) -> "Dynamics":
        """The same with other numbers."""
        return Dynamics(self.membrane, self.mechanisms, self.decay_input, {**self.constants, **constants})


@functools.lru_cache(maxsize=256)
def state_class(mechanisms: tuple[Mechanism, ...]) -> type[QLIFState]:
    """The class of the states of a neuron with these mechanisms: `QLIFState`, or one with those of mechanisms of one's own."""
    return state_with(name for row in mechanisms for name in row.states)


@functools.lru_cache(maxsize=256)
def _at_rest(mechanisms: tuple[Mechanism, ...]) -> tuple[float, ...]:
    """The values at rest of the states behind the voltage; one whose mechanism is off has its value, too."""
    at_rest = {name: value for row in (*MECHANISMS.values(), *mechanisms) for name, value in row.states.items()}
    return tuple(at_rest[name] for name in state_class(mechanisms)._fields[1:])


def initial_state(
    settings: Settings, batch: int, neurons: int, like: Tensor, parameters: Mapping[str, Tensor] = MappingProxyType({})
) -> QLIFState:
    """The state at rest, `(batch, neurons)` in the dtype and on the device of `like`.

    Args:
        settings: the neuron's parameters.
        batch: how many sequences run side by side.
        neurons: how many neurons there are.
        like: a tensor of the layer.
        parameters: as for `Dynamics.of`.
    """
    at_rest = _at_rest(settings.mechanisms)
    # One number stands for all that a state without its mechanism never changes: no memory for each neuron.
    values = {value: like.new_full((), value).expand(batch, neurons) for value in {0.0, *at_rest}}
    name = MEMBRANES[settings.membrane].rest
    rest: Any = 0.0 if name is None else parameters.get(name, getattr(settings, name))
    voltage = values[0.0] + (like.new_tensor(rest) if isinstance(rest, tuple) else rest)
    return state_class(settings.mechanisms)(voltage, *map(values.__getitem__, at_rest))


def threshold(state: QLIFState, dynamics: Dynamics, modulation: Tensor | None = None) -> Tensor:
    """The threshold of this step: at rest, as the mechanisms and modulation leave it; `(batch, num_neurons)`."""
    value, drive = dynamics.V_th, Drive(modulation, None)
    for hook in dynamics.hooks.threshold:
        value = hook(value, state, dynamics, drive)
    return value.expand_as(state.voltage)


def slope(base: Tensor, state: QLIFState, dynamics: Dynamics, modulation: Tensor | None) -> Tensor:
    """The slope of the decision of this step, from that at rest, `()` or `(num_neurons,)`."""
    drive = Drive(modulation, None)
    for hook in dynamics.hooks.slope:
        base = hook(base, state, dynamics, drive)
    return base


def integrate(
    state: QLIFState,
    current: Tensor,
    dynamics: Dynamics,
    *,
    modulation: Tensor | None = None,
    noise: Tensor | None = None,
) -> tuple[QLIFState, Tensor]:
    """One step of the membrane, up to the spike decision.

        I_eff = (1 + k m) I · S − A − g_ahp H              (the gain in mode `gain` alone)
        leaky      V ← V + (dt/τ)(V_rest − V + R I_eff) + σ √dt ξ
        quadratic  V ← V + (dt/τ)(a0 (V − V_rest)(V − V_c) + R I_eff) + σ √dt ξ
        Δ = V − V_th                                       (− k m in mode `threshold`)

    With `decay_input=False` the input R I_eff stands outside of dt/τ: it is added as it is.
    The quadratic pull from below V_rest reaches V_rest at most, and V is cut off at V_peak. A refractory neuron holds V.
    Last of all, V is raised to V_min.

    Args:
        state: the state before the step, `(batch, num_neurons)` each.
        current: I, `(batch, num_neurons)`.
        dynamics: the constants.
        modulation: transformed modulation m, broadcastable with `current`; None has exactly no effect.
        noise: ξ, standard normal, `(batch, num_neurons)`; None for no noise.

    Returns:
        The state with its new voltage, and the gap Δ, `(batch, num_neurons)`.
    """
    drive, hooks = Drive(modulation, noise), dynamics.hooks
    for hook in (*hooks.input, *hooks.current):
        current = hook(current, state, dynamics, drive)
    # I_eff stands; from here on V.
    if dynamics.decay_input:
        voltage = dynamics.membrane.follow(state.voltage, current, dynamics)
    else:
        voltage = dynamics.membrane.follow(state.voltage, torch.zeros_like(current), dynamics)
        voltage = voltage + (dynamics.R * current if "R" in dynamics.constants else current)
    for hook in (*hooks.voltage, *hooks.limit):
        voltage = hook(voltage, state, dynamics, drive)
    state = state._replace(voltage=voltage)
    return state, voltage - threshold(state, dynamics, modulation)


def settle(state: QLIFState, spikes: Tensor, dynamics: Dynamics, *, modulation: Tensor | None = None) -> QLIFState:
    """One step of everything that follows the spike decision: reset, adaptation, plasticity.

    The updates stand in the rows of the mechanisms; every one is driven by the spikes s, once per step. For s in {0, 1} only
    the neurons that spiked are reset; a graded s resets in proportion.

    Args:
        state: the state that `integrate` returned.
        spikes: s, `(batch, num_neurons)`.
        dynamics: the constants.
        modulation: as for `integrate`; a soft reset takes off the threshold that was compared with.

    Returns:
        The state after the step.
    """
    if dynamics.V_reset is None:
        # Soft: what was compared with is taken off, modulation and shifts included.
        taken_off = threshold(state, dynamics, modulation)
        if dynamics.reset_scale is not None:
            taken_off = dynamics.reset_scale * taken_off
        voltage = state.voltage - spikes * taken_off
    else:
        # lerp is exact at both ends: a neuron that did not spike keeps its voltage to the last bit.
        fraction = spikes if dynamics.reset_fraction is None else spikes * dynamics.reset_fraction
        voltage = torch.lerp(state.voltage, dynamics.V_reset.expand_as(spikes), fraction)
    if not dynamics.hooks.settle:
        return state._replace(voltage=voltage)
    now = SimpleNamespace(**state._asdict())
    now.voltage = voltage
    for hook in dynamics.hooks.settle:
        now.__dict__.update(hook(now, spikes, dynamics))
    return type(state)(**now.__dict__)
