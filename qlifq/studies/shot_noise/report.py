"""The report of the shot-noise study; every sentence is made from the tables."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from qlifq.reporting.figures import figure_files
from qlifq.reporting.intervals import CONFIDENCE, DRAWS, Interval
from qlifq.reporting.report import Picture, Report, Section, records
from qlifq.reporting.wording import counted, listed
from qlifq.studies.shot_noise.beside import beside_finding, beside_section
from qlifq.studies.shot_noise.figures import evaluation_figure, network_figure, raster_figure, trajectory_figure
from qlifq.studies.shot_noise.loop_report import loop_section, one_law
from qlifq.studies.shot_noise.network import HIDDEN, STEPS
from qlifq.studies.shot_noise.study import ShotNoiseStudy
from qlifq.studies.shot_noise.trajectory import GRADED_TOLERANCE, KERNEL

__all__ = ["FILES", "shot_noise_report"]

#: What the report is written to.
FILES = (
    "report.md",
    "evaluation.csv",
    "evaluation_scaling.csv",
    "evaluation_pooled.csv",
    "evaluation_floor.csv",
    "change.csv",
    "trajectory.csv",
    "trajectory_exact.csv",
    "network.csv",
    "loop.csv",
    "loop_test.csv",
    "loop_cost.csv",
    "beside.csv",
    *figure_files("evaluation", "trajectory", "rasters", "network", "beside"),
)

QUANTITIES = {
    "rate": "rate",
    "distance": "distance from the model",
    "isi": "mean interval between spikes",
    "isi_cv": "CV of these intervals",
}


def shot_noise_report(study: ShotNoiseStudy, setup: Mapping[str, object]) -> Report:
    """The report of a study.

    Args:
        study: what was measured.
        setup: what else was set, such as the noise, as names with numbers or text.

    Returns:
        The report, for `write_report`.
    """
    size, names = study.size, "; ".join(study.beside["backend"].unique())
    return Report(
        title="Shot noise against the model",
        question=(
            "Every spike decision of a QLIF neuron runs on a qubit, which is measured in shots. What does a finite number of "
            "shots do to one evaluation of P(1), to the spike train of one neuron, and to the accuracy of a network, "
            "compared with exact probabilities without noise (backend `analytic`, called the model below)? The neuron can "
            "decide in three ways: `sample` spikes with the probability that was measured, `threshold` spikes where the "
            "measured probability exceeds ½, `expectation` emits the measured probability itself."
        ),
        findings=[
            _scaling(study),
            *(_law(study, decision) for decision in ("sample", "threshold")),
            _accuracy(study),
            *beside_finding(study),
            one_law(study),
        ],
        uncertainty=(
            f"Numbers in brackets are {CONFIDENCE:.0%} intervals. Those of biases and of shares of runs are exact (Clopper "
            f"and Pearson), those of a calibration normal, all others bootstrap percentiles of {DRAWS:,} resamplings of "
            "independent runs (for the network, of test images). They cover the randomness of shots and, for the network, of "
            "the choice of test images; another input, network or training may give other numbers. An interval misses the "
            f"truth in about one of {round(1 / (1 - CONFIDENCE))} reports, and a report holds many."
        ),
        setup={
            "backend": study.backend.description,
            **setup,
            "seed": study.seed,
            "shots": ", ".join(f"{count:,}" for count in study.shots),
            "repeats of an evaluation": size.repeats,
            "trajectories": f"{size.runs} runs of {size.steps} steps",
            "network": f"{HIDDEN} neurons, {STEPS} steps, {size.epochs} epochs on {study.trained} digits, "
            f"{counted(size.passes, 'test')} on {size.images} others",
            "loops": f"{size.runs} trains of {size.loop_steps} steps each way",
        },
        sections=[
            _evaluation(study),
            _trajectory(study),
            _network(study),
            *beside_section(study),
            loop_section(study),
        ],
        source=f"{names}, {study.shots[0]:,} to {counted(study.shots[-1], 'shot')}, beside analytic, exact",
    )


def _source(study: ShotNoiseStudy) -> str:
    """What the figures of the first backend show; those beside it have a figure of their own."""
    shots = f"{study.shots[0]:,} to {counted(study.shots[-1], 'shot')}"
    return f"{study.backend.description}, {shots}, beside analytic, exact"


def _scaling(study: ShotNoiseStudy) -> str:
    slope = Interval.of(records(study.scaling)[-1], "slope")
    verdict = "which includes −½" if slope.holds(-0.5) else "which does not include −½"
    return f"**One evaluation**: the error of P(1) goes with the shots to the power {slope}, {verdict}."


def _law(study: ShotNoiseStudy, decision: str) -> str:
    """What the number of shots does to the spikes of a decision, from the table of changes."""
    rows = [row for row in records(study.change) if row["decision"] == decision and row["quantity"] in QUANTITIES]
    still = [row for row in rows if Interval.of(row, "change").holds(0.0)]
    moved = [row for row in rows if row not in still]
    text = f"**Decision {decision}**, from {study.shots[0]:,} to {counted(study.shots[-1], 'shot')}: "
    parts = []
    if moved:
        parts.append("a change is seen in " + listed(f"the {_changed(row)}" for row in moved))
    if still:
        parts.append("no change is seen in " + listed(f"the {_changed(row)}" for row in still))
    text += "; ".join(parts) + "."
    if not moved:
        largest = max(max(abs(row["change_low"]), abs(row["change_high"])) / abs(row["at_most"]) for row in still)
        text += f" A change of more than {largest:.1%} of any of them is outside its interval."
    return text


def _changed(row: Mapping[str, Any]) -> str:
    bounds = f"difference {row['change_low']:.2g} to {row['change_high']:.2g}"
    return f"{QUANTITIES[row['quantity']]} ({row['at_fewest']:.3g} → {row['at_most']:.3g}, {bounds})"


def _accuracy(study: ShotNoiseStudy) -> str:
    parts = []
    for decision, rows in study.network.groupby("decision", sort=False):
        first, last = rows["accuracy"].iloc[0], rows["accuracy"].iloc[-1]
        parts.append(f"{decision} {first:.1%} → {last:.1%} (exact {rows['exact'].iloc[0]:.1%})")
    changes = [row for row in records(study.change) if row["quantity"] == "accuracy"]
    moved = [str(row["decision"]) for row in changes if not Interval.of(row, "change").holds(0.0)]
    verdict = f"a change is seen for {listed(moved)}" if moved else "no change is seen, the interval of each includes 0"
    shots = f"{study.shots[0]:,} to {counted(study.shots[-1], 'shot')}"
    return f"**Accuracy of a network** from {shots}: {', '.join(parts)}; {verdict}."


def _evaluation(study: ShotNoiseStudy) -> Section:
    pooled, floor = records(study.pooled), records(study.floor)
    most = counted(study.shots[-1], "shot")
    inside = sum(Interval.of(row, "ratio").holds(1.0) for row in pooled)
    found = [
        _scaling(study),
        f"The error over √(p(1 − p)/shots), all P(1) pooled, includes 1 at {inside} of {len(pooled)} numbers of shots; at "
        f"{most} it is {Interval.of(pooled[-1], 'ratio')}.",
    ]
    seen = [row for row in floor if not Interval.of(row, "bias").holds(0.0)]
    if seen:
        worst = max(seen, key=lambda row: abs(row["bias"]))
        # Two digits: the bias is not known better.
        reached = [float(f"{row['shots_at_floor']:.2g}") for row in seen]
        found.append(
            f"A floor is seen: at {most} the interval of the bias excludes 0 for {len(seen)} of {len(floor)} P(1). It is "
            f"largest at p = {worst['p']:g}: {Interval.of(worst, 'bias')}. Shot noise falls below the bias from "
            f"{min(reached):,.0f} shots on at one P(1), and from {max(reached):,.0f} on at all of these."
        )
    else:
        found.append(f"No floor is seen: at {most} the interval of the bias includes 0 for all {len(floor)} P(1).")
    agree = sum(Interval.of(row, "difference").holds(0.0) for row in floor)
    found.append(
        "A calibration of the same backend, from shots of its own, predicts the bias: measured less predicted includes 0 for "
        f"{agree} of {len(floor)} P(1)."
    )
    return Section(
        title="One evaluation",
        question=(
            f"{len(floor)} angles with known P(1) were run {study.size.repeats} times each with every number of shots, on "
            "one site. Without noise the root mean square error is √(p(1 − p)/shots) and the bias is 0. Noise adds a bias "
            "that no number of shots takes away: the floor. Apart from that the site was calibrated: the law P(1) = a + b "
            "cos θ + c sin θ was fitted to counts of its own, which predicts the bias at every angle."
        ),
        findings=found,
        pictures={
            "evaluation": Picture(
                partial(evaluation_figure, study),
                "Left: error of one estimate, lines √(p(1 − p)/shots); points of the same number of shots stand side by "
                "side. Right: bias at the most shots, and what the calibration predicts.",
                _source(study),
            )
        },
        tables={
            "evaluation_scaling": study.scaling,
            "evaluation_pooled": study.pooled,
            "evaluation_floor": study.floor,
            "evaluation": study.evaluation,
        },
        columns={
            "slope": "of log error against log shots; row `all` pools the errors in units of √(p(1 − p))",
            "ratio": "error over √(p(1 − p)/shots), all P(1) pooled",
            "bias": "mean estimate less p",
            "predicted": "the same by the calibration",
            "difference": "bias less predicted",
            "shots_at_floor": "shots whose √(p(1 − p)/shots) is the bias, where that is seen",
            "rmse": "root mean square error",
            "expected": "√(p(1 − p)/shots)",
        },
    )


def _trajectory(study: ShotNoiseStudy) -> Section:
    rows, exact = records(study.trajectory), {row["decision"]: row for row in records(study.trajectory_exact)}
    by_decision = {name: [row for row in rows if row["decision"] == name] for name in exact}
    few, most = counted(study.shots[0], "shot"), counted(study.shots[-1], "shot")
    found = []
    if study.shots[0] == 1:
        sampled, thresholded = (Interval.of(by_decision[name][0], "rate") for name in ("sample", "threshold"))
        verb = "overlap" if sampled.overlaps(thresholded) else "do not overlap"
        found.append(
            f"With one shot p̂ is 0 or 1, so that `threshold` should spike as `sample` does: rates {thresholded} and "
            f"{sampled} spikes per step, whose intervals {verb}."
        )
    distances = [row["distance"] for row in by_decision["sample"]]
    found.append(
        f"`sample`: two exact runs with different seeds are {Interval.of(exact['sample'], 'distance')} apart (van Rossum); "
        f"runs with shots are {min(distances):.3g} to {max(distances):.3g} from an exact one, whatever the shots."
    )
    for name, how in (("threshold", ""), ("expectation", f" by more than {GRADED_TOLERANCE}")):
        first, last = by_decision[name][0], by_decision[name][-1]
        found.append(
            f"`{name}`: the distance from the model goes from {Interval.of(first, 'distance')} at {few} to "
            f"{Interval.of(last, 'distance')} at {most}, where a share of {Interval.of(last, 'differing')} of the runs still "
            f"differs{how} from it somewhere in {study.size.steps} steps."
        )
    compared = []
    for name, reference in exact.items():
        model, measured = Interval.of(reference, "rate"), Interval.of(by_decision[name][-1], "rate")
        verb = "overlap" if model.overlaps(measured) else "do not overlap"
        compared.append(f"`{name}` {measured}, in the model {model} (the intervals {verb})")
    found.append(f"Rates at {most}: {', '.join(compared)}.")
    return Section(
        title="One trajectory",
        question=(
            f"One neuron with default parameters saw {study.size.steps} steps of the same fluctuating current around "
            f"threshold in every run; {study.size.runs} runs for every decision and number of shots. Each is compared with "
            "a run of the model; for `sample` that one is random too, and another for every run. For `sample` theory expects "
            "no effect of shots: one shot is a spike with probability p, and so is a draw from the mean of many."
        ),
        findings=found,
        pictures={
            "trajectory": Picture(
                partial(trajectory_figure, study),
                "Firing rate, distance from the model, and share of runs that differ from it anywhere. Hollow: the model "
                "itself, for `sample` with another seed.",
                _source(study),
            ),
            "rasters": Picture(
                partial(raster_figure, study),
                "One run for every number of shots, all with the same input; at the bottom the model.",
                _source(study),
            ),
        },
        tables={"change": study.change, "trajectory": study.trajectory, "trajectory_exact": study.trajectory_exact},
        columns={
            "at_fewest, at_most, change": f"the quantity at {few} and at {most}, and the difference",
            "rate": "spikes per step",
            "isi": "mean steps between two spikes",
            "isi_cv": "standard deviation over mean of these intervals",
            "distance": f"van Rossum, kernel of {KERNEL:g} steps",
            "differing": f"share of runs that differ from the model somewhere (graded spikes: by more than {GRADED_TOLERANCE})",
            "first_difference": f"median first step in which they differ; {study.size.steps} stands for never",
        },
    )


def _network(study: ShotNoiseStudy) -> Section:
    found = []
    for decision in study.network["decision"].unique():
        rows = [row for row in records(study.network) if row["decision"] == decision]
        lossy = [f"{row['shots']:,}" for row in rows if not Interval.of(row, "loss").holds(0.0)]
        worst = max(rows, key=lambda row: abs(row["loss"]))
        loss = Interval.of(worst, "loss")
        points_lost = f"{100 * loss.value:.2g} ({100 * loss.low:.2g} to {100 * loss.high:.2g}) percentage points"
        seen = f"a difference is seen at {listed(lossy)} shots" if lossy else "no difference is seen at any number of shots"
        found.append(
            f"`{decision}`, exact {worst['exact']:.1%}: {seen}; the largest loss or gain, at "
            f"{counted(worst['shots'], 'shot')}, is {points_lost}."
        )
    return Section(
        title="One network",
        question=(
            f"A network of {HIDDEN} neurons between two linear layers was trained for each decision on exact probabilities, "
            f"and then shown test images for {STEPS} steps with shots. A loss is the accuracy with exact probabilities less "
            "the accuracy with shots, on the same images."
        ),
        findings=found,
        pictures={
            "network": Picture(partial(network_figure, study), "Accuracy lost to shots, on the same images.", _source(study))
        },
        tables={"network": study.network},
        columns={
            "accuracy": "share of test images recognised",
            "exact": "the same on exact probabilities",
            "loss": "exact less accuracy",
        },
    )
