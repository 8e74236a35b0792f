"""Membranes are stable, and the probability rises with the gap."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlifq import QLIF, integrate, simulate
from qlifq.neurons import MAPPINGS

RESETS: dict[str, dict[str, object]] = {
    "hard": {"V_reset": -0.2},
    "soft": {"reset": "soft"},
    "partial": {"reset": "partial", "V_reset": -0.2},
}
DECISIONS: dict[str, dict[str, object]] = {
    "sample": {},
    "threshold": {"decision": "threshold"},
    "expectation": {"decision": "expectation"},
    "deterministic": {"quantum_mode": False},
    "stochastic": {"quantum_mode": False, "stochastic": True},
}


#: A kernel's elementary functions err by a unit in the last place or two, torch's do not err here.
ROUNDING = {"off": 0.0, "auto": 1e-15}


def sigmoid_probability(gap: torch.Tensor, kernel: str) -> torch.Tensor:
    layer = QLIF(1, decision="expectation", tau=1.0, kernel=kernel).double()
    spikes, _ = layer.forward(1.0 + gap.reshape(1, -1, 1))
    return spikes.flatten()


@pytest.mark.parametrize("kernel", ROUNDING)
def test_the_default_probability_rises_with_the_gap_up_to_one(kernel: str) -> None:
    """V_th is 1 and V moves to the current within one step, so that the gap is current − 1; V = 0 is rest."""
    gaps = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    probability = sigmoid_probability(gaps, kernel)
    assert (probability.diff() >= -ROUNDING[kernel]).all()
    assert (probability[(gaps > -3) & (gaps < 3)].diff() > 0).all()
    at_rest, at_threshold = sigmoid_probability(torch.tensor([-1.0, 0.0], dtype=torch.float64), kernel).tolist()
    assert at_rest < at_threshold
    assert at_threshold == pytest.approx(0.5, abs=1e-12)
    assert 0.99 <= probability.max() <= 1
    assert 0 <= probability.min() < 1e-12


@pytest.mark.parametrize("kernel", ROUNDING)
@pytest.mark.parametrize("name", MAPPINGS)
def test_monotonic_is_declared_truthfully_and_tanh_stays_low(name: str, kernel: str) -> None:
    layer = QLIF(1, decision="expectation", tau=1.0, mapping=name, kernel=kernel).double()
    gaps = torch.linspace(-20, 20, 4001, dtype=torch.float64).reshape(1, -1, 1)
    probability = layer(1.0 + gaps)[0].flatten()
    assert bool((probability.diff() >= -ROUNDING[kernel]).all()) is MAPPINGS[name].monotonic
    if name == "tanh":
        assert probability.max() < 0.64


@pytest.mark.parametrize("tau", [1.0, 1.5, 4.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_strong_inhibition_never_makes_a_quadratic_neuron_spike(tau: float, dtype: torch.dtype, reset: str) -> None:
    layer = QLIF(5, membrane="quadratic", quantum_mode=False, tau=tau, reset=reset).to(dtype)
    inhibition = torch.tensor([-1e6, -1e4, -1200.0, -30.0, -1.0], dtype=dtype)
    # Inhibition alone, inhibition that ends, and inhibition that comes and goes.
    for pattern in ([1.0] * 60, [1.0] * 3 + [0.0] * 57, [1.0, 0.0, 0.0, 0.3] * 15):
        current = torch.tensor(pattern, dtype=dtype)[:, None, None] * inhibition
        recording = simulate(layer, current, ("potential", "gap"))
        assert recording.spikes.sum() == 0
        assert recording["potential"].isfinite().all()
        rest_gap = layer.shared("V_rest") - 1.0
        assert recording["gap"].max() <= rest_gap + 1e-6


@given(
    voltage=st.floats(-1e6, 0.0),
    current=st.floats(-1e6, 0.0),
    step=st.floats(1e-3, 1.0),
    a0=st.floats(1e-3, 1e3),
)
def test_no_quadratic_step_from_below_rest_crosses_it_without_excitation(
    voltage: float, current: float, step: float, a0: float
) -> None:
    layer = QLIF(1, membrane="quadratic", tau=1.0, dt=step, a0=a0).double()
    state = layer.initial_state(1)._replace(voltage=torch.tensor([[voltage]], dtype=torch.float64))
    after, _ = integrate(state, torch.tensor([[current]], dtype=torch.float64), layer.dynamics())
    assert float(after.voltage) <= 1e-12 * (1 + abs(voltage))


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("membrane", ["leaky", "quadratic"])
def test_the_potential_stays_finite_over_long_runs(membrane: str, reset: str, decision: str) -> None:
    parameters = {**RESETS[reset], **DECISIONS[decision], "membrane": membrane, "tau": 1.0, "noise_std": 1.0}
    layer = QLIF(4, seed=1, **parameters)  # type: ignore[arg-type]
    current = 30 * torch.randn(1500, 1, 4, generator=torch.Generator().manual_seed(2))
    current[::100] = 1e6
    current[50::100] = -1e6
    with torch.no_grad():
        voltage = simulate(layer, current, "voltage")["voltage"]
    assert voltage.isfinite().all()


@pytest.mark.parametrize("tau", [1.0, 5.0, 20.0])
def test_the_parabola_is_stable_at_rest_and_unstable_at_its_critical_point(tau: float) -> None:
    layer = QLIF(5, membrane="quadratic", quantum_mode=False, tau=tau, V_rest=-0.1, V_c=0.6, V_th=0.9).double()
    start = torch.tensor([[-0.1, 0.6, 0.6 - 1e-3, 0.6 + 1e-3, -0.4]], dtype=torch.float64)
    state = layer.initial_state(1)._replace(voltage=start)
    silence = torch.zeros(400, 1, 5, dtype=torch.float64)
    recording = simulate(layer, silence, "potential", state=state)
    potential = recording["potential"][:, 0].T
    assert (potential[0] == -0.1).all()
    assert (potential[1] == 0.6).all()
    assert potential[2, -1] == pytest.approx(-0.1, abs=1e-3)
    assert recording.spikes[:, 0, 3].sum() >= 1
    assert potential[4, -1] == pytest.approx(-0.1, abs=1e-3)


def test_a_quadratic_neuron_is_cut_off_at_its_peak() -> None:
    layer = QLIF(1, membrane="quadratic", quantum_mode=False, V_peak=3.0)
    recording = simulate(layer, torch.full((1, 1, 1), 1e6), ("potential", "gap"))
    assert recording["potential"].item() == 3.0
    assert recording["gap"].item() == 2.0


def test_a_leaky_neuron_follows_the_exact_solution_of_its_recursion() -> None:
    """V_n = I (1 − (1 − dt/τ)ⁿ) below threshold."""
    layer = QLIF(1, quantum_mode=False, tau=5.0, dt=0.5).double()
    voltage = simulate(layer, torch.full((100, 1, 1), 0.9, dtype=torch.float64), "voltage")["voltage"].flatten()
    expected = [0.9 * (1 - 0.9**n) for n in range(1, 101)]
    torch.testing.assert_close(voltage, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_the_largest_step_moves_the_potential_onto_the_input() -> None:
    layer = QLIF(1, quantum_mode=False, tau=2.0, dt=2.0)
    assert simulate(layer, torch.full((1, 1, 1), math.pi), "potential")["potential"].item() == pytest.approx(math.pi)
