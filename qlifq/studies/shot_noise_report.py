"""The shot-noise study in words and figures; every sentence is made from the tables."""

from typing import TYPE_CHECKING

import numpy as np

from qlifq.studies.intervals import CONFIDENCE, DRAWS, Interval
from qlifq.studies.report import Picture, Report, Section, new_figure
from qlifq.studies.simulation import counted
from qlifq.studies.shot_noise import GRADED_TOLERANCE, HIDDEN, KERNEL, NETWORK_STEPS, ShotNoiseStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

__all__ = ["shot_noise_report"]

COLOURS = {"sample": "#7b4fa3", "threshold": "#d2691e", "expectation": "#14857a"}
MARKERS = {"sample": "o", "threshold": "s", "expectation": "^"}
_UNITS = {"rate": "rate", "distance": "distance", "isi": "mean interval between spikes", "isi_cv": "CV of these intervals"}


def shot_noise_report(study: ShotNoiseStudy, setup: dict[str, object]) -> Report:
    """The report of a study.

    Args:
        study: what was measured.
        setup: what else was set, such as the noise, as names and plain values.

    Returns:
        The report, for `write_report`.
    """
    extent = study.extent
    evaluation, trajectory, network = _evaluation(study), _trajectory(study), _network(study)
    return Report(
        title="Shot noise against the model",
        asked=(
            "A QLIF neuron asks a qubit for every spike decision, and a qubit answers in shots. What does a finite number of "
            "shots do to one evaluation of P(1), to the spike train of one neuron, and to the accuracy of a network, compared "
            "with exact probabilities without noise (backend `analytic`)? The neuron can decide in three ways: `sample` spikes "
            "with the probability that was measured, `threshold` spikes where the measured probability exceeds ½, "
            "`expectation` emits the measured probability itself."
        ),
        found=[_scaling(study), *_law(study), _network_in_short(study)],
        sure=(
            f"Numbers in brackets are {CONFIDENCE:.0%} intervals: those of proportions and biases are exact (Clopper and Pearson), "
            f"all others are bootstrap percentiles of {DRAWS:,} resamplings of independent runs (of test images, for the "
            "network). They cover the randomness of shots and, for the network, of the choice of test images; another input, "
            "network or training may give other numbers. Each interval misses the truth in about one of "
            f"{round(1 / (1 - CONFIDENCE))} reports, and a report has many."
        ),
        setup={
            "backend": study.backend.name,
            **setup,
            "seed": study.seed,
            "shots": ", ".join(f"{count:,}" for count in study.shots),
            "repeats of an evaluation": extent.repeats,
            "trajectories": f"{extent.runs} runs of {extent.steps} steps",
            "network": f"{HIDDEN} neurons, {NETWORK_STEPS} steps, {extent.epochs} epochs on {study.trained} digits, "
            f"tested {extent.passes} times on {extent.images} others",
        },
        sections=[evaluation, trajectory, network],
    )


def _law(study: ShotNoiseStudy) -> list[str]:
    """What the number of shots does to the spikes of each decision, from the table of changes."""
    few, many = study.shots[0], study.shots[-1]
    said = []
    for decision in ("sample", "threshold"):
        rows = study.change[(study.change["decision"] == decision) & (study.change["quantity"] != "accuracy")]
        moved = [row for _, row in rows.iterrows() if not _interval(row, "change").holds(0.0)]
        still = [row for _, row in rows.iterrows() if _interval(row, "change").holds(0.0)]
        text = f"**{decision}**, from {few:,} to {counted(many, 'shot')}: "
        if still:
            text += "no change is seen in " + _listed(f"the {_changed(row)}" for row in still)
        text += "; " if still and moved else ""
        if moved:
            text += ("a change is seen in " if still else "") + _listed(f"the {_changed(row)}" for row in moved)
            text += "" if still else " change"
        bound = max((max(abs(row["change_low"]), abs(row["change_high"])) / row["at_most"] for row in still), default=None)
        if bound is not None and not moved:
            text += f". Whatever is left is less than {bound:.1%} of the quantity"
        said.append(text + ".")
    return said


def _changed(row: "Series[float]") -> str:
    name = _UNITS[str(row["quantity"])]
    return f"{name} ({row['at_fewest']:.3g} → {row['at_most']:.3g}, difference {_bounds(row)})"


def _bounds(row: "Series[float]") -> str:
    return f"{row['change_low']:.2g} to {row['change_high']:.2g}"


