"""Drift, a response that is no RY, and crosstalk each give a small p-value; an honest device gives none."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from matplotlib.container import ErrorbarContainer
from scipy.stats import chi2, kstest
from torch import Tensor

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, Plan, get
from qlifq.backends.sampling import draw
from qlifq.calibration import Calibration, compare, fit
from qlifq.circuits import LeakySpike, SpikeCircuit
from qlifq.errors import DtypeError, QLIFError, UnsupportedError
from qlifq.studies.calibration_figures import history_figure

NEURONS = 16
NOISE = DeviceNoise(readout_p01=0.02, readout_p10=0.05)
#: An honest device is called wrong, by any of these tests on any site, at most this often.
FALSE_FAIL = 1e-9
#: A wrong one must be seen far beyond that of chance.
SMALL = 1e-6


class Device(Backend):
    """An honest device, to plant faults in; `calls` counts the rounds."""

    name = "device"
    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False)

    def __init__(self) -> None:
        self.calls = 0

    def probability(self, theta: Tensor) -> Tensor:
        """P(read as 1) at the angles `(batch, sites)`."""
        return 0.02 + 0.93 * (theta / 2).sin().square()

    def _execute(self, call: Call) -> Outcome:
        self.calls += 1
        return draw(self.probability(call.angles[..., 0]).clamp(0, 1), call.shots or 1, call.seed)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        return Plan(batch * sites, 1, 1, 1, batch * sites * (shots or 0))


class Drifting(Device):
    """From the second round on, |1⟩ is read as 0 more often, on site 3 alone."""

    def probability(self, theta: Tensor) -> Tensor:
        worse = torch.zeros(theta.shape[1], dtype=theta.dtype)
        worse[3] = 0.05 if self.calls > 1 else 0.0
        return super().probability(theta) - worse * (theta / 2).sin().square()


class SecondHarmonic(Device):
    """The response of site 3 has a part in cos 2θ, as that of two qubits would."""

    def probability(self, theta: Tensor) -> Tensor:
        part = torch.zeros(theta.shape[1], dtype=theta.dtype)
        part[3] = 0.06
        return super().probability(theta) + part * (1 - (2 * theta).cos()) / 2


class OverRotating(Device):
    """Site 3 turns 8 % too far."""

    def probability(self, theta: Tensor) -> Tensor:
        factor = torch.ones(theta.shape[1], dtype=theta.dtype)
        factor[3] = 1.08
        return super().probability(theta * factor)


class Crosstalking(Device):
    """Site 3 answers to the excitation of site 7 by 3 %."""

    def probability(self, theta: Tensor) -> Tensor:
        alone = super().probability(theta)
        heard = torch.zeros_like(alone)
        heard[:, 3] = 0.03 * (theta[:, 7] / 2).sin().square()
        return alone + heard


class Levels(NamedTuple):
    """The p-values of all sites, after Bonferroni over them."""

    fit: Tensor
    neuron: Tensor
    drift: Tensor
    crosstalk: Tensor


def levels_of(calibration: Calibration) -> Levels:
    found = calibration.analysis
    each = (found.p_value, found.neuron_p_value, found.drift_p_value, found.crosstalk_p_value)
    return Levels(*(value * NEURONS for value in each))


def measured(device: Device, mapping: str = "linear") -> Calibration:
    return fit(device, neurons=NEURONS, mapping=mapping, shots=20_000, seed=5)


@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
def test_an_honest_device_is_believed(mapping: str) -> None:
    calibration = measured(Device(), mapping)
    for values in levels_of(calibration):
        assert float(values.min()) > FALSE_FAIL
    assert calibration.analysis.small_counts.tolist() == [0] * NEURONS


def others(values: Tensor) -> Tensor:
    return torch.cat((values[:3], values[4:]))


@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
def test_drift_between_the_rounds_is_seen_on_its_site(mapping: str) -> None:
    tests = levels_of(measured(Drifting(), mapping))
    assert float(tests.drift[3]) < SMALL
    assert float(others(tests.drift).min()) > FALSE_FAIL
    # It averages out of the response, which is why the rounds are compared.
    assert float(tests.fit[3]) > FALSE_FAIL


@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
def test_a_second_harmonic_is_no_law(mapping: str) -> None:
    calibration = measured(SecondHarmonic(), mapping)
    tests = levels_of(calibration)
    assert float(tests.fit[3]) < SMALL
    # Over half a turn, which is all that `sigmoid` reaches, another q_scale and q_bias fit nearly as well.
    assert mapping == "sigmoid" or float(tests.neuron[3]) < SMALL
    assert float(others(tests.fit).min()) > FALSE_FAIL
    assert float(tests.drift.min()) > FALSE_FAIL
    with pytest.raises(UnsupportedError, match=r"The response of site 3 does not follow a \+ b cos θ \+ c sin θ \(p = "):
        calibration.device_noise()


def test_a_rotation_that_goes_too_far_is_no_law_of_the_programmed_angle_but_a_neuron_of_another_scale() -> None:
    calibration = measured(OverRotating())
    assert float(levels_of(calibration).fit[3]) < SMALL
    found = calibration.analysis.neuron
    # q_scale and q_bias turn 8 % further; six standard errors leave 2e-9 to chance.
    assert float((found.value[3, 0] - 1.08 * math.pi).abs() / found.standard_error[3, 0]) < 6
    assert float((found.value[3, 1] - 1.08 * math.pi / 2).abs() / found.standard_error[3, 1]) < 6


@pytest.mark.parametrize("mapping", ["sigmoid", "linear", "tanh"])
def test_crosstalk_is_seen_and_named(mapping: str) -> None:
    calibration = measured(Crosstalking(), mapping)
    tests = levels_of(calibration)
    assert float(tests.crosstalk[3]) < SMALL
    assert int(calibration.analysis.crosstalk_from[3]) == 7
    assert float(others(tests.crosstalk).min()) > FALSE_FAIL


def test_the_p_value_of_crosstalk_between_two_honest_sites_is_uniform() -> None:
    found = [fit(Device(), neurons=2, shots=4096, seed=seed).analysis.crosstalk_p_value for seed in range(300)]
    # 600 values, false-fail 1e-9; sees a distribution function that is off by 0.14, as one without the site's own part is.
    assert kstest(torch.cat(found).numpy(), "uniform").pvalue > FALSE_FAIL


def test_the_order_is_another_for_every_site_and_round() -> None:
    order = measured(Device()).measurement.counts.order
    assert order is not None
    assert order.shape == (2, 12, NEURONS)
    columns = {tuple(column) for each in order.permute(0, 2, 1).tolist() for column in each}
    assert len(columns) == 2 * NEURONS


def test_compare_tells_drift_from_noise() -> None:
    drifting = Drifting()
    earlier = fit(drifting, neurons=NEURONS, shots=20_000, rounds=1, seed=5)
    later = fit(drifting, neurons=NEURONS, shots=20_000, rounds=1, seed=6)
    found = compare(earlier, later)
    assert found.drifted().nonzero().flatten().tolist() == [3]
    assert float(found.p_value[3]) < SMALL
    assert "1 of 16 sites drifted: 3 · least p-value, Bonferroni" in str(found)
    # Six standard errors around the planted 0.05 for |1⟩, half of it in a and half in b.
    change = found.difference[3, 0] - found.difference[3, 1]
    assert abs(float(change) + 0.05) < 6 * float(found.standard_error[3, :2].sum())
    again = compare(later, fit(drifting, neurons=NEURONS, shots=20_000, rounds=1, seed=7))
    assert not bool(again.drifted(FALSE_FAIL).any())
    assert str(again).startswith("no drift beyond the noise")


def test_a_history_of_two_says_what_their_comparison_says() -> None:
    # Of unlike covariances, or any mean of the two would do.
    records = [fit(Drifting(), neurons=NEURONS, shots=3000 * rounds**2, rounds=rounds, seed=rounds) for rounds in (1, 2)]
    pair, history = compare(*records), compare(records)
    # Of two, the weighted mean leaves the difference against the sum of both covariances.
    earlier, later = (record.analysis.response for record in records)
    change = (later.value - earlier.value).numpy()
    inverse = np.linalg.inv((earlier.covariance + later.covariance).numpy())
    expected = chi2.sf(np.einsum("si,sij,sj->s", change, inverse, change), 3)
    for found in (pair, history):
        np.testing.assert_allclose(found.p_value.numpy(), expected, rtol=1e-6)
    torch.testing.assert_close(history.shift[1], pair.shift, rtol=0, atol=0)
    assert history.shift[0].tolist() == [0.0] * NEURONS


def test_the_p_value_of_a_history_without_drift_is_uniform() -> None:
    device = get("analytic", noise=NOISE)
    history = compare([fit(device, neurons=400, shots=1000 + 500 * seed, seed=seed) for seed in range(4)])
    # 400 values, false-fail 1e-9; sees a distribution function that is off by 0.17.
    assert kstest(history.p_value.numpy(), "uniform").pvalue > FALSE_FAIL
    assert not bool(history.drifted(FALSE_FAIL).any())


def at(record: Calibration, time_utc: str) -> Calibration:
    return Calibration(replace(record.measurement, time_utc=time_utc))


def test_a_history_is_in_the_order_of_time_and_its_figure_shows_who_drifted() -> None:
    device = Drifting()
    records = [fit(device, neurons=NEURONS, shots=20_000, rounds=1, seed=seed) for seed in range(4)]
    dated = [at(record, f"2026-02-0{day}T12:00:00Z") for day, record in enumerate(records, start=1)]
    history = compare([dated[2], dated[0], dated[3], dated[1]])
    assert history.times == tuple(f"2026-02-0{day}T12:00:00Z" for day in (1, 2, 3, 4))
    assert torch.equal(history.value[0], records[0].analysis.response.value)
    assert history.drifted().nonzero().flatten().tolist() == [3]
    text = str(history)
    assert text.startswith("4 records from 2026-02-01T12:00:00Z to 2026-02-04T12:00:00Z · 1 of 16 sites drifted: 3 · ")
    figure = history_figure(history)
    last = figure.axes[2]
    # The line of site 3 at θ = π fell by the planted 0.05 from the first record to the second, and stayed there.
    (bars,) = [drawn for drawn in last.containers if drawn.get_label() == "site 3, drifted"]
    assert isinstance(bars, ErrorbarContainer)
    line = bars.lines[0]
    assert line is not None
    change = [float(value) for value in np.asarray(line.get_ydata())]
    assert change[0] == 0.0
    # Six standard errors of a difference, about 0.0022 each.
    assert all(abs(value + 0.05) < 0.013 for value in change[1:])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "`a` must hold at least 2 calibrations, but holds 0"),
        ([0], "`a` must hold at least 2 calibrations, but holds 1"),
        ([0, 3], r"`a\[1\]` must be a Calibration, but is int"),
        ([1, 0], r"`a\[1\]` must have the 2 sites of `a\[0\]`, but has 1"),
        ([0, 2], r"`a\[1\]` must be of the circuit of `a\[0\]`, "),
    ],
)
def test_records_that_cannot_be_compared_are_refused(records: list[int], message: str) -> None:
    device = get("analytic")
    known: list[object] = [
        fit(device, neurons=1, shots=10, seed=1),
        fit(device, neurons=2, shots=10, seed=1),
        fit(device, neurons=1, shots=10, seed=1, circuit=LeakySpike(0.3)),
        3,
    ]
    with pytest.raises(QLIFError, match=message):
        compare([known[place] for place in records])  # type: ignore[misc]
    with pytest.raises(DtypeError, match="`a` must be a list of calibrations where `b` is None, but is Calibration"):
        compare(known[0])  # type: ignore[call-overload]
    with pytest.raises(DtypeError, match="`history` must be a History, but is int"):
        history_figure(3)  # type: ignore[arg-type]


def test_the_noise_of_the_library_is_no_wrong_model() -> None:
    calibration = fit(get("reference", noise=NOISE), neurons=NEURONS, shots=20_000, seed=5)
    for values in levels_of(calibration):
        assert float(values.min()) > FALSE_FAIL
    noise = calibration.device_noise()
    assert noise.readout_p01 == pytest.approx([0.02] * NEURONS, abs=0.006)
    assert noise.readout_p10 == pytest.approx([0.05] * NEURONS, abs=0.009)
