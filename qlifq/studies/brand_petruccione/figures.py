"""The figures of the comparison with the neuron of Brand and Petruccione."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from qlifq.reporting.report import new_figure, points, records
from qlifq.reporting.wording import counted
from qlifq.studies.brand_petruccione.matched_input import NEURONS, T1, THRESHOLD
from qlifq.studies.brand_petruccione.study import ACCURACY, BrandPetruccioneStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["leak_figure", "raster_figure", "rates_figure", "shots_figure", "t1_figure", "traces_figure"]

COLOURS = {"QLIF threshold": "#d2691e", "QLIF sample": "#7b4fa3", "BP relaxation": "#14857a", "BP published": "#2f6db3"}
MARKERS = {"QLIF threshold": "s", "QLIF sample": "o", "BP relaxation": "^", "BP published": "D"}
_INK, _GREY = "#1d1d1f", "#999999"


def leak_figure(study: BrandPetruccioneStudy) -> "Figure":
    """What a leak leaves, and pulses with gaps."""
    figure, axes = new_figure(11, 4.2, 1, 2)
    left, right = axes[0]
    after = study.leak["interval"] / T1
    left.plot(after, study.leak["decay"], color=_INK, linewidth=3, alpha=0.25, label="0.5 e^(−τ/T1)")
    for leak in ("relaxation", "published"):
        name = f"BP {leak}"
        left.plot(after, study.leak[leak], color=COLOURS[name], marker=MARKERS[name], markersize=4.5, label=name)
    left.set(xlabel="interval τ/T1", ylabel="population left, from 0.5", ylim=(-0.02, 0.53))
    left.legend(loc="center right")
    coded = dict.fromkeys((row["neuron"], row["leak"]) for row in records(study.gaps))
    for shift, (neuron, leak) in enumerate(coded):
        rows = study.gaps[(study.gaps["neuron"] == neuron) & (study.gaps["leak"] == leak)]
        label = f"{neuron}, {'steps' if leak == 'steps' else 'one leak'}"
        # A little beside each other: most of them need the same number of pulses.
        right.plot(
            rows["gap"] + 1,
            rows["pulses"] + 0.05 * (shift - 2),
            color=COLOURS[neuron],
            marker=MARKERS[neuron],
            markersize=4.5,
            linestyle="-" if leak == "steps" else ":",
            label=label,
        )
    right.set(
        xscale="log", xlabel="steps from pulse to pulse (gap + 1)", ylabel="pulses until the first spike", ylim=(3.5, None)
    )
    _ticks(right, (1, 3, 10, 30, 100, 300))
    right.set_yticks(range(4, 1 + int(study.gaps["pulses"].max())))
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)
    return figure


def traces_figure(study: BrandPetruccioneStudy) -> "Figure":
    """One input train and the state of every neuron."""
    figure, axes = new_figure(11, 8, len(NEURONS) + 1, 1, sharex=True, height_ratios=[0.35] + [1] * len(NEURONS))
    column = axes[:, 0]
    steps = np.arange(len(study.inputs))
    column[0].eventplot(np.flatnonzero(study.inputs), colors=_INK, linelengths=0.8)
    column[0].set(yticks=[], title="Input spikes")
    column[0].spines[["left"]].set_visible(False)
    for panel, name in zip(column[1:], NEURONS, strict=True):
        response = study.examples[name]
        level, label = (1.0, "potential V") if name.startswith("QLIF") else (THRESHOLD, "population α")
        trace, fired = response.trace[:, 0], np.flatnonzero(response.spikes[:, 0])
        panel.plot(steps, trace, color=COLOURS[name], linewidth=1.2)
        panel.plot(fired, trace[fired], "o", color=_INK, markersize=4)
        panel.axhline(level, color=_GREY, linestyle="--", linewidth=0.9)
        panel.set_title(f"{name}: {counted(len(fired), 'spike')}", color=COLOURS[name])
        panel.set(ylabel=label, ylim=(-0.05, 1.4 if level == 1.0 else 1.05))
    column[-1].set(xlabel="time (steps)", xlim=(-1, len(steps)))
    return figure


def raster_figure(study: BrandPetruccioneStudy) -> "Figure":
    """The spikes of every neuron for the same input trains."""
    figure, axes = new_figure(11, 5.5, len(NEURONS), 1, sharex=True)
    for panel, name in zip(axes[:, 0], NEURONS, strict=True):
        spikes = study.examples[name].spikes
        panel.eventplot([np.flatnonzero(train) for train in spikes.T], colors=COLOURS[name], linelengths=0.8, linewidths=1.2)
        panel.set_title(name, color=COLOURS[name])
        panel.set(ylabel="input train", yticks=[0, spikes.shape[1] - 1], yticklabels=["1", str(spikes.shape[1])])
    axes[-1, 0].set(xlabel="time (steps)", xlim=(-1, len(study.inputs)))
    return figure


def _by_neuron(axes: "Axes", table: "DataFrame", x: str, y: str) -> None:
    for name, rows in table.groupby("neuron", sort=False):
        key = str(name)
        points(axes, rows[x], rows, y, colour=COLOURS[key], marker=MARKERS[key], label=key)


def _ticks(axes: "Axes", values: Iterable[float]) -> None:
    """Plain numbers along a logarithmic axis."""
    at = list(values)
    axes.set_xticks(at, [f"{value:g}" for value in at])
    axes.minorticks_off()


def rates_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Output rate by input rate."""
    figure, axes = new_figure(6.5, 4.4)
    panel = axes[0, 0]
    _by_neuron(panel, study.curve, "input_rate", "rate")
    panel.set(xlabel="input rate (spikes per step)", ylabel="output rate (spikes per step)", ylim=(0, None))
    panel.legend()
    return figure


def t1_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Output rate by T1."""
    figure, axes = new_figure(11, 4.2, 1, 2)
    left, right = axes[0]
    _by_neuron(left, study.t1, "t1", "rate")
    left.set(xscale="log", xlabel="T1, or τ of QLIF (steps)", ylabel="output rate (spikes per step)", ylim=(0, None))
    _ticks(left, sorted(set(study.t1["t1"])))
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)
    right.axhline(0, color=_GREY, linewidth=0.8)
    ratio = study.device_t1["device_t1_us"] / study.device_t1["assumed_t1_us"]
    points(right, ratio, study.device_t1, "change", colour=COLOURS["BP relaxation"], marker="^")
    right.set(xscale="log", xlabel="T1 of the device / assumed T1", ylabel="change of the output rate (spikes per step)")
    _ticks(right, ratio)
    return figure


def shots_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Errors of populations and of first spikes by shots."""
    figure, axes = new_figure(11, 4.2, 1, 2)
    left, right = axes[0]
    measured = study.shots[study.shots["population_error"].notna()]
    _by_neuron(left, measured, "shots", "population_error")
    counts = np.array(sorted(set(study.shots["shots"])), dtype=np.float64)
    last = float(measured[measured["neuron"] == "BP relaxation"]["population_error"].iloc[-1])
    left.plot(counts, last * np.sqrt(counts[-1] / counts), color=_GREY, linewidth=3, alpha=0.35, zorder=0)
    left.set(xscale="log", yscale="log", xlabel="shots per step", ylabel="error of the population (RMS)")
    left.legend()
    _by_neuron(right, study.shots, "shots", "within_one")
    right.axhline(ACCURACY, color=_GREY, linestyle="--", linewidth=0.9)
    right.set(xscale="log", xlabel="shots per step", ylabel="first spikes within one step (share)", ylim=(0, 1.03))
    right.legend(loc="lower right")
    return figure
