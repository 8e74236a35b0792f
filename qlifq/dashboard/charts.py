"""Charts as data: specifications of Vega-Lite and the columns that they draw, made without a browser.

They are drawn by the browser: at every change only the columns travel, which is faster than a picture made here.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qlifq.reporting.figures import column_figure, put_heading, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "Chart", "Columns", "Line", "bars", "lines", "picture", "raster"]

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

#: Pixels that axis, legend and titles take of a height.
_AROUND = 75
#: Pixels for the numbers along an upward axis, whatever their digits: panels under each other then share one axis of time.
_NUMBERS = 34
#: What fits into one row of a legend on a telephone: that many names, and letters in all of them.
_NAMES, _NAME_LETTERS = 3, 32
#: Where a probability has its numbers, so that both ends of its axis bear one.
_PROBABILITIES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


class Chart(NamedTuple):
    """One panel.

    Args:
        name: a key that stays while the panel does.
        title: what it shows, above it.
        columns: the data, each `(rows,)`.
        spec: Vega-Lite, without data.
        sketch: draws the same on axes of matplotlib, for the file that is downloaded.
        source: what its numbers were computed on, where that is not what those beside it were computed on.
    """

    name: str
    title: str
    columns: Columns
    spec: dict[str, Any]
    sketch: Callable[["Axes"], object]
    source: str | None = None


class Line(NamedTuple):
    """A column over another, with its name in the legend and its colour."""

    column: str
    label: str
    colour: str
    dash: bool = False
    step: bool = False


def axis(title: str, **options: object) -> dict[str, Any]:
    """An axis with its unit."""
    # Without `labelFlush` the numbers at the ends stand under their ticks, instead of beside them.
    return {"title": title, "grid": True, "labelOverlap": True, "labelFlush": False, **options}


def upward_axis(title: str, **options: object) -> dict[str, Any]:
    """An upward axis, which takes as many pixels as any other."""
    return axis(title, minExtent=_NUMBERS, maxExtent=_NUMBERS, **options)


def lines(
    name: str,
    title: str,
    columns: Columns,
    drawn: Sequence[Line],
    *,
    across: tuple[str, str],
    y_title: str,
    x_domain: tuple[float, float] | None = None,
    y_domain: tuple[float, float] | None = None,
    marks: Sequence[Line] = (),
    spans: Mapping[str, tuple[str, str]] | None = None,
    height: int = 130,
) -> Chart:
    """Lines over one axis, and points where a column of `marks` has a number.

    Args:
        name: of the chart.
        title: of the chart.
        columns: the data.
        drawn: the lines.
        across: the column to the right, and its name and unit.
        y_title: the name and unit upwards.
        x_domain: the ends of the axis to the right; None for what the data needs.
        y_domain: the ends of the upward axis; None for what the data needs, (0, 1) for a probability.
        marks: columns of points, NaN where there is none.
        spans: the columns of the lower and the upper bounds of a column: error bars of points, a band around a line.
        height: of what lies between the axes, in pixels.
    """
    x, x_title = across
    ends = {} if x_domain is None else {"domain": list(x_domain)}
    rightward = {"field": x, "type": "quantitative", "axis": axis(x_title), "scale": {"nice": False, **ends}}
    scale: dict[str, Any] = {"zero": _flat(columns, drawn)} if y_domain is None else {"domain": list(y_domain)}
    numbers = {"values": _PROBABILITIES} if y_domain == (0.0, 1.0) else {"tickCount": 4}
    layers: list[dict[str, Any]] = []
    everything = [*drawn, *marks]
    spans = spans or {}
    for line in everything:
        # What the browser works out for every point of a line is what takes its time: no tooltip, since a line only has that
        # of its first point, no search for gaps where there are none, and a colour from the legend only in the first.
        mark: dict[str, Any] = {"type": "line", "strokeWidth": 1.5}
        if np.isfinite(columns[line.column]).all():
            mark["invalid"] = None
        if line.dash:
            mark["strokeDash"] = [5, 3]
        if line.step:
            mark["interpolate"] = "step"
        if line in marks:
            mark = {"type": "point", "filled": True, "size": 30, "opacity": 1, "tooltip": True}
        upward = {"field": line.column, "type": "quantitative", "axis": upward_axis(y_title, **numbers), "scale": scale}
        layers.append({"mark": {**mark, "color": line.colour}, "encoding": {"x": rightward, "y": upward}})
        if line.column in spans:
            low, high = spans[line.column]
            reach = {"x": rightward, "y": {**upward, "field": low}, "y2": {"field": high}}
            band = {"type": "area", "color": line.colour, "opacity": 0.25, "interpolate": mark.get("interpolate", "linear")}
            layers.append({"mark": {"type": "rule", "color": line.colour} if line in marks else band, "encoding": reach})
    symbol = "stroke" if drawn else "circle"
    letters = sum(len(line.label) for line in everything)
    columns_of_legend = _NAMES if len(everything) <= _NAMES and letters <= _NAME_LETTERS else 2
    legend = {
        "type": "nominal",
        "scale": {"domain": [line.label for line in everything], "range": [line.colour for line in everything]},
        "legend": {"title": None, "orient": "top", "symbolType": symbol, "labelLimit": 0, "columns": columns_of_legend},
    }
    layers[0]["encoding"]["color"] = {**legend, "datum": everything[0].label}
    more = 22 * (-(-len(everything) // columns_of_legend) - 1)
    spec = {"height": height + _AROUND + more, "layer": layers, "resolve": {"scale": {"color": "shared"}}}
    sketch = partial(_sketch_lines, columns, drawn, marks, spans, x, (x_title, y_title), x_domain, y_domain)
    return Chart(name, title, columns, spec, sketch)


def _flat(columns: Columns, drawn: Sequence[Line]) -> bool:
    """Whether nothing changes, so that only zero gives the axis a length."""
    # Points alone have one as well: rates are read against zero.
    return all(np.ptp(columns[line.column]) == 0 for line in drawn)


def raster(name: str, title: str, spikes: npt.NDArray[np.float32], *, rows: str = "neuron", height: int = 150) -> Chart:
    """A tick for every spike, row 0 at the bottom; a graded one is as dark as it is large.

    Args:
        name: of the chart.
        title: of the chart.
        spikes: `(time, neurons)`.
        rows: what one row is of.
        height: of what lies between the axes, in pixels.
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
            "axis": upward_axis(rows, format="d", tickMinStep=1, grid=False),
            "scale": {**ends, "domain": [-0.5, neurons - 0.5]},
        },
        "opacity": {"field": "spike", "type": "quantitative", "scale": {"domain": [0, 1]}, "legend": None},
    }
    # Seven tenths of a row, and never so little that a tick is lost on a screen.
    tall = max(2.0, 0.7 * height / neurons)
    mark = {
        "type": "tick",
        "orient": "vertical",
        "height": tall,
        "thickness": 1.5,
        "color": COLOURS["blue"],
        "tooltip": {"content": "data"},
    }
    sketch = partial(_sketch_raster, spikes, rows)
    return Chart(name, title, columns, {"height": height + _AROUND, "mark": mark, "encoding": encoding}, sketch)


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
        counts: how high they are, same shape.
        x_title: name and unit of the values.
        y_title: name and unit of the heights.
        colour: of the bars.
        width: of a bar, in the unit of the values.
        height: of what lies between the axes, in pixels.
    """
    # A bar mark of the browser has the width of a category; these stand on numbers.
    gap = 0.05 * width
    sides = {"left": values - width / 2 + gap, "right": values + width / 2 - gap}
    columns = {**sides, "count": counts, "zero": np.zeros(len(counts))}
    encoding = {
        "x": {
            "field": "left",
            "type": "quantitative",
            "axis": axis(x_title, tickMinStep=1, format="d"),
            "scale": {"nice": False, "zero": False},
        },
        "x2": {"field": "right"},
        "y": {"field": "count", "type": "quantitative", "axis": upward_axis(y_title, tickCount=4), "scale": {"zero": True}},
        "y2": {"field": "zero"},
    }
    mark = {"type": "rect", "color": colour, "tooltip": True}
    sketch = partial(_sketch_bars, values, counts, (x_title, y_title), colour, width)
    return Chart(name, title, columns, {"height": height + _AROUND, "mark": mark, "encoding": encoding}, sketch)


def picture(charts: Sequence[Chart], form: str, source: str) -> bytes:
    """The charts one above the other as a file.

    Args:
        charts: what is drawn.
        form: "png" or "svg".
        source: what the numbers were computed on; it stands over them.
    """
    with styled():
        figure, axes = column_figure(44 * len(charts), len(charts))
        for chart, place in zip(charts, axes[:, 0], strict=True):
            place.set_title(chart.title)
            chart.sketch(place)
        put_heading(figure, source)
        stream = io.BytesIO()
        figure.savefig(stream, format=form)
    return stream.getvalue()


def _sketch_lines(
    columns: Columns,
    drawn: Sequence[Line],
    marks: Sequence[Line],
    spans: Mapping[str, tuple[str, str]],
    x: str,
    titles: tuple[str, str],
    x_domain: tuple[float, float] | None,
    y_domain: tuple[float, float] | None,
    axes: "Axes",
) -> None:
    for line in drawn:
        style = "steps-post" if line.step else "default"
        dash = "--" if line.dash else "-"
        axes.plot(columns[x], columns[line.column], dash, color=line.colour, label=line.label, drawstyle=style, linewidth=1.3)
        if line.column in spans:
            low, high = (columns[name] for name in spans[line.column])
            axes.fill_between(columns[x], low, high, step="post" if line.step else None, color=line.colour, alpha=0.25, lw=0)
    for line in marks:
        axes.plot(columns[x], columns[line.column], "o", color=line.colour, label=line.label, markersize=3.5)
        if line.column in spans:
            low, high = (columns[name] for name in spans[line.column])
            axes.vlines(columns[x], low, high, color=line.colour, linewidth=1.0)
    axes.set(xlabel=titles[0], ylabel=titles[1])
    if x_domain is not None:
        axes.set_xlim(*x_domain)
    if y_domain is not None:
        axes.set_ylim(*y_domain)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _sketch_raster(spikes: npt.NDArray[np.float32], rows: str, axes: "Axes") -> None:
    steps, neurons = spikes.shape
    time, neuron = np.nonzero(spikes)
    # One path of all ticks of one darkness is drawn at once; spikes of 0 and 1 have one darkness.
    darkness = spikes[time, neuron].clip(0.0, 1.0)
    axes.vlines(time, neuron - 0.35, neuron + 0.35, color=COLOURS["blue"], linewidth=1.0, alpha=darkness)
    axes.set(xlabel="time (steps)", ylabel=rows, xlim=(0, steps - 1), ylim=(-0.5, neurons - 0.5))
    axes.locator_params(axis="y", integer=True, min_n_ticks=1)


def _sketch_bars(
    values: npt.NDArray[Any],
    counts: npt.NDArray[Any],
    titles: tuple[str, str],
    colour: str,
    width: float,
    axes: "Axes",
) -> None:
    axes.bar(values, counts, width=0.9 * width, color=colour)
    axes.set(xlabel=titles[0], ylabel=titles[1])