def _scaling(study: ShotNoiseStudy) -> str:
    slope = _interval(study.scaling.iloc[-1], "slope")
    verdict = "which includes −½" if slope.holds(-0.5) else "which does not include −½"
    return f"**One evaluation**: the error of P(1) falls with the shots to the power {slope}, {verdict}."


def _evaluation(study: ShotNoiseStudy) -> Section:
    found = []
    ratio = _interval(study.pooled.iloc[-1], "ratio")
    found.append(
        f"At {study.shots[-1]:,} shots the error is {ratio} times √(p(1 − p)/shots), all P(1) pooled"
        + ("." if ratio.holds(1.0) else ": it is not shot noise alone.")
    )
    inside = sum(_interval(row, "ratio").holds(1.0) for _, row in study.pooled.iterrows())
    found.append(f"The interval of this ratio includes 1 at {inside} of {len(study.pooled)} numbers of shots.")
    floor = study.floor
    seen = [row for _, row in floor.iterrows() if not _interval(row, "bias").holds(0.0)]
    worst = floor.loc[floor["bias"].abs().idxmax()]
    if seen:
        found.append(
            f"A floor is seen: at {study.shots[-1]:,} shots the bias differs from 0 for {len(seen)} of {len(floor)} P(1), and is "
            f"largest at p = {worst['p']:g}, {_interval(worst, 'bias')}. Shots do not take it away."
        )
    else:
        found.append(
            f"No floor is seen: at {study.shots[-1]:,} shots the interval of the bias includes 0 for all {len(floor)} P(1)."
        )
    if "predicted" in floor:
        agree = sum(row["bias_low"] <= row["predicted"] <= row["bias_high"] for _, row in floor.iterrows())
        found.append(
            f"The bias that the noise of the backend predicts lies within the interval for {agree} of {len(floor)} P(1)."
        )
    return Section(
        title="One evaluation",
        asked=(
            f"{len(floor)} angles with known P(1) were asked {study.extent.repeats} times each with every number of shots. Without "
            "noise the root mean square error is √(p(1 − p)/shots) and the bias is 0. Noise adds a bias that no number of shots "
            "takes away: the floor."
        ),
        found=found,
        pictures={
            "evaluation": Picture(
                _evaluation_figure(study),
                "Left: error of one estimate against the shots, points with intervals, lines √(p(1 − p)/shots). "
                "Right: bias at the most shots, with intervals.",
            )
        },
        tables={
            "evaluation_scaling": study.scaling,
            "evaluation_pooled": study.pooled,
            "evaluation_floor": floor,
            "evaluation": study.evaluation,
        },
        columns={
            "slope": "of log error against log shots; row `all` pools the errors in units of √(p(1 − p))",
            "ratio": "error over √(p(1 − p)/shots), all p pooled",
            "bias": "mean estimate less p",
            "predicted": "bias that the noise model predicts",
            "rmse": "root mean square error",
            "expected": "√(p(1 − p)/shots)",
            "_low, _high": "bounds of the interval",
        },
    )


def _trajectory(study: ShotNoiseStudy) -> Section:
    table, few = study.trajectory, study.shots[0]
    found = []
    one = {row["decision"]: row for _, row in table[table["shots"] == few].iterrows()}
    if few == 1:
        overlap = _overlap(_interval(one["sample"], "rate"), _interval(one["threshold"], "rate"))
        found.append(
            "With one shot the threshold decision is the sample decision, since p̂ is 0 or 1: rates "
            f"{_interval(one['threshold'], 'rate')} and {_interval(one['sample'], 'rate')} spikes a step, "
            f"whose intervals {'overlap' if overlap else 'do not overlap'}."
        )
    baseline = _interval(study.trajectory_exact.set_index("decision").loc["sample"], "distance")
    sampled = table[table["decision"] == "sample"]
    found.append(
        "Two exact runs of the sample decision with different seeds are "
        f"{baseline} apart (van Rossum); runs with shots are {sampled['distance'].min():.3g} to {sampled['distance'].max():.3g} "
        "from an exact one, whatever the shots."
    )
    for decision in ("threshold", "expectation"):
        rows = table[table["decision"] == decision]
        within = f" by more than {GRADED_TOLERANCE}" if decision == "expectation" else ""
        last = rows.iloc[-1]
        found.append(
            f"{decision.capitalize()}: the distance from the model falls from {_interval(rows.iloc[0], 'distance')} to "
            f"{_interval(last, 'distance')}; {_interval(last, 'differing')} of the runs still differ{within} from it somewhere in "
            f"{study.extent.steps} steps at {study.shots[-1]:,} shots."
        )
    return Section(
        title="One trajectory",
        asked=(
            f"One neuron with default parameters, {study.extent.steps} steps of the same fluctuating current around threshold in "
            f"every run, {study.extent.runs} runs for every decision and number of shots. Each is compared with a run on exact "
            "probabilities; for the sample decision that run is random too, and another one for every comparison. Where two "
            f"graded trains differ by less than {GRADED_TOLERANCE} in a step they count as equal."
        ),
        found=found,
        pictures={
            "trajectory": Picture(
                _trajectory_figure(study),
                "Firing rate, van Rossum distance from a run of the model, and share of runs that differ from it, against the "
                "shots. Dashed: the model against itself, another seed.",
            ),
            "rasters": Picture(
                _raster_figure(study), "One run for every number of shots, all with the same input; at the top the model."
            ),
        },
        tables={"change": study.change, "trajectory": study.trajectory, "trajectory_exact": study.trajectory_exact},
        columns={
            "at_fewest, at_most, change": f"the quantity at {few:,} and at {study.shots[-1]:,} shots, and the difference",
            "rate": "spikes per step",
            "isi": "mean steps between two spikes",
            "isi_cv": "standard deviation over mean of these intervals",
            "distance": f"van Rossum, kernel of {KERNEL:g} steps",
            "differing": "share of runs that differ from the model somewhere",
            "first_difference": f"median first step in which they differ; {study.extent.steps} means never",
        },
    )


