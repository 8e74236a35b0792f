"""The Brand & Petruccione neuron against its released behaviour, closed forms and finite differences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from torch import Tensor, nn

from qlifq import BrandPetruccione, QLIFError, circuits
from qlifq.backends import Backend, Call, DeviceNoise, Outcome, Plan, get
from qlifq.neurons import BrandPetruccioneState

GOLDEN = Path(__file__).parent.parent / "data" / "brand_petruccione_published.npz"

Floats = npt.NDArray[np.float64]


def released(theta: Floats, tau: Floats, x: Floats, threshold: float, t1: float) -> Floats:
    """The equations of the released code, written out once more in NumPy: `(time, batch, neurons)` populations."""
    alpha, populations = np.zeros(theta.shape[1:]), []
    for angle, interval, spike in zip(theta, tau, x, strict=True):
        phi = 2 * np.arcsin(np.sqrt(alpha))
        gamma = -2 * np.arcsin(np.sqrt(alpha * np.exp(-interval / t1)))
        after = np.sin((angle + phi) * spike / 2) ** 2 + np.sin((gamma + phi) * (1 - spike) / 2) ** 2
        alpha = np.where(alpha < threshold, after, 0.0)
        populations.append(alpha)
    return np.stack(populations)


def inputs(steps: int, neurons: int, seed: int = 0, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, batch, neurons)
    theta = 2.5 * torch.rand(shape, dtype=torch.float64, generator=generator)
    tau = 120 * torch.rand(shape, dtype=torch.float64, generator=generator)
    x = (torch.rand(shape, dtype=torch.float64, generator=generator) < 0.6).to(torch.float64)
    return theta, tau, x


def test_the_published_neuron_equals_the_golden_file() -> None:
    golden = np.load(GOLDEN)
    theta, tau, x = (torch.tensor(golden[name].astype(np.float32)).unsqueeze(1) for name in ("theta", "tau", "x"))
    layer = BrandPetruccione(theta.shape[-1], leak="published", threshold=float(golden["threshold"]), t1=float(golden["t1"]))
    populations, spikes, _ = layer.run(theta, tau, x)
    assert np.abs(populations[:, 0].numpy() - golden["population"]).max() <= 1e-6
    assert np.array_equal(spikes[:, 0].numpy(), golden["spike"])
    assert golden["spike"].sum() > 100


@given(st.floats(0.05, 0.95), st.floats(1.0, 500.0), st.integers(0, 2**31))
def test_the_published_neuron_equals_the_released_equations_at_any_threshold_and_t1(
    threshold: float, t1: float, seed: int
) -> None:
    theta, tau, x = inputs(12, 5, seed)
    populations, spikes, _ = BrandPetruccione(5, leak="published", threshold=threshold, t1=t1).run(theta, tau, x)
    expected = released(theta.numpy(), tau.numpy(), x.numpy(), threshold, t1)
    np.testing.assert_allclose(populations.numpy(), expected, atol=1e-9)
    assert np.array_equal(spikes.numpy(), populations.numpy() > threshold)


@pytest.mark.parametrize("backend", ["analytic", "reference"])
def test_the_relaxation_leak_is_an_exponential(backend: str) -> None:
    start = torch.linspace(0.0, 0.74, 7, dtype=torch.float64).unsqueeze(0)
    tau = torch.linspace(0.0, 300.0, 7, dtype=torch.float64).expand(4, 1, 7)
    layer = BrandPetruccione(7, backend=backend, t1=60.0)
    populations, spikes, _ = layer.run(torch.zeros_like(tau), tau, torch.zeros_like(tau), BrandPetruccioneState(start))
    elapsed = torch.arange(1, 5, dtype=torch.float64)[:, None, None] * tau
    torch.testing.assert_close(populations, start * (-elapsed / 60.0).exp(), atol=1e-12, rtol=0)
    assert not spikes.any()


@pytest.mark.parametrize("backend", ["analytic", "reference"])
def test_a_real_delay_on_a_device_with_that_t1_is_the_relaxation_leak(backend: str) -> None:
    device_t1 = 120e-6
    theta, tau, x = inputs(10, 3)
    noisy = get(backend, noise=DeviceNoise(t1=device_t1))
    by_delay = BrandPetruccione(3, backend=noisy, delay_t1=device_t1).run(theta, tau, x)[0]
    by_rotation = BrandPetruccione(3).run(theta, tau, x)[0]
    torch.testing.assert_close(by_delay, by_rotation, atol=1e-12, rtol=0)
    without_noise = BrandPetruccione(3, delay_t1=device_t1).run(theta, tau, x)[0]
    assert not torch.allclose(without_noise, by_rotation)


def test_a_delay_on_aer_is_the_relaxation_leak_within_shot_noise() -> None:
    """Exact binomial tails of 12 populations, Bonferroni: false-fail rate 1e-9; the published leak fails it."""
    shots, device_t1 = 20_000, 120e-6
    start = torch.tensor([[0.1, 0.4, 0.7]], dtype=torch.float64)
    state = BrandPetruccioneState(start)
    layer = BrandPetruccione(3, backend=get("aer", noise=DeviceNoise(t1=device_t1)), shots=shots, seed=3, delay_t1=device_t1)

    def least_tail(leak: str) -> float:
        tails = []
        for interval in (0.0, 15.0, 60.0, 120.0):
            tau = torch.full((1, 1, 3), interval, dtype=torch.float64)
            zeros = torch.zeros_like(tau)
            measured = layer.run(zeros, tau, zeros, state)[0].flatten().numpy()
            expected = BrandPetruccione(3, leak=leak).run(zeros, tau, zeros, state)[0].flatten().numpy()
            ones = np.rint(measured * shots)
            tails.append(np.minimum(binom.cdf(ones, shots, expected), binom.sf(ones - 1, shots, expected)).min())
        return float(min(tails))

    assert 2 * 12 * least_tail("relaxation") > 1e-9
    assert 2 * 12 * least_tail("published") < 1e-9


def test_the_published_leak_runs_backwards_and_the_relaxation_does_not() -> None:
    start = BrandPetruccioneState(torch.full((1, 2), 0.5, dtype=torch.float64))
    tau = torch.tensor([[[0.0, 600.0]]], dtype=torch.float64)
    zeros = torch.zeros_like(tau)
    published = BrandPetruccione(2, leak="published").run(zeros, tau, zeros, start)[0].flatten()
    relaxed = BrandPetruccione(2).run(zeros, tau, zeros, start)[0].flatten()
    torch.testing.assert_close(published, torch.tensor([0.0, 0.495], dtype=torch.float64), atol=5e-4, rtol=0)
    torch.testing.assert_close(relaxed, torch.tensor([0.5, 0.5 * np.exp(-10)], dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_true_gradient_equals_finite_differences_of_the_populations() -> None:
    generator = torch.Generator().manual_seed(3)
    theta = torch.rand(6, 2, 3, dtype=torch.float64, generator=generator).requires_grad_()
    tau = (50 * torch.rand(6, 2, 3, dtype=torch.float64, generator=generator)).requires_grad_()
    x = (torch.rand(6, 2, 3, generator=generator) < 0.5).to(torch.float64)
    for leak in ("relaxation", "published"):
        layer = BrandPetruccione(3, leak=leak)
        assert torch.autograd.gradcheck(lambda a, b, layer=layer: layer.run(a, b, x)[0], (theta, tau))


def test_parameter_shift_agrees_with_autograd() -> None:
    theta, tau, x = inputs(5, 3)
    theta.requires_grad_()
    tau.requires_grad_()
    gradients = [
        torch.autograd.grad(BrandPetruccione(3, backend=backend).run(theta, tau, x)[0].sin().sum(), (theta, tau))
        for backend in ("analytic", "reference")
    ]
    for exact, shifted in zip(*gradients, strict=True):
        torch.testing.assert_close(shifted, exact, atol=1e-8, rtol=1e-8)


def test_a_delay_without_autograd_has_the_gradient_of_the_relaxation_law() -> None:
    theta, tau, x = inputs(5, 3)
    tau.requires_grad_()
    gradients = []
    for backend in ("analytic", "reference"):
        noisy = get(backend, noise=DeviceNoise(t1=1e-4))
        layer = BrandPetruccione(3, backend=noisy, delay_t1=1e-4)
        gradients.append(torch.autograd.grad(layer.run(theta, tau, x)[0].sum(), tau)[0])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-8, rtol=1e-8)
    assert (gradients[0] != 0).any()


class TwoLayers(nn.Module):
    """A network whose first layer is seen through its spikes alone."""

    def __init__(self, gradient: str) -> None:
        super().__init__()
        self.rotation = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 4)]).to(torch.float64)
        self.interval = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 4)]).to(torch.float64)
        self.neurons = nn.ModuleList([BrandPetruccione(size, gradient=gradient, leak="published") for size in (8, 4)])

    def forward(self, signal: Tensor) -> Tensor:
        population = signal
        for rotation, interval, neurons in zip(self.rotation, self.interval, self.neurons, strict=True):
            drive = rotation(signal)
            assert isinstance(neurons, BrandPetruccione)
            population, signal, _ = neurons.run(
                torch.pi * drive.abs(), 200 * interval(signal).abs(), (drive > 0).to(drive.dtype)
            )
        return population


@pytest.mark.parametrize("gradient", ["true", "published"])
def test_the_true_gradient_trains_both_layers_and_the_published_one_leaves_the_hidden_one(gradient: str) -> None:
    torch.manual_seed(5)
    network = TwoLayers(gradient)
    signal = torch.rand(12, 3, 6, dtype=torch.float64)
    network(signal).square().sum().backward()
    for name in ("rotation", "interval"):
        hidden, last = (network.get_parameter(f"{name}.{layer}.weight").grad for layer in (0, 1))
        assert last is not None
        assert torch.isfinite(last).all()
        assert last.count_nonzero() > 0
        if gradient == "published":
            assert hidden is None or hidden.count_nonzero() == 0
        else:
            assert hidden is not None
            assert torch.isfinite(hidden).all()
            assert hidden.count_nonzero() > 0


def test_the_published_gradient_is_scaled_by_the_population_before() -> None:
    # The released code scales by 1 / (1 + (π α)²), which gives 0.2203 at α = 0.3 and θ = 1.
    theta = torch.ones(1, 1, 1, dtype=torch.float64, requires_grad=True)
    tau, x = torch.zeros_like(theta), torch.ones(1, 1, 1, dtype=torch.float64)
    start = BrandPetruccioneState(torch.full((1, 1), 0.3, dtype=torch.float64))
    slopes = [
        float(torch.autograd.grad(BrandPetruccione(1, gradient=gradient).run(theta, tau, x, start)[0].sum(), theta)[0])
        for gradient in ("true", "published")
    ]
    true = 0.5 * np.sin(1 + 2 * np.arcsin(np.sqrt(0.3)))
    assert slopes == pytest.approx([true, true / (1 + (0.3 * np.pi) ** 2)], abs=1e-12)
    assert slopes[1] == pytest.approx(0.2203, abs=5e-5)


def test_populations_from_counts_converge_to_the_exact_ones() -> None:
    theta, tau, x = inputs(3, 400)
    theta = theta * 0.3
    exact = BrandPetruccione(400).run(theta, tau, x)[0]
    errors = [
        float((BrandPetruccione(400, shots=shots, seed=4).run(theta, tau, x)[0] - exact)[0].square().mean().sqrt())
        for shots in (100, 10_000)
    ]
    # The first step starts from an exact 0, so its error is the binomial one: a tenth for a hundredfold of shots.
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.3)


def test_a_seed_replays_and_a_cut_sequence_equals_the_whole() -> None:
    theta, tau, x = inputs(10, 3)
    whole = BrandPetruccione(3, shots=20, seed=9).run(theta, tau, x)[0]
    layer = BrandPetruccione(3, shots=20, seed=9)
    first, _, state = layer.run(theta[:4], tau[:4], x[:4])
    second = layer.run(theta[4:], tau[4:], x[4:], state)[0]
    assert torch.equal(torch.cat((first, second)), whole)
    assert not torch.equal(BrandPetruccione(3, shots=20, seed=10).run(theta, tau, x)[0], whole)


class Recorder(Backend):
    """The analytic backend, remembering for which neurons it ran."""

    name = "recorder"

    def __init__(self) -> None:
        self.inner = get("analytic")
        # Else the layer would work out by itself what is ideal.
        self.capabilities = replace(self.inner.capabilities, ideal=False)
        self.wheres: list[Tensor] = []

    def _execute(self, call: Call) -> Outcome:
        assert call.where is not None
        self.wheres.append(call.where)
        return self.inner.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)

    def plan(self, circuit, batch, sites, *, shots):  # type: ignore[no-untyped-def]
        return self.inner.plan(circuit, batch, sites, shots=shots)


def test_a_neuron_in_reset_asks_no_circuit() -> None:
    recorder = Recorder()
    theta = torch.tensor([[[2.8, 0.3]]] * 2, dtype=torch.float64)
    layer = BrandPetruccione(2, backend=recorder)
    populations, spikes, _ = layer.run(theta, torch.zeros_like(theta), torch.ones_like(theta))
    assert [where.tolist() for where in recorder.wheres] == [[[True, True]], [[False, True]]]
    assert spikes[0].tolist() == [[1.0, 0.0]]
    assert float(populations[1, 0, 0]) == 0.0


GOOD = torch.zeros(2, 1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_neurons": 0}, "`num_neurons` must be at least 1, but is 0"),
        ({"threshold": 1.0}, "`threshold` must be above 0 and below 1, but is 1"),
        ({"t1": 0.0}, "`t1` must be above 0, but is 0"),
        ({"leak": "slow"}, "`leak` must be one of relaxation, published, but is 'slow'"),
        ({"gradient": "fake"}, "`gradient` must be one of true, published, but is 'fake'"),
        ({"delay_t1": -1.0}, "`delay_t1` must be above 0, but is -1"),
        ({"delay_t1": 1e-4, "leak": "published"}, "`delay_t1` would be ignored: it needs leak='relaxation'"),
        ({"shots": 0}, "`shots` must be at least 1, but is 0"),
        ({"backend": "nowhere"}, "Unknown backend `nowhere`"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        BrandPetruccione(**{"num_neurons": 3, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"theta": torch.zeros(2, 3)}, r"`theta` must have shape \(time, batch, 3\), but has shape \(2, 3\)"),
        ({"theta": GOOD + torch.nan}, "`theta` must be finite, but 6 of its 6"),
        ({"tau": GOOD.double()}, "`tau` must have dtype float32, but has float64"),
        ({"tau": GOOD - 1}, "`tau` must be at least 0, but is -1"),
        ({"x": GOOD + 0.5}, "`x` must be 0 or 1, but is 0.5"),
        ({"x": torch.zeros(2, 1, 4)}, r"`x` must have shape \(2, 1, 3\), but has shape \(2, 1, 4\)"),
        ({"x": torch.zeros(2, 1, 3, device="meta")}, "`x` must be on cpu like `theta`, but is on meta"),
        ({"state": torch.zeros(1, 3)}, "`state` must be a BrandPetruccioneState or None, but is Tensor"),
        ({"state": BrandPetruccioneState(torch.zeros(2, 3))}, r"`state.population` must have shape \(1, 3\)"),
        ({"state": BrandPetruccioneState(torch.full((1, 3), 1.1))}, r"`state.population` must be within \[0, 1\], but is 1.1"),
        (
            {"state": BrandPetruccioneState(torch.full((1, 3), -0.1))},
            r"`state.population` must be within \[0, 1\], but is -0.1",
        ),
        ({"state": BrandPetruccioneState(torch.full((1, 3), torch.nan))}, "`state.population` must be finite, but 3 of its 3"),
    ],
)
def test_bad_inputs_are_refused(changed: dict[str, object], message: str) -> None:
    given_inputs: dict[str, object] = {"theta": GOOD, "tau": GOOD, "x": GOOD, "state": None, **changed}
    with pytest.raises(QLIFError, match=message):
        BrandPetruccione(3)(**given_inputs)


def test_an_empty_sequence_returns_the_state_it_was_given() -> None:
    state = BrandPetruccioneState(torch.rand(2, 3))
    empty = torch.zeros(0, 2, 3)
    spikes, after = BrandPetruccione(3)(empty, empty, empty, state)
    assert spikes.shape == (0, 2, 3)
    assert after is state


@pytest.mark.parametrize("name", ["aer", "ibm"])
def test_a_real_delay_is_planned_as_a_second_call(name: str) -> None:
    backend = get(name) if name == "aer" else get(name, device="fake_manila")
    calls = [
        backend.plan(circuit, 6, 4, shots=100) for circuit in (circuits.BrandPetruccione(), circuits.BrandPetruccione("delay"))
    ]
    assert BrandPetruccione(4, backend=backend, shots=100).plan(6) == calls[0]
    both = BrandPetruccione(4, backend=backend, shots=100, delay_t1=1e-4).plan(6)
    assert both == Plan.total(calls)
    assert (both.evaluations, both.jobs) == (2 * 24, calls[0].jobs + calls[1].jobs)
    for seconds in ("estimated_seconds", "device_seconds"):
        known = [value for call in calls if (value := getattr(call, seconds)) is not None]
        assert getattr(both, seconds) == (sum(known) if known else None)
    assert (both.estimated_seconds or 0.0) + (both.device_seconds or 0.0) > 0
