"""Whole layers on circuits: their trajectories, their gradients and their training."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, norm
from torch import Tensor, nn

from qlifq import QLIF, SpikingSequential
from qlifq.backends import Backend, DeviceNoise, get, parameter_shift
from qlifq.circuits import LeakySpike

FALSE_FAIL = 1e-9

NOISE = DeviceNoise(t1=120e-6, t2=90e-6, gate_time=60e-9, gate_error=2e-3, readout_p01=0.02, readout_p10=0.05)


def histogram(backend: str | Backend, seed: int, **more: object) -> list[int]:
    """How many of 1,500 neurons spiked how often in 12 steps that remember their spikes."""
    memory: dict[str, object] = {"tau": 3.0, "refractory_period": 1, "spike_increase": 0.4}
    layer = QLIF(1500, backend=backend, seed=seed, **{**memory, **more})  # type: ignore[arg-type]
    with torch.no_grad():
        spikes, _ = layer(torch.full((12, 1, 1500), 1.3))
    return [int(count) for count in spikes.sum(dim=(0, 1)).long().bincount(minlength=7)[:7]]


def p_value(*histograms: list[int]) -> float:
    """Chi-square test of homogeneity; numbers of spikes that hardly occur are pooled."""
    table = np.array(histograms)
    common = table.sum(axis=0) >= 30 * len(table)
    pooled = np.column_stack((table[:, common], table[:, ~common].sum(axis=1)))
    return float(chi2_contingency(pooled[:, pooled.sum(axis=0) > 0]).pvalue)


def test_the_law_of_sampled_trajectories_is_that_of_the_closed_form_on_every_circuit_backend() -> None:
    """One test over all, false-fail rate 1e-9; a neuron whose q_bias is off by 0.3 is seen by the same test."""
    exact = histogram("analytic", 1)
    drawn = [
        histogram("lightning", 2),
        histogram("lightning", 3, shots=1),
        histogram("aer", 4),
        histogram("aer", 5, shots=6),
        histogram(get("aer", sampling="law"), 6, shots=3),
    ]
    assert p_value(exact, *drawn) > FALSE_FAIL
    assert p_value(exact, histogram("aer", 7, q_bias=0.3)) < FALSE_FAIL


def test_noisy_trajectories_on_aer_follow_the_closed_form_under_the_same_noise() -> None:
    """False-fail rate 1e-9; trajectories without noise fail the same test."""
    drawn = histogram(get("aer", noise=DeviceNoise(readout_p01=0.06, readout_p10=0.1)), 1)
    exact = histogram(get("analytic", noise=DeviceNoise(readout_p01=0.06, readout_p10=0.1)), 2)
    assert p_value(drawn, exact) > FALSE_FAIL
    assert p_value(drawn, histogram("analytic", 3)) < FALSE_FAIL


def test_a_layer_on_lightning_has_the_spikes_and_gradients_of_the_closed_form() -> None:
    current = 1.5 * torch.rand(6, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for backend in ("analytic", "lightning"):
        options: dict[str, object] = {"learnable_qscale": True, "learnable_qbias": True, "learnable_tau": True}
        layer = QLIF(5, backend=backend, decision="expectation", seed=3, tau=4.0, **options).double()  # type: ignore[arg-type]
        graded, _ = layer(current)
        graded.square().sum().backward()
        results.append((graded.detach(), *(parameter.grad for parameter in layer.parameters())))
    for exact, measured in zip(*results, strict=True):
        torch.testing.assert_close(measured, exact, atol=1e-8, rtol=0)


@pytest.mark.parametrize("sampling", ["shots", "law"])
def test_shifted_shots_give_the_derivative_within_their_standard_error(sampling: str) -> None:
    """Every derivative of 60 against the exact one under the same noise; false-fail rate 1e-9 by the normal approximation.

    Its standard error is √(Σ p(1 − p) / shots) / 2 over the two shifted probabilities, at most 0.0055 with 4,096 shots,
    so an error of 0.06 is seen for certain.
    """
    shots, circuit = 4096, LeakySpike(0.4)
    angles = 3.0 * torch.rand(20, 3, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    exact = get("analytic", noise=NOISE)
    truth = parameter_shift(exact, circuit, angles, shots=None, seed=None)
    measured = parameter_shift(get("aer", noise=NOISE, sampling=sampling), circuit, angles, shots=shots, seed=5)
    spread = torch.zeros_like(truth)
    for sign in (-1, 1):
        p = exact.run(circuit, angles + sign * torch.pi / 2, shots=None, seed=None).probability
        spread += (p * (1 - p)).unsqueeze(-1)
    standard_error = (spread / shots).sqrt() / 2
    assert ((measured - truth).abs() / standard_error).max() < norm.isf(FALSE_FAIL / 2 / truth.numel())
    # The derivative of a qubit without noise is distinguished: the shots are those of the noisy one.
    ideal = parameter_shift(get("analytic"), circuit, angles, shots=None, seed=None)
    assert ((measured - ideal).abs() / standard_error).max() > norm.isf(FALSE_FAIL / 2 / truth.numel())


def losses(backend: str | Backend, steps: int, **more: object) -> list[float]:
    """Training a small network to tell two kinds of input apart."""
    torch.manual_seed(0)
    layer = QLIF(6, backend=backend, seed=1, tau=2.0, learnable_qscale=True, **more)  # type: ignore[arg-type]
    network = SpikingSequential(nn.Linear(4, 6), layer, nn.Linear(6, 2))
    kinds = torch.arange(64) % 2
    signal = torch.rand(4, 64, 4) + kinds[:, None] * torch.tensor([1.0, -1.0, 0.5, 0.0])
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    found = []
    for _ in range(steps):
        output: Tensor = network(signal)[0]
        loss = nn.functional.cross_entropy(output.mean(dim=0), kinds)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("lightning", {}),
        ("lightning", {"shots": 20, "decision": "expectation"}),
        ("aer", {"gradient_shots": 20}),
        ("aer", {"shots": 20, "decision": "expectation"}),
        (get("aer", noise=NOISE), {"gradient": "analytic"}),
        (get("aer", noise="fake_manila", sampling="law"), {"shots": 50, "decision": "threshold"}),
    ],
)
def test_a_network_trains_through_its_circuits(backend: str | Backend, more: dict[str, object]) -> None:
    """The loss falls to 0.24 ± 0.12 of what it was where a spike is one noisy shot, 40 seeds of the layer, and to 0.97 ± 0.01
    where only the last layer learns. With 16 inputs and 25 steps it would be 0.58 ± 0.19, which no bar distinguishes.
    """
    found = losses(backend, 40, **more)
    assert np.mean(found[-5:]) < 0.6 * found[0]
    # Without a gradient through the circuits the first layer stands still, and the loss is another.
    if "gradient_shots" not in more:
        assert losses(backend, 15, **{**more, "gradient": "none"})[1:] != found[1:15]
