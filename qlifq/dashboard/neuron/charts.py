"""The panels of the page of the neuron."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qlifq.dashboard.charts import COLOURS, Chart, Line, bars, lines, raster
from qlifq.dashboard.neuron.run import NeuronRun, Statistics

__all__ = ["neuron_charts"]

#: Traces of the mechanisms: what they are called and drawn in, and the group of panels that has their unit.
_MECHANISMS = {
    "adaptation": ("adaptation A", COLOURS["orange"]),
    "ahp": ("hyperpolarisation H", COLOURS["purple"]),
    "efficiency": ("efficiency S", COLOURS["green"]),
    "dynamic": ("recent spikes D", COLOURS["blue"]),
    "rate": ("spikes per step F", COLOURS["red"]),
}
_BINS = 40


def neuron_charts(run: NeuronRun, statistics: Statistics) -> list[Chart]:
    """Input, membrane, probability, angle and mechanisms of one neuron, and the spikes of all, one above the other."""
    time = np.arange(len(run.current))
    names = run.recording.traces
    spikes = run.recording.spikes[:, 0].detach().numpy()
    own = spikes[:, run.shown]
    potential = run.trace("potential")
    over = ("time", "time (steps)")
    who = f"neuron {run.shown}"

    drive = [Line("current", "input current I", COLOURS["blue"], step=True)]
    driven: dict[str, npt.NDArray[Any]] = {"time": time, "current": run.trace("current")}
    if run.modulation is not None:
        drive.append(Line("modulation", "modulation m", COLOURS["orange"], step=True))
        driven["modulation"] = run.modulation[:, 0, 0].numpy()
    charts = [
        raster("raster", "Spikes of all neurons", spikes),
        lines("input", f"Input of {who}", driven, drive, y_title="I (dimensionless)", height=90, across=over),
        lines(
            "membrane",
            f"Membrane of {who}",
            {
                "time": time,
                "V": potential,
                "threshold": run.trace("threshold"),
                "spike": np.where(own > 0.5, potential, np.nan),
            },
            [
                Line("V", "potential V", COLOURS["green"]),
                Line("threshold", "threshold", COLOURS["orange"], dash=True),
            ],
            y_title="V (dimensionless)",
            marks=[Line("spike", "spike", COLOURS["red"])],
            height=170,
            across=over,
        ),
    ]
    if "probability" in names:
        charts.append(
            lines(
                "probability",
                f"Spike probability of {who}",
                {"time": time, "p": run.trace("probability")},
                [Line("p", "P(1)", COLOURS["purple"], step=True)],
                y_title="P(1)",
                y_domain=(0.0, 1.0),
                height=100,
                across=over,
            )
        )
    if "angle" in names:
        charts.append(
            lines(
                "angle",
                f"Angle of the qubit of {who}",
                {"time": time, "angle": run.trace("angle")},
                [Line("angle", "θ", COLOURS["blue"])],
                y_title="θ (radians)",
                height=90,
                across=over,
            )
        )
    kept = [name for name in _MECHANISMS if name in names]
    if kept:
        charts.append(
            lines(
                "mechanisms",
                f"Mechanisms of {who}",
                {"time": time, **{name: run.trace(name) for name in kept}},
                [Line(name, *_MECHANISMS[name]) for name in kept],
                y_title="dimensionless",
                height=110,
                across=over,
            )
        )
    return [*charts, *_counted(statistics)]


def _counted(statistics: Statistics) -> list[Chart]:
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
