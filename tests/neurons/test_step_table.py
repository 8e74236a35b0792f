"""The dynamics agree with a second implementation, in NumPy, of the step table of the documentation.

The oracle below is a plain loop over named quantities in float64; it shares nothing with the package but the names.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState, integrate, settle, simulate
from qlifq.neurons import RECORDABLE

Array = npt.NDArray[np.float64]
NEURONS, BATCH, STEPS = 4, 3, 40

THRESHOLDS: dict[str, object] = {"min_threshold": 0.7, "max_threshold": 1.4}
ADAPTIVE: dict[str, object] = {"use_adaptive_threshold": True, "eta": (0.05, 0.1, 0.2, 0.0), "tau_threshold": 7.0, **THRESHOLDS}
HOMEOSTASIS: dict[str, object] = {
    "homeostasis_enabled": True,
    "homeostasis_target_rate": 0.3,
    "homeostasis_lr": 0.04,
    "homeostasis_tau": 11.0,
    **THRESHOLDS,
}
ADAPTATION: dict[str, object] = {"spike_increase": 0.4, "adaptation_decay": 0.8}
DEPRESSION: dict[str, object] = {"depression_rate": 0.35, "recovery_rate": 0.15}
AHP: dict[str, object] = {"use_ahp": True, "tau_ahp": 9.0, "ahp_jump": 0.9, "g_ahp": 0.3}
DYNAMIC: dict[str, object] = {"allow_dynamic_spike_probability": True, "tau_adapt": 6.0}
MODULATED: dict[str, object] = {"neuromod_strength": 0.6, "neuromod_transform": torch.tanh}
PER_NEURON: dict[str, object] = {
    "V_th": (0.8, 0.9, 1.0, 1.2),
    "tau": (3.0, 5.0, 8.0, 20.0),
    "q_scale": (1.0, 2.0, 3.0, 4.0),
    "q_bias": (-0.5, -0.2, 0.1, 0.4),
    "quantum_leak": (0.3, 0.0, -0.2, 0.1),
}
#: Every further number, one for each neuron.
EACH: dict[str, object] = {
    **PER_NEURON,
    "V_min": (-0.9, -0.7, -0.6, -2.0),
    "use_adaptive_threshold": True,
    "eta": (0.05, 0.1, 0.2, 0.0),
    "tau_threshold": (7.0, 3.0, 5.0, 20.0),
    "min_threshold": (0.7, 0.6, 0.9, 0.5),
    "max_threshold": (1.4, 1.2, 1.3, 2.0),
    "homeostasis_enabled": True,
    "homeostasis_target_rate": (0.3, 0.1, 0.5, 0.0),
    "homeostasis_lr": (0.04, 0.1, 0.02, 0.01),
    "homeostasis_tau": (11.0, 5.0, 20.0, 3.0),
    "spike_increase": (0.4, 0.0, 0.2, 0.1),
    "adaptation_decay": (0.8, 0.5, 0.0, 0.9),
    "depression_rate": (0.35, 0.0, 0.5, 1.0),
    "recovery_rate": (0.15, 0.05, 0.3, 1.0),
    "use_ahp": True,
    "tau_ahp": (9.0, 20.0, 3.0, 5.0),
    "ahp_jump": (0.9, 0.3, 0.1, 2.0),
    "g_ahp": (0.3, 0.1, 0.2, 0.05),
    "allow_dynamic_spike_probability": True,
    "tau_adapt": (6.0, 3.0, 12.0, 20.0),
    "neuromod_strength": (0.6, 0.2, -0.3, 0.0),
    "neuromod_transform": torch.tanh,
}
EACH_QUADRATIC: dict[str, object] = {
    "V_rest": (0.1, 0.0, -0.1, 0.2),
    "V_c": (0.7, 0.5, 0.9, 0.8),
    "a0": (1.3, 1.0, 0.5, 2.0),
    "R": (1.2, 1.0, 0.8, 1.5),
    "V_peak": (3.0, 2.5, 2.0, 2.1),
}
MECHANISMS: dict[str, dict[str, object]] = {
    "none": {},
    "per neuron": PER_NEURON,
    "adaptive threshold": ADAPTIVE,
    "homeostasis": HOMEOSTASIS,
    "adaptation": ADAPTATION,
    "depression": DEPRESSION,
    "after-hyperpolarisation": AHP,
    "dynamic probability": DYNAMIC,
    "refractory": {"refractory_period": 2},
    "least potential": {"V_min": -0.4},
    "gain": {"neuromod_mode": "gain", **MODULATED},
    "threshold": {"neuromod_mode": "threshold", **MODULATED},
    "prob_slope": {"neuromod_mode": "prob_slope", **MODULATED},
    "all": {
        **PER_NEURON,
        **ADAPTIVE,
        **HOMEOSTASIS,
        **ADAPTATION,
        **DEPRESSION,
        **AHP,
        **DYNAMIC,
        "neuromod_mode": "gain",
        **MODULATED,
        "refractory_period": 1,
    },
}
RESETS: dict[str, dict[str, object]] = {
    "hard": {"V_reset": -0.2},
    "soft": {"reset": "soft"},
    "partial": {"reset": "partial", "reset_fraction": 0.6, "V_reset": -0.1},
}
MEMBRANES: dict[str, dict[str, object]] = {
    "leaky": {"tau": 6.0},
    "quadratic": {
        "membrane": "quadratic",
        "tau": 6.0,
        "V_rest": 0.1,
        "V_c": 0.7,
        "a0": 1.3,
        "R": 1.2,
        "V_peak": 3.0,
    },
}
#: The rest potential and the resistance of a leaky membrane, and inputs that dt/τ does not scale.
FURTHER_MEMBRANES: dict[str, dict[str, object]] = {
    "leaky": {"tau": 6.0, "V_rest": -0.2, "R": 1.2},
    "leaky without dt/τ": {"tau": 6.0, "V_rest": 0.1, "R": 0.2, "decay_input": False},
    "leaky without R": {"tau": 2.0, "decay_input": False},
    "leaky, soft reset by a multiple": {"tau": 2.0, "decay_input": False, "reset": "soft", "reset_scale": (0.5, 1.0, 1.7, 0.0)},
    "quadratic without dt/τ": {**MEMBRANES["quadratic"], "R": 0.2, "decay_input": False},
}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Oracle:
    """One layer, as the step table reads; `trace` holds what a recording would after `integrate` and `settle`."""

    def __init__(self, layer: QLIF) -> None:
        arrays = {name: np.asarray(value) for name, value in vars(layer.settings).items() if isinstance(value, tuple)}
        self.p: Any = SimpleNamespace(**{**vars(layer.settings), **arrays})
        self.rest_threshold = np.broadcast_to(np.asarray(self.p.V_th, dtype=float), (BATCH, NEURONS))
        self.tau = np.asarray(self.p.tau, dtype=float)
        one = np.ones(1)
        self.q_scale: Array = layer.q_scale.numpy() if self.p.quantum_mode else one
        self.q_bias: Array = layer.q_bias.numpy() if self.p.quantum_mode else one
        zeros = np.zeros((BATCH, NEURONS))
        self.V = zeros + self.p.V_rest
        self.A, self.H, self.D, self.F, self.risen, self.moved = (zeros.copy() for _ in range(6))
        self.S = zeros + 1.0
        self.refractory = zeros.copy()
        self.trace: dict[str, Array] = {}

    def integrate(self, current: Array, m: Array | None, noise: Array | None) -> None:
        p = self.p
        k = p.neuromod_strength
        modulation = np.zeros_like(current) if m is None else np.broadcast_to(m, current.shape)
        if p.neuromod_mode == "gain":
            current = (1 + k * modulation) * current
        effective = current * self.S - self.A - p.g_ahp * self.H
        fraction = p.dt / self.tau if p.decay_input else 1.0
        if p.membrane == "leaky":
            change = p.dt / self.tau * (p.V_rest - self.V) + fraction * p.R * effective
        else:
            pull = p.dt / self.tau * p.a0 * (self.V - p.V_rest) * (self.V - p.V_c)
            # From below the parabola pulls up to V_rest at the most.
            pull = np.minimum(pull, np.where(self.V - p.V_rest < 0, p.V_rest - self.V, np.inf))
            change = pull + fraction * p.R * effective
        if noise is not None:
            change = change + p.noise_std * np.sqrt(p.dt) * noise
        moved = self.V + change
        if p.membrane == "quadratic":
            moved = np.minimum(moved, p.V_peak)
        active = self.refractory == 0
        self.V = np.where(active, moved, self.V)
        if p.V_min is not None:
            self.V = np.maximum(self.V, p.V_min)
        threshold = self.rest_threshold + self.moved + self.risen
        if p.neuromod_mode == "threshold":
            threshold = threshold + k * modulation
        self.threshold = threshold
        gap = self.V - threshold
        slope = (self.q_scale if p.quantum_mode else p.base_alpha) / (1 + self.D)
        if p.neuromod_mode == "prob_slope":
            slope = slope * (1 + k * modulation)
        self.trace = {"potential": self.V, "threshold": threshold, "gap": gap}
        if p.quantum_mode:
            bias = self.q_bias - p.quantum_leak
            if p.mapping == "sigmoid":
                angle = np.pi / (1 + np.exp(-(slope * gap + bias)))
            elif p.mapping == "linear":
                angle = slope * gap + bias
            else:
                angle = bias + p.theta_max * np.tanh(slope * gap)
            self.trace["angle"] = angle
            self.trace["probability"] = np.where(active, (1 - np.cos(angle)) / 2, 0)
        elif p.stochastic:
            self.trace["probability"] = np.where(active, 1 / (1 + np.exp(-slope * gap)), 0)

    def settle(self, s: Array) -> None:
        p, dt = self.p, self.p.dt
        if p.reset == "hard":
            self.V = (1 - s) * self.V + s * p.V_reset
        elif p.reset == "soft":
            self.V = self.V - s * p.reset_scale * self.threshold
        else:
            self.V = self.V - s * p.reset_fraction * (self.V - p.V_reset)
        self.A = self.A * p.adaptation_decay**dt + p.spike_increase * s
        recovery = 1 - (1 - p.recovery_rate) ** dt
        self.S = self.S * (1 - p.depression_rate * s) + recovery * (1 - self.S)
        if p.use_ahp:
            self.H = np.minimum(self.H * np.exp(-dt / p.tau_ahp) + p.ahp_jump * s, 2.0)
        if p.allow_dynamic_spike_probability:
            self.D = self.D * np.exp(-dt / p.tau_adapt) + s
        if p.homeostasis_enabled:
            self.F = self.F + dt / p.homeostasis_tau * (s - self.F)
            rest = self.rest_threshold + self.moved + dt * p.homeostasis_lr * (self.F - p.homeostasis_target_rate)
            self.moved = np.clip(rest, p.min_threshold, p.max_threshold) - self.rest_threshold
        if p.use_adaptive_threshold:
            rest = self.rest_threshold + self.moved
            risen = rest + self.risen * np.exp(-dt / p.tau_threshold) + np.asarray(p.eta) * s
            self.risen = np.clip(risen, p.min_threshold, p.max_threshold) - rest
        self.refractory = np.maximum(self.refractory - 1, 0) + p.refractory_period * s
        self.trace |= {
            "voltage": self.V,
            "adaptation": self.A,
            "efficiency": self.S,
            "ahp": self.H,
            "dynamic": self.D,
            "threshold_shift": self.risen,
            "homeostasis_shift": self.moved,
            "rate": self.F,
            "refractory": self.refractory,
        }


def inputs(layer: QLIF) -> tuple[Tensor, Tensor | None]:
    source = torch.Generator().manual_seed(11)
    current = 2.0 + 2.0 * torch.randn(STEPS, BATCH, NEURONS, generator=source)
    modulated = layer.settings.neuromod_transform is not None
    modulation = torch.randn(STEPS, BATCH, NEURONS, generator=source) if modulated else None
    return current, modulation


def compare(layer: QLIF) -> Tensor:
    """Hold every trace of a simulation, by the kernel and step by step, to the oracle, and return the spikes."""
    current, modulation = inputs(layer)
    # A kernel that could not be built would warn, which is an error here.
    assert layer.why_stepwise() is None
    by_kernel = _compare(layer, current, modulation)
    layer.seeds.position, layer.kernel = 0, "off"
    by_steps = _compare(layer, current, modulation)
    # Both draw the same numbers; graded spikes agree to rounding.
    torch.testing.assert_close(by_kernel, by_steps, rtol=0, atol=1e-12)
    return by_kernel


def _compare(layer: QLIF, current: Tensor, modulation: Tensor | None) -> Tensor:
    names = [name for name in RECORDABLE if name != "trace"]
    if not layer.settings.quantum_mode:
        names.remove("angle")
        if not layer.settings.stochastic:
            names.remove("probability")
    with torch.no_grad():
        recording = simulate(layer, current, names, modulation=modulation)
    oracle = Oracle(layer)
    transformed = None if modulation is None else np.tanh(modulation.numpy())
    for time in range(STEPS):
        oracle.integrate(current[time].numpy(), None if transformed is None else transformed[time], None)
        oracle.settle(recording.spikes[time].numpy())
        for name in names:
            np.testing.assert_allclose(
                recording[name][time].numpy(), oracle.trace[name], rtol=1e-12, atol=1e-12, err_msg=f"{name} at step {time}"
            )
    return recording.spikes


@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("membrane", MEMBRANES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_follows_the_table(mechanism: str, membrane: str, reset: str, dt: float) -> None:
    parameters = {**MEMBRANES[membrane], **RESETS[reset], **MECHANISMS[mechanism]}
    spikes = compare(QLIF(NEURONS, seed=1, dt=dt, **parameters))  # type: ignore[arg-type]
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("membrane", FURTHER_MEMBRANES)
def test_rest_resistance_and_inputs_without_decay_follow_the_table(membrane: str) -> None:
    reset = {} if "reset" in FURTHER_MEMBRANES[membrane] else {"V_reset": -0.1}
    mechanisms = {**MECHANISMS["all"], "V_min": -1.0, "dt": 0.5, **reset}
    spikes = compare(QLIF(NEURONS, seed=9, **{**mechanisms, **FURTHER_MEMBRANES[membrane]}))  # type: ignore[arg-type]
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("mode", ["gain", "threshold", "prob_slope"])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("membrane", MEMBRANES)
def test_every_number_may_be_one_per_neuron(membrane: str, reset: str, mode: str, dt: float) -> None:
    own = EACH_QUADRATIC if membrane == "quadratic" else {name: EACH_QUADRATIC[name] for name in ("V_rest", "R")}
    resets = {"V_reset": (-0.2, 0.1, 0.3, 0.0)} if reset != "soft" else {}
    fractions = {"reset_fraction": (0.6, 1.0, 0.2, 0.8)} if reset == "partial" else {}
    mapping = {"mapping": "tanh", "theta_max": (2.0, 1.0, 3.0, 1.5)} if mode == "gain" else {}
    parameters = {"membrane": membrane, "reset": reset, **EACH, **own, **resets, **fractions, **mapping}
    spikes = compare(QLIF(NEURONS, seed=8, dt=dt, neuromod_mode=mode, **parameters))  # type: ignore[arg-type]
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("dt", [0.25, 2.0])
@pytest.mark.parametrize("mode", ["gain", "threshold", "prob_slope"])
@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
def test_all_mechanisms_follow_the_table_in_every_mapping(mapping: str, mode: str, dt: float) -> None:
    parameters: dict[str, object] = {**MECHANISMS["all"], "neuromod_mode": mode}
    if mapping == "tanh":
        parameters["theta_max"] = 2.0
    spikes = compare(QLIF(NEURONS, seed=2, mapping=mapping, dt=dt, **parameters))  # type: ignore[arg-type]
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("membrane", MEMBRANES)
def test_all_mechanisms_follow_the_table_in_the_classic_decisions(membrane: str, stochastic: bool) -> None:
    quantum = ("q_scale", "q_bias", "quantum_leak")
    parameters = {name: value for name, value in MECHANISMS["all"].items() if name not in quantum}
    if stochastic:
        parameters |= {"stochastic": True, "base_alpha": 3.0}
    else:
        del parameters["allow_dynamic_spike_probability"], parameters["tau_adapt"]
    parameters |= {**MEMBRANES[membrane], "tau": 3.0, "quantum_mode": False}
    spikes = compare(QLIF(NEURONS, seed=3, **parameters))  # type: ignore[arg-type]
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("membrane", MEMBRANES)
def test_the_expectation_drives_every_mechanism_in_proportion(membrane: str) -> None:
    parameters = {**MECHANISMS["all"], **MEMBRANES[membrane], "refractory_period": 0}
    spikes = compare(QLIF(NEURONS, seed=4, decision="expectation", **parameters))  # type: ignore[arg-type]
    assert ((spikes > 0) & (spikes < 1)).any()


@pytest.mark.parametrize("dt", [1.0, 0.4])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("membrane", MEMBRANES)
def test_integrate_and_settle_are_pure_and_follow_the_table_with_noise(membrane: str, reset: str, dt: float) -> None:
    parameters = {**MECHANISMS["all"], **MEMBRANES[membrane], **RESETS[reset], "noise_std": 0.3, "dt": dt}
    layer = QLIF(NEURONS, seed=5, **parameters)  # type: ignore[arg-type]
    oracle, dynamics = Oracle(layer), layer.dynamics()
    state = layer.initial_state(BATCH)
    source = torch.Generator().manual_seed(12)
    for _ in range(STEPS):
        current, m, noise = torch.randn(3, BATCH, NEURONS, generator=source)
        before = QLIFState(*(value.clone() for value in state))
        integrated, gap = integrate(state, current, dynamics, modulation=m, noise=noise)
        copies = QLIFState(*(value.clone() for value in integrated))
        active = integrated.refractory == 0
        spikes = (torch.rand(BATCH, NEURONS, generator=source) < 0.3) * active * 1.0
        after = settle(integrated, spikes, dynamics)
        assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))
        assert all(torch.equal(now, then) for now, then in zip(integrated, copies, strict=True))
        oracle.integrate(current.numpy(), m.numpy(), noise.numpy())
        np.testing.assert_allclose(gap.numpy(), oracle.trace["gap"], rtol=1e-12, atol=1e-12)
        oracle.settle(spikes.numpy())
        for name, value in zip(QLIFState._fields, after, strict=True):
            np.testing.assert_allclose(value.numpy(), oracle.trace[name], rtol=1e-12, atol=1e-12, err_msg=name)
        state = after


@pytest.mark.parametrize("finer", [2, 5])
@pytest.mark.parametrize("mechanism", ["adaptation", "depression", "dynamic probability"])
def test_a_finer_step_keeps_the_time_course_of_a_decay(finer: int, mechanism: str) -> None:
    """After one spike and a time of 4, what is left of A, of S's deficit and of D does not depend on dt."""
    left = []
    for steps in (1, finer):
        layer = QLIF(1, seed=0, dt=1 / steps, **MECHANISMS[mechanism])  # type: ignore[arg-type]
        dynamics = layer.dynamics()
        fresh = layer.initial_state(1)
        state = settle(fresh, torch.ones(1, 1), dynamics)
        for _ in range(4 * steps):
            state = settle(state, torch.zeros(1, 1), dynamics)
        left.append(torch.stack([state.adaptation, 1 - state.efficiency, state.dynamic]))
    assert (left[0] != 0).any()
    torch.testing.assert_close(left[0], left[1], rtol=1e-12, atol=1e-14)


