"""The closed form under noise against density matrices, and the law of what is drawn from it.

A statistical test here makes exact two-sided binomial tests at 1e-9 / number of tests.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.reference import ReferenceBackend
from qlifq.backends.sampling import draw
from qlifq.circuits import CIRCUITS, BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit
from qlifq.errors import DtypeError, ShapeError
from qlifq.random import generator

FALSE_FAIL = 1e-9
CPU = torch.device("cpu")
CIRCUITS_BY_DRAWING = {
    circuit.draw(): circuit
    for circuit in (
        *(entry.build() for entry in CIRCUITS.values()),
        LeakySpike(0.3),
        BrandPetruccione("delay"),
        SpikeCircuit("Probe", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2)))),
        SpikeCircuit("Waits", (Gate("RX", 0.4), Gate("Delay", 3e-6), Gate("RY", Slot(0)), Gate("RX", Slot(0)))),
    )
}
PER_SITE = DeviceNoise(
    t1=(80e-6, 30e-6, math.inf),
    t2=(60e-6, 50e-6, 90e-6),
    gate_time=(5e-7, 0.0, 1e-6),
    gate_error=(0.01, 0.5, 0.0),
    readout_p01=(0.02, 0.1, 0.0),
    readout_p10=(0.05, 0.2, 1.0),
)
each_circuit = pytest.mark.parametrize("circuit", CIRCUITS_BY_DRAWING.values(), ids=CIRCUITS_BY_DRAWING)


def exact(backend: str, noise: DeviceNoise | None, circuit: SpikeCircuit, angles: torch.Tensor) -> torch.Tensor:
    return get(backend, noise=noise).run(circuit, angles, shots=None, seed=None).probability


def some_angles(circuit: SpikeCircuit, batch: int = 6, sites: int = 3) -> torch.Tensor:
    angles = torch.rand(batch, sites, circuit.num_angles, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    angles = 14 * angles - 7
    if circuit == BrandPetruccione("delay"):
        angles[..., 1] = angles[..., 1].abs() * 1e-5
    return angles


@each_circuit
@pytest.mark.parametrize(
    "noise",
    [None, DeviceNoise(), DeviceNoise(t1=50e-6, gate_time=1e-6, gate_error=0.02, readout_p01=0.03, readout_p10=0.1), PER_SITE],
    ids=["none", "trivial", "one value", "per site"],
)
def test_the_closed_form_agrees_with_density_matrices(circuit: SpikeCircuit, noise: DeviceNoise | None) -> None:
    angles = torch.cat((some_angles(circuit), *(torch.full((1, 3, circuit.num_angles), turn) for turn in (0, math.pi))))
    error = (exact("analytic", noise, circuit, angles) - exact("reference", noise, circuit, angles)).abs()
    assert error.max() <= 1e-12


def noises() -> st.SearchStrategy[DeviceNoise]:
    unit = st.floats(0, 1)

    def build(t1: float, share: float, gate_time: float, gate_error: float, p01: float, p10: float) -> DeviceNoise:
        return DeviceNoise(t1, share * 2 * t1, gate_time, gate_error, p01, p10)

    times = st.floats(1e-6, 1e-3)
    return st.builds(build, times, st.floats(1e-3, 1), st.floats(0, 1e-4), st.floats(0, 0.5), unit, unit)


@settings(max_examples=100)
@given(noises(), st.lists(st.tuples(st.sampled_from(["RX", "RY", "RZ", "Delay"]), st.floats(-7, 7)), min_size=1, max_size=6))
def test_any_gates_under_any_noise_agree_with_density_matrices(noise: DeviceNoise, drawn: list[tuple[str, float]]) -> None:
    gates = [Gate(name, abs(value) * 1e-5 if name == "Delay" else value) for name, value in drawn]
    # One angle runs through the law, two through the general form.
    for tail in ((Gate("RY", Slot(0)),), (Gate("RY", Slot(0)), Gate("Delay", 1e-6), Gate("RX", Slot(1)))):
        circuit = SpikeCircuit("Drawn", (*gates, *tail))
        angles = some_angles(circuit, 1, 2)
        error = (exact("analytic", noise, circuit, angles) - exact("reference", noise, circuit, angles)).abs()
        assert error.max() <= 1e-12


@each_circuit
@pytest.mark.parametrize("noise", [None, PER_SITE], ids=["ideal", "noisy"])
def test_float32_stays_float32_and_close(circuit: SpikeCircuit, noise: DeviceNoise | None) -> None:
    angles = some_angles(circuit).float()
    found = exact("analytic", noise, circuit, angles)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact("reference", noise, circuit, angles.double()), rtol=0, atol=2e-6)


@each_circuit
@pytest.mark.parametrize("noise", [None, PER_SITE], ids=["ideal", "noisy"])
def test_the_noisy_closed_form_has_its_own_gradient(circuit: SpikeCircuit, noise: DeviceNoise | None) -> None:
    if circuit == BrandPetruccione("delay"):
        return  # gradcheck steps by 1e-6, which is as long as the delays are.
    angles = some_angles(circuit, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: AnalyticBackend(noise).probability(circuit, values), (angles,))


def test_the_gradient_of_a_delay_is_the_decay_rate() -> None:
    t1 = 80e-6
    angles = torch.tensor([[[math.pi, 20e-6]]], dtype=torch.float64, requires_grad=True)
    found = AnalyticBackend(DeviceNoise(t1=t1)).run(BrandPetruccione("delay"), angles, shots=None, seed=None).probability
    (slope,) = torch.autograd.grad(found.sum(), angles)
    assert found.item() == pytest.approx(math.exp(-20e-6 / t1), rel=1e-12)
    assert slope[0, 0, 1].item() == pytest.approx(-math.exp(-20e-6 / t1) / t1, rel=1e-9)


def test_the_law_of_a_circuit_is_given_by_site() -> None:
    backend = AnalyticBackend(PER_SITE)
    law = backend.law(RYSpike(), CPU)
    assert [value.shape for value in law] == [(3,)] * 3
    theta = some_angles(RYSpike())
    assert torch.equal(law.probability(theta[..., 0]), exact("analytic", PER_SITE, RYSpike(), theta))
    assert all(value.shape == () for value in AnalyticBackend().law(RYSpike(), CPU))
    assert all(value.shape == () for value in AnalyticBackend(DeviceNoise(t1=1e-4)).law(RYSpike(), CPU))


def test_noise_of_another_number_of_sites_is_refused() -> None:
    for name in ("analytic", "reference"):
        with pytest.raises(ShapeError, match=r"`angles` must have 3 sites for backend (analytic|reference), but has 2"):
            exact(name, PER_SITE, RYSpike(), torch.zeros(1, 2, 1))
        with pytest.raises(
            DtypeError, match=f"`noise` must be numbers for backend {name}, a DeviceNoise, but is 'fake_torino'"
        ):
            get(name, noise="fake_torino")
        with pytest.raises(DtypeError, match="`noise` must be a DeviceNoise or None, but is float"):
            get(name, noise=0.1)


def plausible(ones: npt.NDArray[Any], shots: int, chance: npt.NDArray[Any] | float) -> bool:
    """Whether no count has a two-sided tail below its share of the false-fail rate."""
    tails = np.minimum(binom.cdf(ones, shots, chance), binom.sf(ones - 1, shots, chance))
    return bool((2 * tails * np.size(ones) > FALSE_FAIL).all())


CHANCES = torch.tensor([[0.0, 1e-4, 0.02, 0.3, 0.5, 0.97, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_shots_are_bernoulli(dtype: torch.dtype) -> None:
    # 200,000 draws at each of 7 chances see a bias of 0.013 at ½: (6.3 + 4.8) standard errors.
    found = draw(CHANCES.to(dtype).expand(200_000, -1), 1, 11)
    assert found.ones is not None
    assert plausible(found.ones.sum(0).numpy(), 200_000, CHANCES[0].to(dtype).double().numpy())
    assert found.probability.dtype == dtype
    assert torch.equal(found.probability, found.ones.to(dtype))


@pytest.mark.parametrize("shots", [2, 7, 50])
def test_many_shots_are_binomial(shots: int) -> None:
    # Every possible count, not the mean alone: how often it comes is binomial too.
    found = draw(CHANCES.expand(20_000, -1), shots, 12)
    assert found.ones is not None
    counts = found.ones.numpy()
    values = np.arange(shots + 1)
    seen = (counts[:, :, None] == values).sum(0)
    assert plausible(seen, 20_000, np.clip(binom.pmf(values, shots, CHANCES.numpy().T), 0, 1))
    assert torch.equal(found.probability, found.ones.double() / shots)


def test_counts_beyond_the_integers_of_float32_are_exact() -> None:
    found = draw(torch.tensor([[1.0, 0.5]]), 2**24 + 1, 3)
    assert found.ones is not None
    assert found.ones[0, 0].item() == 2**24 + 1
    assert plausible(found.ones[0, 1:].numpy(), 2**24 + 1, 0.5)


def counts_for(seed: int, shots: int) -> list[int]:
    found = draw(torch.full((4, 50), 0.5), shots, seed)
    assert found.ones is not None
    return found.ones.flatten().tolist()


@pytest.mark.parametrize("shots", [1, 20])
@pytest.mark.parametrize("other", [8, 7 + 2**32, 7 + 2**33, 7 + 2**62, 2**63 - 1])
def test_seeds_that_differ_in_any_bit_give_other_counts(other: int, shots: int) -> None:
    assert counts_for(7, shots) == counts_for(7, shots)
    assert counts_for(7, shots) != counts_for(other, shots)


@given(st.integers(0, 2**63 - 1), st.integers(0, 62))
def test_every_bit_of_a_seed_reaches_the_generator(seed: int, bit: int) -> None:
    assert generator(seed, CPU).initial_seed() != generator(seed ^ (1 << bit), CPU).initial_seed()


def test_the_generator_of_torch_takes_32_bits() -> None:
    first, second = (torch.rand(9, generator=torch.Generator().manual_seed(seed)) for seed in (7, 7 + 2**32))
    assert torch.equal(first, second)


@pytest.mark.parametrize("shots", [1, 20])
def test_counts_do_not_depend_on_the_number_of_threads(shots: int) -> None:
    before = torch.get_num_threads()
    chances = torch.rand(300, 400, generator=torch.Generator().manual_seed(1))
    found: list[Outcome] = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(draw(chances, shots, 9))
    finally:
        torch.set_num_threads(before)
    one, two = found
    assert one.ones is not None
    assert two.ones is not None
    assert torch.equal(one.ones, two.ones)


def test_without_a_seed_the_global_generator_draws() -> None:
    drawn = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        drawn.append(draw(torch.full((1, 200), 0.5), 1, None).probability)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("shots", [1, 10])
@pytest.mark.parametrize("noise", [None, PER_SITE], ids=["ideal", "noisy"])
def test_counts_carry_the_gradient_of_the_exact_probability(shots: int, noise: DeviceNoise | None) -> None:
    backend = AnalyticBackend(noise)
    slopes = []
    for mode in (None, shots):
        angles = some_angles(RYSpike()).requires_grad_()
        found = backend.run(RYSpike(), angles, shots=mode, seed=3)
        slopes.append(torch.autograd.grad(found.probability.sum(), angles)[0])
    assert torch.equal(*slopes)
    assert found.ones is not None
    assert not found.ones.requires_grad
    assert torch.allclose(found.probability.detach(), found.ones.double() / shots, rtol=0, atol=1e-15)


@pytest.mark.parametrize("shots", [None, 1, 50])
def test_what_is_not_wanted_is_0_and_has_no_gradient(shots: int | None) -> None:
    angles = some_angles(RYSpike()).requires_grad_()
    where = torch.zeros(6, 3, dtype=torch.bool)
    where[::2, 1:] = True
    found = AnalyticBackend().run(RYSpike(), angles, shots=shots, seed=3, where=where)
    (slope,) = torch.autograd.grad(found.probability.sum(), angles)
    assert not found.probability[~where].any()
    assert not slope[~where].any()
    assert bool((slope[where] != 0).all())
    if shots is None:
        whole = AnalyticBackend().run(RYSpike(), angles, shots=None, seed=None)
        assert torch.equal(found.probability[where], whole.probability[where])


def test_a_plan_executes_nothing() -> None:
    plan = AnalyticBackend().plan(RYSpike(), 4, 5, shots=10)
    assert (plan.evaluations, plan.circuits, plan.executions, plan.jobs) == (20, 0, 0, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("shots", [None, 1, 100])
def test_an_accelerator_keeps_everything(shots: int | None) -> None:
    backend = AnalyticBackend(PER_SITE)
    angles = some_angles(RYSpike()).cuda()
    found = backend.run(RYSpike(), angles, shots=shots, seed=2**40)
    assert found.probability.device == angles.device
    if shots is None:
        assert torch.allclose(found.probability.cpu(), exact("reference", PER_SITE, RYSpike(), angles.cpu()), atol=1e-12)
    else:
        assert found.ones is not None
        assert found.ones.device == angles.device


def test_the_reference_is_not_the_closed_form() -> None:
    assert not isinstance(get("reference"), AnalyticBackend)
    assert isinstance(get("reference"), ReferenceBackend)
