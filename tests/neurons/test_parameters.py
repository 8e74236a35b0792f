"""Every parameter has an effect on the spikes, and every learnable one a gradient."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple, cast

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, SpikingSequential
from qlifq.backends import DeviceNoise
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.reference import ReferenceBackend
from qlifq.neurons import Settings, value_gradients
from qlifq.neurons.parameter_table import markdown_table
from qlifq.neurons.parameters import RESETS, is_per_neuron

NEURONS, STEPS = 24, 60

QUADRATIC: dict[str, object] = {"membrane": "quadratic", "tau": 5.0}
CLASSIC: dict[str, object] = {"quantum_mode": False}
ADAPTIVE: dict[str, object] = {"use_adaptive_threshold": True}
HOMEOSTASIS: dict[str, object] = {"homeostasis_enabled": True, "homeostasis_lr": 0.1, "homeostasis_tau": 10.0}
AHP: dict[str, object] = {"use_ahp": True}
THRESHOLD: dict[str, object] = {"decision": "threshold"}
TRAINED: dict[str, object] = {"learnable_threshold": True}
SHIFTED: dict[str, object] = {"backend": ReferenceBackend(), "shots": 20, "gradient": "parameter-shift", **TRAINED}


class Effect(NamedTuple):
    """Where a parameter matters, a value other than the one it has there, and the learning rate of one step of training."""

    value: object
    context: Mapping[str, object] = MappingProxyType({})
    rate: float = 20.0


#: One entry for every parameter; the test below fails where one is missing.
EFFECTS: dict[str, Effect] = {
    "backend": Effect(AnalyticBackend(DeviceNoise(t1=50e-6, t2=50e-6, gate_time=0.0, gate_error=0.0, readout_p01=0.2))),
    "shots": Effect(101, {**THRESHOLD, "shots": 1}),
    "seed": Effect(2),
    "gradient": Effect("none", TRAINED),
    "gradient_shots": Effect(7, SHIFTED),
    "membrane": Effect("quadratic"),
    "V_th": Effect(1.2),
    "V_reset": Effect(-1.0),
    "reset": Effect("soft"),
    "reset_fraction": Effect(0.9, {"reset": "partial"}),
    "tau": Effect(10.0),
    "dt": Effect(0.5),
    "noise_std": Effect(0.3),
    "refractory_period": Effect(3),
    "V_rest": Effect(0.3, QUADRATIC),
    "V_c": Effect(0.5, QUADRATIC),
    "a0": Effect(3.0, QUADRATIC),
    "R": Effect(2.0, QUADRATIC),
    "decay_input": Effect(False),
    "reset_scale": Effect(0.5, {"reset": "soft"}),
    "V_min": Effect(-0.1, {"V_reset": 0.4, "noise_std": 0.6}),
    "V_peak": Effect(2.0, {**QUADRATIC, "reset": "soft"}),
    "use_adaptive_threshold": Effect(True),
    "eta": Effect(0.5, ADAPTIVE),
    "tau_threshold": Effect(2.0, ADAPTIVE),
    "min_threshold": Effect(0.95, HOMEOSTASIS),
    "max_threshold": Effect(1.05, ADAPTIVE),
    "homeostasis_enabled": Effect(True),
    "homeostasis_target_rate": Effect(0.6, HOMEOSTASIS),
    "homeostasis_lr": Effect(0.5, HOMEOSTASIS),
    "homeostasis_tau": Effect(1.0, HOMEOSTASIS),
    "spike_increase": Effect(0.5),
    "adaptation_decay": Effect(0.1, {"spike_increase": 0.5}),
    "use_ahp": Effect(True),
    "tau_ahp": Effect(3.0, AHP),
    "ahp_jump": Effect(1.0, AHP),
    "g_ahp": Effect(0.9, AHP),
    "depression_rate": Effect(0.5),
    "recovery_rate": Effect(0.9, {"depression_rate": 0.5}),
    "neuromod_mode": Effect("threshold"),
    "neuromod_strength": Effect(0.2),
    "neuromod_transform": Effect(torch.tanh),
    "quantum_mode": Effect(False),
    "decision": Effect("threshold"),
    "mapping": Effect("linear"),
    "q_scale": Effect(1.0),
    "q_bias": Effect(-1.0),
    "quantum_leak": Effect(1.0),
    "theta_max": Effect(2.5, {"mapping": "tanh"}),
    "quantum_threshold": Effect(1.0, THRESHOLD),
    "quantum_wire": Effect(5, {**THRESHOLD, "shots": 3}),
    "allow_dynamic_spike_probability": Effect(True),
    "tau_adapt": Effect(2.0, {"allow_dynamic_spike_probability": True}),
    "stochastic": Effect(True, CLASSIC),
    "base_alpha": Effect(8.0, {**CLASSIC, "stochastic": True}),
    "surrogate_gradient_function": Effect("gaussian", {**CLASSIC, **TRAINED}),
    "alpha": Effect(5.0, {**CLASSIC, **TRAINED}),
    "learnable": Effect(("V_reset",)),
    "learnable_threshold": Effect(True),
    "learnable_tau": Effect(True),
    # A tenth of the steps spike, so that the gradient is small.
    "learnable_eta": Effect(True, ADAPTIVE, rate=500.0),
    "learnable_qscale": Effect(True, {"decision": "expectation"}),
    "learnable_qbias": Effect(True),
}


def parameters() -> set[str]:
    """The names of everything that a layer takes, apart from its size, its circuit, and how and where its loop runs."""
    keywords = inspect.signature(QLIF).parameters
    return {item.name for item in fields(Settings)} | set(keywords) - {
        "num_neurons",
        "circuit",
        "kernel",
        "loop",
        "angle_tolerance",
        "parameters",
    }


def test_every_parameter_has_an_entry_in_the_table() -> None:
    assert set(EFFECTS) == parameters()


def spikes_around_a_training_step(modulated: bool, given: Mapping[str, object], rate: float) -> Tensor:
    """The spikes of a fixed input before and after one step of training, if there is anything to train."""
    layer = QLIF(NEURONS, **{"seed": 1, "tau": 5.0, **given})  # type: ignore[arg-type]
    source = torch.Generator().manual_seed(3)
    current = 1.0 + torch.rand(STEPS, 2, NEURONS, generator=source)
    modulation = torch.randn(STEPS, 2, NEURONS, generator=source) if modulated else None
    before, _ = layer(current, modulation=modulation)
    if before.requires_grad:
        before.mean().backward()
        torch.optim.SGD(layer.parameters(), lr=rate).step()
    after, _ = layer(current, modulation=modulation)
    return torch.stack((before, after)).detach()


@pytest.mark.parametrize("name", sorted(parameters()))
def test_changing_a_parameter_changes_the_spikes(name: str) -> None:
    effect = EFFECTS[name]
    modulated = name.startswith("neuromod")
    usual = spikes_around_a_training_step(modulated, effect.context, effect.rate)
    assert torch.equal(usual, spikes_around_a_training_step(modulated, effect.context, effect.rate))
    changed = {**effect.context, name: effect.value}
    assert not torch.equal(usual, spikes_around_a_training_step(modulated, changed, effect.rate))


def test_num_neurons_is_the_size_of_the_layer() -> None:
    assert QLIF(7).initial_state(3).voltage.shape == (3, 7)


#: A number that stands for None, and changes nothing.
NONE = {"V_min": -99.0, "q_scale": 4.0, "q_bias": 0.0}


@pytest.mark.parametrize("name", [item.name for item in fields(Settings) if is_per_neuron(item.name)])
def test_one_value_per_neuron_acts_on_its_neuron_alone(name: str) -> None:
    context, value = EFFECTS[name].context, EFFECTS[name].value
    kwargs: dict[str, object] = {"tau": 5.0, **context, "seed": 4}
    start = kwargs.get(name, NONE.get(name, getattr(Settings(), name)))
    source = torch.Generator().manual_seed(5)
    current = 1.0 + (2.0 if name == "V_peak" else 1.0) * torch.rand(STEPS, 16, 2, generator=source)
    modulation = torch.randn(STEPS, 16, 2, generator=source) if name.startswith("neuromod") else None

    def answer(**given: object) -> Tensor:
        """Spikes, and their derivatives, which are all that a surrogate's sharpness acts on."""
        at = current.clone().requires_grad_()
        spikes, _ = QLIF(2, **{**kwargs, **given})(at, modulation=modulation)  # type: ignore[arg-type]
        spikes.sum().backward()
        return torch.stack((spikes.detach(), cast(Tensor, at.grad)))

    usual = answer()
    for given in ((start, value), [start, value], torch.tensor([start, value])):
        other = answer(**{name: given})
        torch.testing.assert_close(usual[..., 0], other[..., 0], rtol=1e-5, atol=1e-6)
        assert torch.equal(usual[0, ..., 0], other[0, ..., 0])
        assert not torch.allclose(usual[..., 1], other[..., 1], rtol=1e-3)


