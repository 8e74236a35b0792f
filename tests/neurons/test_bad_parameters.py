"""Every parameter that cannot be used is refused with one clear sentence when the layer is built."""

import re
from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any, cast

import numpy as np
import pytest
import torch

from qlifq import QLIF
from qlifq.backends import Backend, Call, Outcome, Plan
from qlifq.backends.analytic import AnalyticBackend
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons import MAPPINGS, SURROGATES, Settings
from qlifq.neurons.membrane import MEMBRANES, Membrane
from qlifq.neurons.parameters import DECISIONS, NEUROMOD_MODES, RESETS, Spec

FIELDS = {item.name: item for item in fields(Settings)}
EXACT = AnalyticBackend.capabilities

#: What a parameter needs, in the words of its error: settings with it, and settings without.
NEEDS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "membrane='quadratic'": ({"membrane": "quadratic"}, {}),
    "a membrane that has it": ({}, {"membrane": "bare"}),
    "quantum_mode=True": ({}, {"quantum_mode": False}),
    "quantum_mode=False": ({"quantum_mode": False}, {}),
    "quantum_mode=False and stochastic=False": ({"quantum_mode": False}, {"quantum_mode": False, "stochastic": True}),
    "quantum_mode=False and stochastic=True": ({"quantum_mode": False, "stochastic": True}, {"quantum_mode": False}),
    "use_adaptive_threshold=True": ({"use_adaptive_threshold": True}, {"homeostasis_enabled": True}),
    "use_adaptive_threshold=True or homeostasis_enabled=True": ({"homeostasis_enabled": True}, {}),
    "homeostasis_enabled=True": ({"homeostasis_enabled": True}, {"use_adaptive_threshold": True}),
    "use_ahp=True": ({"use_ahp": True}, {}),
    "spike_increase above 0": ({"spike_increase": 0.1}, {}),
    "depression_rate above 0": ({"depression_rate": 0.1}, {}),
    "neuromod_mode other than 'off'": ({}, {"neuromod_mode": "off"}),
    "quantum_mode=True or stochastic=True": ({}, {"quantum_mode": False}),
    "allow_dynamic_spike_probability=True": ({"allow_dynamic_spike_probability": True}, {}),
    "quantum_mode=True and decision='threshold'": ({"decision": "threshold"}, {}),
    "quantum_mode=True and mapping='tanh'": ({"mapping": "tanh"}, {}),
    "reset='hard' or reset='partial'": ({}, {"reset": "soft"}),
    "reset='soft'": ({"reset": "soft"}, {}),
    "reset='partial'": ({"reset": "partial"}, {}),
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A membrane of one's own that has no parameters goes with each test."""
    monkeypatch.setattr(MEMBRANES, "_rows", {**MEMBRANES, "bare": Membrane(formula="V ← I_eff", follow=lambda v, i, d: i)})


def spec(name: str) -> Spec:
    found = FIELDS[name].metadata["spec"]
    assert isinstance(found, Spec)
    return found


def build(**parameters: object) -> QLIF:
    return QLIF(3, **parameters)  # type: ignore[arg-type]


def needed(name: str) -> dict[str, object]:
    need = spec(name).need
    return {} if need is None else NEEDS[need.words][0]


def another_value(item: "Field[Any]") -> object:
    """One that is allowed and not the default."""
    kind, default = spec(item.name).kind, cast(Any, item.default)
    if kind == "flag":
        return not default
    if kind == "choice":
        return next(option for option in spec(item.name).options if option != default)
    if kind == "integer":
        return int(default) + 1
    if kind == "transform":
        return torch.tanh
    return 0.9 * float(default) if default else 0.1


def test_every_need_is_in_the_table() -> None:
    assert {spec(name).need.words for name in FIELDS if spec(name).need} == set(NEEDS)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["spec"].need])
def test_a_parameter_that_would_be_ignored_is_refused(name: str) -> None:
    need = spec(name).need
    assert need is not None
    value = another_value(FIELDS[name])
    having, lacking = NEEDS[need.words]
    if name == "quantum_wire":
        having = {"shots": 1}
    build(**{**having, name: value})
    message = f"Argument `{name}` would be ignored: it needs {need.words}, but is {value!r} without."
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        build(**{**lacking, name: value})


def bounds() -> Iterator[tuple[str, str, float]]:
    for name in FIELDS:
        for word, bound in spec(name).bounds.items():
            yield name, word, bound