def _network(study: ShotNoiseStudy) -> Section:
    table = study.network
    found = []
    for decision, rows in table.groupby("decision", sort=False):
        lossy = [int(row["shots"]) for _, row in rows.iterrows() if not _interval(row, "loss").holds(0.0)]
        worst = rows.loc[rows["loss"].abs().idxmax()]
        text = f"{str(decision).capitalize()}: exact {worst['exact']:.1%}; "
        if lossy:
            text += "accuracy differs from it at " + _listed(f"{count:,}" for count in lossy) + " shots"
        else:
            text += "no number of shots gives an accuracy that differs from it"
        loss = _interval(worst, "loss")
        points = f"{100 * loss.value:.2g} ({100 * loss.low:.2g} to {100 * loss.high:.2g})"
        found.append(f"{text}; the largest loss, at {counted(int(worst['shots']), 'shot')}, is {points} percentage points.")
    return Section(
        title="One network",
        asked=(
            f"A network of {HIDDEN} neurons between two linear layers was trained for each decision on exact probabilities, and then "
            "asked the same test images with shots. A loss is exact accuracy less accuracy with shots, on the same images."
        ),
        found=found,
        pictures={
            "network": Picture(
                _network_figure(study), "Accuracy lost against exact probabilities, on the same images, with intervals."
            )
        },
        tables={"network": table},
        columns={
            "accuracy": "share of test images recognised",
            "exact": "the same with exact probabilities",
            "loss": "exact − accuracy, its interval from paired images",
        },
    )