MODES: dict[str, dict[str, object]] = {
    "sample": {},
    "threshold": THRESHOLD,
    "expectation": {"decision": "expectation"},
    "shots": {"shots": 5, "decision": "threshold"},
    "reference": {"backend": "reference"},
    "deterministic": CLASSIC,
    "stochastic": {**CLASSIC, "stochastic": True},
}
LEARNABLE = {
    "learnable_threshold": "V_th",
    "learnable_tau": "tau",
    "learnable_eta": "eta",
    "learnable_qscale": "q_scale",
    "learnable_qbias": "q_bias",
}


def test_every_learnable_parameter_is_tested() -> None:
    assert set(LEARNABLE) == {item.name for item in fields(Settings) if item.name.startswith("learnable_")}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("membrane", ["leaky", "quadratic"])
@pytest.mark.parametrize("reset", RESETS)
def test_every_learnable_parameter_has_a_finite_gradient_that_is_not_zero(mode: str, membrane: str, reset: str) -> None:
    classic = MODES[mode].get("quantum_mode") is False
    flags = {name: True for name in LEARNABLE if not (classic and "_q" in name)}
    layer = QLIF(3, seed=1, tau=4.0, membrane=membrane, reset=reset, **ADAPTIVE, **flags, **MODES[mode])  # type: ignore[arg-type]
    current = 1.3 + torch.rand(40, 2, 3, generator=torch.Generator().manual_seed(6))
    spikes, _ = layer(current)
    (spikes * torch.linspace(0.5, 1, 40)[:, None, None]).sum().backward()
    gradients = dict(layer.named_parameters())
    assert len(gradients) == len(flags)
    for name, parameter in gradients.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).all(), name


