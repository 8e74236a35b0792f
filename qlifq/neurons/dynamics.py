"""The classical dynamics of a QLIF neuron: two pure functions around the spike decision.

Nothing here knows how the decision is made. Times are in one unit of the user's choice, that of `dt` and the time constants.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = ["AHP_MAX", "Dynamics", "initial_state", "integrate", "settle", "threshold"]

#: The after-hyperpolarisation saturates here.
AHP_MAX = 2.0


class Dynamics(NamedTuple):
    """The constants of the dynamics, worked out once for a whole sequence; made by `Dynamics.of`.

    Decays that are given per step of 1 become decays over dt, so that a finer step keeps the time course.
    """

    settings: Settings
    V_th: Tensor
    V_reset: Tensor
    rested: Tensor
    lowest_shift: Tensor
    highest_shift: Tensor
    step: Tensor
    eta: Tensor | None
    noise_scale: float
    adaptation_decay: float
    recovered: float
    ahp_decay: float
    dynamic_decay: float
    threshold_decay: float
    rate_step: float

    @classmethod
    def of(cls, settings: Settings, V_th: Tensor, tau: Tensor, eta: Tensor | None) -> "Dynamics":
        """Work out the constants.

        Args:
            settings: the neuron's parameters.
            V_th: threshold at rest, `(num_neurons,)`.
            tau: membrane time constant, `(num_neurons,)`.
            eta: rise of the adaptive threshold at a spike, `(num_neurons,)`; None where it does not adapt.
        """
        dt = settings.dt
        if settings.use_adaptive_threshold or settings.homeostasis_enabled:
            # A trained V_th can leave the bounds, but no threshold does.
            V_th = V_th.clamp(settings.min_threshold, settings.max_threshold)
        return cls(
            settings=settings,
            V_th=V_th,
            V_reset=V_th.new_tensor(settings.V_reset),
            rested=V_th.new_tensor(1.0),
            lowest_shift=settings.min_threshold - V_th,
            highest_shift=settings.max_threshold - V_th,
            step=dt / tau,
            eta=eta,
            noise_scale=settings.noise_std * math.sqrt(dt),
            adaptation_decay=settings.adaptation_decay**dt,
            recovered=1 - (1 - settings.recovery_rate) ** dt,
            ahp_decay=math.exp(-dt / settings.tau_ahp),
            dynamic_decay=math.exp(-dt / settings.tau_adapt),
            threshold_decay=math.exp(-dt / settings.tau_threshold),
            rate_step=dt / settings.homeostasis_tau,
        )


def initial_state(settings: Settings, batch: int, neurons: int, like: Tensor) -> QLIFState:
    """The state at rest, `(batch, neurons)` in the dtype and on the device of `like`."""
    zeros = torch.zeros(batch, neurons, dtype=like.dtype, device=like.device)
    return QLIFState(
        voltage=torch.full_like(zeros, MEMBRANES[settings.membrane].rest(settings)),
        adaptation=zeros,
        efficiency=torch.ones_like(zeros),
        ahp=zeros,
        dynamic=zeros,
        threshold_shift=zeros,
        homeostasis_shift=zeros,
        rate=zeros,
        refractory=zeros,
    )


def threshold(state: QLIFState, dynamics: Dynamics, modulation: Tensor | None = None) -> Tensor:
    """The threshold of this step: at rest, with its shifts, with modulation in mode `threshold`; `(batch, num_neurons)`."""
    settings = dynamics.settings
    value = dynamics.V_th
    if settings.homeostasis_enabled:
        value = value + state.homeostasis_shift
    if settings.use_adaptive_threshold:
        value = value + state.threshold_shift
    if modulation is not None and settings.neuromod_mode == "threshold":
        value = value + settings.neuromod_strength * modulation
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
        leaky      V ← V + (dt/τ)(I_eff − V) + σ √dt ξ
        quadratic  V ← V + (dt/τ)(a0 (V − V_rest)(V − V_c) + R I_eff) + σ √dt ξ
        Δ = V − V_th                                       (− k m in mode `threshold`)

    The quadratic pull from below V_rest reaches V_rest at most, and V is cut off at V_peak. A refractory neuron holds V.

    Args:
        state: the state before the step, `(batch, num_neurons)` each.
        current: I, `(batch, num_neurons)`.
        dynamics: the constants.
        modulation: transformed modulation m, broadcastable with `current`; None has exactly no effect.
        noise: ξ, standard normal, `(batch, num_neurons)`; None for no noise.

    Returns:
        The state with its new voltage, and the gap Δ, `(batch, num_neurons)`.
    """
    settings = dynamics.settings
    strength = settings.neuromod_strength
    if modulation is not None and settings.neuromod_mode == "gain":
        current = current * (1 + strength * modulation)
    if settings.depression_rate:
        current = current * state.efficiency
    if settings.spike_increase:
        current = current - state.adaptation
    if settings.use_ahp:
        current = torch.sub(current, state.ahp, alpha=settings.g_ahp)
    held = state.voltage
    membrane = MEMBRANES[settings.membrane]
    voltage = membrane.follow(held, current, dynamics)
    if noise is not None:
        voltage = torch.add(voltage, noise, alpha=dynamics.noise_scale)
    if (ceiling := membrane.ceiling(settings)) < math.inf:
        voltage = voltage.clamp(max=ceiling)
    if settings.refractory_period:
        voltage = torch.lerp(voltage, held, state.refractory.clamp(max=1))
    gap = voltage - dynamics.V_th
    if settings.homeostasis_enabled:
        gap = gap - state.homeostasis_shift
    if settings.use_adaptive_threshold:
        gap = gap - state.threshold_shift
    if modulation is not None and settings.neuromod_mode == "threshold":
        gap = torch.sub(gap, modulation, alpha=strength)
    return state._replace(voltage=voltage), gap


