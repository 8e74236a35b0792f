"""Every bad input gets one clear sentence before anything runs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState
from qlifq.backends import Backend, Outcome, Plan
from qlifq.backends.analytic import AnalyticBackend
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons import MAPPINGS, SURROGATES, Settings
from qlifq.neurons.parameters import DECISIONS, MEMBRANES, NEUROMOD_MODES, RESETS, Spec

FIELDS = {item.name: item for item in fields(Settings)}
EXACT = AnalyticBackend.capabilities

#: What a parameter needs, in the words of its error: settings with it, and settings without.
NEEDS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "membrane='quadratic'": ({"membrane": "quadratic"}, {}),
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
    "reset='partial'": ({"reset": "partial"}, {}),
}


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
def test_every_range_is_held_on_its_bound(name: str, word: str, bound: float) -> None:
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
            build(**{name: [1.0, value, 1.0]})


WRONG: dict[str, tuple[list[object], str]] = {
    "real": (["1", None, True, [1.0]], "a number"),
    "integer": ([1.0, "1", None, True], "an integer"),
    "flag": ([1, "yes", None], "True or False"),
    "transform": ([3, "tanh"], "a function of a tensor or None"),
}


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].metadata["spec"].kind in WRONG])
def test_a_wrong_type_is_refused(name: str) -> None:
    values, wanted = WRONG[spec(name).kind]
    for value in values:
        with pytest.raises(DtypeError, match=re.escape(f"Argument `{name}` must be {wanted}, but is {value!r}.")):
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
    value = float(cast(Any, FIELDS[name].default) or 1.0)
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
        ({"tau": 0.5}, "`tau` must be at least dt = 1, but is 0.5"),
        ({"tau": (20.0, 1.5, 20.0), "dt": 2.0}, "`tau` must be at least dt = 2, but is 1.5"),
        ({"tau": 1.0, "learnable_tau": True}, "`tau` must be above dt = 1, but is 1"),
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
            "`V_th` must be within min_threshold = 0.5 and max_threshold = 2, but is 2.5",
        ),
        (
            {"use_adaptive_threshold": True, "V_th": 0.25},
            "`V_th` must be within min_threshold = 0.5 and max_threshold = 2, but is 0.25",
        ),
        ({"V_reset": 1.0}, "`V_reset` must be below V_th = 1, but is 1"),
        ({"V_th": (1.0, 0.5, 2.0), "V_reset": 0.75}, "`V_reset` must be below V_th = 0.5, but is 0.75"),
        ({"membrane": "quadratic", "V_c": 0.0}, "`V_c` must be above V_rest = 0, but is 0"),
        ({"membrane": "quadratic", "V_rest": 1.0, "V_c": 1.5}, "`V_rest` must be below V_th = 1, but is 1"),
        ({"membrane": "quadratic", "V_peak": 1.0}, "`V_peak` must be above the threshold 1, but is 1"),
        (
            {"membrane": "quadratic", "use_adaptive_threshold": True, "V_peak": 1.5},
            "`V_peak` must be above the threshold 2, but is 1.5",
        ),
    ],
)
def test_parameters_must_fit_each_other(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
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
        ({"backend": 5}, DtypeError, "`backend` must be a name, but is 5"),
        ({"backend": AnalyticBackend}, DtypeError, "`backend` must be a name, but is <class"),
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
    for ask in (layer.initial_state, layer.plan):
        with pytest.raises(ArgumentError, match="`batch` must be at least 0, but is -1"):
            ask(-1)
        with pytest.raises(DtypeError, match=r"`batch` must be an integer, but is 1\.5"):
            ask(1.5)  # type: ignore[arg-type]


class Small(Backend):
    """A backend without an exact mode that has room for 4 sites and 10 shots."""

    name = "small"
    capabilities = type(EXACT)(exact=False, shots=True, noisy=False, differentiable=False, max_sites=4, max_shots=10)

    def run(
        self, circuit: SpikeCircuit, angles: Tensor, *, shots: int | None, seed: int | None, where: Tensor | None = None
    ) -> Outcome:
        self.check(circuit, angles, shots=shots, seed=seed, where=where)
        return AnalyticBackend().run(circuit, angles, shots=shots, seed=seed, where=where)

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


CURRENT = torch.ones(4, 2, 3)


@pytest.mark.parametrize(
    ("current", "error", "message"),
    [
        (torch.ones(4, 2, 5), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(4, 2, 5\)"),
        (torch.ones(2, 3), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(2, 3\)"),
        (torch.ones(1, 4, 2, 3), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(1, 4, 2, 3\)"),
        (torch.tensor(1.0), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(\)"),
        (CURRENT.double(), DtypeError, "must have dtype float32 like the layer, but has float64"),
        (CURRENT.bfloat16(), DtypeError, "must have dtype float32 like the layer, but has bfloat16"),
        (CURRENT.long(), DtypeError, "must have dtype .*float32.*, but has int64"),
        (CURRENT.bool(), DtypeError, "must have dtype .*float32.*, but has bool"),
        (CURRENT.to(torch.complex64), DtypeError, "must have dtype .*float32.*, but has complex64"),
        (CURRENT.numpy(), DtypeError, "must be a torch tensor, but is ndarray"),
        ([[[1.0] * 3]], DtypeError, "must be a torch tensor, but is list"),
        (None, DtypeError, "must be a torch tensor, but is NoneType"),
        (CURRENT.to("meta"), DtypeError, "must be on cpu like the layer, but is on meta"),
        (CURRENT * float("nan"), ArgumentError, "must be finite, but 24 of its 24 values are NaN or infinite"),
        (CURRENT.index_fill(0, torch.tensor(1), -torch.inf), ArgumentError, "must be finite, but 6 of its 24 values"),
    ],
)
def test_a_bad_current_is_refused(current: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=f"Argument `current` {message}"):
        build()(current)


def test_infinities_that_cancel_are_refused_and_large_values_that_overflow_a_sum_are_not() -> None:
    current = CURRENT.clone()
    current[0, 0, 0], current[0, 0, 1] = torch.inf, -torch.inf
    with pytest.raises(ArgumentError, match="`current` must be finite, but 2 of its 24 values"):
        build()(current)
    spikes, _ = build()(CURRENT * 3e38)
    assert spikes.isfinite().all()


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (torch.ones(4, 2, 3), r"must have shape \(batch, 3\), but has shape \(4, 2, 3\)"),
        (torch.ones(2, 4), r"must have shape \(batch, 3\), but has shape \(2, 4\)"),
        ([[1.0] * 3], "must be a torch tensor, but is list"),
        (torch.ones(2, 3) * torch.nan, "must be finite, but 6 of its 6 values"),
    ],
)
def test_a_bad_current_of_a_step_is_refused(current: object, message: str) -> None:
    with pytest.raises(QLIFError, match=f"Argument `current` {message}"):
        build().step(current)  # type: ignore[arg-type]


def replaced(name: str, change: Callable[[Tensor], object]) -> QLIFState:
    state = build().initial_state(2)
    return state._replace(**{name: change(getattr(state, name))})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", QLIFState._fields)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda value: value[:1], ShapeError, r"must have shape \(2, 3\), but has shape \(1, 3\)"),
        (lambda value: value[None], ShapeError, r"must have shape \(2, 3\), but has shape \(1, 2, 3\)"),
        (lambda value: value.double(), DtypeError, "must be float32 on cpu, but is float64 on cpu"),
        (lambda value: value.to("meta"), DtypeError, "must be float32 on cpu, but is float32 on meta"),
        (lambda value: value.tolist(), DtypeError, "must be float32 on cpu, but is list"),
        (lambda value: value + torch.nan, ArgumentError, "must be finite, but 6 of its 6 values are NaN or infinite"),
        (lambda value: value - torch.inf, ArgumentError, "must be finite, but 6 of its 6 values are NaN or infinite"),
    ],
)
def test_a_bad_state_is_refused(name: str, change: Callable[[Tensor], object], error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=f"Argument `state.{name}` {message}"):
        build()(CURRENT, replaced(name, change))


@pytest.mark.parametrize("state", [5, (), tuple(build().initial_state(2)), {"voltage": torch.zeros(2, 3)}])
def test_what_is_no_state_is_refused(state: object) -> None:
    with pytest.raises(DtypeError, match=f"`state` must be a QLIFState or None, but is {type(state).__name__}"):
        build()(CURRENT, state)


@pytest.mark.parametrize(
    ("modulation", "error", "message"),
    [
        (torch.ones(3, 2, 3), ShapeError, r"must have shape \(4, 2 or 1, 3 or 1\), but has shape \(3, 2, 3\)"),
        (torch.ones(1, 2, 3), ShapeError, r"must have shape \(4, 2 or 1, 3 or 1\), but has shape \(1, 2, 3\)"),
        (torch.ones(4, 3, 3), ShapeError, r"must have shape \(4, 2 or 1, 3 or 1\), but has shape \(4, 3, 3\)"),
        (torch.ones(4, 2), ShapeError, r"must have shape \(4, 2 or 1, 3 or 1\), but has shape \(4, 2\)"),
        (torch.tensor(1.0), ShapeError, r"must have shape \(4, 2 or 1, 3 or 1\), but has shape \(\)"),
        (torch.ones(4, 2, 3).double(), DtypeError, "must have dtype float32, but has float64"),
        (torch.ones(4, 2, 3).long(), DtypeError, "must have dtype float32, but has int64"),
        (torch.ones(4, 2, 3, device="meta"), DtypeError, "must be on cpu, but is on meta"),
        (torch.ones(4, 2, 3) * torch.nan, ArgumentError, "must be finite, but 24 of its 24 values"),
        (1.0, DtypeError, "must be a torch tensor, but is float"),
    ],
)
def test_a_bad_modulation_is_refused(modulation: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=f"Argument `modulation` {message}"):
        build()(CURRENT, None, modulation)


@pytest.mark.parametrize(
    ("modulation", "message"),
    [(torch.ones(5, 3), r"has shape \(5, 3\)"), ([[1.0]], "is list"), (torch.ones(2, 3) * torch.nan, "6 of its 6 values")],
)
def test_a_bad_modulation_of_a_step_is_refused(modulation: object, message: str) -> None:
    with pytest.raises(QLIFError, match=f"Argument `modulation` must .*but {message}"):
        build().step(torch.ones(2, 3), None, modulation)  # type: ignore[arg-type]


def test_a_modulation_that_is_switched_off_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="`modulation` would be ignored: it must be None with neuromod_mode='off'"):
        build(neuromod_mode="off")(CURRENT, None, torch.ones(4, 2, 3))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda m: m[0], r"`neuromod_transform` must return a tensor of shape \(4, 2, 3\), but returned \(2, 3\)"),
        (lambda m: 3.0, r"`neuromod_transform` must return a tensor of shape \(4, 2, 3\), but returned float"),
        (lambda m: None, r"`neuromod_transform` must return a tensor of shape \(4, 2, 3\), but returned NoneType"),
        (lambda m: (m - 1) / 0, r"`neuromod_transform\(modulation\)` must be finite, but 24 of its 24 values"),
    ],
)
def test_a_transform_that_returns_nonsense_is_refused(transform: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        build(neuromod_transform=transform)(CURRENT, None, torch.ones(4, 2, 3))


def test_nothing_runs_before_a_refusal() -> None:
    layer = build(seed=1, noise_std=0.1)
    for arguments in ((CURRENT * torch.nan,), (CURRENT, 5), (CURRENT, None, 1.0)):
        with pytest.raises(QLIFError):
            layer(*arguments)
    assert layer.seeds.position == 0


ASSIGNED = torch.tensor([0.8, 0.9, 1.1])


@pytest.mark.parametrize("learnable", [False, True])
def test_assign_sets_constants_in_place(learnable: bool) -> None:
    flags = dict.fromkeys(
        ["learnable_threshold", "learnable_tau", "learnable_eta", "learnable_qscale", "learnable_qbias"], learnable
    )
    layer = build(use_adaptive_threshold=True, tau=4.0, **flags)
    before = list(layer.parameters())
    values = {"V_th": ASSIGNED, "tau": 10 * ASSIGNED, "eta": ASSIGNED, "q_scale": 3 * ASSIGNED, "q_bias": -ASSIGNED}
    layer.assign(**values)
    for name, value in values.items():
        torch.testing.assert_close(getattr(layer, name).detach(), value)
    assert all(now is then for now, then in zip(layer.parameters(), before, strict=True))
    spikes, _ = layer(CURRENT)
    assert spikes.requires_grad is learnable


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"theta": ASSIGNED}, ArgumentError, "Unknown constant `theta`: it must be one of V_th, tau, eta, q_scale, q_bias"),
        ({"q_scale": ASSIGNED[:2]}, ShapeError, r"`q_scale` must have shape \(3,\), but has shape \(2,\)"),
        ({"q_scale": torch.tensor(1.0)}, ShapeError, r"`q_scale` must have shape \(3,\), but has shape \(\)"),
        ({"q_scale": [1.0, 1.0, 1.0]}, DtypeError, "`q_scale` must be a torch tensor, but is list"),
        ({"q_scale": ASSIGNED.long()}, DtypeError, "`q_scale` must have dtype float32 or float64, but has int64"),
        ({"q_scale": -ASSIGNED}, ArgumentError, "`q_scale` must be above 0, but is -0.8"),
        ({"q_bias": ASSIGNED * torch.nan}, ArgumentError, "`q_bias` must be finite, but 3 of its 3 values"),
        ({"eta": -ASSIGNED}, ArgumentError, "`eta` must be at least 0, but is -0.8"),
        ({"tau": ASSIGNED}, ArgumentError, "`tau` must be at least dt = 1, but is 0.8"),
        ({"V_th": 3 * ASSIGNED}, ArgumentError, "`V_th` must be within min_threshold = 0.5 and max_threshold = 2, but is 3.3"),
        ({"V_th": ASSIGNED - 1}, ArgumentError, "`V_th` must be within min_threshold = 0.5 and max_threshold = 2, but is -0.2"),
    ],
)
def test_bad_assigned_values_are_refused_and_leave_all_as_it_was(
    values: dict[str, Tensor], error: type[QLIFError], message: str
) -> None:
    layer = build(use_adaptive_threshold=True)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(error, match=message):
        layer.assign(**({} if "q_bias" in values else {"q_bias": ASSIGNED}), **values)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"V_reset": 0.5}, "must be .*V_reset = 0.5"),
        ({"membrane": "quadratic", "V_rest": 0.5, "V_c": 0.9, "V_reset": 0.0}, "must be .*V_rest = 0.5"),
        ({"membrane": "quadratic", "V_peak": 2.0}, "must be .*V_peak = 2"),
    ],
)
def test_an_assigned_threshold_must_fit_the_other_settings(parameters: dict[str, object], message: str) -> None:
    layer = build(**parameters)
    with pytest.raises(ArgumentError, match=f"`V_th` {message}"):
        layer.assign(V_th=torch.tensor([0.4, 1.0, 3.0]))


def test_an_assigned_value_of_a_trained_constant_must_be_above_its_bound_or_nothing_is_assigned() -> None:
    layer = build(learnable_tau=True)
    with pytest.raises(ArgumentError, match="`tau` must be above 1, but is 1"):
        layer.assign(q_bias=ASSIGNED, tau=torch.tensor([1.0, 2.0, 3.0]))
    assert (layer.q_bias == 0).all()


@pytest.mark.parametrize("name", ["eta", "q_scale", "q_bias"])
def test_a_constant_that_the_layer_lacks_says_what_it_needs(name: str) -> None:
    need = spec(name).need
    assert need is not None
    with pytest.raises(ArgumentError, match=f"This layer has no `{name}`: it needs {need.words}"):
        getattr(build(quantum_mode=False), name)


def test_a_layer_prints_what_differs_from_the_defaults() -> None:
    shown = repr(build(tau=5.0, shots=3, decision="threshold"))
    assert "3, backend=analytic, shots=3, tau=5.0, decision='threshold'" in shown
    assert "shots=exact" in repr(build())


def test_a_half_precision_layer_is_refused_by_the_name_of_what_was_given() -> None:
    """Half precision is for autocast alone."""
    with pytest.raises(DtypeError, match=r"`current` must have dtype .*, but has float16"):
        build().half()(CURRENT.half())