def test_gradients_by_the_values_are_those_of_their_finite_differences() -> None:
    """Each neuron has its own values, from a hair above their bounds to far from them; τ and eta from 1e-3 above on."""
    values = {
        "V_th": torch.tensor([0.8, 1.0, 1.2, 1.5], dtype=torch.float64),
        "tau": torch.tensor([1.001, 1.3, 6.0, 90.0], dtype=torch.float64),
        "eta": torch.tensor([0.001, 0.03, 0.4, 1.3], dtype=torch.float64),
        "q_scale": torch.tensor([0.02, 0.7, 4.0, 12.0], dtype=torch.float64),
        "q_bias": torch.tensor([-1.0, 0.0, 0.3, 1.0], dtype=torch.float64),
    }
    layer = QLIF(4, decision="expectation", use_adaptive_threshold=True, **dict.fromkeys(LEARNABLE, True)).double()  # type: ignore[arg-type]
    current = 1.2 + torch.rand(30, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(8))

    def loss() -> Tensor:
        spikes: Tensor = layer(current)[0]
        return (spikes * torch.linspace(0.5, 1, 30, dtype=torch.float64)[:, None, None]).sum()

    layer.assign(**values)
    loss().backward()  # type: ignore[no-untyped-call]
    found = value_gradients(layer)
    assert set(found) == set(values)
    assert set(value_gradients(SpikingSequential(nn.Identity(), layer))) == {f"chain.1.{name}" for name in values}
    with torch.no_grad():
        for name, value in values.items():
            for neuron in range(4):
                step = torch.zeros(4, dtype=torch.float64)
                step[neuron] = 1e-5
                differences = []
                for sign in (1, -1):
                    layer.assign(**{name: value + sign * step})
                    differences.append(sign * float(loss()))
                layer.assign(**{name: value})
                assert float(found[name][neuron]) == pytest.approx(sum(differences) / 2e-5, rel=1e-5, abs=1e-7), (name, neuron)


def test_a_constant_without_effect_has_a_gradient_of_zero_by_its_value() -> None:
    layer = QLIF(2, learnable_tau=True, learnable_qbias=True)
    assert {name: value.tolist() for name, value in value_gradients(layer).items()} == {"tau": [0, 0], "q_bias": [0, 0]}


def test_nothing_is_trained_unless_it_is_named() -> None:
    assert not list(QLIF(3, use_adaptive_threshold=True).parameters())
    for flag, name in LEARNABLE.items():
        layer = QLIF(3, use_adaptive_threshold=True, **{flag: True})  # type: ignore[arg-type]
        (trained,) = (key for key, _ in layer.named_parameters())
        assert name in trained.split(".")


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("rate", [1.0, 1e2, 1e4])
def test_bounded_constants_stay_within_their_bounds_under_aggressive_training(rate: float, sign: float) -> None:
    layer = QLIF(
        3,
        seed=1,
        tau=4.0,
        use_adaptive_threshold=True,
        decision="expectation",
        learnable_tau=True,
        learnable_eta=True,
        learnable_qscale=True,
    )
    current = 1.5 + torch.rand(30, 2, 3, generator=torch.Generator().manual_seed(7))
    optimiser = torch.optim.SGD(layer.parameters(), lr=rate)
    for _ in range(3):
        optimiser.zero_grad()
        spikes, _ = layer(current)
        assert spikes.isfinite().all()
        (sign * spikes.sum()).backward()
        optimiser.step()
        for values in (layer.tau, layer.eta, layer.q_scale):
            assert values.isfinite().all()
        # In float32 a τ just above dt may round to dt, which the membrane can take.
        assert (layer.tau >= layer.settings.dt).all()
        assert (layer.eta > 0).all()
        assert (layer.q_scale > 0).all()


def test_the_table_of_parameters_has_a_row_for_each() -> None:
    rows = markdown_table().splitlines()
    for item in fields(Settings):
        assert sum(row.startswith(f"| `{item.name}` |") for row in rows) == 1
