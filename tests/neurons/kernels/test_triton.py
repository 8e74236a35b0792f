"""The kernels of accelerators, run by Triton's interpreter on CPU tensors.

Triton is no dependency of the tests: `pip install triton` lets them run.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from qlifq import QLIF, BrandPetruccione
from qlifq.neurons import kernels
from qlifq.neurons.kernels import build, run, targets
from tests.neurons.kernels.test_routes import CASES, error, inputs

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton"),
    # The interpreter computes by NumPy, which warns of what a lane that is masked out divides by.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton", "ignore::RuntimeWarning:numpy"),
]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The target of accelerators serves the CPU, in programs of so few lanes that several are needed."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    target = targets._GPUTarget()
    target.lanes = 16
    monkeypatch.setattr(run, "target_of", lambda device: target)
    build.module.cache_clear()
    targets._GPUTarget._module.cache_clear()
    yield
    build.module.cache_clear()
    targets._GPUTarget._module.cache_clear()


#: Kinds of layers that have every operation and every way to draw and to differentiate between them.
NAMES = ("constants", "everything", "gain", "slope modulation", "quadratic", "threshold", "expectation", "stochastic", "arctan")


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_those_of_the_step_loop(name: str) -> None:
    options = CASES[name]
    assert error(options, *inputs(options)) < 1e-10


def test_inputs_that_are_repeated_or_shared_have_their_gradients() -> None:
    options: dict[str, Any] = CASES["gain"]
    current, modulation = inputs(options)
    assert modulation is not None
    assert error(options, current[:1].expand_as(current), modulation[:, :1, :1]) < 1e-10


def test_half_precision_is_computed_as_in_the_step_loop() -> None:
    current = (2 + 2 * torch.randn(9, 2, 11, generator=torch.Generator().manual_seed(5))).bfloat16()
    found = []
    for kernel in kernels.CHOICES:
        drive = current.clone().requires_grad_()
        spikes, state = QLIF(11, seed=3, tau=3.0, kernel=kernel).bfloat16()(drive)
        assert spikes.dtype == torch.bfloat16
        found.append((spikes, state.voltage, *torch.autograd.grad(spikes.sum(dtype=torch.float32), drive)))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)
    # An ulp of bfloat16, where a last digit of float32 decides which way it is rounded.
    torch.testing.assert_close(found[0][2], found[1][2], rtol=2**-7, atol=1e-6)


def test_the_neuron_of_brand_and_petruccione_is_that_of_its_step_loop() -> None:
    source = torch.Generator().manual_seed(6)
    theta, tau = torch.rand(2, 9, 2, 11, dtype=torch.float64, generator=source)
    x = (torch.rand(9, 2, 11, generator=source) < 0.6).double()
    found = []
    for kernel in kernels.CHOICES:
        angle, interval = (2.0 * theta).requires_grad_(), (40.0 * tau).requires_grad_()
        populations, spikes, _ = BrandPetruccione(11, leak="published", kernel=kernel).run(angle, interval, x)
        found.append([populations, spikes, *torch.autograd.grad(populations.sum() + spikes.sum(), (angle, interval))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)
