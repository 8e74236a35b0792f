"""The figures of the shot-noise study."""

from typing import TYPE_CHECKING

import numpy as np

from qlifq.reporting.figures import BLACK, GREY, SeriesStyle, column_figure, drawn, series
from qlifq.reporting.panels import from_zero, marked_line, points, spike_raster, stacked
from qlifq.reporting.report import records
from qlifq.studies.shot_noise.study import ShotNoiseStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["evaluation_figure", "network_figure", "raster_figure", "trajectory_figure"]

STYLES = {name: series(place) for place, name in enumerate(("sample", "threshold", "expectation"))}
#: Series stand side by side, by this factor along a logarithmic axis.
_ASIDE = 1.12
#: Steps that the rasters show.
_SHOWN = 400


@drawn
def evaluation_figure(study: ShotNoiseStudy) -> "Figure":
    """The error of one evaluation by shots, and its bias by P(1)."""
    from matplotlib.collections import LineCollection

    figure, axes = column_figure(88, 1, 2)
    left, right = axes[0]
    left.set_title(f"Error of one estimate, {study.size.repeats} repeats")
    probabilities = sorted(set(study.evaluation["p"]))
    by_probability = [study.evaluation[study.evaluation["p"] == p] for p in probabilities]
    expected = [np.column_stack((rows["shots"], rows["expected"])) for rows in by_probability]
    left.add_collection(LineCollection(expected, colors=GREY, linewidths=0.6, label="√(p(1 − p)/shots)"))
    for place, (p, rows) in enumerate(zip(probabilities, by_probability, strict=True)):
        # Side by side, or p and 1 − p would hide each other.
        aside = rows["shots"] * 1.07 ** (place - (len(probabilities) - 1) / 2)
        look = series(place)
        points(left, aside, rows, "rmse", SeriesStyle(look.colour, look.marker, "-", 0.7, 3.0), label=f"p = {p:g}", line=False)
    left.set(xscale="log", yscale="log", xlabel="shots", ylabel="RMS error of P(1)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=5)
    right.set_title(f"Bias at {study.shots[-1]:,} shots")
    floor = study.floor
    points(right, floor["p"] - 0.006, floor, "bias", series(0), label="measured", line=False)
    points(right, floor["p"] + 0.006, floor, "predicted", series(1), label="predicted by a calibration", line=False)
    marked_line(right, 0.0, "no bias")
    right.set(xlabel="P(1) without noise", ylabel="bias of P(1)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right")
    return figure


@drawn
def trajectory_figure(study: ShotNoiseStudy) -> "Figure":
    """Rate, distance from the model and share of runs that differ from it, by shots; at the right end the model itself."""
    figure, axes = column_figure(72, 1, 3)
    exact = {row["decision"]: row for row in records(study.trajectory_exact)}
    labels = {
        "rate": ("Firing rate", "rate (spikes per step)"),
        "distance": ("Distance from the model", "van Rossum distance (dimensionless)"),
        "differing": ("Runs that differ", "share (of runs)"),
    }
    model = 10 * study.shots[-1]
    for panel, (quantity, (title, label)) in zip(axes[0], labels.items(), strict=True):
        panel.set_title(title)
        for shift, (decision, rows) in enumerate(study.trajectory.groupby("decision", sort=False)):
            name, aside = str(decision), _ASIDE ** (shift - 1)
            points(panel, rows["shots"] * aside, rows, quantity, STYLES[name], label=name)
            style = STYLES[name].keywords(line=False, hollow=True)
            panel.plot([model * aside], [exact[name][quantity]], label=f"{name}, model", **style)
        panel.set(xscale="log", xlabel="shots per decision", ylabel=label)
        from_zero(panel)
        ticks = [count for count in study.shots if count in {1, 10, 100, 1_000, 10_000, 100_000}]
        panel.set_xticks([*ticks, model], [*(f"{count:,}" for count in ticks), "model"], rotation=30)
        panel.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


@drawn
def raster_figure(study: ShotNoiseStudy) -> "Figure":
    """One run for every number of shots."""
    figure, axes = column_figure(100, 2, 1, sharex=True)
    labels = ["model", *(f"{count:,}" for count in study.shots)]
    for panel, decision in zip(axes[:, 0], ("sample", "threshold"), strict=True):
        spikes = np.stack([np.asarray(train)[:_SHOWN] for train in study.trains[decision]], axis=1)
        spike_raster(panel, spikes, row="shots", colour=BLACK)
        panel.set_yticks(range(len(labels)), labels)
        panel.set_title(f"Decision {decision}")
    stacked(axes[:, 0])
    return figure


@drawn
def network_figure(study: ShotNoiseStudy) -> "Figure":
    """Accuracy lost to shots."""
    figure, axes = column_figure(75, single=True)
    panel = axes[0, 0]
    panel.set_title("Accuracy lost to shots")
    in_points = study.network.assign(**{name: 100 * study.network[name] for name in ("loss", "loss_low", "loss_high")})
    for shift, (decision, rows) in enumerate(in_points.groupby("decision", sort=False)):
        name = str(decision)
        label = f"{name}, exact {rows['exact'].iloc[0]:.1%}"
        points(panel, rows["shots"] * _ASIDE ** (shift - 1), rows, "loss", STYLES[name], label=label)
    marked_line(panel, 0.0, "no loss")
    panel.set(xscale="log", xlabel="shots per decision", ylabel="loss (percentage points)")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