def settle(state: QLIFState, spikes: Tensor, dynamics: Dynamics, *, modulation: Tensor | None = None) -> QLIFState:
    """One step of everything that follows the spike decision: reset, adaptation, plasticity.

    The updates stand in the table of `Settings`; every one is driven by the spikes s, once a step. For s in {0, 1} only the
    neurons that spiked are reset; a graded s resets in proportion.

    Args:
        state: the state that `integrate` returned.
        spikes: s, `(batch, num_neurons)`.
        dynamics: the constants.
        modulation: as for `integrate`; a soft reset takes off the threshold that was compared with.

    Returns:
        The state after the step.
    """
    settings = dynamics.settings
    changed: dict[str, Tensor] = {}
    if settings.reset == "hard":
        # lerp is exact at both ends: a neuron that did not spike keeps its voltage to the last bit.
        changed["voltage"] = torch.lerp(state.voltage, dynamics.V_reset.expand_as(spikes), spikes)
    elif settings.reset == "soft":
        changed["voltage"] = state.voltage - spikes * threshold(state, dynamics, modulation)
    else:
        fraction = spikes * settings.reset_fraction
        changed["voltage"] = torch.lerp(state.voltage, dynamics.V_reset.expand_as(spikes), fraction)
    if settings.spike_increase:
        changed["adaptation"] = torch.add(state.adaptation * dynamics.adaptation_decay, spikes, alpha=settings.spike_increase)
    if settings.depression_rate:
        recovered = torch.lerp(state.efficiency, dynamics.rested.expand_as(spikes), dynamics.recovered)
        used = -settings.depression_rate
        changed["efficiency"] = torch.addcmul(recovered, state.efficiency, spikes, value=used)
    if settings.use_ahp:
        raised = torch.add(state.ahp * dynamics.ahp_decay, spikes, alpha=settings.ahp_jump)
        changed["ahp"] = raised.clamp(max=AHP_MAX)
    if settings.allow_dynamic_spike_probability:
        changed["dynamic"] = torch.add(spikes, state.dynamic, alpha=dynamics.dynamic_decay)
    lowest, highest = dynamics.lowest_shift, dynamics.highest_shift
    if settings.homeostasis_enabled:
        rate = torch.lerp(state.rate, spikes, dynamics.rate_step)
        gain = settings.homeostasis_lr * settings.dt
        moved = torch.add(state.homeostasis_shift, rate, alpha=gain) - gain * settings.homeostasis_target_rate
        changed["rate"] = rate
        changed["homeostasis_shift"] = moved.clamp(lowest, highest)
        lowest, highest = lowest - changed["homeostasis_shift"], highest - changed["homeostasis_shift"]
    if settings.use_adaptive_threshold and dynamics.eta is not None:
        risen = torch.addcmul(state.threshold_shift * dynamics.threshold_decay, dynamics.eta, spikes)
        changed["threshold_shift"] = risen.clamp(lowest, highest)
    if settings.refractory_period:
        left = (state.refractory - 1).clamp(min=0)
        changed["refractory"] = torch.add(left, spikes.detach(), alpha=settings.refractory_period)
    return state._replace(**changed)
