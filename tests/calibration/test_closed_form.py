"""The closed forms hit baseline and slope through the mapping that the neurons use, and their inverse leads back."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlifq.calibration import response, solve
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS

mappings = st.sampled_from(sorted(MAPPINGS))
baselines = st.floats(1e-6, 1 - 1e-6)
slopes = st.floats(-20.0, 20.0)


def through_the_neuron(
    mapping: str, q_scale: float, q_bias: float, quantum_leak: float, theta_max: float
) -> tuple[float, float]:
    """p and dp/dΔ at gap 0 by autograd through the mapping and sin²(θ/2)."""
    gap = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scale, offset = torch.tensor([q_scale, q_bias - quantum_leak], dtype=torch.float64)
    p = (MAPPINGS[mapping].angle(gap, scale, offset, theta_max) / 2).sin().square()
    (slope,) = torch.autograd.grad(p, gap)
    return p.item(), slope.item()


@given(mappings, baselines, slopes, st.floats(-2.0, 2.0), st.floats(0.3, 3.0))
def test_solve_hits_baseline_and_slope(mapping: str, p0: float, slope: float, quantum_leak: float, theta_max: float) -> None:
    own = {"theta_max": theta_max} if mapping == "tanh" else {}
    q_scale, q_bias = solve(mapping, p0, slope, quantum_leak=quantum_leak, **own)
    reached = through_the_neuron(mapping, q_scale, q_bias, quantum_leak, theta_max)
    assert reached == pytest.approx((p0, slope), abs=1e-6)
    assert response(mapping, q_scale, q_bias, quantum_leak=quantum_leak, **own) == pytest.approx((p0, slope), abs=1e-6)


@given(mappings, st.floats(0.1, 8.0), st.floats(0.1, 3.0))
def test_solve_undoes_response_on_the_rising_branch(mapping: str, q_scale: float, q_bias: float) -> None:
    assert solve(mapping, *response(mapping, q_scale, q_bias)) == pytest.approx((q_scale, q_bias), abs=1e-6)


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_tensors_go_elementwise_and_carry_gradients(mapping: str) -> None:
    p0 = torch.tensor([[0.02, 0.5, 0.9]], dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([[0.1, 1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    q_scale, q_bias = solve(mapping, p0, slope)
    assert q_scale.shape == q_bias.shape == (1, 3)
    for column in range(3):
        alone = solve(mapping, p0[0, column].item(), slope[0, column].item())
        assert (q_scale[0, column].item(), q_bias[0, column].item()) == pytest.approx(alone, abs=1e-12)

    def forth(p0: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return solve(mapping, p0, slope)

    def back(q_scale: torch.Tensor, q_bias: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return response(mapping, q_scale, q_bias)

    assert torch.autograd.gradcheck(forth, (p0, slope))
    assert torch.autograd.gradcheck(back, (q_scale.detach().requires_grad_(), q_bias.detach().requires_grad_()))


def test_a_number_serves_every_element_and_the_dtype_stays() -> None:
    p0 = torch.full((2,), 0.25)
    q_scale, q_bias = solve("linear", p0, 1.5)
    assert q_scale.dtype == q_bias.dtype == torch.float32
    torch.testing.assert_close(q_bias, torch.full((2,), math.pi / 3))
    assert solve("sigmoid", torch.zeros(0), 1.0)[0].shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("cubic", 0.5, 1.0), {}, ArgumentError, "`mapping` must be one of sigmoid, linear, tanh, but is 'cubic'"),
        (("linear", 0.0, 1.0), {}, ArgumentError, "`p0` must be above 0 and below 1, but is 0"),
        (("linear", 1.0, 1.0), {}, ArgumentError, "`p0` must be above 0 and below 1, but is 1"),
        (("linear", torch.tensor([0.5, 1.5]), 1.0), {}, ArgumentError, "`p0` must be above 0 and below 1, but is 1.5"),
        (("linear", math.nan, 1.0), {}, ArgumentError, "`p0` must be finite, but is nan"),
        (("linear", 0.5, math.inf), {}, ArgumentError, "`slope` must be finite, but is inf"),
        (("linear", "half", 1.0), {}, DtypeError, "`p0` must be a number, but is 'half'"),
        (("linear", 0.5, torch.tensor([1.0])), {}, DtypeError, "`p0` must be a torch tensor like `slope`, but is 0.5"),
        (
            ("linear", torch.tensor([0.5]), torch.tensor([1.0, 1.0])),
            {},
            ShapeError,
            "`slope` must have shape (1,), but has shape (2,)",
        ),
        (
            ("linear", torch.tensor([0.5]), torch.tensor([1.0], dtype=torch.float64)),
            {},
            DtypeError,
            "`slope` must have dtype float32, but has float64",
        ),
        (("tanh", 0.5, 1.0), {"theta_max": 0.0}, ArgumentError, "`theta_max` must be above 0, but is 0"),
        (("linear", 0.5, 1.0), {"theta_max": 1.0}, UnsupportedError, "`theta_max` would be ignored: it needs mapping='tanh'"),
        (("linear", 0.5, 1.0), {"quantum_leak": math.nan}, ArgumentError, "`quantum_leak` must be finite, but is nan"),
    ],
)
def test_bad_input_is_refused(
    arguments: tuple[object, ...], options: dict[str, float], error: type[QLIFError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        solve(*arguments, **options)  # type: ignore[call-overload]
