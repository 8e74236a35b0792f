"""The classical dynamics of a QLIF neuron: two pure functions around the spike decision.

Nothing here knows how the decision is made. Times are in one unit of the user's choice, that of `dt` and the time constants.
This is the only place where the neuron is written: kernels are traced from these functions.
"""

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from qlifq._transforms import cached
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = ["AHP_MAX", "Dynamics", "initial_state", "integrate", "settle", "threshold"]

#: The after-hyperpolarisation saturates here.
AHP_MAX = 2.0
#: A constant whose mechanism is off: None, and nobody calculates with it.
_OFF = cast(Tensor, None)


class Dynamics(NamedTuple):
    """The constants of the dynamics, worked out once for a whole sequence; made by `Dynamics.of`.

    Each is a tensor without dimensions or `(num_neurons,)`, and None where its mechanism is off. Decays that are given per step
    of 1 become decays over dt, so that a finer step keeps the time course.

    Args:
        membrane: the row of the membrane equation.
        neuromod_mode: what modulation acts on.
        decay_input: whether dt/τ scales the input.
    """

    membrane: Membrane
    neuromod_mode: str
    V_th: Tensor
    step: Tensor
    V_reset: Tensor = _OFF
    reset_fraction: Tensor = _OFF
    reset_scale: Tensor = _OFF
    noise_scale: Tensor = _OFF
    V_rest: Tensor = _OFF
    V_c: Tensor = _OFF
    a0: Tensor = _OFF
    R: Tensor = _OFF
    V_peak: Tensor = _OFF
    V_min: Tensor = _OFF
    lowest_threshold: Tensor = _OFF
    highest_threshold: Tensor = _OFF
    eta: Tensor = _OFF
    threshold_decay: Tensor = _OFF
    homeostasis_gain: Tensor = _OFF
    homeostasis_target: Tensor = _OFF
    rate_step: Tensor = _OFF
    spike_increase: Tensor = _OFF
    adaptation_decay: Tensor = _OFF
    g_ahp: Tensor = _OFF
    ahp_jump: Tensor = _OFF
    ahp_decay: Tensor = _OFF
    depression_rate: Tensor = _OFF
    recovery: Tensor = _OFF
    dynamic_decay: Tensor = _OFF
    neuromod_strength: Tensor = _OFF
    refractory_period: Tensor = _OFF
    decay_input: bool = True

    @classmethod
    def of(cls, settings: Settings, parameters: Mapping[str, Tensor]) -> "Dynamics":
        """Work out the constants.

        Args:
            settings: the neuron's parameters.
            parameters: those with one value per neuron, `(num_neurons,)` each; `V_th` and `tau` among them. The others are
                taken from the settings.
        """
        dt, like = settings.dt, parameters["V_th"]

        def value(name: str) -> Tensor | float:
            return parameters[name] if name in parameters else getattr(settings, name)

        constants: dict[str, Tensor | float] = {"V_th": like, "step": _number(dt, like.dtype, like.device) / value("tau")}
        row = MEMBRANES[settings.membrane]
        constants |= {
            name: value(name) for name in row.parameters if name in parameters or value(name) != row.neutral.get(name)
        }
        if settings.V_min is not None:
            constants["V_min"] = value("V_min")
        if settings.reset != "soft":
            constants["V_reset"] = value("V_reset")
        if settings.reset == "partial":
            constants["reset_fraction"] = value("reset_fraction")
        if settings.reset == "soft" and ("reset_scale" in parameters or value("reset_scale") != 1.0):
            constants["reset_scale"] = value("reset_scale")
        if settings.uses("noise_std"):
            constants["noise_scale"] = value("noise_std") * math.sqrt(dt)
        if settings.use_adaptive_threshold or settings.homeostasis_enabled:
            constants["lowest_threshold"] = value("min_threshold")
            constants["highest_threshold"] = value("max_threshold")
        if settings.use_adaptive_threshold:
            constants["eta"] = value("eta")
            constants["threshold_decay"] = _exp(-dt / value("tau_threshold"))
        if settings.homeostasis_enabled:
            constants["homeostasis_gain"] = value("homeostasis_lr") * dt
            constants["homeostasis_target"] = value("homeostasis_target_rate")
            constants["rate_step"] = dt / value("homeostasis_tau")
        if settings.uses("spike_increase"):
            constants["spike_increase"] = value("spike_increase")
            constants["adaptation_decay"] = value("adaptation_decay") ** dt
        if settings.use_ahp:
            constants["g_ahp"], constants["ahp_jump"] = value("g_ahp"), value("ahp_jump")
            constants["ahp_decay"] = _exp(-dt / value("tau_ahp"))
        if settings.uses("depression_rate"):
            constants["depression_rate"] = value("depression_rate")
            constants["recovery"] = 1 - (1 - value("recovery_rate")) ** dt
        if settings.allow_dynamic_spike_probability:
            constants["dynamic_decay"] = _exp(-dt / value("tau_adapt"))
        if settings.neuromod_mode != "off":
            constants["neuromod_strength"] = value("neuromod_strength")
        if settings.refractory_period:
            constants["refractory_period"] = float(settings.refractory_period)
        tensors = {
            name: number if isinstance(number, Tensor) else _number(number, like.dtype, like.device)
            for name, number in constants.items()
        }
        if "lowest_threshold" in tensors:
            # A trained V_th can leave the bounds, but no threshold does.
            tensors["V_th"] = tensors["V_th"].clamp(tensors["lowest_threshold"], tensors["highest_threshold"])
        return cls(row, settings.neuromod_mode, **tensors, decay_input=settings.decay_input)


