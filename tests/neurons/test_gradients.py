"""Gradients are those of the documented functions, and they train."""

import math

import pytest
import torch
from torch import Tensor, nn

from qlifq import QLIF, QLIFState, SpikingSequential
from qlifq.backends import DeviceNoise
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.reference import ReferenceBackend
from qlifq.neurons import SURROGATES
from qlifq.neurons.surrogates import heaviside_spike

EVERYTHING: dict[str, object] = {
    "use_adaptive_threshold": True,
    "eta": 0.1,
    "tau_threshold": 5.0,
    "min_threshold": 0.1,
    "max_threshold": 3.0,
    "homeostasis_enabled": True,
    "homeostasis_lr": 0.05,
    "homeostasis_tau": 5.0,
    "spike_increase": 0.3,
    "adaptation_decay": 0.8,
    "use_ahp": True,
    "tau_ahp": 8.0,
    "depression_rate": 0.3,
    "recovery_rate": 0.2,
    "allow_dynamic_spike_probability": True,
    "tau_adapt": 6.0,
    "noise_std": 0.2,
    "neuromod_strength": 0.5,
    "neuromod_transform": torch.tanh,
}
LEARNED: dict[str, object] = {
    "learnable_threshold": True,
    "learnable_tau": True,
    "learnable_eta": True,
    "learnable_qscale": True,
    "learnable_qbias": True,
}


@pytest.mark.parametrize("mode", ["gain", "threshold", "prob_slope"])
@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
@pytest.mark.parametrize("membrane", ["leaky", "quadratic"])
@pytest.mark.parametrize("reset", ["hard", "soft", "partial"])
def test_the_expectation_passes_gradcheck_with_every_mechanism_on(reset: str, membrane: str, mapping: str, mode: str) -> None:
    """Through four steps, to the input, the modulation, the state carried in and every learned constant."""
    layer = QLIF(
        2,
        seed=1,
        decision="expectation",
        tau=4.0,
        membrane=membrane,
        mapping=mapping,
        reset=reset,
        neuromod_mode=mode,
        **EVERYTHING,  # type: ignore[arg-type]
        **LEARNED,  # type: ignore[arg-type]
    ).double()
    source = torch.Generator().manual_seed(2)
    draw = {"generator": source, "dtype": torch.float64}
    current = (1.5 + torch.randn(4, 2, 2, **draw)).requires_grad_()  # type: ignore[call-overload]
    modulation = torch.randn(4, 1, 2, **draw).requires_grad_()  # type: ignore[call-overload]
    voltage = (0.3 + 0.1 * torch.rand(2, 2, **draw)).requires_grad_()  # type: ignore[call-overload]

    def run(current: Tensor, modulation: Tensor, voltage: Tensor, *learned: Tensor) -> tuple[Tensor, ...]:
        layer.seeds.position = 0
        spikes, state = layer(current, layer.initial_state(2)._replace(voltage=voltage), modulation)
        return spikes, *(value for name, value in zip(state._fields, state, strict=True) if name != "refractory")

    assert torch.autograd.gradcheck(run, (current, modulation, voltage, *layer.parameters()))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_the_derivative_of_its_smooth_function(name: str, alpha: float) -> None:
    points = [-7.0, -1 / alpha, -0.5, -1e-9, 0.0, 1e-9, 0.2, 1 / alpha, 1 / alpha + 1e-6, 3.0]
    gap = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(SURROGATES[name].smooth(gap, alpha).sum(), gap)
    written = SURROGATES[name].derivative(gap, alpha)
    torch.testing.assert_close(written, expected, rtol=1e-12, atol=1e-12)
    spikes = heaviside_spike(gap, name, alpha)
    assert spikes.tolist() == [float(point > 0) for point in points]
    weight = torch.linspace(-2, 2, len(points), dtype=torch.float64)
    (backward,) = torch.autograd.grad((weight * spikes).sum(), gap)
    torch.testing.assert_close(backward, weight * expected, rtol=1e-12, atol=1e-12)
    assert written[4] == 1.0


