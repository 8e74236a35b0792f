"""64 neurons on 64 qubits of device snapshots: before and after correction, and the twin against fresh counts.

The counts come from Aer's own density matrix of every qubit (`sampling="law"`), once from real shots.
"""

import math
import re

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

import qlifq
import qlifq.calibration
from qlifq.backends import Backend, DeviceNoise, get, parameter_shift
from qlifq.calibration import Calibration, fit
from qlifq.circuits import RYSpike
from qlifq.errors import UnsupportedError
from qlifq.studies.calibration_check import CalibrationCheck, check_correction

SNAPSHOTS = ("fake_torino", "fake_brisbane", "fake_fez")
NEURONS, SHOTS = 64, 16_384
FALSE_FAIL = 1e-9
ANGLES = torch.linspace(-1.0, 4.0, 7, dtype=torch.float64)[:, None, None].expand(-1, NEURONS, 1)


@pytest.fixture(scope="module", params=SNAPSHOTS)
def device(request: pytest.FixtureRequest) -> tuple[Backend, Calibration]:
    """The qubits as they are numbered, good and bad."""
    backend = get("aer", noise=request.param, sampling="law", qubits=tuple(range(NEURONS)))
    return backend, fit(backend, neurons=NEURONS, shots=SHOTS, seed=1)


def corrected(backend: Backend, calibration: Calibration) -> CalibrationCheck:
    return check_correction(backend, calibration, shots=4096, seed=2)


def test_the_snapshot_is_believed(device: tuple[Backend, Calibration]) -> None:
    _, calibration = device
    found = calibration.analysis
    for values in (found.p_value, found.drift_p_value, found.crosstalk_p_value):
        assert float(values.min()) > FALSE_FAIL
    assert calibration.measurement.details["qubits"] == list(range(NEURONS))


def test_the_correction_takes_the_spread_down_to_the_shot_noise(device: tuple[Backend, Calibration]) -> None:
    result = corrected(*device)
    assert result.unreachable == 0
    # The root mean square of 832 estimates is known to 2.5 %, so that chance alone fails neither bound.
    assert result.rms_before > 1.4 * result.shot_noise
    assert result.rms_after < 1.2 * result.shot_noise


@pytest.mark.parametrize("mapping", ["linear", "tanh"])
def test_so_in_the_other_mappings_on_the_best_qubits(mapping: str) -> None:
    backend = get("aer", noise="fake_torino", sampling="law")
    calibration = fit(backend, neurons=NEURONS, mapping=mapping, shots=SHOTS, seed=1)
    # At its default baseline of 0.02 `tanh` lies below every readout floor.
    result = check_correction(backend, calibration, p0=0.4, slope=0.3, shots=4096, seed=2)
    assert result.rms_after < 1.2 * result.shot_noise < result.rms_before


def uncertainty(calibration: Calibration, columns: Tensor) -> Tensor:
    """Variance of cᵀ(a, b, c) for columns `(batch, sites, 3)`."""
    covariance = calibration.analysis.response.covariance
    return torch.einsum("bsp,spq,bsq->bs", columns, covariance, columns)


def test_the_twin_agrees_with_fresh_counts(device: tuple[Backend, Calibration]) -> None:
    backend, calibration = device
    twin = get("twin", record=calibration)
    expected = twin.run(RYSpike(), ANGLES, shots=None, seed=None).probability
    shots = 40_000
    fresh = backend.run(RYSpike(), ANGLES, shots=shots, seed=77).probability
    theta = ANGLES[..., 0]
    columns = torch.stack((torch.ones_like(theta), theta.cos(), theta.sin()), dim=-1)
    variance = expected * (1 - expected) / shots + uncertainty(calibration, columns)
    score = (fresh - expected) / variance.sqrt()
    # Sees 0.02 anywhere.
    assert float(score.abs().max()) < norm.isf(FALSE_FAIL / 2 / score.numel())
    assert float(score.square().mean().sqrt()) < 1.2


