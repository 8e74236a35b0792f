"""What is planted is found, with errors and p-values that are honest.

A test that can fail by chance does so with at most 1e-9, by the exact distribution of what it counts.
"""

import time

import pytest
import torch
from scipy.stats import binom, binomtest, kstest
from torch import Tensor

from qlifq.backends import DeviceNoise, get
from qlifq.backends.sampling import draw
from qlifq.calibration import Calibration, fit
from qlifq.calibration.data import Counts
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.measurement import Measurement
from qlifq.calibration.models import NEURON
from qlifq.neurons.mapping import MAPPINGS
from qlifq.random import generator

DEVICES, NEURONS_EACH, SHOTS = 600, 10, (4096, 4096)
SITES = DEVICES * NEURONS_EACH
FALSE_FAIL = 1e-9
TESTS = len(MAPPINGS) * len(NEURON)


def planted(mapping: str) -> Tensor:
    """q_scale and q_bias up to a tenth beside what is programmed, readout errors up to 15 %, `(sites, 4)`."""
    draw_ = torch.rand(SITES, 4, dtype=torch.float64, generator=generator(11, torch.device("cpu")))
    default = MAPPINGS[mapping]
    return torch.stack(
        (
            default.q_scale * (0.9 + 0.2 * draw_[:, 0]),
            default.q_bias + 0.2 * (draw_[:, 1] - 0.5),
            0.15 * draw_[:, 2],
            0.15 * draw_[:, 3],
        ),
        dim=-1,
    )


def simulated(mapping: str, truth: Tensor) -> Calibration:
    """A calibration of devices that answer with the planted numbers, whatever was programmed."""
    design = CalibrationDesign(mapping, SITES)
    q_scale, q_bias, readout_p01, readout_p10 = truth.unbind(-1)
    angles = design.angles.clone()
    angles[2:] = MAPPINGS[mapping].angle(design.gaps, q_scale, q_bias, design.theta_max)
    chance = readout_p01 + (1 - readout_p01 - readout_p10) * (angles / 2).sin().square()
    ones = [draw(chance, shots, seed).ones for seed, shots in enumerate(SHOTS, start=21)]
    order = torch.arange(len(angles))[None, :, None].expand(len(SHOTS), -1, SITES)
    counts = torch.stack([each for each in ones if each is not None])
    spent = torch.tensor(SHOTS)[:, None, None].expand_as(counts)
    return Calibration(Measurement("simulated", {}, design, Counts(counts, spent, order), 0, "2026-01-31T12:00:00Z", {}))


@pytest.fixture(scope="module", params=sorted(MAPPINGS))
def recovered(request: pytest.FixtureRequest) -> tuple[Calibration, Tensor]:
    truth = planted(request.param)
    return simulated(request.param, truth), truth


def test_the_bounds_of_the_coverage_are_wide_enough() -> None:
    outside = binom.cdf(0.93 * SITES, SITES, 0.95) + binom.sf(0.97 * SITES - 1, SITES, 0.95)
    assert outside < FALSE_FAIL / TESTS


def test_every_parameter_is_unbiased_and_its_interval_honest(recovered: tuple[Calibration, Tensor]) -> None:
    calibration, truth = recovered
    found = calibration.analysis.neuron
    assert bool(found.converged.all())
    score = (found.value - truth) / found.standard_error
    for place, name in enumerate(NEURON):
        above = int((score[:, place] > 0).sum())
        # Sees a median off by a tenth of a standard error: 54 % on one side, six standard deviations for 6,000 sites.
        assert binomtest(above, SITES, 0.5).pvalue > FALSE_FAIL / TESTS, name
        covered = int((score[:, place].abs() < 1.959964).sum())
        assert 0.93 * SITES < covered < 0.97 * SITES, name


def test_the_p_values_of_a_right_model_are_uniform(recovered: tuple[Calibration, Tensor]) -> None:
    calibration, _ = recovered
    # 6,000 values: sees a distribution function that is off by 0.045 anywhere.
    assert kstest(calibration.analysis.neuron_p_value.numpy(), "uniform").pvalue > FALSE_FAIL / TESTS
    assert kstest(calibration.analysis.drift_p_value.numpy(), "uniform").pvalue > FALSE_FAIL / TESTS


@pytest.fixture(scope="module")
def sinusoidal() -> tuple[Calibration, Tensor]:
    """A device whose response is a sinusoid, but not that of an ideal RY: relaxation takes part of |1⟩."""
    share = torch.rand(3, SITES, dtype=torch.float64, generator=generator(12, torch.device("cpu")))
    noise = DeviceNoise(
        t1=20e-6,
        gate_time=(share[0] * 2e-6).tolist(),
        readout_p01=(0.15 * share[1]).tolist(),
        readout_p10=(0.15 * share[2]).tolist(),
    )
    backend = get("analytic", noise=noise)
    calibration = fit(backend, neurons=SITES, mapping="linear", shots=8192, seed=13)
    at = torch.tensor([0.0, torch.pi, torch.pi / 2], dtype=torch.float64)[:, None, None].expand(-1, SITES, 1)
    zero, half, quarter = backend.run(calibration.circuit, at, shots=None, seed=None).probability
    a = (zero + half) / 2
    return calibration, torch.stack((a, (zero - half) / 2, quarter - a), dim=-1)


def test_the_response_is_unbiased_and_its_intervals_honest(sinusoidal: tuple[Calibration, Tensor]) -> None:
    calibration, truth = sinusoidal
    found = calibration.analysis.response
    score = (found.value - truth) / found.standard_error
    for place, name in enumerate("abc"):
        assert binomtest(int((score[:, place] > 0).sum()), SITES, 0.5).pvalue > FALSE_FAIL / TESTS, name
        assert 0.93 * SITES < int((score[:, place].abs() < 1.959964).sum()) < 0.97 * SITES, name
    # All three at once, with their covariance: χ² of three degrees of freedom.
    whole = torch.einsum("sp,spq,sq->s", found.value - truth, torch.linalg.inv(found.covariance), found.value - truth)
    assert kstest(whole.numpy(), "chi2", args=(3,)).pvalue > FALSE_FAIL
    assert kstest(calibration.analysis.p_value.numpy(), "uniform").pvalue > FALSE_FAIL


@pytest.mark.parametrize("error", [0.0, 1e-4])
def test_a_readout_with_hardly_an_error_is_no_special_case(error: float) -> None:
    """A corner that no shot, or hardly any, leaves: estimates that are unbiased, p-values that are uniform."""
    device = get("analytic", noise=DeviceNoise(readout_p01=error, readout_p10=error))
    sites, shots = 2000, 4096
    found = fit(device, neurons=sites, shots=shots, seed=14).analysis
    assert bool(found.neuron.converged.all())
    assert float(found.small_counts.double().median()) == 2
    for place in (2, 3):
        # Six standard errors of the mean over all sites leave 2e-9 to chance; that is about 2.5e-5.
        noise = 6 * float(found.neuron.standard_error[:, place].mean()) / sites**0.5
        assert float(found.neuron.value[:, place].mean()) == pytest.approx(error, abs=noise)
    for values in (found.p_value, found.neuron_p_value):
        assert kstest(values.numpy(), "uniform").pvalue > FALSE_FAIL


def test_a_thousand_neurons_are_fitted_in_seconds() -> None:
    calibration = fit(get("analytic", noise=DeviceNoise(readout_p01=0.02)), neurons=1000, shots=1000, seed=1)
    begun = time.process_time()
    assert bool(calibration.analysis.neuron.converged.all())
    assert time.process_time() - begun < 10
