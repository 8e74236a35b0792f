"""Corrected neurons answer as the target does, on whatever qubit; what cannot be reached is said."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.calibration import Calibration, fit, solve
from qlifq.calibration.correction import Target, at_a_point, over_a_range
from qlifq.circuits import SinusoidalResponse
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS, THETA_MAX

mappings = st.sampled_from(sorted(MAPPINGS))
errors = st.floats(0.0, 0.15)
NO_COVARIANCE = torch.zeros(1, 3, 3, dtype=torch.float64)


def one(*values: float) -> list[Tensor]:
    return [torch.tensor([value], dtype=torch.float64) for value in values]


def response_with(readout_p01: float, readout_p10: float, skew: float) -> SinusoidalResponse:
    return SinusoidalResponse(*one((1 + readout_p01 - readout_p10) / 2, -(1 - readout_p01 - readout_p10) / 2, skew))


def target_of(mapping: str, q_scale: float, q_bias: float) -> Target:
    scale, bias = one(q_scale, q_bias)
    return Target(mapping, scale, bias, THETA_MAX)


def response_of(measured: SinusoidalResponse, target: Target, q_scale: Tensor, q_bias: Tensor) -> tuple[float, float]:
    """P(1) and its slope at gap 0, by autograd through mapping and measured."""
    gap = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    p = measured.probability(MAPPINGS[target.mapping].angle(gap, q_scale, q_bias, target.theta_max))
    (slope,) = torch.autograd.grad(p.sum(), gap)
    return p.item(), slope.item()


@given(mappings, errors, errors, st.floats(-0.02, 0.02), st.floats(0.25, 0.75), st.floats(0.1, 3.0), st.floats(-1.0, 1.0))
def test_baseline_and_slope_are_met(
    mapping: str, readout_p01: float, readout_p10: float, skew: float, p0: float, slope: float, quantum_leak: float
) -> None:
    measured = response_with(readout_p01, readout_p10, skew)
    target = target_of(mapping, *solve(mapping, p0, slope))
    found = at_a_point(target, measured, NO_COVARIANCE, quantum_leak)
    assert bool(found.reachable)
    assert response_of(measured, target, found.q_scale, found.q_bias - quantum_leak) == pytest.approx((p0, slope), abs=1e-9)
    # By Bloch geometry, independently: the extremes are a ± √(b² + c²) wherever the angle gets there.
    swing = math.hypot(measured.b.item(), measured.c.item())
    assert found.floor.item() >= measured.a.item() - swing - 1e-12
    assert found.ceiling.item() <= measured.a.item() + swing + 1e-12


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_a_perfect_qubit_is_left_as_it_is(mapping: str) -> None:
    default = MAPPINGS[mapping]
    target = target_of(mapping, default.q_scale, default.q_bias)
    found = at_a_point(target, response_with(0.0, 0.0, 0.0), NO_COVARIANCE, 0.3)
    assert found.q_scale.item() == pytest.approx(default.q_scale, abs=1e-12)
    assert found.q_bias.item() == pytest.approx(default.q_bias + 0.3, abs=1e-12)
    ranged = over_a_range(target, response_with(0.0, 0.0, 0.0), NO_COVARIANCE, 0.3, (-0.3, 0.3))
    assert ranged.rms_before.item() == pytest.approx(0.0, abs=1e-12)
    assert ranged.q_scale.item() == pytest.approx(default.q_scale, abs=1e-9)


def test_a_falling_response_stays_on_its_branch() -> None:
    """q_bias = 3π/2 puts `linear` where p falls with the gap: q_scale must stay above 0, as the layer wants it."""
    target = target_of("linear", math.pi, 1.5 * math.pi)
    measured = response_with(0.1, 0.05, 0.0)
    found = at_a_point(target, measured, NO_COVARIANCE, 0.0)
    assert found.q_scale.item() > 0
    assert response_of(measured, target, found.q_scale, found.q_bias) == pytest.approx((0.5, -math.pi / 2), abs=1e-9)


@given(mappings, errors, errors)
def test_over_a_range_no_nearby_numbers_do_better(mapping: str, readout_p01: float, readout_p10: float) -> None:
    default, measured = MAPPINGS[mapping], response_with(readout_p01, readout_p10, 0.01)
    target = target_of(mapping, default.q_scale, default.q_bias)
    found = over_a_range(target, measured, NO_COVARIANCE, 0.0, (-0.4, 0.4))
    gaps = torch.linspace(-0.4, 0.4, 33, dtype=torch.float64)[:, None]

    def rms(q_scale: Tensor, q_bias: Tensor) -> float:
        answer = measured.probability(MAPPINGS[mapping].angle(gaps, q_scale, q_bias, THETA_MAX))
        return (answer - target.probability(gaps)).square().mean().sqrt().item()

    best = found.rms_after.item()
    assert rms(found.q_scale, found.q_bias) == pytest.approx(best, abs=1e-12)
    assert best <= found.rms_before.item() + 1e-12
    for step in (-1e-4, 1e-4):
        assert rms(found.q_scale * (1 + step), found.q_bias) >= best - 1e-12
        assert rms(found.q_scale, found.q_bias + step) >= best - 1e-12


@pytest.mark.parametrize("wires", [1, 2])
@pytest.mark.parametrize("span", [None, (-0.2, 0.2)])
@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_the_standard_errors_of_a_correction_are_those_of_repeated_calibrations(
    mapping: str, span: tuple[float, float] | None, wires: int
) -> None:
    """2,000 neurons of equal qubits: (estimate − truth) / standard error is standard normal."""
    noise = DeviceNoise(readout_p01=0.04, readout_p10=0.09)
    calibration = fit(get("analytic", noise=noise), neurons=2000 * wires, mapping=mapping, shots=20_000, seed=3)
    p0, slope = 0.4, 0.5
    found = calibration.correct(p0=p0, slope=slope, span=span, wires=wires)
    target = target_of(mapping, *solve(mapping, p0, slope))
    exact = response_with(0.04, 0.09, 0.0)
    truth = at_a_point(target, exact, NO_COVARIANCE, 0.0)
    if span is not None:
        truth = over_a_range(target, exact, NO_COVARIANCE, 0.0, span)
    for place, (estimate, right) in enumerate(((found.q_scale, truth.q_scale), (found.q_bias, truth.q_bias))):
        score = (estimate - right) / found.standard_error[:, place]
        # False-fail 1e-9 each; sees a distribution function that is off by 0.08.
        assert kstest(score.numpy(), "norm").pvalue > 1e-9


def test_what_is_out_of_reach_is_said() -> None:
    noise = DeviceNoise(readout_p01=(0.01, 0.2), readout_p10=(0.01, 0.1))
    calibration = fit(get("analytic", noise=noise), neurons=2, shots=50_000, seed=1)
    found = calibration.correct(p0=0.1, slope=0.5)
    assert found.reachable.tolist() == [True, False]
    assert str(found).startswith("correction of 2 neurons · q_scale ")
    assert str(found).endswith(f"in the reach of all · 1 out of reach · on {calibration.source}")
    assert "analytic, noise readout_p01=0.01 to 0.2" in str(found)
    assert found.q_scale.isnan().tolist() == [False, True]
    # Six standard errors of a corner measured with 50,000 shots.
    assert float(found.floor[1]) == pytest.approx(0.2, abs=6 * math.sqrt(0.16 / 50_000))
    assert float(found.ceiling[1]) == pytest.approx(0.9, abs=6 * math.sqrt(0.09 / 50_000))
    layer = qlifq.QLIF(2, backend=get("analytic", noise=noise))
    before = layer.q_scale.clone()
    with pytest.raises(
        ArgumentError, match=r"1 of 2 neurons cannot reach the target at gap 0: neuron 1 answers from 0\.\d+ to"
    ):
        calibration.apply_to(layer, p0=0.1, slope=0.5)
    assert torch.equal(layer.q_scale, before)
    # Over a range there is always a closest response.
    assert not bool(calibration.apply_to(layer, p0=0.1, slope=0.5, span=(-0.5, 0.5)).q_scale.isnan().any())


def test_the_reach_of_a_sigmoid_ends_at_half_a_turn() -> None:
    """With c < 0 the lowest P(1) is at an angle in (0, π) and the highest beyond π, which `sigmoid` never gets to."""
    measured, target = SinusoidalResponse(*one(0.5, -0.4, -0.1)), target_of("sigmoid", 4.0, 0.0)
    found = at_a_point(target, measured, NO_COVARIANCE, 0.0)
    angles = torch.linspace(0, math.pi, 100_001, dtype=torch.float64)[:, None]
    reached = measured.probability(angles)
    assert found.floor.item() == pytest.approx(reached.min().item(), abs=1e-9)
    assert found.ceiling.item() == pytest.approx(reached.max().item(), abs=1e-9)


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    noise = DeviceNoise(readout_p01=(0.02, 0.1, 0.05, 0.0), readout_p10=(0.05, 0.2, 0.0, 0.1))
    return fit(get("analytic", noise=noise), neurons=4, shots=200_000, seed=7, quantum_leak=0.1)


def exact_response(layer: qlifq.QLIF, calibration: Calibration, gap: float) -> Tensor:
    """P(1) of every neuron of a layer on its backend without shot noise."""
    settings, gaps = layer.settings, torch.full((1, layer.num_neurons), gap)
    theta = MAPPINGS[layer.mapping].angle(
        gaps, layer.q_scale, layer.q_bias - layer.shared("quantum_leak"), layer.shared("theta_max")
    )
    theta = theta.repeat_interleave(settings.quantum_wire, dim=1)
    answer = layer.backend.run(calibration.circuit, theta.unsqueeze(-1), shots=None, seed=None).probability
    return answer.reshape(layer.num_neurons, -1).mean(1).detach()


@pytest.mark.parametrize("wires", [1, 2])
def test_a_layer_answers_as_it_was_designed_to(calibrated: Calibration, wires: int) -> None:
    noise = DeviceNoise(readout_p01=(0.02, 0.1, 0.05, 0.0), readout_p10=(0.05, 0.2, 0.0, 0.1))
    settings: dict[str, object] = {"quantum_leak": 0.1, "q_scale": 3.0, "q_bias": 0.3}
    if wires > 1:
        settings |= {"quantum_wire": wires, "decision": "expectation", "shots": 100}
    layer = qlifq.QLIF(4 // wires, backend=get("analytic", noise=noise), **settings)  # type: ignore[arg-type]
    designed = qlifq.QLIF(4 // wires, **settings)  # type: ignore[arg-type]
    calibrated.apply_to(layer)
    for gap, allowed in ((0.0, 0.01), (0.05, 0.01)):
        expected = exact_response(designed, calibrated, gap)
        assert float((exact_response(layer, calibrated, gap) - expected).abs().max()) < allowed


REFUSED: list[tuple[Callable[[Calibration], object], type[QLIFError], str]] = [
    (
        lambda cal: cal.apply_to(qlifq.QLIF(4, mapping="linear", quantum_leak=0.1)),
        UnsupportedError,
        "made with mapping 'sigmoid', but the layer has 'linear'",
    ),
    (
        lambda cal: cal.apply_to(qlifq.QLIF(4, quantum_leak=(0.1, 0.1, 0.2, 0.1))),
        UnsupportedError,
        "`quantum_leak` must be one number for all neurons here",
    ),
    (lambda cal: cal.apply_to(qlifq.QLIF(4)), UnsupportedError, "made with quantum_leak 0.1, but the layer has 0.0"),
    (
        lambda cal: cal.apply_to(qlifq.QLIF(4, backend="reference", quantum_leak=0.1)),
        UnsupportedError,
        "is of backend analytic, but this is reference",
    ),
    (
        lambda cal: cal.apply_to(qlifq.QLIF(3, quantum_leak=0.1)),
        ShapeError,
        "has 4 sites, but the layer has 3 neurons of 1 wires",
    ),
    (lambda cal: cal.correct(p0=0.5), ArgumentError, "must be given as `p0` and `slope`, or as `q_scale` and `q_bias`"),
    (lambda cal: cal.correct(p0=0.0, slope=1.0), ArgumentError, "`p0` must be above 0 and below 1, but is 0"),
    (lambda cal: cal.correct(q_scale=torch.ones(4)), ArgumentError, "must be given as `p0` and `slope`"),
    (
        lambda cal: cal.correct(q_scale=torch.ones(3), q_bias=torch.ones(3)),
        ShapeError,
        "`q_scale` must have shape (4,), but has shape (3,)",
    ),
    (lambda cal: cal.correct(span=(0.2, 0.1)), ArgumentError, "`span` must be a lower and a higher gap, but is (0.2, 0.1)"),
    (lambda cal: cal.correct(wires=3), ShapeError, "`wires` must divide the 4 sites, but is 3"),
    (lambda cal: cal.mitigate("analytic"), DtypeError, "`backend` must be a Backend, but is str"),  # type: ignore[arg-type]
    (lambda cal: cal.mitigate(get("reference")), UnsupportedError, "is of backend analytic, but this is reference"),
]


@pytest.mark.parametrize(("act", "error", "message"), REFUSED)
def test_what_does_not_match_is_refused(
    calibrated: Calibration, act: Callable[[Calibration], object], error: type[QLIFError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        act(calibrated)


def test_neurons_that_no_correction_helps_are_left_as_they_are_if_that_is_wanted() -> None:
    noise = DeviceNoise(readout_p01=(0.02, 0.02, 0.02), readout_p10=(0.05, 0.6, 0.03))
    device = get("analytic", noise=noise)
    calibrated = fit(device, neurons=3, shots=40_000, seed=1)
    layer = qlifq.QLIF(3, backend=device)
    with pytest.raises(
        ArgumentError, match=r"1 of 3 neurons cannot reach the target at gap 0: neuron 1 .* or unreachable='keep'"
    ):
        calibrated.apply_to(layer)
    assert layer.q_bias.tolist() == [0.0] * 3
    found = calibrated.apply_to(layer, unreachable="keep")
    assert found.q_bias.isnan().tolist() == [False, True, False]
    assert (layer.q_bias == 0).tolist() == [False, True, False]
    assert (layer.q_scale == 4).tolist() == [False, True, False]
    with pytest.raises(ArgumentError, match="Argument `unreachable` must be one of refuse, keep, but is 'drop'"):
        calibrated.apply_to(layer, unreachable="drop")
