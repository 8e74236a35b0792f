"""The figures of the comparison with the neuron of Brand and Petruccione."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from qlifq.reporting.figures import BLACK, PALE, column_figure, drawn, series
from qlifq.reporting.panels import (
    from_zero,
    integer_axis,
    legend_above,
    legend_below,
    marked_line,
    over_time,
    points,
    spike_raster,
    stacked,
)
from qlifq.reporting.report import records
from qlifq.reporting.wording import counted
from qlifq.studies.brand_petruccione.matched_input import NEURONS, T1, THRESHOLD
from qlifq.studies.brand_petruccione.study import ACCURACY, BrandPetruccioneStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["leak_figure", "raster_figure", "rates_figure", "shots_figure", "t1_figure", "traces_figure"]

STYLES = {name: series(place) for place, name in enumerate(NEURONS)}


@drawn
def leak_figure(study: BrandPetruccioneStudy) -> "Figure":
    """What a leak leaves, and pulses with gaps."""
    figure, axes = column_figure(80, 1, 2)
    left, right = axes[0]
    left.set_title("Population left after one leak, from 0.5")
    after = study.leak["interval"] / T1
    left.plot(after, study.leak["decay"], color=PALE, linewidth=4.0, label="0.5 e^(−τ/T1)")
    for leak in ("relaxation", "published"):
        name = f"BP {leak}"
        left.plot(after, study.leak[leak], label=name, **STYLES[name].keywords())
    left.set(xlabel="interval τ/T1", ylabel="population (dimensionless)", ylim=(-0.02, 0.53))
    legend_below(left)
    right.set_title("Pulses until the first spike")
    coded = dict.fromkeys((row["neuron"], row["leak"]) for row in records(study.gaps))
    for shift, (neuron, leak) in enumerate(coded):
        rows = study.gaps[(study.gaps["neuron"] == neuron) & (study.gaps["leak"] == leak)]
        label = f"{neuron}, {'steps' if leak == 'steps' else 'one leak'}"
        look = STYLES[neuron].keywords(hollow=leak != "steps")
        # A little beside each other: most of them need the same number of pulses.
        right.plot(rows["gap"] + 1, rows["pulses"] + 0.12 * (shift - 2), label=label, **look)
    right.set(xscale="log", xlabel="from pulse to pulse (steps)", ylabel="pulses until the first spike", ylim=(3.5, None))
    _ticks(right, (1, 3, 10, 30, 100, 300))
    integer_axis(right, "y")
    legend_below(right)
    return figure


@drawn
def traces_figure(study: BrandPetruccioneStudy) -> "Figure":
    """One input train and the state of every neuron."""
    figure, axes = column_figure(150, len(NEURONS) + 1, 1, sharex=True, height_ratios=[0.35] + [1] * len(NEURONS))
    column = axes[:, 0]
    steps = np.arange(len(study.inputs))
    spike_raster(column[0], study.inputs[:, None], row="train")
    column[0].set_title("Input spikes")
    for panel, name in zip(column[1:], NEURONS, strict=True):
        response = study.examples[name]
        level, label = (1.0, "V (dimensionless)") if name.startswith("QLIF") else (THRESHOLD, "α (population)")
        trace, fired = response.trace[:, 0], np.flatnonzero(response.spikes[:, 0])
        panel.plot(steps, trace, color=STYLES[name].colour, label="V" if name.startswith("QLIF") else "α")
        panel.plot(fired, trace[fired], "o", color=BLACK, label="spike")
        panel.set_title(f"{name}: {counted(len(fired), 'spike')}")
        panel.set(ylabel=label, ylim=(-0.05, 1.4 if level == 1.0 else 1.05))
        marked_line(panel, level, "threshold")
        legend_above(panel)
        over_time(panel, len(steps))
    stacked(column)
    return figure


@drawn
def raster_figure(study: BrandPetruccioneStudy) -> "Figure":
    """The spikes of every neuron for the same input trains."""
    figure, axes = column_figure(120, len(NEURONS), 1, sharex=True)
    for panel, name in zip(axes[:, 0], NEURONS, strict=True):
        spike_raster(panel, study.examples[name].spikes, row="input train", colour=STYLES[name].colour)
        panel.set_title(name)
    stacked(axes[:, 0])
    return figure


def _by_neuron(axes: "Axes", table: "DataFrame", x: str, y: str) -> None:
    for name, rows in table.groupby("neuron", sort=False):
        points(axes, rows[x], rows, y, STYLES[str(name)], label=str(name))


def _ticks(axes: "Axes", values: Iterable[float]) -> None:
    """Plain numbers along a logarithmic axis."""
    at = list(values)
    axes.set_xticks(at, [f"{value:g}" for value in at])
    axes.minorticks_off()


@drawn
def rates_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Output rate by input rate."""
    figure, axes = column_figure(70, single=True)
    panel = axes[0, 0]
    panel.set_title("Output rate by input rate")
    _by_neuron(panel, study.curve, "input_rate", "rate")
    panel.set(xlabel="input rate (spikes per step)", ylabel="output rate (spikes per step)")
    from_zero(panel)
    legend_below(panel)
    return figure


@drawn
def t1_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Output rate by T1."""
    figure, axes = column_figure(80, 1, 2)
    left, right = axes[0]
    left.set_title("Output rate by T1")
    _by_neuron(left, study.t1, "t1", "rate")
    left.set(xscale="log", xlabel="T1, or τ of QLIF (steps)", ylabel="output rate (spikes per step)")
    from_zero(left)
    _ticks(left, sorted(set(study.t1["t1"])))
    legend_below(left)
    right.set_title("BP relaxation on a device of another T1")
    ratio = study.device_t1["device_t1_us"] / study.device_t1["assumed_t1_us"]
    points(right, ratio, study.device_t1, "change", STYLES["BP relaxation"], label="BP relaxation")
    marked_line(right, 0.0, "no change")
    right.set(xscale="log", xlabel="T1 of the device / assumed T1", ylabel="change of rate (spikes per step)")
    _ticks(right, ratio)
    return figure


@drawn
def shots_figure(study: BrandPetruccioneStudy) -> "Figure":
    """Errors of populations and of first spikes by shots."""
    figure, axes = column_figure(80, 1, 2)
    left, right = axes[0]
    left.set_title("Error of the population")
    measured = study.shots[study.shots["population_error"].notna()]
    counts = np.array(sorted(set(study.shots["shots"])), dtype=np.float64)
    last = float(measured[measured["neuron"] == "BP relaxation"]["population_error"].iloc[-1])
    left.plot(counts, last * np.sqrt(counts[-1] / counts), color=PALE, linewidth=4.0, label="slope −½")
    _by_neuron(left, measured, "shots", "population_error")
    left.set(xscale="log", yscale="log", xlabel="shots per step", ylabel="RMS error (dimensionless)")
    legend_below(left)
    right.set_title("First spikes within one step of the exact ones")
    _by_neuron(right, study.shots, "shots", "within_one")
    marked_line(right, ACCURACY, f"{ACCURACY:.0%}")
    right.set(xscale="log", xlabel="shots per step", ylabel="share (of runs)", ylim=(0, 1.03))
    legend_below(right)
    return figure
