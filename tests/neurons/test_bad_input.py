"""Every bad input of a call gets one clear sentence before anything runs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qlifq import QLIF, QLIFState
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError


def build(**parameters: object) -> QLIF:
    return QLIF(3, **parameters)  # type: ignore[arg-type]


CURRENT = torch.ones(4, 2, 3)


@pytest.mark.parametrize(
    ("current", "error", "message"),
    [
        (torch.ones(4, 2, 5), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(4, 2, 5\)"),
        (torch.ones(2, 3), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(2, 3\)"),
        (torch.ones(1, 4, 2, 3), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(1, 4, 2, 3\)"),
        (torch.tensor(1.0), ShapeError, r"must have shape \(time, batch, 3\), but has shape \(\)"),
        (CURRENT.double(), DtypeError, "must have dtype float32 like the layer, but has float64"),
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
        ({"V_th": 3 * ASSIGNED}, ArgumentError, "`V_th` must be at most max_threshold = 2, but is 2.4"),
        ({"V_th": ASSIGNED - 1}, ArgumentError, "`V_th` must be at least min_threshold = 0.5, but is -0.2"),
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
    with pytest.raises(ArgumentError, match="`tau` must be above dt = 1 to be learnable, but is 1"):
        layer.assign(q_bias=ASSIGNED, tau=torch.tensor([1.0, 2.0, 3.0]))
    assert (layer.q_bias == 0).all()


@pytest.mark.parametrize(
    ("name", "need"),
    [("eta", "use_adaptive_threshold=True"), ("q_scale", "quantum_mode=True"), ("q_bias", "quantum_mode=True")],
)
def test_a_constant_that_the_layer_lacks_says_what_it_needs(name: str, need: str) -> None:
    with pytest.raises(ArgumentError, match=f"This layer has no `{name}`: it needs {need}"):
        getattr(build(quantum_mode=False), name)


def test_a_layer_prints_what_differs_from_the_defaults() -> None:
    shown = repr(build(tau=5.0, shots=3, decision="threshold"))
    assert "3, backend=analytic, shots=3, tau=5.0, decision='threshold'" in shown
    assert "shots=exact" in repr(build())