def test_the_threshold_never_leaves_its_bounds() -> None:
    parameters: dict[str, object] = {**ADAPTIVE, **HOMEOSTASIS, "eta": 0.5, "homeostasis_lr": 0.5}
    layer = QLIF(NEURONS, seed=6, **parameters)  # type: ignore[arg-type]
    for drive in (5.0, -5.0):
        thresholds = simulate(layer, torch.full((200, 1, NEURONS), drive), "threshold")["threshold"]
        assert thresholds.min() >= 0.7 - 1e-12
        assert thresholds.max() <= 1.4 + 1e-12
        # Each bound is reached: the upper one by spikes, the lower one by homeostasis of a silent neuron.
        assert ((thresholds > 1.4 - 1e-9) if drive > 0 else (thresholds < 0.7 + 1e-9)).any()


def test_the_after_hyperpolarisation_saturates_at_two() -> None:
    layer = QLIF(1, seed=7, quantum_mode=False, use_ahp=True, ahp_jump=0.9, tau_ahp=1e6, g_ahp=0.01, tau=1.0)
    ahp = simulate(layer, torch.full((5, 1, 1), 5.0), "ahp")["ahp"].flatten()
    torch.testing.assert_close(ahp, torch.tensor([0.9, 1.8, 2.0, 2.0, 2.0]), rtol=0, atol=1e-5)
