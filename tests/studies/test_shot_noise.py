"""The shot-noise study against what is known: the distribution of shots, noise and decisions, and what its report may say."""

import dataclasses
from dataclasses import replace
from typing import Any, final

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from qlifq.backends import Backend, Call, Capabilities, DeviceNoise, Outcome, get
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import RYSpike, SpikeTrainCircuit
from qlifq.errors import ArgumentError, QLIFError
from qlifq.reporting.intervals import CONFIDENCE, Interval
from qlifq.reporting.report import records
from qlifq.studies.shot_noise.beside import beside_finding
from qlifq.studies.shot_noise.loops import DEVICE, loops
from qlifq.studies.shot_noise.report import shot_noise_report
from qlifq.studies.shot_noise.run import Run
from qlifq.studies.shot_noise.study import ShotNoiseStudy, StudySize, run_shot_noise
from qlifq.training import digits

SMALL = StudySize(repeats=500, runs=40, steps=150, images=60, passes=2, epochs=6, loop_steps=20)
SHOTS = (1, 10, 100, 1_000, 10_000)
NOISE = DeviceNoise(t1=80e-6, gate_time=60e-9, gate_error=0.002, readout_p01=0.01, readout_p10=0.03)
#: Standard errors beyond which a normal statistic is once in 10⁹, two-sided, and the same for one of seven.
ONE, ONE_OF_SEVEN = (float(stats.norm.isf(1e-9 / 2 / number)) for number in (1, 7))
#: Half width of an interval of the study in standard errors.
WIDTH = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
TABLES = [item.name for item in dataclasses.fields(ShotNoiseStudy) if "DataFrame" in str(item.type)]


@final
class Lifted(Backend):
    """A planted fault: every P(1) comes out a little too high."""

    name = "lifted"
    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False)

    def _execute(self, call: Call) -> Outcome:
        """As the closed form, with angles that are too large."""
        return get("analytic").run(call.circuit, call.angles + 0.02, shots=call.shots, seed=call.seed, where=call.where)


@final
class Forgetful(Backend):
    """A planted fault: the conditional rotations of a train are lost, and so the reset of the potential."""

    name = "forgetful"
    capabilities = Capabilities(exact=False, shots=True, noisy=False, differentiable=False, trains=True)

    def _execute(self, call: Call) -> Outcome:
        return get("analytic").run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)

    def _execute_train(self, call: TrainCall) -> TrainOutcome:
        alone = SpikeTrainCircuit(call.train.base, (), call.train.angles[:0])
        return get("analytic").run_train(alone, shots=call.shots, seed=call.seed)


def run(backend: str | Backend = "analytic", **options: Any) -> ShotNoiseStudy:
    return run_shot_noise(digits(), backend, **{"shots": SHOTS, "size": SMALL, "seed": 11, **options})


@pytest.fixture(scope="module")
def ideal() -> ShotNoiseStudy:
    return run()


@pytest.fixture(scope="module")
def noisy() -> ShotNoiseStudy:
    return run(get("analytic", noise=NOISE))


def deviations(table: pd.DataFrame, name: str, truth: Any) -> np.ndarray[Any, Any]:
    """How many standard errors a column is off, from the width of its interval."""
    return np.asarray((table[name] - truth) / ((table[f"{name}_high"] - table[f"{name}_low"]) / (2 * WIDTH)))


def test_the_same_seed_gives_the_same_tables(ideal: ShotNoiseStudy) -> None:
    again = run()
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(ideal, name), getattr(again, name), check_exact=True)


def test_another_seed_gives_other_tables(ideal: ShotNoiseStudy) -> None:
    other = run(seed=12)
    assert not other.evaluation["rmse"].equals(ideal.evaluation["rmse"])
    assert not other.trajectory["rate"].equals(ideal.trajectory["rate"])


def test_without_noise_the_error_falls_as_one_over_the_root_of_the_shots(ideal: ShotNoiseStudy) -> None:
    """False fail 1e-9 by the normal distribution; the standard error here is below 0.004, so that a slope of −0.47 is seen."""
    pooled = ideal.scaling.iloc[-1:]
    assert pooled["p"].item() == "all"
    assert pooled["slope_high"].item() - pooled["slope_low"].item() < 2 * WIDTH * 0.004
    assert abs(deviations(pooled, "slope", -0.5)).max() < ONE
    assert abs(deviations(ideal.pooled[1:], "ratio", 1.0)).max() < ONE_OF_SEVEN


