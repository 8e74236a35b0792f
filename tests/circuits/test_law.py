"""P(1) = a + b cos θ + c sin θ against the general closed form, under noise too."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlifq.backends.noise import DeviceNoise
from qlifq.circuits import Gate, LeakySpike, RYSpike, SinusoidalResponse, Slot, SpikeCircuit, bloch
from qlifq.circuits.sinusoidal import RESPONSE_ANGLES

NOISE = DeviceNoise(
    t1=(50e-6, 120e-6), t2=(40e-6, 90e-6), gate_time=3e-7, gate_error=(0.01, 0.002), readout_p01=(0.02, 0.1), readout_p10=0.05
)
LAWFUL = [
    RYSpike(),
    LeakySpike(0.4),
    SpikeCircuit("Skewed", (Gate("RX", 0.9), Gate("RZ", -0.8), Gate("RY", Slot(0)), Gate("Delay", 2e-6), Gate("RX", 0.3))),
    SpikeCircuit("Phase", (Gate("RX", 1.2), Gate("RZ", Slot(0)), Gate("RY", 0.6))),
]
each_circuit = pytest.mark.parametrize("circuit", LAWFUL, ids=lambda circuit: circuit.name)


def general(circuit: SpikeCircuit, theta: torch.Tensor, noise: DeviceNoise | None) -> torch.Tensor:
    """The closed form of the gate list, `(n, sites)` to `(n, sites)`."""
    if noise is None:
        return bloch.probability(circuit.gates, theta[..., None])
    return noise.read(bloch.probability(circuit.gates, theta[..., None], noise.channel(theta.dtype, theta.device)))


def law_of(circuit: SpikeCircuit, noise: DeviceNoise | None) -> SinusoidalResponse:
    theta = torch.tensor(RESPONSE_ANGLES, dtype=torch.float64)[:, None].expand(-1, 2)
    return SinusoidalResponse.through(*general(circuit, theta, noise))


@each_circuit
@pytest.mark.parametrize("noise", [None, NOISE], ids=["ideal", "noisy"])
def test_three_angles_give_the_law_at_every_angle(circuit: SpikeCircuit, noise: DeviceNoise | None) -> None:
    theta = torch.linspace(-7, 7, 201, dtype=torch.float64)[:, None].expand(-1, 2)
    law = law_of(circuit, noise)
    assert torch.allclose(law.probability(theta), general(circuit, theta, noise), rtol=0, atol=1e-14)


@each_circuit
def test_the_extremes_are_reached_and_never_passed(circuit: SpikeCircuit) -> None:
    law = law_of(circuit, NOISE)
    low, high = law.extremes()
    theta = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)[:, None].expand(-1, 2)
    found = law.probability(theta)
    # Next to a maximum a step of h falls short by less than h²/8 of the swing.
    assert torch.allclose(found.amin(0), low, rtol=0, atol=1e-7)
    assert torch.allclose(found.amax(0), high, rtol=0, atol=1e-7)
    assert bool((found >= low - 1e-15).all())
    assert bool((found <= high + 1e-15).all())


def test_the_ideal_ry() -> None:
    law = law_of(RYSpike(), None)
    for value, expected in zip(law, (0.5, -0.5, 0.0), strict=True):
        assert torch.allclose(value, torch.full_like(value, expected), rtol=0, atol=1e-15)


@given(st.floats(1e-12, 1e-3))
def test_a_small_probability_keeps_its_relative_precision(theta: float) -> None:
    law = SinusoidalResponse(*(torch.tensor(value, dtype=torch.float64) for value in (0.5, -0.5, 0.0)))
    found = law.probability(torch.tensor(theta, dtype=torch.float64)).item()
    assert found == pytest.approx(math.sin(theta / 2) ** 2, rel=1e-14)


@given(st.floats(-10, 10))
def test_rounding_never_leaves_the_interval(theta: float) -> None:
    law = SinusoidalResponse(*(torch.tensor(value, dtype=torch.float64) for value in (0.5, -0.5, -5.6e-17)))
    found = law.probability(torch.tensor([theta, theta * 1e-17], dtype=torch.float64))
    assert bool(((found >= 0) & (found <= 1)).all())


def test_the_dtype_is_that_of_the_angle() -> None:
    law = law_of(LAWFUL[2], NOISE)
    theta = torch.linspace(-3, 3, 7)[:, None].expand(-1, 2)
    assert law.probability(theta).dtype == torch.float32
    assert torch.allclose(law.probability(theta).double(), law.probability(theta.double()), atol=1e-6)
