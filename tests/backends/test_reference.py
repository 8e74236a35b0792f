"""The oracle against hand-made numbers and against the channels of Qiskit."""

import math
import re

import numpy as np
import pytest
import torch
from qiskit.circuit.library import RXGate, RYGate, RZGate
from qiskit.quantum_info import DensityMatrix
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error
from scipy.stats import binom

from qlifq import neurons
from qlifq.backends import DeviceNoise, get
from qlifq.backends.batching import rounded_into_range
from qlifq.backends.interface import MAX_SHOTS
from qlifq.circuits import BrandPetruccione, Gate, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError

NOISE = DeviceNoise(t1=80e-6, t2=60e-6, gate_time=2e-6, gate_error=0.02, readout_p01=0.03, readout_p10=0.08)
GATES = {"RX": RXGate, "RY": RYGate, "RZ": RZGate}


def one(noise: DeviceNoise, circuit: SpikeCircuit, *angles: float) -> float:
    tensor = torch.tensor([[angles]], dtype=torch.float64)
    return float(get("reference", noise=noise).run(circuit, tensor, shots=None, seed=None).probability)


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_that_of_qiskits_channels(seed: int) -> None:
    source = np.random.default_rng(seed)
    names = source.choice(["RX", "RY", "RZ", "Delay"], size=6)
    values = [
        abs(value) * 1e-5 if name == "Delay" else value for name, value in zip(names, source.uniform(-7, 7, 6), strict=True)
    ]
    state = DensityMatrix.from_label("0")
    for name, value in zip(names, values, strict=True):
        if name == "Delay":
            state = state.evolve(thermal_relaxation_error(80e-6, 60e-6, value).to_quantumchannel())
            continue
        state = state.evolve(GATES[name](value))
        if name != "RZ":
            state = state.evolve(depolarizing_error(2 * 0.02, 1).to_quantumchannel())
            state = state.evolve(thermal_relaxation_error(80e-6, 60e-6, 2e-6).to_quantumchannel())
    population = float(state.probabilities()[1])
    circuit = SpikeCircuit("Drawn", tuple(Gate(str(name), float(value)) for name, value in zip(names, values, strict=True)))
    assert one(NOISE, circuit) == pytest.approx((1 - population) * 0.03 + population * 0.92, abs=1e-12)


def test_an_excited_qubit_decays_with_t1() -> None:
    circuit = BrandPetruccione("delay")
    noise = DeviceNoise(t1=50e-6)
    assert one(noise, circuit, math.pi, 50e-6) == pytest.approx(1 / math.e, abs=1e-12)
    assert one(noise, circuit, math.pi, 0.0) == pytest.approx(1.0, abs=1e-12)
    assert one(noise, circuit, math.pi, 1.0) == pytest.approx(0.0, abs=1e-12)


def test_a_superposition_dephases_with_t2() -> None:
    # Ramsey: RX(π/2), wait, RX(π/2) reads ½(1 + e^(−t/T2)).
    ramsey = SpikeCircuit("Ramsey", (Gate("RX", math.pi / 2), Gate("Delay", Slot(0)), Gate("RX", math.pi / 2)))
    assert one(DeviceNoise(t2=30e-6), ramsey, 30e-6) == pytest.approx(0.5 * (1 + 1 / math.e), abs=1e-12)


def test_a_gate_error_of_one_half_forgets_everything() -> None:
    for theta in (0.0, 1.0, math.pi):
        assert one(DeviceNoise(gate_error=0.5), RYSpike(), theta) == pytest.approx(0.5, abs=1e-12)


def test_readout_errors_are_read_off_the_poles() -> None:
    noise = DeviceNoise(readout_p01=0.03, readout_p10=0.08)
    assert one(noise, RYSpike(), 0.0) == pytest.approx(0.03, abs=1e-15)
    assert one(noise, RYSpike(), math.pi) == pytest.approx(0.92, abs=1e-15)


def test_a_virtual_gate_has_no_noise() -> None:
    turned = SpikeCircuit("Turned", (Gate("RY", Slot(0)), *(Gate("RZ", 0.3),) * 9))
    assert one(NOISE, turned, 1.0) == pytest.approx(one(NOISE, RYSpike(), 1.0), abs=1e-14)


