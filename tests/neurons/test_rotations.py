"""A sequence of the neuron of Brand and Petruccione as one operation does what its steps do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from qlifq import BrandPetruccione
from qlifq.backends import DeviceNoise, get
from qlifq.errors import ArgumentError, ShapeError
from qlifq.neurons import BrandPetruccioneState, brand_petruccione
from qlifq.neurons import fused_brand_petruccione as rotations


def results(together: bool, constant: bool) -> list[Tensor]:
    """Populations, spikes and gradients of a sequence of 25 steps, in float64."""
    source = torch.Generator().manual_seed(1)
    drawn = {"generator": source, "dtype": torch.float64}
    rotation, interval = (0.4 * torch.randn(1 if constant else 25, 7, 30, **drawn) for _ in range(2))  # type: ignore[call-overload]
    weights = [torch.randn(25, 7, 30, **drawn) for _ in range(2)]  # type: ignore[call-overload]
    start = torch.rand(7, 30, **drawn)  # type: ignore[call-overload]
    leaves = [value.requires_grad_() for value in (rotation, interval, start)]
    layer = BrandPetruccione(30, t1=40.0, threshold=0.7)
    if not together:
        layer._can_fuse = lambda *_: False  # type: ignore[method-assign]
    theta, tau, x = torch.pi * rotation.abs(), 200 * interval.abs(), (rotation.detach() > 0).to(torch.float64)
    populations, spikes, state = layer.run(theta, tau, x, BrandPetruccioneState(start), steps=25 if constant else None)
    assert torch.equal(state.population, populations[-1])
    torch.autograd.backward((weights[0] * populations).sum() + (weights[1] * spikes).sum())
    return [populations.detach(), spikes.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("constant", [False, True])
def test_it_agrees_with_the_steps(constant: bool) -> None:
    mine, its = results(True, constant), results(False, constant)
    assert len(mine) == len(its) == 5
    assert 0.05 < float(mine[1].mean()) < 0.3
    for one, other in zip(mine, its, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("gradient", ["true", "published"])
@pytest.mark.parametrize("leak", ["relaxation", "published"])
def test_where_nothing_is_trained_it_agrees_with_the_steps_of_every_variant(leak: str, gradient: str) -> None:
    source = torch.Generator().manual_seed(2)
    theta, tau, start = 4 * torch.rand(40, 5, 20, generator=source), 90 * torch.rand(40, 5, 20, generator=source), None
    x = (torch.rand(40, 5, 20, generator=source) > 0.6).to(torch.float32)
    for dtype in (torch.float64, torch.float32):
        together, apart = (BrandPetruccione(20, leak=leak, gradient=gradient) for _ in range(2))
        apart._can_fuse = lambda *_: False  # type: ignore[method-assign]
        one, other = (layer.run(theta.to(dtype), tau.to(dtype), x.to(dtype), start) for layer in (together, apart))
        assert 0.05 < float(one[1].mean()) < 0.5
        if dtype == torch.float64:
            torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-12)
            assert torch.equal(one[1], other[1])
        else:
            # Rounding may carry a population over the threshold, and then what follows is another trajectory.
            assert float((one[0] - other[0]).abs().gt(1e-4).double().mean()) < 0.002


@pytest.mark.parametrize("leak", ["relaxation", "published"])
def test_an_empty_population_stays_empty_and_no_input_spike_has_a_gradient(leak: str) -> None:
    for dtype in (torch.float32, torch.float64):
        zeros, x = torch.zeros(3, 1, 4, dtype=dtype), torch.ones(3, 1, 4, dtype=dtype, requires_grad=True)
        populations, spikes, _ = BrandPetruccione(4, leak=leak).run(zeros, zeros, x)
        assert torch.equal(populations, zeros)
        assert not spikes.requires_grad


def test_inputs_that_are_held_are_those_of_every_step() -> None:
    theta, tau = torch.rand(1, 3, 4), 50 * torch.rand(1, 3, 4)
    x = (torch.rand(1, 3, 4) > 0.5).to(torch.float32)
    for options in ({}, {"leak": "published"}, {"shots": 20, "seed": 1}):
        made: dict[str, Any] = options
        held = BrandPetruccione(4, **made).run(theta, tau, x, steps=6)
        every = [value.repeat(6, 1, 1) for value in (theta, tau, x)]
        spelt = BrandPetruccione(4, **made).run(every[0], every[1], every[2])
        assert torch.equal(held[0], spelt[0])
        assert torch.equal(held[1], spelt[1])
    with pytest.raises(ArgumentError, match="Argument `steps` must be at least 1, but is 0"):
        BrandPetruccione(4).run(theta, tau, x, steps=0)
    with pytest.raises(ShapeError, match=r"Argument `theta` must have shape \(1, 3, 4\), but has shape \(2, 3, 4\)"):
        BrandPetruccione(4).run(theta.repeat(2, 1, 1), tau.repeat(2, 1, 1), x.repeat(2, 1, 1), steps=3)


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({}, True),
        ({"leak": "published"}, True),
        ({"gradient": "published"}, True),
        ({"shots": 10}, False),
        ({"backend": "reference"}, False),
        ({"backend": get("analytic", noise=DeviceNoise(readout_p01=0.1))}, False),
        ({"delay_t1": 1e-4}, False),
    ],
)
def test_it_serves_the_exact_neuron_and_trains_the_relaxing_one_alone(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], together: bool
) -> None:
    called = []

    def noticed(*given: Any, **named: Any) -> Any:
        called.append(True)
        return run(*given, **named)

    run = rotations.run_rotations
    monkeypatch.setattr(brand_petruccione, "run_rotations", noticed)
    layer = BrandPetruccione(2, **options)
    inputs = torch.rand(3, 1, 2), torch.rand(3, 1, 2), torch.ones(3, 1, 2)
    layer(*inputs)
    assert bool(called) is together
    called.clear()
    layer(inputs[0].requires_grad_(), *inputs[1:])
    assert bool(called) is (not options)
    called.clear()
    with torch.no_grad():
        layer(*inputs)
    assert bool(called) is together


def test_a_step_is_planned() -> None:
    assert BrandPetruccione(5).plan(7).evaluations == 35
    aer = get("aer", noise=DeviceNoise(t1=1e-4))
    once = BrandPetruccione(5, backend=aer, shots=10).plan(7)
    twice = BrandPetruccione(5, backend=aer, shots=10, delay_t1=1e-4).plan(7)
    assert (once.evaluations, once.executions > 0) == (35, True)
    assert (twice.evaluations, twice.jobs) == (70, 2 * once.jobs)