def test_without_noise_no_estimate_is_biased(ideal: ShotNoiseStudy) -> None:
    """Exact binomial tails of every pooled count, 1e-9 in all; at the most shots a bias of 0.0015 at p = ½ is seen."""
    for row in records(ideal.evaluation):
        trials = row["shots"] * row["repeats"]
        ones = round((row["p"] + row["bias"]) * trials)
        assert stats.binomtest(ones, trials, row["p"]).pvalue > 1e-9 / len(ideal.evaluation)


def test_the_floor_under_noise_is_the_bias_that_calibration_predicts(noisy: ShotNoiseStudy) -> None:
    """Two independent estimates of the same bias; false fail 1e-9 in all, a difference of 0.004 is seen."""
    floor = noisy.floor
    assert abs(deviations(floor, "difference", 0.0)).max() < ONE_OF_SEVEN
    theta = 2 * torch.tensor(floor["p"].to_numpy()).sqrt().asin()
    exact = get("reference", noise=NOISE).run(RYSpike(), theta[:, None, None], shots=None, seed=None).probability[:, 0]
    assert abs(deviations(floor, "predicted", exact.numpy() - floor["p"])).max() < ONE_OF_SEVEN
    assert (floor["bias_low"] > 0).sum() + (floor["bias_high"] < 0).sum() >= 5


def test_shots_beyond_the_floor_gain_nothing(noisy: ShotNoiseStudy) -> None:
    last = [row for row in records(noisy.evaluation) if row["shots"] == SHOTS[-1]]
    for row, floor in zip(last, records(noisy.floor), strict=True):
        # Mean square error = variance + bias²: what is left at the floor is the bias.
        assert row["rmse"] >= abs(row["bias"])
        if not np.isnan(floor["shots_at_floor"]):
            assert floor["shots_at_floor"] == pytest.approx(row["p"] * (1 - row["p"]) / row["bias"] ** 2)


def test_a_snapshot_on_aer_has_the_floor_that_its_calibration_predicts() -> None:
    """As above, on a device's snapshot."""
    study = run(get("aer", noise="fake_manila", sampling="law"), shots=(10, 1_000, 100_000))
    assert abs(deviations(study.floor, "difference", 0.0)).max() < ONE_OF_SEVEN
    assert study.floor["bias"].abs().max() > 0.005
    assert not Interval.of(records(study.scaling)[-1], "slope").holds(-0.5)


def test_a_backend_that_is_off_is_found_out() -> None:
    study = run(Lifted())
    assert not Interval.of(records(study.scaling)[-1], "slope").holds(-0.5)
    assert (study.floor["bias_low"] > 0).sum() >= 4
    # A shift of the angle is a sine in the law, which the calibration must see with its sign.
    assert abs(deviations(study.floor, "difference", 0.0)).max() < ONE_OF_SEVEN
    assert any(
        "A floor is seen" in sentence for section in shot_noise_report(study, {}).sections for sentence in section.findings
    )


def test_sampled_spikes_do_not_care_about_shots(ideal: ShotNoiseStudy) -> None:
    """False fail 1e-9 by the normal distribution over runs; a change of the rate by a tenth is seen."""
    rows = ideal.change[(ideal.change["decision"] == "sample") & (ideal.change["quantity"] != "accuracy")]
    assert len(rows) == 4
    assert abs(deviations(rows, "change", 0.0)).max() < float(stats.norm.isf(1e-9 / 8))
    rate = records(rows)[0]
    assert rate["change_high"] - rate["change_low"] < 0.2 * rate["at_most"]


def test_threshold_decisions_do(ideal: ShotNoiseStudy) -> None:
    rows = {row["shots"]: row for row in records(ideal.trajectory) if row["decision"] == "threshold"}
    fewest, most = Interval.of(rows[1], "distance"), Interval.of(rows[SHOTS[-1]], "distance")
    assert most.high < fewest.low
    assert not Interval.of(rows[1], "rate").overlaps(Interval.of(rows[SHOTS[-1]], "rate"))


def test_with_one_shot_a_threshold_decision_is_a_sampled_one(ideal: ShotNoiseStudy) -> None:
    """The same distribution, so two rates of independent runs: false fail 1e-9, nearly normal; a tenth of the rate is seen."""
    one = {row["decision"]: row for row in records(ideal.trajectory) if row["shots"] == 1}
    errors = [(one[name]["rate_high"] - one[name]["rate_low"]) / (2 * WIDTH) for name in ("sample", "threshold")]
    assert abs(one["sample"]["rate"] - one["threshold"]["rate"]) < ONE * np.hypot(*errors)


