"""The comparison with Brand and Petruccione against closed forms, and what its report may say."""

import dataclasses
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from qlifq.backends.resources import count_resources
from qlifq.circuits import BrandPetruccione, RYSpike
from qlifq.errors import QLIFError
from qlifq.reporting.intervals import CONFIDENCE, Interval
from qlifq.reporting.report import records
from qlifq.studies.brand_petruccione.leaks import DELAY_SHOTS, delay_table, gap_table, leak_table
from qlifq.studies.brand_petruccione.matched_input import NEURONS, T1, THETA, THRESHOLD, drive
from qlifq.studies.brand_petruccione.report import brand_petruccione_report
from qlifq.studies.brand_petruccione.study import (
    ACCURACY,
    BrandPetruccioneStudy,
    StudySize,
    enough_shots,
    run_brand_petruccione,
    squared_errors,
)

SMALL = StudySize(trials=16, steps=80, runs=150, run_steps=40)
TINY = StudySize(trials=2, steps=20, runs=20, run_steps=10)
SHOTS = (10, 1_000, 100_000)
#: Half width of an interval of the study in standard errors.
WIDTH = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
TABLES = [item.name for item in dataclasses.fields(BrandPetruccioneStudy) if "DataFrame" in str(item.type)]


def run(**options: Any) -> BrandPetruccioneStudy:
    return run_brand_petruccione(**{"size": SMALL, "shots": SHOTS, "seed": 3, "snapshot": "fake_manila", **options})


@pytest.fixture(scope="module")
def study() -> BrandPetruccioneStudy:
    return run()


def test_the_same_seed_gives_the_same_tables(study: BrandPetruccioneStudy) -> None:
    again = run()
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(study, name), getattr(again, name), check_exact=True)


def test_another_seed_gives_other_tables() -> None:
    first, second = (run(seed=seed, size=TINY) for seed in (3, 4))
    assert not first.curve["rate"].equals(second.curve["rate"])
    assert not first.shots["population_error"].equals(second.shots["population_error"])


def test_relaxation_decays_however_the_interval_is_cut() -> None:
    table = leak_table()
    for name in ("decay", "relaxation", "relaxation_steps"):
        assert np.allclose(table[name], 0.5 * np.exp(-table["interval"] / T1), atol=1e-12)


def test_the_published_leak_is_the_published_formula_and_inverted() -> None:
    table = leak_table()
    phi = math.pi / 2
    gamma = -2 * np.arcsin(np.sqrt(0.5 * np.exp(-table["interval"] / T1)))
    assert np.allclose(table["published"], np.sin((phi + gamma) / 2) ** 2, atol=1e-12)
    assert (np.diff(table["published"]) > 0).all()
    assert table["published"].iloc[0] == 0
    assert table["published"].iloc[-1] == pytest.approx(0.495, abs=5e-4)


def pulses_by_hand(leak: str, gap: int, whole: bool) -> float:
    """Input pulses until a spike, by the formulas alone."""
    alpha = 0.0
    for pulse in range(1, 41):
        alpha = math.sin(math.asin(math.sqrt(alpha)) + THETA / 2) ** 2
        if alpha > THRESHOLD:
            return pulse
        for tau in [gap] if whole else [1] * gap:
            kept = alpha * math.exp(-tau / T1)
            alpha = kept if leak == "relaxation" else math.sin(math.asin(math.sqrt(alpha)) - math.asin(math.sqrt(kept))) ** 2
    return math.nan


@pytest.mark.parametrize("leak", ["relaxation", "published"])
@pytest.mark.parametrize("coding", ["steps", "whole"])
def test_pulses_with_gaps_are_those_of_the_formulas(leak: str, coding: str) -> None:
    table = gap_table()
    rows = [row for row in records(table) if row["neuron"] == f"BP {leak}" and row["leak"] == coding]
    expected = [pulses_by_hand(leak, row["gap"], coding == "whole") for row in rows]
    assert len(rows) >= 10
    assert np.array_equal([row["pulses"] for row in rows], expected, equal_nan=True)


def test_qlif_needs_as_many_pulses_as_its_membrane_says() -> None:
    rows = [row for row in records(gap_table()) if row["neuron"] == "QLIF threshold"]
    jump = THETA / (2 * math.asin(math.sqrt(THRESHOLD)))
    for row in rows:
        potential, expected = 0.0, math.nan
        for pulse in range(1, 41):
            potential = potential * (1 - 1 / T1) + jump
            if potential > 1:
                expected = pulse
                break
            potential *= (1 - 1 / T1) ** row["gap"]
        assert row["pulses"] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", ["QLIF threshold", "BP relaxation", "BP published"])
