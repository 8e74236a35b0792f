"""The oracle against hand-made numbers and against the channels of Qiskit."""

import math

import numpy as np
import pytest
import torch
from qiskit.circuit.library import RXGate, RYGate, RZGate
from qiskit.quantum_info import DensityMatrix
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error
from scipy.stats import binom

from qlifq.backends import DeviceNoise, get
from qlifq.circuits import BrandPetruccione, Gate, RYSpike, Slot, SpikeCircuit

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