def test_the_model_has_no_distance_from_itself_where_nothing_is_random(ideal: ShotNoiseStudy) -> None:
    exact = {row["decision"]: row for row in records(ideal.trajectory_exact)}
    for name in ("threshold", "expectation"):
        assert (exact[name]["distance"], exact[name]["differing"], exact[name]["first_difference"]) == (0, 0, SMALL.steps)
    assert exact["sample"]["distance"] > 0


def test_accuracy_and_loss_belong_together(ideal: ShotNoiseStudy) -> None:
    assert np.allclose(ideal.network["exact"] - ideal.network["accuracy"], ideal.network["loss"], atol=1e-12)
    assert ideal.network["accuracy"].between(0.5, 1.0).all()


def test_both_loops_follow_the_exact_law(ideal: ShotNoiseStudy, noisy: ShotNoiseStudy) -> None:
    """False fail 1e-9, over nearly normal means of 40 trains; under noise the host loop has fewer gates, and another law."""
    for study, ways in ((ideal, ("host", "circuit", "replay")), (noisy, ("circuit",))):
        rows = study.loop[study.loop["way"].isin(ways) & study.loop["exact"].notna()]
        assert set(rows["way"]) == set(ways)
        assert len(rows) == 5 * len({"host", "circuit"} & set(ways)) + ("replay" in ways)
        assert abs(deviations(rows, "value", rows["exact"])).max() < float(stats.norm.isf(1e-9 / 32))
    assert list(ideal.loop_test["quantity"]) == ["rate", "intervals", "autocovariance"]


def test_a_loop_that_forgets_its_reset_is_found_out(ideal: ShotNoiseStudy) -> None:
    found = loops(Run(Forgetful(), seed=1, shots=(1, 2, 3)), 40, 20)
    assert found.loop_test["p_value"].min() < 0.001
    sentence = shot_noise_report(replace(ideal, **found._asdict()), {}).findings[-1]
    assert "a difference is seen in" in sentence
    assert "no difference" in shot_noise_report(ideal, {}).findings[-1]


def test_each_way_has_its_costs(ideal: ShotNoiseStudy) -> None:
    rows = {row["way"]: row for row in records(ideal.loop_cost) if row["backend"] == DEVICE}
    assert [rows[way]["jobs"] for way in ("host", "circuit", "replay")] == [SMALL.loop_steps, 1, 1]
    assert [rows[way]["steps_in_turn"] for way in ("host", "circuit", "replay")] == [SMALL.loop_steps, 0, 0]
    assert rows["circuit"]["executions"] == SMALL.runs
    assert rows["host"]["executions"] == rows["replay"]["executions"] == SMALL.runs * SMALL.loop_steps
    # Every earlier step may have had the last spike.
    assert rows["circuit"]["conditionals"] == SMALL.loop_steps * (SMALL.loop_steps - 1) / 2
    assert rows["host"]["device_seconds"] > 10 * rows["circuit"]["device_seconds"]


def test_what_stands_in_the_way_of_a_circuit_loop_is_said(ideal: ShotNoiseStudy) -> None:
    said = " ".join(shot_noise_report(ideal, {}).sections[-1].findings)
    assert "`threshold` runs in no circuit: Argument `decision` must not be 'threshold'" in said
    found = loops(Run(Lifted(), seed=1, shots=(1, 2, 3)), 10, 5)
    assert set(found.loop["way"]) == {"host", "replay"}
    assert set(found.loop_cost["way"]) == {"host", "replay"}
    report = shot_noise_report(replace(ideal, **found._asdict()), {})
    assert "none runs here. Backend lifted runs no spike trains" in report.findings[-1]
    assert "loop_test.csv" in report.markdown("")