FORMULAS = {
    "heaviside": lambda x, a: max(0.0, 1 - a * abs(x)),
    "fast_sigmoid": lambda x, a: 1 / (1 + a * abs(x)) ** 2,
    "gaussian": lambda x, a: math.exp(-((a * x) ** 2) / 2),
    "arctan": lambda x, a: 1 / (1 + (a * x) ** 2),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_a_layer_uses_the_surrogate_that_was_chosen(name: str) -> None:
    """One step of a neuron that moves onto its input: ds/dI is the surrogate at I − V_th."""
    layer = QLIF(5, quantum_mode=False, tau=1.0, surrogate_gradient_function=name, alpha=2.5).double()
    current = torch.tensor([[[0.2, 0.8, 1.0, 1.1, 3.0]]], dtype=torch.float64, requires_grad=True)
    spikes, _ = layer(current)
    assert spikes.flatten().tolist() == [0, 0, 0, 1, 1]
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    expected = [FORMULAS[name](value - 1.0, 2.5) for value in current.flatten().tolist()]  # type: ignore[no-untyped-call]
    assert gradient.flatten().tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    "mode",
    [
        {},
        {"shots": 1},
        {"shots": 9},
        {"shots": 9, "decision": "threshold"},
        {"decision": "threshold"},
        {"shots": 3, "quantum_wire": 3, "decision": "threshold"},
        {"quantum_mode": False, "stochastic": True},
        {"refractory_period": 1},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_are_exactly_zero_or_one_and_carry_the_gradient_of_the_probability(
    mode: dict[str, object], dtype: torch.dtype
) -> None:
    layer = QLIF(50, seed=1, tau=1.0, **mode).to(dtype)  # type: ignore[arg-type]
    current = (1 + torch.randn(1, 20, 50, generator=torch.Generator().manual_seed(3))).to(dtype).requires_grad_()
    spikes, _ = layer(current)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    (gradient,) = torch.autograd.grad(spikes.sum(), current)
    x = current.detach()
    leaf = x.clone().requires_grad_()
    if layer.settings.quantum_mode:
        probability = (math.pi / 2 * (4 * (leaf - 1)).sigmoid()).sin().square()
    else:
        probability = (2 * (leaf - 1)).sigmoid()
    (expected,) = torch.autograd.grad(probability.sum(), leaf)
    torch.testing.assert_close(gradient, expected)


NOISE = DeviceNoise(t1=50e-6, t2=40e-6, gate_time=1e-6, gate_error=0.01, readout_p01=0.03, readout_p10=0.05)


def gradients(backend: str | AnalyticBackend | ReferenceBackend, gradient: str) -> list[Tensor]:
    """Of the expectation through three steps that feed into each other, to the input and all constants."""
    layer = QLIF(2, seed=1, backend=backend, decision="expectation", gradient=gradient, tau=3.0, **LEARNED, **EVERYTHING)  # type: ignore[arg-type]
    layer = layer.double()
    current = (1.5 + torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))).requires_grad_()
    spikes, _ = layer(current)
    (spikes * torch.arange(1, 4)[:, None, None]).sum().backward()
    found = [current.grad, *(parameter.grad for parameter in layer.parameters())]
    return [value for value in found if value is not None]


@pytest.mark.parametrize("noise", [None, NOISE])
def test_parameter_shift_equals_autograd_through_a_sequence(noise: DeviceNoise | None) -> None:
    exact = gradients(AnalyticBackend(noise), "auto")
    assert len(exact) == 6
    for backend in (ReferenceBackend(noise), AnalyticBackend(noise)):
        for value, expected in zip(gradients(backend, "parameter-shift"), exact, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-8)
    for value, expected in zip(gradients(ReferenceBackend(noise), "auto"), exact, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-8)


def test_the_analytic_gradient_is_exact_without_noise_and_biased_with_it() -> None:
    exact = gradients("analytic", "auto")
    for value, expected in zip(gradients("reference", "analytic"), exact, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-8)
    noisy = gradients(AnalyticBackend(NOISE), "auto")
    biased = gradients(ReferenceBackend(NOISE), "analytic")
    assert not torch.allclose(biased[0], noisy[0], rtol=1e-3)


def test_gradient_none_stops_the_gradient_at_the_qubit() -> None:
    layer = QLIF(2, seed=1, gradient="none", decision="expectation", learnable_qscale=True)
    spikes, _ = layer(torch.ones(3, 1, 2))
    assert not spikes.requires_grad


def test_no_graph_is_kept_without_gradients() -> None:
    layer = QLIF(2, seed=1, **LEARNED, **EVERYTHING)  # type: ignore[arg-type]
    with torch.no_grad():
        spikes, state = layer(torch.ones(3, 1, 2))
    assert not spikes.requires_grad
    assert not any(value.requires_grad for value in state)


def test_a_detached_state_cuts_the_graph_between_sequences() -> None:
    layer = QLIF(2, seed=1, learnable_threshold=True, decision="expectation")
    state: QLIFState | None = None
    for _ in range(2):
        spikes, carried = layer.forward(torch.ones(3, 1, 2), state)
        spikes.sum().backward()  # type: ignore[no-untyped-call]
        state = carried.detach()
        assert not any(value.requires_grad for value in state)
        assert torch.equal(state.voltage, carried.voltage)


def test_the_gradient_reaches_back_through_time() -> None:
    """The last spikes depend on the first input, and not on a later one."""
    layer = QLIF(2, decision="expectation", tau=3.0)
    current = torch.full((5, 1, 2), 1.2, requires_grad=True)
    spikes, _ = layer(current)
    (gradient,) = torch.autograd.grad(spikes[2].sum(), current)
    assert (gradient[:3] != 0).all()
    assert (gradient[3:] == 0).all()


@pytest.mark.parametrize(
    "mode",
    [{}, {"decision": "expectation"}, {"decision": "threshold"}, {"quantum_mode": False}, {"membrane": "quadratic"}],
)
def test_a_network_trains_and_gradients_reach_its_first_layer(mode: dict[str, object]) -> None:
    """Two classes of constant input, separated by the spike counts of two neurons."""
    torch.manual_seed(5)
    first, last = nn.Linear(4, 16), nn.Linear(16, 2)
    network = SpikingSequential(first, QLIF(16, seed=1, tau=2.0, **mode), last, QLIF(2, seed=2, tau=2.0, **mode))  # type: ignore[arg-type]
    labels = torch.arange(32) % 2
    patterns = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])[labels] + 0.1 * torch.randn(32, 4)
    sequence = 2 * patterns.expand(12, 32, 4)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        spikes, _ = network(sequence)
        loss = nn.functional.cross_entropy(spikes.sum(dim=0), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        assert first.weight.grad is not None
        assert first.weight.grad.isfinite().all()
        assert first.weight.grad.abs().sum() > 0
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) / 5 < 0.3 * losses[0]
