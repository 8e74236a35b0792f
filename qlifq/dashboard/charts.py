"""Charts as data: specifications of Vega-Lite and the columns that they draw, made without a browser.

They are drawn by the browser: at every change only the columns travel, which is faster than a picture made here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["COLOURS", "Chart", "Line", "bars", "lines", "raster"]

Columns = Mapping[str, npt.NDArray[Any]]

#: Seen on white and on black.
COLOURS: Mapping[str, str] = {
    "blue": "#3b82d6",
    "green": "#159c8c",
    "orange": "#d97a1f",
    "purple": "#9467c9",
    "red": "#d6455d",
    "grey": "#8b8d98",
}


class Chart(NamedTuple):
    """One panel.

    Args:
        name: a key that stays while the panel does.
        title: what it shows, above it.
        columns: the data, each `(rows,)`.
        spec: Vega-Lite, without data.
    """

    name: str
    title: str
    columns: Columns
    spec: dict[str, Any]


class Line(NamedTuple):
    """A column over another, with its name in the legend and its colour."""

    column: str
    label: str
    colour: str
    dash: bool = False
    step: bool = False


def axis(title: str, **options: object) -> dict[str, Any]:
    """An axis with its unit."""
    return {"title": title, "grid": True, "labelOverlap": True, **options}


def lines(
    name: str,
    title: str,
    columns: Columns,
    drawn: Sequence[Line],
    *,
    x: str,
    x_title: str,
    y_title: str,
    y_domain: tuple[float, float] | None = None,
    marks: Line | None = None,
    height: int = 130,
) -> Chart:
    """Lines over one axis, and points where `marks` has a number.

    Args:
        name: of the chart.
        title: of the chart.
        columns: the data.
        drawn: the lines.
        x: the column to the right.
        x_title: its name and unit.
        y_title: the name and unit upwards.
        y_domain: the ends of the upward axis; None for what the data needs.
        marks: a column of points, NaN where there is none.
        height: in pixels.
    """
    across = {"field": x, "type": "quantitative", "axis": axis(x_title), "scale": {"nice": False}}
    scale: dict[str, Any] = {"zero": False} if y_domain is None else {"domain": list(y_domain)}
    layers = []
    everything = [*drawn, *([] if marks is None else [marks])]
    for line in everything:
        mark: dict[str, Any] = {"type": "line", "strokeWidth": 1.5, "tooltip": True}
        if line.dash:
            mark["strokeDash"] = [5, 3]
        if line.step:
            mark["interpolate"] = "step"
        if line is marks:
            mark = {"type": "point", "filled": True, "size": 30, "opacity": 1, "tooltip": True}
        upward = {"field": line.column, "type": "quantitative", "axis": axis(y_title, tickCount=4), "scale": scale}
        layers.append({"mark": mark, "encoding": {"x": across, "y": upward, "color": {"datum": line.label}}})
    legend = {
        "type": "nominal",
        "scale": {"domain": [line.label for line in everything], "range": [line.colour for line in everything]},
        "legend": {"title": None, "orient": "top", "symbolType": "stroke"},
    }
    layers[0]["encoding"]["color"] = {**legend, "datum": everything[0].label}
    return Chart(name, title, columns, {"height": height, "layer": layers, "resolve": {"scale": {"color": "shared"}}})


def raster(name: str, title: str, spikes: npt.NDArray[np.float32], *, height: int = 150) -> Chart:
    """A tick for every spike; a graded one is as dark as it is large.

    Args:
        name: of the chart.
        title: of the chart.
        spikes: `(time, neurons)`.
        height: in pixels.
    """
    steps, neurons = spikes.shape
    time, neuron = np.nonzero(spikes)
    columns = {"time": time, "neuron": neuron, "spike": spikes[time, neuron].astype(np.float64)}
    ends = {"nice": False, "zero": False}
    encoding = {
        "x": {
            "field": "time",
            "type": "quantitative",
            "axis": axis("time (steps)"),
            "scale": {**ends, "domain": [0, steps - 1]},
        },
        "y": {
            "field": "neuron",
            "type": "quantitative",
            "axis": axis("neuron", format="d", tickMinStep=1, grid=False),
            "scale": {**ends, "domain": [neurons - 0.5, -0.5]},
        },
        "opacity": {"field": "spike", "type": "quantitative", "scale": {"domain": [0, 1]}, "legend": None},
    }
    tall = max(2.0, 0.7 * height / neurons)
    mark = {"type": "tick", "orient": "vertical", "height": tall, "thickness": 1.5, "color": COLOURS["blue"], "tooltip": True}
    return Chart(name, title, columns, {"height": height, "mark": mark, "encoding": encoding})


def bars(
    name: str,
    title: str,
    values: npt.NDArray[Any],
    counts: npt.NDArray[Any],
    *,
    x_title: str,
    y_title: str,
    colour: str = COLOURS["green"],
    width: float = 1.0,
    height: int = 150,
) -> Chart:
    """A bar for every value.

    Args:
        name: of the chart.
        title: of the chart.
        values: where the bars stand, `(bars,)`.
        counts: how high they are, alike.
        x_title: name and unit of the values.
        y_title: name and unit of the heights.
        colour: of the bars.
        width: of a bar, in the unit of the values.
        height: in pixels.
    """
    columns = {"left": values - width / 2, "right": values + width / 2, "count": counts}
    encoding = {
        "x": {
            "field": "left",
            "type": "quantitative",
            "axis": axis(x_title, tickMinStep=1),
            "scale": {"nice": False, "zero": False},
        },
        "x2": {"field": "right"},
        "y": {"field": "count", "type": "quantitative", "axis": axis(y_title, tickCount=4), "scale": {"zero": True}},
    }
    mark = {"type": "bar", "color": colour, "tooltip": True, "binSpacing": 1}
    return Chart(name, title, columns, {"height": height, "mark": mark, "encoding": encoding})
