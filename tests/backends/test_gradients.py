"""Derivatives of a probability, whatever the backend: shifted, by the closed form, by autograd, or none."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, Plan, evaluate, get, parameter_shift
from qlifq.backends.analytic import AnalyticBackend
from qlifq.circuits import BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, QLIFError, UnsupportedError

NOISE = DeviceNoise(t1=60e-6, t2=50e-6, gate_time=1e-6, gate_error=0.02, readout_p01=0.05, readout_p10=0.1)
PROBE = SpikeCircuit("Probe", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2))))
TWICE = SpikeCircuit("Twice", (Gate("RY", Slot(0)), Gate("RX", Slot(0))))


class Spy(Backend):
    """A backend without autograd that keeps the calls that it gets."""

    name = "spy"

    def __init__(self, noise: DeviceNoise | None = None, capabilities: Capabilities | None = None) -> None:
        self.inner = AnalyticBackend(noise)
        self.capabilities = capabilities or Capabilities(exact=True, shots=True, noisy=True, differentiable=False)
        self.calls: list[tuple[Tensor, int | None, int | None, Tensor | None]] = []

    def _execute(self, call: Call) -> Outcome:
        self.calls.append((call.angles, call.shots, call.seed, call.where))
        return self.inner.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return self.inner.plan(circuit, batch, sites, shots=shots)


def angles_for(circuit: SpikeCircuit, batch: int = 5, sites: int = 2) -> Tensor:
    angles = torch.rand(batch, sites, circuit.num_angles, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    return (angles * 14 - 7).requires_grad_()


def slope(outcome: Outcome, angles: Tensor, weights: Tensor | None = None) -> Tensor:
    weights = torch.ones_like(outcome.probability) if weights is None else weights
    return torch.autograd.grad((outcome.probability * weights).sum(), angles)[0]


@pytest.mark.parametrize("circuit", [RYSpike(), LeakySpike(), BrandPetruccione(), PROBE], ids=lambda circuit: circuit.name)
@pytest.mark.parametrize("noise", [None, NOISE], ids=["ideal", "noisy"])
@pytest.mark.parametrize("name", ["analytic", "reference"])
@pytest.mark.parametrize("gradient", ["auto", "parameter-shift"])
def test_every_exact_gradient_is_that_of_autograd(
    circuit: SpikeCircuit, noise: DeviceNoise | None, name: str, gradient: str
) -> None:
    angles = angles_for(circuit)
    weights = torch.linspace(-1, 2, 10, dtype=torch.float64).reshape(5, 2)
    found = evaluate(get(name, noise=noise), circuit, angles, shots=None, seed=None, gradient=gradient)
    expected = get("analytic", noise=noise).run(circuit, angles, shots=None, seed=None)
    assert torch.allclose(found.probability, expected.probability, rtol=0, atol=1e-12)
    assert (slope(found, angles, weights) - slope(expected, angles, weights)).abs().max() <= 1e-8


def test_the_analytic_gradient_is_that_without_noise() -> None:
    angles = angles_for(RYSpike())
    for backend in (get("reference", noise=NOISE), get("analytic", noise=NOISE)):
        found = evaluate(backend, RYSpike(), angles, shots=100, seed=1, gradient="analytic")
        assert torch.allclose(slope(found, angles), angles.detach().sin() / 2, rtol=0, atol=1e-12)


def test_no_gradient_is_asked_for_or_possible() -> None:
    angles = angles_for(RYSpike())
    for backend in (get("analytic"), get("reference")):
        assert not evaluate(backend, RYSpike(), angles, shots=None, seed=None, gradient="none").probability.requires_grad
        assert not evaluate(backend, RYSpike(), angles.detach(), shots=None, seed=None).probability.requires_grad
        with torch.no_grad():
            assert not evaluate(backend, RYSpike(), angles, shots=None, seed=None).probability.requires_grad


def test_a_backend_without_gradient_is_shifted_only_when_asked() -> None:
    spy, angles = Spy(), angles_for(PROBE)
    found = evaluate(spy, PROBE, angles, shots=10, seed=1, gradient_shots=30, gradient_seed=2)
    assert len(spy.calls) == 1
    slope(found, angles)
    assert len(spy.calls) == 2
    (_, shots, seed, _), (shifted, shifted_shots, shifted_seed, _) = spy.calls
    assert (shots, seed) == (10, 1)
    # Two evaluations for each of three angles of five elements, in one submission.
    assert (shifted.shape, shifted_shots, shifted_seed) == ((30, 2, 3), 30, 2)


def test_shifted_evaluations_have_the_shots_of_the_forward_pass_by_default() -> None:
    spy, angles = Spy(), angles_for(RYSpike())
    slope(evaluate(spy, RYSpike(), angles, shots=17, seed=1, gradient_seed=2), angles)
    assert spy.calls[1][1] == 17


@pytest.mark.parametrize("gradient", ["auto", "analytic", "parameter-shift"])
@pytest.mark.parametrize("name", ["analytic", "reference"])
def test_what_is_not_wanted_has_no_gradient(name: str, gradient: str) -> None:
    angles = angles_for(LeakySpike())
    where = torch.tensor([[True, False]] * 5)
    found = evaluate(get(name), LeakySpike(), angles, shots=None, seed=None, where=where, gradient=gradient)
    derivative = slope(found, angles)
    whole = slope(get("analytic").run(LeakySpike(), angles, shots=None, seed=None), angles)
    assert not derivative[:, 1].any()
    assert torch.allclose(derivative[:, 0], whole[:, 0], rtol=0, atol=1e-12)
    assert not found.probability[:, 1].any()


def test_with_shots_the_gradient_lies_within_its_standard_error() -> None:
    # ½(p̂₊ − p̂₋) of n shots: 100 normal deviates, of which none passes 1e-9 / 100 by the Berry-Esseen-free margin of n = 1e5.
    shots, angles = 100_000, angles_for(RYSpike(), 50)
    backend = get("reference", noise=NOISE)
    found = parameter_shift(backend, RYSpike(), angles.detach(), shots=shots, seed=3)
    exact = slope(get("analytic", noise=NOISE).run(RYSpike(), angles, shots=None, seed=None), angles)
    shifted = [
        backend.run(RYSpike(), angles.detach() + turn, shots=None, seed=None).probability
        for turn in (math.pi / 2, -math.pi / 2)
    ]
    variance = sum(p * (1 - p) for p in shifted)[..., None] / (4 * shots)  # type: ignore[index]
    deviates = ((found - exact) / variance.sqrt()).numpy()
    assert np.abs(deviates).max() < norm.isf(1e-9 / 200)
    # Nor is it exact, which would mean that no shots were used.
    assert np.abs(deviates).max() > 0.5


def test_float32_angles_have_a_float32_gradient() -> None:
    angles = angles_for(RYSpike()).detach().float().requires_grad_()
    found = slope(evaluate(get("reference"), RYSpike(), angles, shots=None, seed=None), angles)
    assert found.dtype == torch.float32
    assert torch.allclose(found, angles.detach().sin() / 2, atol=1e-6)


def test_no_angles_and_no_elements_have_empty_gradients() -> None:
    fixed = SpikeCircuit("Fixed", (Gate("RY", 1.0),))
    assert parameter_shift(get("reference"), fixed, torch.empty(2, 3, 0), shots=None, seed=None).shape == (2, 3, 0)
    assert parameter_shift(get("reference"), PROBE, torch.empty(0, 3, 3), shots=None, seed=None).shape == (0, 3, 3)


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    angles = angles_for(RYSpike())
    found = evaluate(get("reference"), RYSpike(), angles, shots=None, seed=None)
    for loss in (found.probability.square().sum(), found.probability.sum()):
        with pytest.raises(UnsupportedError, match="has no further one: call `backward` or"):
            torch.autograd.grad(loss, angles, create_graph=True)


BOUNDED = Capabilities(exact=True, shots=True, noisy=False, differentiable=False, max_shots=50)
EXACT = Capabilities(exact=True, shots=False, noisy=False, differentiable=False)


@pytest.mark.parametrize(
    ("backend", "circuit", "options", "error", "message"),
    [
        (
            Spy(),
            RYSpike(),
            {"gradient": "adjoint"},
            ArgumentError,
            "one of auto, analytic, parameter-shift, none, but is 'adjoint'",
        ),
        (Spy(), TWICE, {}, UnsupportedError, "must not be 'auto' for circuit Twice on backend spy: parameter shift needs"),
        (
            get("analytic"),
            BrandPetruccione("delay"),
            {"gradient": "parameter-shift"},
            UnsupportedError,
            "must not be 'parameter-shift' for circuit BrandPetruccione on backend analytic",
        ),
        (
            get("analytic"),
            RYSpike(),
            {"gradient_shots": 5},
            UnsupportedError,
            "ignored: gradient 'auto' on backend analytic shifts",
        ),
        (
            Spy(),
            RYSpike(),
            {"gradient": "none", "gradient_shots": 5},
            UnsupportedError,
            "ignored: gradient 'none' on backend spy",
        ),
        (Spy(), RYSpike(), {"gradient_shots": 0}, ArgumentError, "`gradient_shots` must be at least 1, but is 0"),
        (Spy(), RYSpike(), {"gradient_shots": 1.5}, DtypeError, r"`gradient_shots` must be an integer, but is 1\.5"),
        (Spy(None, BOUNDED), RYSpike(), {"gradient_shots": 51}, ArgumentError, "at least 1 and at most 50, but is 51"),
        (
            Spy(None, EXACT),
            RYSpike(),
            {"gradient_shots": 5},
            UnsupportedError,
            "must be None for backend spy, which draws none",
        ),
        (
            Spy(),
            RYSpike(),
            {"gradient_seed": -1},
            ArgumentError,
            "`gradient_seed` must be at least 0 and at most .*, but is -1",
        ),
    ],
)
def test_a_gradient_that_cannot_be_is_refused_before_anything_runs(
    backend: Backend, circuit: SpikeCircuit, options: dict[str, object], error: type[QLIFError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(backend, circuit, angles_for(circuit), shots=None, seed=None, **options)  # type: ignore[arg-type]
    assert not getattr(backend, "calls", [])


def test_a_circuit_without_the_rule_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"every slot in one rotation .*, but is \|0⟩ ──RY\(θ0\)──RX\(θ0\)──M"):
        parameter_shift(get("reference"), TWICE, torch.zeros(1, 1, 1), shots=None, seed=None)
