"""Replay: every decision of a trajectory runs with its angle, and the deviations are those of the noise."""

import pytest
import torch

from qlifq import QLIF
from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit
from qlifq.errors import UnsupportedError
from qlifq.studies.replay import replay_report, run_replay

CURRENT = 1.0 + torch.rand(30, 2, 5, generator=torch.Generator().manual_seed(0))
NOISY = get("analytic", noise=DeviceNoise(readout_p01=(0.05, 0.02, 0.1, 0.0, 0.03), readout_p10=(0.1, 0.2, 0.05, 0.1, 0.0)))


def test_without_noise_only_shots_are_left() -> None:
    """300 evaluations: the mean of |deviation| has a relative standard error of 0.75/√300 = 4.4 %, and 0.3 is seven of them."""
    replay = run_replay(QLIF(5, seed=1), CURRENT, get("analytic"), shots=4000, seed=2)
    assert replay.mean_deviation == pytest.approx(replay.shot_noise, rel=0.3)
    assert replay.predicted.std() > 0.05
    assert replay.spikes.shape == replay.measured.shape == CURRENT.shape


def test_noise_is_seen_and_a_calibration_takes_it_away() -> None:
    calibration = fit(NOISY, neurons=5, shots=40_000, seed=3)
    uncorrected = run_replay(QLIF(5, seed=1), CURRENT, NOISY, shots=40_000, seed=2)
    corrected = run_replay(QLIF(5, seed=1), CURRENT, NOISY, shots=40_000, seed=2, calibration=calibration)
    assert torch.equal(uncorrected.predicted, corrected.predicted)
    assert uncorrected.mean_deviation > 0.03 > 10 * uncorrected.shot_noise
    assert corrected.mean_deviation < 0.1 * uncorrected.mean_deviation
    assert corrected.shot_noise > uncorrected.shot_noise


def test_shot_noise_is_that_of_what_is_read() -> None:
    """Near P(1) = 0 the floor of the readout makes nearly all of it.

    Of 8,000 evaluations the mean |deviation| has a relative standard error of 0.75/√8000 = 0.8 %; the rest is the skewness
    of a binomial distribution, and what the calibration itself does not know.
    """
    noisy = get("analytic", noise=DeviceNoise(readout_p01=0.03, readout_p10=0.05))
    layer = QLIF(4, seed=1, q_scale=8.0, q_bias=-5.0)
    calibration = fit(noisy, neurons=4, shots=1_000_000, seed=3)
    replay = run_replay(layer, torch.full((500, 4, 4), 0.3), noisy, shots=1024, seed=5, calibration=calibration)
    assert replay.predicted.mean() < 0.05
    assert replay.mean_deviation == pytest.approx(replay.shot_noise, rel=0.08)


def test_the_report_holds_the_numbers_of_the_replay() -> None:
    replay = run_replay(QLIF(5, seed=1), CURRENT, NOISY, shots=100, seed=2)
    text = replay_report(replay, {"input": "a test"}).markdown("qlifq …")
    assert f"{replay.mean_deviation:.4f}" in text
    assert "| input | a test |" in text
    table = replay.table()
    assert len(table) == 30
    assert table["deviation"].mean() == pytest.approx(replay.mean_deviation)


def test_what_cannot_be_replayed_is_refused() -> None:
    for layer, message in [
        (QLIF(5, seed=1, refractory_period=1), "refractory_period=0"),
        (QLIF(5, seed=1, backend="aer"), "must have an exact backend, but has aer"),
        (QLIF(5, seed=1, quantum_mode=False), "quantum_mode=True"),
    ]:
        with pytest.raises(UnsupportedError, match=message):
            run_replay(layer, CURRENT, get("analytic"), shots=10, seed=1)