def _network_in_short(study: ShotNoiseStudy) -> str:
    parts = []
    for decision, rows in study.network.groupby("decision", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        parts.append(f"{decision} {first['accuracy']:.1%} → {last['accuracy']:.1%} (exact {last['exact']:.1%})")
    seen = study.change[(study.change["quantity"] == "accuracy")]
    moved = [str(row["decision"]) for _, row in seen.iterrows() if not _interval(row, "change").holds(0.0)]
    verdict = f"the change is seen for {_listed(moved)}" if moved else "no interval of the change excludes 0"
    return (
        f"**Accuracy of a network** from {study.shots[0]:,} to {study.shots[-1]:,} shots: " + ", ".join(parts) + f"; {verdict}."
    )


def _evaluation_figure(study: ShotNoiseStudy) -> "Figure":
    figure, axes = new_figure(11, 4.4, 1, 2)
    left, right = axes[0]
    probabilities = sorted(set(study.evaluation["p"]))
    for place, p in enumerate(probabilities):
        rows = study.evaluation[study.evaluation["p"] == p]
        colour = _shade(place / max(len(probabilities) - 1, 1))
        left.plot(rows["shots"], rows["expected"], color=colour, linewidth=1, alpha=0.7)
        # Points of the same shots stand side by side, or p and 1 − p would hide each other.
        _points(left, rows["shots"] * 1.07 ** (place - 3), rows, "rmse", colour, "o", f"p = {p:g}")
    left.set(xscale="log", yscale="log", xlabel="shots", ylabel="root mean square error of P(1)")
    left.legend(ncols=2, fontsize=8.5)
    left.set_title(f"Error of one estimate, {study.extent.repeats} repeats")
    floor = study.floor
    _points(right, floor["p"], floor, "bias", "#1d1d1f", "o", f"measured, {study.shots[-1]:,} shots")
    right.axhline(0, color="#999999", linewidth=0.8)
    if "predicted" in floor:
        right.plot(floor["p"], floor["predicted"], "x", color="#d2691e", markersize=8, label="predicted by the noise")
    right.set(xlabel="P(1) without noise", ylabel="bias of P(1)")
    right.legend(fontsize=8.5)
    right.set_title("Bias that shots do not take away")
    return figure


def _trajectory_figure(study: ShotNoiseStudy) -> "Figure":
    figure, axes = new_figure(13, 4.2, 1, 3)
    exact = study.trajectory_exact.set_index("decision")
    labels = {"rate": "rate (spikes per step)", "distance": "van Rossum distance", "differing": "share of runs that differ"}
    for place, (quantity, label) in enumerate(labels.items()):
        panel = axes[0, place]
        for shift, (decision, rows) in enumerate(study.trajectory.groupby("decision", sort=False)):
            name = str(decision)
            _points(panel, rows["shots"] * 1.12 ** (shift - 1), rows, quantity, COLOURS[name], MARKERS[name], name, line=True)
            panel.axhline(float(exact.loc[name, quantity]), color=COLOURS[name], linestyle="--", linewidth=0.9, alpha=0.8)
        panel.set(xscale="log", xlabel="shots per decision", ylabel=label)
        panel.set_ylim(bottom=0)
    axes[0, 1].legend(fontsize=9)
    return figure


def _raster_figure(study: ShotNoiseStudy) -> "Figure":
    figure, axes = new_figure(11, 4.6, 2, 1, sharex=True)
    labels = ["model", *(f"{count:,}" for count in study.shots)]
    for panel, decision in zip(axes[:, 0], ("sample", "threshold"), strict=True):
        trains = [np.flatnonzero(train) for train in study.trains[decision]]
        panel.eventplot(trains, colors=COLOURS[decision], linelengths=0.75, linewidths=1.1)
        panel.set_yticks(range(len(labels)), labels)
        panel.invert_yaxis()
        panel.set_title(f"Decision {decision}", color=COLOURS[decision])
        panel.set_ylabel("shots")
    axes[-1, 0].set_xlim(-1, study.extent.steps)
    axes[-1, 0].set_xlabel("time (steps)")
    return figure


def _network_figure(study: ShotNoiseStudy) -> "Figure":
    figure, axes = new_figure(7, 4.2)
    panel = axes[0, 0]
    table = study.network.assign(
        **{name: 100 * study.network[name] for name in ("loss", "loss_low", "loss_high")}
    )
    for shift, (decision, rows) in enumerate(table.groupby("decision", sort=False)):
        name = str(decision)
        label = f"{name}, exact {rows['exact'].iloc[0]:.1%}"
        _points(panel, rows["shots"] * 1.12 ** (shift - 1), rows, "loss", COLOURS[name], MARKERS[name], label, line=True)
    panel.axhline(0, color="#999999", linewidth=0.8)
    panel.set(xscale="log", xlabel="shots per decision", ylabel="accuracy lost (percentage points)")
    panel.legend(fontsize=9)
    return figure


def _points(
    axes: "Axes", x: "Series[float]", rows: "DataFrame", name: str, colour: object, marker: str, label: str, *, line: bool = False
) -> None:
    """Values with their intervals."""
    value = rows[name].to_numpy()
    low, high = value - rows[f"{name}_low"].to_numpy(), rows[f"{name}_high"].to_numpy() - value
    axes.errorbar(
        x,
        value,
        # A percentile interval need not hold the estimate itself.
        yerr=np.maximum([low, high], 0.0),
        fmt=f"{marker}-" if line else marker,
        color=colour,
        markersize=4.5,
        linewidth=1,
        capsize=2,
        label=label,
    )


def _shade(share: float) -> tuple[float, float, float, float]:
    """A colour between blue and orange."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](0.9 * share)


def _interval(row: "Series[float]", name: str) -> Interval:
    return Interval(float(row[name]), float(row[f"{name}_low"]), float(row[f"{name}_high"]))


def _overlap(first: Interval, second: Interval) -> bool:
    return first.low <= second.high and second.low <= first.high


def _listed(words: object) -> str:
    """Words with commas and an "and"."""
    items = list(words)  # type: ignore[call-overload]
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