@functools.lru_cache(maxsize=4096)
def _number(number: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number as a tensor, kept for later calls: on an accelerator each costs a call of the device. Nothing writes to it."""
    with cached():
        return torch.full((), number, dtype=dtype, device=device)


def _exp(exponent: Tensor | float) -> Tensor | float:
    return exponent.exp() if isinstance(exponent, Tensor) else math.exp(exponent)


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
    # One number stands for all that a state without its mechanism never changes: no memory for each neuron.
    zeros, ones = (like.new_full((), value).expand(batch, neurons) for value in (0.0, 1.0))
    name = MEMBRANES[settings.membrane].rest
    rest: Any = 0.0 if name is None else parameters.get(name, getattr(settings, name))
    return QLIFState(
        voltage=zeros + (zeros.new_tensor(rest) if isinstance(rest, tuple) else rest),
        adaptation=zeros,
        efficiency=ones,
        ahp=zeros,
        dynamic=zeros,
        threshold_shift=zeros,
        homeostasis_shift=zeros,
        rate=zeros,
        refractory=zeros,
    )


def threshold(state: QLIFState, dynamics: Dynamics, modulation: Tensor | None = None) -> Tensor:
    """The threshold of this step: at rest, with its shifts, with modulation in mode `threshold`; `(batch, num_neurons)`."""
    value = dynamics.V_th
    if dynamics.homeostasis_gain is not None:
        value = value + state.homeostasis_shift
    if dynamics.eta is not None:
        value = value + state.threshold_shift
    if modulation is not None and dynamics.neuromod_mode == "threshold":
        value = value + dynamics.neuromod_strength * modulation
    return value.expand_as(state.voltage)


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
    if modulation is not None and dynamics.neuromod_mode == "gain":
        current = current * (1 + dynamics.neuromod_strength * modulation)
    if dynamics.depression_rate is not None:
        current = current * state.efficiency
    if dynamics.spike_increase is not None:
        current = current - state.adaptation
    if dynamics.g_ahp is not None:
        current = current - dynamics.g_ahp * state.ahp
    # I_eff stands; from here on V.
    before = state.voltage
    if dynamics.decay_input:
        voltage = dynamics.membrane.follow(before, current, dynamics)
    else:
        voltage = dynamics.membrane.follow(before, torch.zeros_like(current), dynamics)
        voltage = voltage + (current if dynamics.R is None else dynamics.R * current)
    if noise is not None and dynamics.noise_scale is not None:
        voltage = voltage + dynamics.noise_scale * noise
    if dynamics.V_peak is not None:
        voltage = torch.minimum(voltage, dynamics.V_peak)
    if dynamics.refractory_period is not None:
        # The steps that are left, cut to 1, choose exactly: V as it was, or V as it has become.
        voltage = torch.lerp(voltage, before, state.refractory.clamp(max=1))
    if dynamics.V_min is not None:
        voltage = torch.maximum(voltage, dynamics.V_min)
    state = state._replace(voltage=voltage)
    return state, voltage - threshold(state, dynamics, modulation)


def settle(state: QLIFState, spikes: Tensor, dynamics: Dynamics, *, modulation: Tensor | None = None) -> QLIFState:
    """One step of everything that follows the spike decision: reset, adaptation, plasticity.

    The updates stand in the table of `Settings`; every one is driven by the spikes s, once per step. For s in {0, 1} only the
    neurons that spiked are reset; a graded s resets in proportion.

    Args:
        state: the state that `integrate` returned.
        spikes: s, `(batch, num_neurons)`.
        dynamics: the constants.
        modulation: as for `integrate`; a soft reset takes off the threshold that was compared with.

    Returns:
        The state after the step.
    """
    changed: dict[str, Tensor] = {}
    if dynamics.V_reset is None:
        # Soft: what was compared with is taken off, modulation and shifts included.
        taken_off = threshold(state, dynamics, modulation)
        if dynamics.reset_scale is not None:
            taken_off = dynamics.reset_scale * taken_off
        changed["voltage"] = state.voltage - spikes * taken_off
    else:
        # lerp is exact at both ends: a neuron that did not spike keeps its voltage to the last bit.
        fraction = spikes if dynamics.reset_fraction is None else spikes * dynamics.reset_fraction
        changed["voltage"] = torch.lerp(state.voltage, dynamics.V_reset.expand_as(spikes), fraction)
    if dynamics.spike_increase is not None:
        changed["adaptation"] = state.adaptation * dynamics.adaptation_decay + dynamics.spike_increase * spikes
    if dynamics.depression_rate is not None:
        # S recovers towards 1, and a spike takes off a fraction of S as it was before.
        recovered = state.efficiency + dynamics.recovery * (1 - state.efficiency)
        changed["efficiency"] = recovered - dynamics.depression_rate * state.efficiency * spikes
    if dynamics.ahp_jump is not None:
        changed["ahp"] = (state.ahp * dynamics.ahp_decay + dynamics.ahp_jump * spikes).clamp(max=AHP_MAX)
    if dynamics.dynamic_decay is not None:
        changed["dynamic"] = state.dynamic * dynamics.dynamic_decay + spikes
    # The threshold at rest, which homeostasis moves first: the adaptive shift is bounded from where that leaves it.
    at_rest = dynamics.V_th
    if dynamics.homeostasis_gain is not None:
        # F ← F + (dt/τ_h)(s − F), and V_th moves by how far the new F is from its target.
        rate = state.rate + dynamics.rate_step * (spikes - state.rate)
        moved = state.homeostasis_shift + dynamics.homeostasis_gain * (rate - dynamics.homeostasis_target)
        moved = _within(moved, at_rest, dynamics)
        changed["rate"], changed["homeostasis_shift"] = rate, moved
        at_rest = at_rest + moved
    if dynamics.eta is not None:
        risen = state.threshold_shift * dynamics.threshold_decay + dynamics.eta * spikes
        changed["threshold_shift"] = _within(risen, at_rest, dynamics)
    if dynamics.refractory_period is not None:
        # Counts whole steps: the period has no derivative.
        left = (state.refractory - 1).clamp(min=0)
        changed["refractory"] = left + dynamics.refractory_period * spikes.detach()
    return state._replace(**changed)


def _within(shift: Tensor, at_rest: Tensor, dynamics: Dynamics) -> Tensor:
    """The shift kept such that the threshold, `at_rest` + shift, stays within its bounds."""
    return shift.clamp(dynamics.lowest_threshold - at_rest, dynamics.highest_threshold - at_rest)
