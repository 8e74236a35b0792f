"""Kernels on a GPU: against the step loop there, and against the CPU's draws.

Bounds: 1e-4 in float32, 1e-10 in float64, for what is summed over 12 steps. A tie at rounding would move a spike: at most one
decision in 100,000 may fall the other way in float32, and none in float64.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.step import EVERYTHING, TRAINED
from qlifq.errors import ArgumentError
from qlifq.neurons import QLIF
from qlifq.random.philox import Place

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

PLAIN: dict[str, Any] = {}
ALL: dict[str, Any] = {**EVERYTHING, "learnable_eta": True}
KINDS = pytest.mark.parametrize("parameters", [PLAIN, TRAINED, ALL], ids=["plain", "trained", "everything"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
STEPS, BATCH, NEURONS = 12, 3, 700


def ran(
    kernel: str, parameters: dict[str, Any], dtype: torch.dtype, device: str, **options: Any
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Spikes, the last potential, and the gradients of the current and of what is trained."""
    generator = torch.Generator().manual_seed(11)
    current, modulation = (torch.rand(STEPS, BATCH, NEURONS, generator=generator, dtype=dtype).to(device) for _ in range(2))
    current = (3 * current).requires_grad_()
    layer = QLIF(NEURONS, seed=7, kernel=kernel, **options, **parameters).to(device, dtype)
    if kernel == "auto":
        assert layer.why_stepwise() is None
    spikes, state = layer(current, modulation=modulation if "neuromod_mode" in parameters else None)
    weights = torch.linspace(0.5, 1.5, STEPS * BATCH * NEURONS, dtype=dtype).reshape_as(spikes).to(device)
    ((weights * spikes).sum() + state.voltage.sum()).backward()
    gradients = [value.grad for value in (current, *layer.parameters()) if value.grad is not None]
    return spikes.detach(), state.voltage.detach(), gradients


@KINDS
@DTYPES
def test_a_kernel_agrees_with_the_step_loop(parameters: dict[str, Any], dtype: torch.dtype) -> None:
    spikes, voltage, gradients = ran("auto", parameters, dtype, "cuda")
    expected, expected_voltage, expected_gradients = ran("off", parameters, dtype, "cuda")
    assert (spikes != expected).sum() <= (1 if dtype == torch.float32 else 0)
    assert len(gradients) == len(expected_gradients) > 0
    if torch.equal(spikes, expected):
        bound = 1e-4 if dtype == torch.float32 else 1e-10
        for found, expected in zip((voltage, *gradients), (expected_voltage, *expected_gradients), strict=True):
            torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


@KINDS
def test_the_gpu_gives_the_spikes_of_the_cpu(parameters: dict[str, Any]) -> None:
    spikes, voltage, _ = ran("auto", parameters, torch.float64, "cuda")
    expected, expected_voltage, _ = ran("auto", parameters, torch.float64, "cpu")
    assert torch.equal(spikes.cpu(), expected)
    torch.testing.assert_close(voltage.cpu(), expected_voltage, rtol=1e-10, atol=1e-10)


@DTYPES
def test_draws_equal_those_of_the_cpu(dtype: torch.dtype) -> None:
    like = torch.empty(5, 1001, dtype=dtype)
    for position in range(6):
        place = Place(0x1234_5678_9ABC_DEF0, position, 2**33 + 5)
        assert torch.equal(place.uniform(like.cuda()).cpu(), place.uniform(like))
        torch.testing.assert_close(place.normal(like.cuda()).cpu(), place.normal(like), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decision", ["threshold", "expectation"])
def test_other_decisions_agree_too(decision: str) -> None:
    spikes, voltage, _ = ran("auto", PLAIN, torch.float64, "cuda", decision=decision)
    expected, expected_voltage, _ = ran("off", PLAIN, torch.float64, "cuda", decision=decision)
    torch.testing.assert_close(spikes, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(voltage, expected_voltage, rtol=1e-10, atol=1e-10)


def test_places_beyond_32_bits_are_those_of_a_sequence_in_pieces() -> None:
    neurons, steps, piece = 2**24, 140, 20
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of free memory")
    current = (3 * torch.rand(1, 1, neurons, device="cuda")).expand(steps, 1, neurons)
    with torch.no_grad():
        spikes, after = QLIF(neurons, seed=7).cuda()(current)
        layer, state = QLIF(neurons, seed=7).cuda(), None
        for begin in range(0, steps, piece):
            part, state = layer(current[:piece], state)
            assert torch.equal(part, spikes[begin : begin + piece])
    assert state is not None
    assert torch.equal(state.voltage, after.voltage)


def test_a_number_that_is_trained_has_the_gradient_of_the_cpu() -> None:
    options: dict[str, Any] = {
        "tau": [2.0, 5.0, 20.0, 80.0, 1e3],
        "spike_increase": 0.1,
        "adaptation_decay": 0.3,
        "learnable": ("tau", "adaptation_decay", "q_scale"),
    }
    layer, device = QLIF(5, seed=3, **options).double(), QLIF(5, seed=3, **options).double().cuda()
    current = 3 * torch.rand(9, 2, 5, dtype=torch.float64)
    for each, given in ((layer, current), (device, current.cuda())):
        each(given)[0].sum().backward()
    for (name, one), (_, other) in zip(layer.named_parameters(), device.named_parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("parameters", [PLAIN, ALL, {"V_min": -1.0}], ids=["plain", "everything", "bounded"])
def test_a_current_that_is_not_finite_is_refused(parameters: dict[str, Any], bad: float) -> None:
    current = torch.rand(9, 2, 5, device="cuda")
    current[3, 1, 2] = bad
    modulation = torch.rand(9, 1, 1, device="cuda") if "neuromod_mode" in parameters else None
    with pytest.raises(ArgumentError, match="`current` must be finite, but 1 of its 90 values"):
        QLIF(5, seed=3, **parameters).cuda()(current, modulation=modulation)