@pytest.mark.parametrize(("name", "word", "bound"), list(bounds()))
def test_every_range_is_checked_on_its_bound(name: str, word: str, bound: float) -> None:
    whole = spec(name).kind == "integer"
    little = 1 if whole else 1e-6
    inside, outside = {
        "at_least": (bound, bound - little),
        "above": (bound + little, bound),
        "at_most": (bound, bound + little),
        "below": (bound - little, bound),
    }[word]
    if whole:
        inside, outside = int(inside), int(outside)
    context: dict[str, object] = {**needed(name), **({} if name == "dt" else {"dt": 1e-9})}
    if name == "quantum_wire":
        context["shots"] = 1
    build(**{**context, name: inside})
    phrase = f"{word.replace('_', ' ')} {bound:g}"
    message = rf"Argument `{name}` must be [^,]*{re.escape(phrase)}[^,]*, but is {re.escape(str(outside))}\."
    with pytest.raises(ArgumentError, match=message):
        build(**{**context, name: outside})
    if spec(name).kind == "per-neuron":
        with pytest.raises(ArgumentError, match=message):
            build(**{**context, name: (inside, outside, inside)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["spec"].kind in {"real", "per-neuron"}])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=f"Argument `{name}` must be finite, but is {value}"):
        build(**{name: value})
    if spec(name).kind == "per-neuron":
        with pytest.raises(ArgumentError, match=f"Argument `{name}` must be finite, but is {value}"):
            build(**{name: [0.5, value, 0.5]})


WRONG: dict[str, tuple[list[object], str]] = {
    "real": (["1", None, True, [1.0]], "a number"),
    "integer": ([1.0, "1", None, True], "an integer"),
    "flag": ([1, "yes", None], "True or False"),
    "transform": ([3, "tanh"], "a function of a tensor or None"),
}


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["spec"].kind in WRONG])
def test_a_wrong_type_is_refused(name: str) -> None:
    values, expected = WRONG[spec(name).kind]
    for value in values:
        with pytest.raises(DtypeError, match=re.escape(f"Argument `{name}` must be {expected}, but is {value!r}.")):
            build(**{name: value})


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["spec"].kind == "choice"])
def test_an_unknown_choice_is_refused_with_the_known_ones(name: str) -> None:
    known = {
        "membrane": MEMBRANES,
        "reset": RESETS,
        "neuromod_mode": NEUROMOD_MODES,
        "decision": DECISIONS,
        "mapping": MAPPINGS,
        "surrogate_gradient_function": SURROGATES,
    }[name]
    for value in ("nonsense", 3, None):
        with pytest.raises(ArgumentError, match=re.escape(f"`{name}` must be one of {', '.join(known)}, but is {value!r}.")):
            build(**{name: value})


PER_NEURON = [name for name in FIELDS if FIELDS[name].metadata["spec"].kind == "per-neuron"]