def test_its_gradient_agrees_with_parameter_shift_on_the_snapshot(device: tuple[Backend, Calibration]) -> None:
    backend, calibration = device
    angles = ANGLES.clone().requires_grad_()
    p = get("twin", record=calibration).run(RYSpike(), angles, shots=None, seed=None).probability
    (ours,) = torch.autograd.grad(p.sum(), angles)
    shots = 40_000
    theirs = parameter_shift(backend, RYSpike(), ANGLES, shots=shots, seed=78)
    theta = ANGLES[..., 0]
    columns = torch.stack((torch.zeros_like(theta), -theta.sin(), theta.cos()), dim=-1)
    # ½ (p₊ − p₋): two proportions of variance ¼/shots at most, each halved.
    variance = 1 / (8 * shots) + uncertainty(calibration, columns)
    score = (theirs - ours)[..., 0] / variance.sqrt()
    assert float(score.abs().max()) < norm.isf(FALSE_FAIL / 2 / score.numel())


def test_real_shots_give_the_same() -> None:
    backend = get("aer", noise="fake_torino")
    calibration = fit(backend, neurons=4, shots=4096, seed=3)
    drawn = fit(get("aer", noise="fake_torino", sampling="law"), neurons=4, shots=4096, seed=3)
    assert calibration.measurement.details == drawn.measurement.details
    assert float(qlifq.calibration.compare(calibration, drawn).p_value.min()) > FALSE_FAIL


def test_other_qubits_are_refused() -> None:
    calibration = fit(get("aer", noise="fake_torino", sampling="law", qubits=(4, 7)), neurons=2, shots=100, seed=1)
    other = get("aer", noise="fake_torino", sampling="law", qubits=(4, 8))
    message = re.escape("The calibration is of qubits [4, 7], but this backend has [4, 8].")
    for act in (calibration.mitigate, calibration.check_backend, lambda backend: check_correction(backend, calibration)):
        with pytest.raises(UnsupportedError, match=message):
            act(other)
    with pytest.raises(UnsupportedError, match=message):
        calibration.apply_to(qlifq.QLIF(2, backend=other))


PER_SITE = DeviceNoise(readout_p01=(0.02, 0.1))
OTHERS: list[tuple[str, DeviceNoise | str | None, DeviceNoise | str | None]] = [
    *((name, DeviceNoise(readout_p01=0.02), DeviceNoise(readout_p01=0.4)) for name in ("analytic", "reference", "aer")),
    *((name, PER_SITE, DeviceNoise(readout_p01=(0.1, 0.02))) for name in ("analytic", "reference", "aer")),
    ("analytic", DeviceNoise(readout_p01=0.02), None),
    ("aer", None, DeviceNoise(readout_p01=0.02)),
    ("aer", "fake_manila", "fake_quito"),
]


@pytest.mark.parametrize(("name", "noise", "other"), OTHERS)
def test_another_noise_is_refused_and_the_same_is_not(
    name: str, noise: DeviceNoise | str | None, other: DeviceNoise | str | None
) -> None:
    qubits = {"qubits": (0, 1)} if isinstance(noise, str) else {}
    device, another = (get(name, noise=each, **qubits) for each in (noise, other))
    calibration = fit(device, neurons=2, shots=1000, seed=1)
    calibration.check_backend(get(name, noise=noise, **qubits))
    calibration.apply_to(qlifq.QLIF(2, backend=device))
    for act in (calibration.check_backend, lambda backend: calibration.apply_to(qlifq.QLIF(2, backend=backend))):
        with pytest.raises(UnsupportedError, match=r"^The calibration is of noise .+, but this backend has [^\n]+\.$"):
            act(another)


def test_a_corrected_layer_spikes_as_often_as_an_ideal_one() -> None:
    """The whole way: calibrate, correct, run. Current that keeps the gap of a memoryless neuron at 0.1."""
    backend = get("aer", noise="fake_brisbane", sampling="law", qubits=tuple(range(NEURONS)))
    calibration = fit(backend, neurons=NEURONS, shots=SHOTS, seed=1)
    noisy, right = (qlifq.QLIF(NEURONS, backend=backend, seed=5, tau=1.0, dt=1.0, V_th=1.0) for _ in range(2))
    calibration.apply_to(right)
    gap = 0.03
    steps, batch = 20, 50
    target = math.sin(math.pi / 2 / (1 + math.exp(-4 * gap))) ** 2
    current = torch.full((steps, batch, NEURONS), 1.0 + gap)
    rates = [layer(current)[0].mean((0, 1)) for layer in (noisy, right)]
    distance = [float((rate - target).square().mean().sqrt()) for rate in rates]
    noise = math.sqrt(target * (1 - target) / (steps * batch))
    # 64 rates: their root mean square is known to 9 %.
    assert distance[0] > 2 * noise
    assert distance[1] < 1.6 * noise