def test_unbroken_input_gives_one_spike_in_five_steps(name: str) -> None:
    """Four pulses and the step of the reset, for all of them: this is what makes their inputs the same."""
    response = drive(name, torch.ones(50, 2, dtype=torch.float64), seed=0)
    assert np.flatnonzero(response.spikes[:, 0]).tolist() == list(range(3, 50, 5))
    assert response.evaluations == pytest.approx(0.8)


def test_the_rates_of_the_curve_are_those_of_its_neurons(study: BrandPetruccioneStudy) -> None:
    full = {row["neuron"]: row["rate"] for row in records(study.curve) if row["input_rate"] == 1.0}
    assert [full[name] for name in NEURONS if name != "QLIF sample"] == pytest.approx([0.2, 0.2, 0.2])
    for _, rows in study.curve.groupby("neuron"):
        assert rows["rate"].iloc[-1] > rows["rate"].iloc[0]


def test_a_rate_of_the_statistics_is_that_of_the_curve(study: BrandPetruccioneStudy) -> None:
    merged = study.statistics.merge(study.curve, on=["input_rate", "neuron"], suffixes=("", "_curve"))
    assert len(merged) == 12
    assert np.allclose(merged["rate"], merged["rate_curve"], atol=1e-12)
    own = study.statistics[study.statistics["neuron"] == "QLIF threshold"]
    assert (own["distance"] == 0).all()


def test_the_published_leak_knows_no_t1_where_it_is_short(study: BrandPetruccioneStudy) -> None:
    """One leak of a step leaves next to nothing at any T1, so its rates are the same; those of relaxation rise."""
    rates = {name: rows["rate"].to_numpy() for name, rows in study.t1.groupby("neuron")}
    assert np.ptp(rates["BP published"]) == 0
    assert rates["BP relaxation"][-1] > rates["BP relaxation"][0]


def test_a_delay_on_a_device_with_the_assumed_t1_changes_nothing(study: BrandPetruccioneStudy) -> None:
    rows = {row["device_t1_us"] / row["assumed_t1_us"]: row for row in records(study.device_t1)}
    assert rows[1.0]["change"] == 0
    assert rows[0.25]["change"] < 0 < rows[4.0]["change"] + 1e-9


@pytest.mark.parametrize("backend", ["analytic", "aer"])
def test_a_measured_delay_is_the_rotation_within_shot_noise(backend: str) -> None:
    """Exact binomial tails, 1e-9 in all; a population that is off by 0.035 is seen."""
    table = delay_table(backend, seed=5)
    assert np.allclose(table["rotation"], table["delay"], atol=1e-12)
    for row in records(table):
        ones = round(row["measured"] * DELAY_SHOTS)
        assert stats.binomtest(ones, DELAY_SHOTS, row["rotation"]).pvalue > 1e-9 / len(table)


def test_estimated_populations_converge(study: BrandPetruccioneStudy) -> None:
    """From 10³ to 10⁵ shots the error falls tenfold; the slope is within 6.1 standard errors (1e-9) or 0.06 of −½."""
    for name in ("BP relaxation", "BP published"):
        rows = [row for row in records(study.shots) if row["neuron"] == name]
        errors = [row["population_error"] for row in rows]
        assert errors[0] > errors[1] > errors[2]
        assert rows[-1]["within_one"] > ACCURACY
    slope = records(study.scaling)[0]
    error = (slope["slope_high"] - slope["slope_low"]) / (2 * WIDTH)
    assert error < 0.05
    assert abs(slope["slope"] + 0.5) < 6.1 * error


