"""The panels of the page of the neuron."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from qlifq.dashboard.charts import COLOURS, Chart, Columns, Line, bars, lines, raster
from qlifq.dashboard.neuron.run import NeuronRun, Statistics

__all__ = ["count_charts", "neuron_charts"]

#: Traces of the mechanisms: what they are called and drawn in, and the group of panels that has their unit.
_MECHANISMS = {
    "adaptation": ("adaptation A", COLOURS["orange"]),
    "ahp": ("hyperpolarisation H", COLOURS["purple"]),
    "efficiency": ("efficiency S", COLOURS["green"]),
    "dynamic": ("recent spikes D", COLOURS["blue"]),
    "rate": ("spikes per step F", COLOURS["red"]),
}
_BINS = 40


def neuron_charts(run: NeuronRun) -> list[Chart]:
    """The spikes of all neurons, and membrane, input, probability, angle and mechanisms of one, over one axis of time."""
    spikes = run.recording.spikes[:, 0].detach().numpy()
    potential = run.trace("potential")

    def panel(name: str, title: str, columns: Columns, drawn: Sequence[Line], y_title: str, **options: Any) -> Chart:
        # Every column travels to the browser: those that are drawn, and no others.
        names = [line.column for line in (*drawn, *options.get("marks", ()))]
        everything = {"time": np.arange(len(run.current)), **{name: columns[name] for name in names}}
        title = f"{title} of neuron {run.shown}"
        domain = (0.0, float(len(run.current) - 1))
        across = ("time", "time (steps)")
        return lines(name, title, everything, drawn, y_title=y_title, across=across, x_domain=domain, **options)

    drive = [Line("current", "input current I", COLOURS["blue"], step=True)]
    driven = {"current": run.trace("current")}
    if run.modulation is not None:
        drive.append(Line("modulation", "modulation m", COLOURS["orange"], step=True))
        driven["modulation"] = run.modulation[:, 0, 0].numpy()
    membrane = {
        "V": potential,
        "threshold": run.trace("threshold"),
        "spike": np.where(spikes[:, run.shown] > 0.5, potential, np.nan),
    }
    drawn = [Line("V", "potential V", COLOURS["green"]), Line("threshold", "threshold", COLOURS["orange"], dash=True)]
    mark = Line("spike", "spike", COLOURS["red"])
    charts = [
        raster("raster", "Spikes of all neurons", spikes, height=170),
        panel("membrane", "Membrane", membrane, drawn, "V (dimensionless)", marks=[mark], height=170),
        panel("input", "Input", driven, drive, "I (dimensionless)", height=110),
    ]
    traces = {name: run.trace(name) for name in run.recording.traces}
    if "probability" in traces:
        line = Line("probability", "P(1)", COLOURS["purple"], step=True)
        charts.append(panel("probability", "Spike probability", traces, [line], "P(1)", y_domain=(0.0, 1.0), height=170))
    if "angle" in traces:
        charts.append(
            panel("angle", "Angle of the qubit", traces, [Line("angle", "θ", COLOURS["blue"])], "θ (radians)", height=170)
        )
    mechanisms = [Line(name, *_MECHANISMS[name]) for name in _MECHANISMS if name in traces]
    if mechanisms:
        charts.append(panel("mechanisms", "Mechanisms", traces, mechanisms, "dimensionless", height=110))
    return charts


def count_charts(statistics: Statistics) -> list[Chart]:
    """Spikes by neuron and intervals by length."""
    rates = bars(
        "rates",
        "Spikes by neuron",
        np.arange(len(statistics.spikes)),
        statistics.spikes,
        x_title="neuron",
        y_title="spikes",
        colour=COLOURS["blue"],
        height=120,
    )
    if not len(statistics.intervals):
        return [rates]
    longest = int(statistics.intervals.max())
    width = -(-longest // _BINS)
    edges = np.arange(0, longest + width + 1, width) + 0.5
    counts, _ = np.histogram(statistics.intervals, edges)
    intervals = bars(
        "intervals",
        "Intervals between spikes of a neuron",
        edges[:-1] + width / 2,
        counts,
        x_title="interval (steps)",
        y_title="intervals",
        width=float(width),
        height=120,
    )
    return [rates, intervals]
