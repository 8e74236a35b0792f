"""Every number that has a gradient can be trained: its gradient is right, and it stays within its range."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
import torch
from torch import Tensor

from qlifq import QLIF
from qlifq.neurons import NeuronParameters, SeedStream, Settings, value_gradients
from qlifq.neurons.keywords import Numbers
from qlifq.neurons.parameters import Transform, spec_of

NEURONS, STEPS = 3, 40
NUMBERS: dict[str, tuple[float, ...]] = {
    "V_th": (0.8, 1.0, 1.1),
    "V_min": (-0.1, -0.3, -0.2),
    "tau": (3.0, 5.0, 2.0),
    "noise_std": (0.3, 0.5, 0.2),
    "eta": (0.3, 0.5, 0.2),
    "tau_threshold": (7.0, 3.0, 20.0),
    "min_threshold": (0.75, 0.9, 0.6),
    "max_threshold": (1.0, 1.3, 1.15),
    "homeostasis_target_rate": (0.9, 0.2, 0.8),
    "homeostasis_lr": (0.1, 0.05, 0.3),
    "homeostasis_tau": (11.0, 5.0, 1.5),
    "spike_increase": (0.4, 0.1, 0.2),
    "adaptation_decay": (0.8, 0.5, 0.99),
    "tau_ahp": (9.0, 20.0, 3.0),
    "ahp_jump": (0.9, 0.3, 0.1),
    "g_ahp": (0.3, 0.1, 0.2),
    "depression_rate": (0.35, 0.01, 0.9),
    "recovery_rate": (0.15, 0.05, 0.9),
    "neuromod_strength": (0.6, -0.2, 0.3),
    "q_scale": (1.0, 4.0, 2.0),
    "q_bias": (0.3, 0.9, 0.5),
    "quantum_leak": (0.1, 0.0, -0.3),
    "tau_adapt": (6.0, 3.0, 12.0),
}
SWITCHES: dict[str, Any] = {
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "use_ahp": True,
    "allow_dynamic_spike_probability": True,
    "decision": "expectation",
}
HARD: dict[str, tuple[float, ...]] = {**NUMBERS, "V_reset": (0.0, -0.05, 0.2)}
CASES: dict[str, tuple[dict[str, tuple[float, ...]], dict[str, Any]]] = {
    "leaky": (HARD, {}),
    "partial": ({**HARD, "reset_fraction": (0.3, 0.9, 0.6)}, {"reset": "partial", "neuromod_mode": "threshold"}),
    "tanh": (
        {**NUMBERS, "theta_max": (1.5, 3.1, 2.0), "reset_scale": (0.8, 1.3, 0.4)},
        {"mapping": "tanh", "reset": "soft", "neuromod_mode": "prob_slope"},
    ),
    "quadratic": (
        {
            **HARD,
            "V_rest": (0.1, 0.0, -0.1),
            "V_c": (0.7, 0.5, 0.9),
            "a0": (1.3, 1.0, 0.5),
            "R": (1.2, 2.0, 0.8),
            "V_peak": (1.05, 1.4, 1.2),
        },
        {"membrane": "quadratic"},
    ),
}
TRAINABLE = {item.name for item in fields(Settings) if not spec_of(item).without_gradient}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def loss_of(layer: QLIF) -> Tensor:
    """A weighted sum of the spikes of each neuron, `(num_neurons,)`, with the same draws every time."""
    source = torch.Generator().manual_seed(21)
    current = 1.2 + 1.6 * torch.randn(STEPS, 4, NEURONS, generator=source)
    modulation = torch.rand(STEPS, 4, NEURONS, generator=source)
    layer.seeds = SeedStream(5)
    spikes: Tensor = layer(current, modulation=modulation)[0]
    return (spikes * torch.linspace(0.5, 1.5, STEPS)[:, None, None]).sum(dim=(0, 1))


def gradients_of(values: dict[str, tuple[float, ...]], kernel: str = "auto", **options: Any) -> dict[str, Tensor]:
    layer = QLIF(NEURONS, kernel=kernel, learnable=tuple(values), **values, **options)  # type: ignore[arg-type]
    loss_of(layer).sum().backward()  # type: ignore[no-untyped-call]
    assert {name.split(".")[1] for name, _ in layer.named_parameters()} == set(values)
    return value_gradients(layer)


def test_every_number_with_a_gradient_is_tested() -> None:
    assert {name for values, _ in CASES.values() for name in values} | {"base_alpha"} == TRAINABLE


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_step_loop_and_of_finite_differences(case: str) -> None:
    values, options = CASES[case]
    options = {**SWITCHES, **options}
    found, stepwise = gradients_of(values, **options), gradients_of(values, "off", **options)
    assert set(found) == set(values)
    layer = QLIF(NEURONS, **{**values, **options})
    for name, value in values.items():
        torch.testing.assert_close(found[name], stepwise[name], rtol=1e-9, atol=1e-10)
        assert (found[name] != 0).any(), name
        losses = []
        for step in (1e-6, -1e-6):
            layer.assign(**{name: torch.tensor(value) + step})
            losses.append(loss_of(layer))
        layer.assign(**{name: torch.tensor(value)})
        torch.testing.assert_close(found[name], (losses[0] - losses[1]) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["sample", "threshold", "stochastic", "deterministic"])
def test_gradients_of_drawn_spikes_are_those_of_the_step_loop(mode: str) -> None:
    classic = mode in {"stochastic", "deterministic"}
    dropped = {"q_scale", "q_bias", "quantum_leak"} if classic else set()
    options: dict[str, Any] = {**SWITCHES, "decision": mode}
    if classic:
        options |= {"quantum_mode": False, "stochastic": mode == "stochastic", "decision": "sample"}
    if mode == "deterministic":
        dropped |= {"tau_adapt"}
        options["allow_dynamic_spike_probability"] = False
    values = {name: value for name, value in HARD.items() if name not in dropped}
    if mode == "stochastic":
        values["base_alpha"] = (1.0, 2.0, 4.0)
    found, stepwise = gradients_of(values, **options), gradients_of(values, "off", **options)
    for name in values:
        torch.testing.assert_close(found[name], stepwise[name], rtol=1e-8, atol=1e-9)
    assert mode != "stochastic" or (found["base_alpha"] != 0).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("rate", [1.0, 1e3])
def test_trained_values_stay_within_their_range(rate: float, sign: float) -> None:
    torch.set_default_dtype(torch.float32)
    options = {**SWITCHES, "reset": "partial"}
    values = {**HARD, "reset_fraction": (0.3, 0.999, 0.001)}
    layer = QLIF(NEURONS, learnable=tuple(values), **values, **options)  # type: ignore[arg-type]
    optimiser = torch.optim.SGD([item for name, item in layer.named_parameters() if name.endswith("unbounded")], lr=rate)
    before = {name: getattr(layer, name).detach().clone() for name in values}
    for _ in range(3):
        optimiser.zero_grad()
        (sign * loss_of(layer).sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for name in values:
        value, (low, high) = getattr(layer, name), layer.settings.open_bounds(name)
        # In float32 a value just beside its bound may round to it.
        assert value.isfinite().all()
        assert low is None or (value >= low).all()
        assert high is None or (value <= high).all()
        assert low is None or not torch.equal(value, before[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_value_between_two_bounds_is_stored_without_losing_it(dtype: torch.dtype) -> None:
    given = (1e-6, 0.5, 1 - 1e-6)
    layer = QLIF(3, spike_increase=0.1, adaptation_decay=given, learnable=("adaptation_decay",)).to(dtype)
    value: Any = layer.adaptation_decay
    torch.testing.assert_close(value, torch.tensor(given, dtype=dtype), rtol=1e-5, atol=1e-7)
    value.sum().backward()
    torch.testing.assert_close(value_gradients(layer)["adaptation_decay"], torch.ones(3, dtype=dtype), rtol=1e-3, atol=0)


def test_the_names_in_a_state_dict_are_those_of_what_is_kept() -> None:
    assert list(QLIF(2).state_dict()) == [f"constants.{name}.value" for name in ("V_th", "tau", "q_scale", "q_bias")]
    layer = QLIF(2, V_reset=(0.0, 0.1), g_ahp=0.3, use_ahp=True, learnable=("g_ahp", "tau"))
    kept = {"V_th.value", "tau.unbounded", "q_scale.value", "q_bias.value", "V_reset.value", "g_ahp.unbounded"}
    assert set(layer.state_dict()) == {f"constants.{name}" for name in kept}


def test_the_rest_of_a_quadratic_neuron_is_its_own_and_is_trained() -> None:
    layer = QLIF(2, membrane="quadratic", V_rest=(0.1, -0.2), learnable=("V_rest",))
    rest = layer.initial_state(3).voltage
    assert rest.tolist() == [[0.1, -0.2]] * 3
    rest.sum().backward()  # type: ignore[no-untyped-call]
    assert value_gradients(layer)["V_rest"].tolist() == [3.0, 3.0]


def test_numbers_per_neuron_act_on_a_backend_as_in_the_closed_form() -> None:
    """Where a backend decides, a leak and a span for each neuron turn its own qubit."""
    options: dict[str, Any] = {
        "mapping": "tanh",
        "quantum_leak": (0.1, -0.4),
        "theta_max": (1.0, 3.0),
        "decision": "expectation",
    }
    current = torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(QLIF(2, backend="reference", **options)(current)[0], QLIF(2, **options)(current)[0])


def test_the_keywords_are_the_fields_of_the_settings_and_their_types() -> None:
    types: dict[str, Any] = {
        "per-neuron": Numbers,
        "real": float,
        "integer": int,
        "flag": bool,
        "choice": str,
        "transform": Transform,
    }
    hints = get_type_hints(NeuronParameters)
    named = {"decision", "mapping", "membrane"}
    assert set(hints) == {item.name for item in fields(Settings)} - named
    assert not NeuronParameters.__required_keys__
    for item in fields(Settings):
        kind = spec_of(item).kind
        if item.name not in named and kind != "names":
            assert hints[item.name] == (types[kind] | None if item.default is None else types[kind]), item.name