def test_threads_and_the_global_generator_are_left_as_they_were(ideal: ShotNoiseStudy) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    run(shots=(1, 2, 3), size=replace(SMALL, repeats=2, runs=2, steps=5))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_counts_to_its_total() -> None:
    calls: list[tuple[int, int]] = []
    run(shots=(1, 2, 3), size=replace(SMALL, repeats=2, runs=2, steps=5), progress=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == list(range(1, calls[0][1] + 1))
    assert len({total for _, total in calls}) == 1


def test_a_report_says_what_its_intervals_say(ideal: ShotNoiseStudy) -> None:
    scaling = ideal.scaling.copy()
    scaling.loc[scaling["p"] == "all", ["slope", "slope_low", "slope_high"]] = [-0.4, -0.45, -0.35]
    change = ideal.change.assign(change_low=-1.0, change_high=1.0)
    moved = ideal.change.assign(change_low=0.1, change_high=1.0)
    said = [
        shot_noise_report(study, {}).findings
        for study in (ideal, replace(ideal, scaling=scaling, change=change), replace(ideal, change=moved))
    ]
    assert "does not include −½" in said[1][0]
    assert "no change is seen in the rate" in said[1][2]
    assert ": a change" not in said[1][2]
    assert "a change is seen in the rate" in said[2][1]
    assert "no change" not in said[2][1]
    assert "a change is seen for sample, threshold and expectation" in said[2][3]


def test_the_first_sentence_holds_the_number_of_its_table(ideal: ShotNoiseStudy) -> None:
    assert str(Interval.of(records(ideal.scaling)[-1], "slope")) in shot_noise_report(ideal, {}).findings[0]


def test_every_table_and_figure_is_in_the_report(ideal: ShotNoiseStudy) -> None:
    report = shot_noise_report(ideal, {"noise": "none"})
    # The table `beside` stands in a report where another backend ran.
    assert len(report.tables()) == len(TABLES) - 1
    assert [name for section in report.sections for name in section.pictures] == [
        "evaluation",
        "trajectory",
        "rasters",
        "network",
    ]
    for section in report.sections:
        for picture in section.pictures.values():
            assert all(axes.get_ylabel() for axes in picture.draw().axes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": (1, 10)}, r"`shots` must hold at least 3 rising numbers, but is \[1, 10\]"),
        ({"shots": (1, 10, 10)}, r"rising numbers, but is \[1, 10, 10\]"),
        ({"shots": (0, 1, 2)}, "`shots` must be at least 1, but is 0"),
        ({"shots": "123"}, "`shots` must be a list of integers, but is '123'"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"backend": "nowhere"}, "Unknown backend `nowhere`"),
        ({"size": replace(SMALL, images=1000)}, "at least 2000 samples, half of them to train on, but holds 1797"),
    ],
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        run(**options)


def test_a_remote_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lifted, "capabilities", replace(Lifted.capabilities, remote=True))
    with pytest.raises(QLIFError, match="must be a simulator for a study, but lifted is remote"):
        run(Lifted())


def test_images_and_labels_are_checked() -> None:
    data = digits()
    with pytest.raises(QLIFError, match="`labels` must have shape"):
        run_shot_noise((data.images, data.labels[:-1]), size=SMALL)
    with pytest.raises(QLIFError, match="`images` must have dtype float32"):
        run_shot_noise((data.images.double(), data.labels), size=SMALL)


def test_another_backend_is_a_second_row_and_changes_nothing_of_the_first() -> None:
    small = StudySize(repeats=200, runs=12, steps=40, images=20, passes=1, epochs=1, loop_steps=6)
    noisy, exact = get("analytic", noise=NOISE), get("reference")
    alone, both = (run(size=small, beside=others) for others in ([], [noisy, exact]))
    for name in TABLES:
        if name != "beside":
            pd.testing.assert_frame_equal(getattr(alone, name), getattr(both, name))
    names = list(both.beside["backend"].unique())
    assert names == [place.description for place in (both.backend, noisy, exact)]
    pd.testing.assert_frame_equal(both.beside[both.beside["backend"] == names[0]].reset_index(drop=True), alone.beside)
    # The bias of the readout is far beyond shot noise at the most shots; the others have none.
    most = both.beside[(both.beside["shots"] == SHOTS[-1]) & (both.beside["quantity"] == "error")].set_index("backend")["value"]
    assert max(most[names[0]], most[names[2]]) < 1.2
    assert most[names[1]] > 1.5
    different, same = beside_finding(both)
    start = f"**{names[1]}** beside {names[0]}, at 10,000 shots: a difference is seen in the error of P(1) over "
    assert different.startswith(f"{start}√(p(1 − p)/shots) ({most[names[0]]:.3g} (")
    assert same == f"**{names[2]}** beside {names[0]}, at 10,000 shots: no difference is seen."
    here, there = (shot_noise_report(study, {}) for study in (alone, both))
    assert {different, same} <= set(there.findings)
    assert "beside" not in here.tables()
    section = next(each for each in there.sections if each.title == "Beside another backend")
    assert section.tables["beside"].equals(both.beside)
    assert all(axes.get_ylabel() for axes in section.pictures["beside"].draw().axes)
    assert there.source.startswith(f"{'; '.join(names)}, 1 to 10,000 shots")
    with pytest.raises(ArgumentError, match="`beside` must hold backends that differ from each other and from `backend`"):
        run(size=small, beside=["analytic"])
