"""Calibration and spike trains: the correction of single decisions holds in one circuit, and resets are measured there."""

import math

import pytest
import torch

import qlifq
from qlifq.backends import DeviceNoise, get
from qlifq.backends.snapshots import load_snapshot
from qlifq.calibration import fit, reset_errors
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.errors import BackendError, ShapeError
from tests.backends.test_aer_trains import LIMIT, SHOTS, p_value

#: Standard errors within which an estimate of a site is, but for 1e-9 over all sites of this file.
WITHIN = 6.7


@pytest.mark.parametrize("backend", ["analytic", "aer", "reference"])
def test_reset_errors_are_measured_beside_readout_and_gate_errors(backend: str) -> None:
    truth = (0.0, 0.02, 0.3)
    noise = DeviceNoise(
        t1=50e-6,
        gate_time=1e-6,
        gate_error=0.02,
        readout_p01=(0.01, 0.1, 0.05),
        readout_p10=(0.2, 0.02, 0.1),
        reset_error=truth,
    )
    found = reset_errors(get(backend, noise=noise), 3, shots=20_000, seed=1)
    away = (found.error - torch.tensor(truth)).abs() / found.standard_error
    assert bool((away < WITHIN).all())
    assert bool((found.standard_error < 0.01).all())
    # Planted: the rate of the second step alone takes the readout error for one of the reset.
    assert abs(0.1 - truth[1]) > WITHIN * float(found.standard_error[1])
    assert str(found).startswith("reset error of ")
    assert "(site 2)" in str(found)


def test_what_a_reset_error_does_to_the_rate_is_known_in_closed_form() -> None:
    """After a step that always spikes: (1 − e) sin²(θ/2) + e cos²(θ/2), so the mean of both moves by e cos(θ) / 2."""
    theta = 1.1
    base = torch.tensor([[[math.pi, math.pi]], [[theta, theta]]], dtype=torch.float64)
    train = SpikeTrainCircuit(base, (Condition(1, 0, 0),), torch.zeros((1, 1, 2), dtype=torch.float64))
    noise = DeviceNoise(reset_error=(0.0, 0.25))
    found = reset_errors(get("analytic", noise=noise), 2, seed=1)
    expected = found.error.clamp(0, 1) * math.cos(theta) / 2
    assert torch.allclose(found.rate_change(train)[0], expected, rtol=0, atol=1e-12)
    with pytest.raises(ShapeError, match="must have 2 sites, but has 1"):
        found.rate_change(SpikeTrainCircuit(base[..., :1], (), torch.zeros((0, 1, 1), dtype=torch.float64)))


def test_a_readout_that_says_nothing_measures_no_reset() -> None:
    noise = DeviceNoise(readout_p01=(0.0, 0.5), readout_p10=(0.0, 0.48))
    with pytest.raises(
        BackendError, match="reset error of site 1 cannot be measured: a rotation by π raises what is read from"
    ):
        reset_errors(get("analytic", noise=noise), 2, seed=1)


def test_a_correction_of_single_decisions_holds_in_one_circuit() -> None:
    """A bit that is read is the spike, so q_scale and q_bias of the corrected layer need no change, on poor qubits too."""
    neurons, steps = 20, 40
    qubits = list(load_snapshot("fake_torino"))[100 : 100 + neurons]
    noise = DeviceNoise.from_snapshot("fake_torino", qubits)
    backend = get("aer", noise=noise)
    layer = qlifq.QLIF(neurons, backend=backend, shots=1, tau=4.0, q_scale=1.0)
    current = 1.8 + 0.4 * torch.sin(torch.arange(steps)[:, None, None] / 5 + torch.arange(neurons))
    as_designed = layer.train_circuit(current)
    of_trains = noise.of_trains(torch.float64, current.device)
    target = as_designed.moments().rate.mean(0)
    fit(backend, neurons=neurons, q_scale=1.0, shots=50_000, seed=1).apply_to(layer, span=(-1.0, 1.0))
    corrected = layer.train_circuit(current)
    before, after = (
        float(((train.moments(0, of_trains).rate.mean(0) - target).abs() / target).mean()) for train in (as_designed, corrected)
    )
    assert before > 0.05
    assert after < 0.012
    short = layer.train_circuit(current[:8])
    spikes = backend.run_train(short, shots=SHOTS, seed=2).spikes
    assert p_value(spikes, short.distribution(of_trains)) > LIMIT
    assert p_value(spikes, short.distribution()) < LIMIT