@pytest.mark.parametrize("name", PER_NEURON)
def test_values_per_neuron_must_be_as_many_as_neurons(name: str) -> None:
    value = -1.0 if name == "V_min" else float(cast(Any, FIELDS[name].default) or 0.1)
    for given in ((value,) * 2, [value] * 2, torch.full((2,), value), np.full(2, value)):
        with pytest.raises(ShapeError, match=f"Argument `{name}` must be one number or 3, one per neuron, but has 2"):
            build(**{**needed(name), name: given})
    with pytest.raises(ShapeError, match=f"Argument `{name}` must hold one number per neuron, but is empty"):
        build(**{**needed(name), name: ()})
    for wrong in ("1.0", [value, "1.0", value], torch.full((3, 1), value), [value, True, value], {1.0}):
        with pytest.raises(DtypeError, match=f"Argument `{name}` must be a number, but is"):
            build(**{**needed(name), name: wrong})
    for right in (
        (value,) * 3,
        [value] * 3,
        torch.full((3,), value),
        np.full(3, value),
        np.float32(value),
        torch.tensor(value),
    ):
        build(**{**needed(name), name: right})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"V_reset": (0.0, 1.5, 0.5), "V_th": (1.0, 1.4, 1.2)}, "`V_th` must be above V_reset = 1.5, but is 1.4"),
        (
            {"membrane": "quadratic", "V_rest": (0.0, 0.4, 0.0), "V_c": (0.8, 0.3, 0.8)},
            "`V_c` must be above V_rest = 0.4, but is 0.3",
        ),
        ({"V_min": 0.0}, "`V_min` must be below V_reset = 0, but is 0"),
        ({"V_min": (-1.0, 1.1, -1.0), "reset": "soft"}, "`V_min` must be below V_th = 1, but is 1.1"),
        ({"V_min": -0.5, "membrane": "quadratic", "V_rest": -0.6}, "`V_min` must be below V_rest = -0.6, but is -0.5"),
        ({"tau": 0.5}, "`tau` must be at least dt = 1, but is 0.5"),
        ({"tau": (20.0, 1.5, 20.0), "dt": 2.0}, "`tau` must be at least dt = 2, but is 1.5"),
        ({"tau": 1.0, "learnable_tau": True}, "`tau` must be above dt = 1 to be learnable, but is 1"),
        ({"homeostasis_enabled": True, "homeostasis_tau": 0.5}, "`homeostasis_tau` must be at least dt = 1, but is 0.5"),
        (
            {"use_adaptive_threshold": True, "eta": 0.0, "learnable_eta": True},
            "`eta` must be above 0 to be learnable, but is 0",
        ),
        (
            {"use_adaptive_threshold": True, "min_threshold": 2.0},
            "`min_threshold` must be below max_threshold = 2, but is 2",
        ),
        (
            {"homeostasis_enabled": True, "V_th": (1.0, 2.5, 1.0)},
            "`V_th` must be at most max_threshold = 2, but is 2.5",
        ),
        (
            {"use_adaptive_threshold": True, "V_th": 0.25},
            "`V_th` must be at least min_threshold = 0.5, but is 0.25",
        ),
        ({"V_reset": 1.0}, "`V_th` must be above V_reset = 1, but is 1"),
        ({"V_th": (1.0, 0.5, 2.0), "V_reset": 0.75}, "`V_th` must be above V_reset = 0.75, but is 0.5"),
        ({"membrane": "quadratic", "V_c": 0.0}, "`V_c` must be above V_rest = 0, but is 0"),
        ({"membrane": "quadratic", "V_rest": 1.0, "V_c": 1.5}, "`V_th` must be above V_rest = 1, but is 1"),
        ({"membrane": "quadratic", "V_peak": 1.0}, "`V_th` must be below V_peak = 1, but is 1"),
        (
            {"membrane": "quadratic", "use_adaptive_threshold": True, "V_peak": 1.5},
            "`max_threshold` must be below V_peak = 1.5, but is 2",
        ),
    ],
)
def test_parameters_must_fit_each_other(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        build(**parameters)


def test_rules_hold_neuron_by_neuron_and_where_both_parameters_have_an_effect() -> None:
    build(V_reset=(0.0, 1.5, 0.5), V_th=(1.0, 1.6, 1.2), V_min=(-1.0, 0.5, 0.0))
    build(dt=200.0, tau=200.0)
    with pytest.raises(ShapeError, match="`tau` must hold 3 numbers like `V_th`, but holds 2"):
        build(V_th=(1.0, 1.0, 1.0), tau=(5.0, 6.0))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"learnable": ("taux",)}, ArgumentError, "Unknown learnable parameter `taux`: it must be one of V_th, V_reset, "),
        ({"learnable": "tau"}, DtypeError, "`learnable` must be a tuple of names, but is 'tau'"),
        (
            {"learnable": ("dt",)},
            UnsupportedError,
            "must not hold `dt`, which has no gradient: all neurons share one time step",
        ),
        ({"learnable": ("quantum_threshold",)}, UnsupportedError, "which has no gradient: a comparison has no derivative"),
        ({"learnable": ("alpha",), "quantum_mode": False}, UnsupportedError, "`alpha`, .*: no spike depends on it"),
        ({"learnable": ("refractory_period",)}, UnsupportedError, "`refractory_period`, .*: it is a whole number"),
        ({"learnable": ("mapping",)}, UnsupportedError, "`mapping`, which has no gradient: it is a name"),
        ({"learnable": ("use_ahp",)}, UnsupportedError, "`use_ahp`, which has no gradient: it is True or False"),
        ({"learnable": ("a0",)}, UnsupportedError, "would be ignored for `a0`: it needs membrane='quadratic'"),
        ({"learnable": ("V_min",)}, ArgumentError, "`V_min` must be a number to be learnable, but is None"),
        ({"learnable": ("noise_std",)}, ArgumentError, "`noise_std` must be above 0 to be learnable, but is 0"),
        (
            {"learnable": ("reset_fraction",), "reset": "partial", "reset_fraction": (0.5, 1.0, 0.2)},
            ArgumentError,
            "`reset_fraction` must be below 1 to be learnable, but is 1",
        ),
        (
            {"learnable": ("homeostasis_tau",), "homeostasis_enabled": True, "homeostasis_tau": 1.0},
            ArgumentError,
            "`homeostasis_tau` must be above dt = 1 to be learnable, but is 1",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(parameters: dict[str, object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=message):
        build(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"decision": "expectation", "refractory_period": 2},
            "`refractory_period` must be 0 with decision='expectation', .* is 2",
        ),
        ({"quantum_mode": False, "neuromod_mode": "prob_slope"}, "`neuromod_mode` must not be 'prob_slope' for the classic"),
        ({"quantum_wire": 3}, "`quantum_wire` would be ignored: pooling qubits needs shots, but is 3 without"),
        ({"quantum_mode": False, "shots": 3}, "`shots` would be ignored: it needs quantum_mode=True, but is 3"),
        ({"quantum_mode": False, "backend": "reference"}, "`backend` would be ignored: .* but is 'reference'"),
        ({"quantum_mode": False, "gradient": "none"}, "`gradient` would be ignored: .* but is 'none'"),
        ({"quantum_mode": False, "gradient_shots": 3}, "`gradient_shots` would be ignored: .* but is 3"),
        ({"gradient_shots": 3}, "`gradient_shots` would be ignored: gradient 'auto' on backend analytic shifts no parameter"),
        ({"gradient": "analytic", "gradient_shots": 3}, "`gradient_shots` would be ignored: gradient 'analytic'"),
    ],
)
def test_options_that_exclude_each_other_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        build(**parameters)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"shots": 0}, ArgumentError, "`shots` must be at least 1, but is 0"),
        ({"shots": -4}, ArgumentError, "`shots` must be at least 1, but is -4"),
        ({"shots": 1.5}, DtypeError, "`shots` must be an integer, but is 1.5"),
        ({"shots": True}, DtypeError, "`shots` must be an integer, but is True"),
        ({"seed": -1}, ArgumentError, "`seed` must be at least 0 .*, but is -1"),
        ({"seed": 2**63}, ArgumentError, f"`seed` must be .*, but is {2**63}"),
        ({"seed": 1.0}, DtypeError, "`seed` must be an integer, but is 1.0"),
        ({"gradient": "backprop"}, ArgumentError, "`gradient` must be one of auto, .*none, but is 'backprop'"),
        ({"gradient": None}, ArgumentError, "`gradient` must be one of auto, .*none, but is None"),
        ({"gradient": "parameter-shift", "gradient_shots": 0}, ArgumentError, "`gradient_shots` must be at least 1, but is 0"),
        ({"backend": "analitic"}, ArgumentError, "Unknown backend `analitic`: it must be one of analytic, .*reference"),
        ({"backend": 5}, DtypeError, r"`backend` must be a name, .* or PennyLane, but is 5"),
        ({"backend": AnalyticBackend}, DtypeError, r"`backend` must be a name, .* or PennyLane, but is <class"),
        ({"V_threshold": 1.0}, ArgumentError, "Unknown parameter `V_threshold`: it must be one of membrane, V_th, "),
    ],
)
def test_bad_options_of_a_layer_are_refused(parameters: dict[str, object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=message):
        build(**parameters)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ArgumentError, "must be at least 1, but is 0"),
        (-3, ArgumentError, "must be at least 1, but is -3"),
        (2.0, DtypeError, "must be an integer, but is 2.0"),
        ("3", DtypeError, "must be an integer, but is '3'"),
        (True, DtypeError, "must be an integer, but is True"),
    ],
)
def test_bad_sizes_are_refused(value: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=f"`num_neurons` {message}"):
        QLIF(value)  # type: ignore[arg-type]