def test_rounding_does_not_lead_out_of_the_unit_interval() -> None:
    """RX(φ) RX(π − φ) is an X: 1 and 2.2e-16 came back, whose arcsine is NaN, and from RX(φ) RX(−φ) less than 0."""
    circuit = SpikeCircuit("TwoTurns", (Gate("RX", Slot(0)), Gate("RX", Slot(1))))
    phi = torch.linspace(-6, 6, 241, dtype=torch.float64)
    for turn in (0.0, math.pi):
        angles = torch.stack((phi, turn - phi), dim=-1)[:, None]
        for noise in (None, DeviceNoise(readout_p01=0.2)):
            found = get("reference", noise=noise).run(circuit, angles, shots=None, seed=None).probability
            assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
            assert not found.sqrt().asin().isnan().any()


def test_what_is_no_rounding_is_not_hidden() -> None:
    near = np.array([0.3, -9e-13, 1 + 9e-13, 1.0])
    assert rounded_into_range(near).tolist() == [0.3, 0.0, 1.0, 1.0]
    for wrong in (-2e-12, 1 + 2e-12, math.nan, 1.5):
        with pytest.raises(BackendError, match=re.escape(f"within [0, 1] but for rounding, but is {wrong:g}.")):
            rounded_into_range(np.array([0.5, wrong]))


def test_a_brand_petruccione_layer_runs_on_the_oracle_without_nan() -> None:
    """Inputs that fill the population or empty it: the arcsine of an ulp too much was NaN at the next step."""
    population = torch.linspace(0.001, 0.7, 150, dtype=torch.float64)[None]
    for turn in (0.0, math.pi):
        theta = (turn - 2 * population.sqrt().asin()).expand(3, 1, 150)
        found = []
        for name in ("reference", "analytic"):
            layer, state = neurons.BrandPetruccione(150, backend=name), neurons.BrandPetruccioneState(population)
            found.append(layer.run(theta, torch.zeros_like(theta), torch.ones_like(theta), state)[0])
        # At the ends the arcsine makes an angle of 1e-8 out of a rounding of 1e-16.
        torch.testing.assert_close(*found, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shots", [10**8, 10**9, MAX_SHOTS])
@pytest.mark.parametrize("name", ["reference", "analytic", "aer"])
def test_counts_of_very_many_shots_are_binomial(name: str, shots: int, dtype: torch.dtype) -> None:
    """Up to the most that are allowed, false-fail rate 1e-9; float32 cannot hold these counts, and must not round them."""
    angles = torch.tensor([0.0, 1e-3, 0.4, math.pi / 2, 3.0], dtype=dtype).reshape(1, 5, 1)
    backend = get("aer", sampling="law") if name == "aer" else get(name)
    # The shots follow the P(1) that the backend has in this dtype, which differs from that in float64 by 1e-7.
    truth = get(name).run(RYSpike(), angles, shots=None, seed=None).probability if name == "analytic" else None
    if truth is None:
        truth = get("analytic").run(RYSpike(), angles.double(), shots=None, seed=None).probability
    outcome = backend.run(RYSpike(), angles, shots=shots, seed=4)
    assert outcome.ones is not None
    assert outcome.ones.dtype == torch.int64
    ones, chance = outcome.ones.numpy(), truth.double().numpy()
    tails = np.minimum(binom.cdf(ones, shots, chance), binom.sf(ones - 1, shots, chance))
    assert 2 * tails.min() * tails.size > 1e-9
    assert torch.equal(outcome.probability, (outcome.ones.double() / shots).to(dtype))


@pytest.mark.parametrize("name", ["reference", "analytic", "aer", "lightning"])
def test_more_shots_than_can_be_drawn_are_refused(name: str) -> None:
    for act in (
        lambda: get(name).run(RYSpike(), torch.zeros(1, 1, 1), shots=MAX_SHOTS + 1, seed=1),
        lambda: get(name).plan(RYSpike(), 1, 1, shots=MAX_SHOTS + 1),
    ):
        with pytest.raises(ArgumentError, match="`shots` must be at most 4294967296, but is 4294967297"):
            act()


def test_counts_are_binomial_and_replay() -> None:
    # 28 exact tests at 1e-9 in all; 40,000 shots see a bias of 0.03 at ½.
    backend = get("reference", noise=NOISE)
    angles = torch.linspace(0, 7, 28, dtype=torch.float64).reshape(7, 4, 1)
    truth = backend.run(RYSpike(), angles, shots=None, seed=None).probability.numpy()
    found = backend.run(RYSpike(), angles, shots=40_000, seed=5)
    assert found.ones is not None
    ones = found.ones.numpy()
    tails = np.minimum(binom.cdf(ones, 40_000, truth), binom.sf(ones - 1, 40_000, truth))
    assert 2 * tails.min() * 28 > 1e-9
    again = backend.run(RYSpike(), angles, shots=40_000, seed=5)
    assert again.ones is not None
    assert torch.equal(found.ones, again.ones)