def test_the_shots_that_are_needed_follow_from_the_table(study: BrandPetruccioneStudy) -> None:
    for row in records(study.scaling):
        each = [other for other in records(study.shots) if other["neuron"] == row["neuron"]]
        enough = [other["shots"] for other in each if other["within_one_low"] >= ACCURACY]
        lasting = [count for count in enough if all(other["shots"] in enough for other in each if other["shots"] >= count)]
        assert row["needed_shots"] == pytest.approx(min(lasting, default=math.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("lows", "enough"), [((0.96, 0.9, 0.95, 0.99), 100), ((0.99,) * 4, 1), ((0.99, 0.99, 0.99, 0.949), None)]
)
def test_enough_shots_are_enough_from_there_on(lows: tuple[float, ...], enough: int | None) -> None:
    found = enough_shots((1, 10, 100, 1_000), lows)
    assert math.isnan(found) if enough is None else found == enough


def test_errors_count_until_the_exact_neuron_spikes() -> None:
    exact, estimated = np.zeros((4, 3)), np.zeros((4, 3))
    estimated[2:] = 0.5
    # A spike in step 1, in step 2, and none.
    assert squared_errors(estimated, exact, np.array([1, 2, 4])).tolist() == [[0, 2], [0.25, 3], [0.5, 4]]


def test_resources_are_those_of_the_snapshot() -> None:
    ry, rotation, delay = (
        count_resources(circuit, "fake_manila", delay_seconds=2e-6)
        for circuit in (RYSpike(), BrandPetruccione(), BrandPetruccione("delay"))
    )
    assert [cost.gates for cost in (ry, rotation, delay)] == [1, 2, 2]
    # Any rotation of one qubit is two √X pulses between frame changes, and so is a product of two.
    assert [cost.pulses for cost in (ry, rotation, delay)] == [2, 2, 2]
    assert rotation.circuit_seconds == pytest.approx(ry.circuit_seconds)
    assert delay.circuit_seconds - ry.circuit_seconds == pytest.approx(2e-6, abs=5e-9)
    assert "delay 1" in delay.native
    assert (ry.depth, ry.native, ry.native_depth) == (2, "rz 2, sx 2", 5)
    assert ry.pause_seconds == pytest.approx(250e-6)


def test_a_delay_is_brought_to_the_clock_of_the_device() -> None:
    odd = count_resources(BrandPetruccione("delay"), "fake_brisbane", delay_seconds=1.33333e-6)
    none = count_resources(RYSpike(), "fake_brisbane")
    # In units of 8 × 0.5 ns.
    assert (odd.circuit_seconds - none.circuit_seconds) / 4e-9 == pytest.approx(333, abs=1e-3)


def test_the_time_of_a_step_is_shots_times_duration_and_pause(study: BrandPetruccioneStudy) -> None:
    assert study.resources is not None
    for row in records(study.resources):
        assert row["step_seconds"] == pytest.approx(row["shots"] * (row["circuit_us"] + row["pause_us"]) * 1e-6, nan_ok=True)
    assert study.resources["shots"].iloc[0] == 1


def test_without_the_runtime_client_the_rest_is_there_and_the_report_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.fake_provider", None)
    bare = run(snapshot="fake_torino", size=TINY)
    assert bare.resources is None
    report = brand_petruccione_report(bare, {})
    assert "nothing was counted. The snapshot fake_torino needs the package `qiskit_ibm_runtime`" in report.findings[-1]
    assert len(report.tables()) == len(TABLES) - 1


def test_every_table_and_figure_is_in_the_report(study: BrandPetruccioneStudy) -> None:
    report = brand_petruccione_report(study, {})
    assert len(report.tables()) == len(TABLES)
    pictures = [picture for section in report.sections for picture in section.pictures.values()]
    assert len(pictures) == 6
    for picture in pictures:
        assert any(axes.get_xlabel() for axes in picture.draw().axes)


def test_a_report_says_what_its_tables_say(study: BrandPetruccioneStudy) -> None:
    falling = study.leak.assign(published=study.leak["relaxation"])
    scaling = study.scaling.assign(needed_shots=math.nan, slope=-0.4, slope_low=-0.45, slope_high=-0.35)
    delay = study.delay.assign(measured=0.99, measured_low=0.98, measured_high=1.0)
    curve = study.curve.assign(rate=0.1, rate_low=0.1, rate_high=0.1)
    other = brand_petruccione_report(replace(study, leak=falling, scaling=scaling, delay=delay, curve=curve), {})
    report = brand_petruccione_report(study, {})
    assert "so this leak is inverted" in report.findings[0]
    assert "it does not always rise" in other.findings[0]
    assert "overlap at 12 of 12 input rates. `BP published` is below `QLIF threshold` at 0 of 12" in other.findings[1]
    assert "12 of 12 intervals include" in report.findings[3]
    assert "0 of 12 intervals include" in other.findings[3]
    assert "`BP relaxation` more than were tried" in other.findings[4]
    assert "which does not include −½" in other.sections[4].findings[1]


def test_a_sentence_holds_the_interval_of_its_table(study: BrandPetruccioneStudy) -> None:
    row = next(row for row in records(study.curve) if row["neuron"] == "BP published" and row["input_rate"] == 0.5)
    assert str(Interval.of(row, "rate")) in brand_petruccione_report(study, {}).findings[1]


def test_progress_counts_to_its_total() -> None:
    calls: list[tuple[int, int]] = []
    run(size=TINY, progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == list(range(1, calls[0][1] + 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snapshot": "fake_nowhere"}, "Argument `snapshot` must be the name of a snapshot .* but is 'fake_nowhere'"),
        ({"shots": (5, 1, 2)}, r"rising numbers, but is \[5, 1, 2\]"),
        ({"seed": 0.5}, "`seed` must be an integer, but is 0.5"),
        ({"backend": "nowhere"}, "Unknown backend `nowhere`"),
    ],
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        run(**options)