def test_bad_batches_are_refused() -> None:
    layer = build()
    for method in (layer.initial_state, layer.plan):
        with pytest.raises(ArgumentError, match="`batch` must be at least 0, but is -1"):
            method(-1)
        with pytest.raises(DtypeError, match=r"`batch` must be an integer, but is 1\.5"):
            method(1.5)  # type: ignore[arg-type]


class Small(Backend):
    """A backend without an exact mode that has room for 4 sites and 10 shots."""

    name = "small"
    capabilities = type(EXACT)(exact=False, shots=True, noisy=False, differentiable=False, max_sites=4, max_shots=10)

    def _execute(self, call: Call) -> Outcome:
        return AnalyticBackend().run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return AnalyticBackend().plan(circuit, batch, sites, shots=shots)


def test_what_a_backend_cannot_do_is_refused_when_the_layer_is_built() -> None:
    assert build(backend=Small()).shots == 1
    for decision in ("threshold", "expectation"):
        message = f"`shots` must be an integer for decision='{decision}' on backend small, which has no exact mode"
        with pytest.raises(UnsupportedError, match=message):
            build(backend=Small(), decision=decision)
    with pytest.raises(ArgumentError, match=r"`shots` must be .*at most 10, but is 11"):
        build(backend=Small(), shots=11)
    with pytest.raises(ArgumentError, match=r"`sites` must be .*at most 4, but is 6"):
        build(backend=Small(), shots=1, quantum_wire=2)
