"""What stands in a panel of a figure: spikes as ticks, maps over time, pictures, points with intervals, marked lines."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qlifq.reporting.figures import BLACK, GREY, SeriesStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from pandas import DataFrame

__all__ = [
    "from_zero",
    "heat_map",
    "image",
    "integer_axis",
    "legend_above",
    "legend_below",
    "marked_line",
    "over_time",
    "points",
    "spike_raster",
    "stacked",
]

#: More ticks than this are drawn as a picture in the vector file, which would be large.
_MOST_TICKS = 20_000
#: A tick is at least this part of the height of its panel, so that it is seen among thousands of rows.
_LEAST_TICK = 0.018


def spike_raster(axes: "Axes", spikes: npt.ArrayLike, *, row: str = "neuron", colour: str = BLACK) -> None:
    """Draw spikes as ticks, time to the right, row 0 at the bottom; a graded spike is pale where others are larger.

    Args:
        axes: where.
        spikes: `(steps, rows)`, at least 0.
        row: what a row is, the label of the axis.
        colour: of the ticks.
    """
    from matplotlib.colors import to_rgba

    values = np.asarray(spikes, dtype=np.float64)
    steps, rows = values.shape
    time, place = np.nonzero(values)
    ink = np.tile(to_rgba(colour), (len(time), 1))
    ink[:, 3] = np.clip(values[time, place] / (values.max(initial=0.0) or 1.0), 0.05, 1.0)
    half = max(0.4, _LEAST_TICK * rows / 2)
    axes.vlines(
        time,
        np.maximum(place - half, -0.5),
        np.minimum(place + half, rows - 0.5),
        colors=list(map(tuple, ink.tolist())),
        linewidth=float(np.clip(200 / steps, 0.3, 1.2)),
        rasterized=len(time) > _MOST_TICKS,
    )
    _rows(axes, rows, row)
    over_time(axes, steps)


def heat_map(axes: "Axes", values: npt.ArrayLike, *, label: str, row: str = "neuron", colours: str = "Blues") -> None:
    """Draw values as a map, time to the right, row 0 at the bottom, with its scale.

    Args:
        axes: where.
        values: `(steps, rows)`.
        label: what the values are, with their unit: the label of the scale.
        row: what a row is, the label of the axis.
        colours: the colour map.
    """
    shown = np.asarray(values, dtype=np.float64)
    top = float(np.abs(shown).max()) or 1.0
    drawn = axes.imshow(
        shown.T,
        aspect="auto",
        cmap=colours,
        origin="lower",
        interpolation="nearest",
        vmin=min(0.0, float(shown.min())),
        vmax=top,
    )
    _rows(axes, shown.shape[1], row)
    over_time(axes, len(shown))
    _scale(axes, drawn, label)


def image(
    axes: "Axes", pixels: npt.ArrayLike, *, label: str | None = None, colours: str = "Greys", top: float | None = None
) -> None:
    """Draw a picture as it is seen, its first row above, without ticks.

    Args:
        axes: where.
        pixels: `(rows, columns)`.
        label: what they are, with their unit: the label of the scale; None for no scale.
        colours: the colour map.
        top: the value of its darkest colour; None for the largest pixel.
    """
    shown = np.asarray(pixels, dtype=np.float64)
    drawn = axes.imshow(shown, cmap=colours, vmin=min(0.0, float(shown.min())), vmax=top)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if label is not None:
        _scale(axes, drawn, label)


def _scale(axes: "Axes", drawn: "AxesImage", label: str) -> None:
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.colorbar(drawn, ax=axes, label=label, pad=0.02, aspect=12).outline.set_linewidth(0.4)


def _rows(axes: "Axes", rows: int, label: str) -> None:
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_ylabel(label)
    integer_axis(axes, "y")


def over_time(axes: "Axes", steps: int) -> None:
    """Make the axis below that of a time in steps."""
    axes.set_xlabel("time (steps)")
    axes.set_xlim(-0.5, steps - 0.5)
    integer_axis(axes, "x")


def stacked(panels: "Iterable[Axes]") -> None:
    """Name the axis below the last of several panels alone, which stand one above the other."""
    *above, _ = panels
    for axes in above:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)


def from_zero(axes: "Axes") -> None:
    """Let the axis at the left begin at 0, with space for whole markers at 0 and at the highest of the data."""
    top = float(axes.dataLim.y1) or 1.0
    axes.set_ylim(-0.03 * top, 1.06 * top)


def integer_axis(axes: "Axes", which: str) -> None:
    """Put ticks of an axis, "x" or "y", at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    getattr(axes, f"{which}axis").set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def marked_line(axes: "Axes", value: float, text: str) -> None:
    """Draw a level across a panel and name it beyond its right end, off the data.

    Args:
        axes: where.
        value: the level.
        text: its name.
    """
    # A legend leaves out what begins so.
    axes.axhline(value, color=GREY, linestyle=(0, (4, 2)), linewidth=0.8, label=f"_{text}", zorder=1.5)
    axes.annotate(
        text,
        (1.0, value),
        xycoords=axes.get_yaxis_transform(),
        xytext=(2, 0),
        textcoords="offset points",
        va="center",
        fontsize=6.5,
        annotation_clip=False,
    )


def legend_above(axes: "Axes") -> None:
    """A legend over the right end of a panel, beside its title and off its data."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.1, columnspacing=1.2)


def legend_below(axes: "Axes") -> None:
    """A legend under the label of the axis below a panel, off its data."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    if figure is not None:
        # As many points as ticks, their numbers and a label take.
        under = axes.transAxes + ScaledTranslation(0, -24 / 72, figure.dpi_scale_trans)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=under, borderaxespad=0.0)


def points(
    axes: "Axes",
    x: npt.ArrayLike,
    rows: "DataFrame",
    name: str,
    style: SeriesStyle,
    *,
    label: str | None = None,
    line: bool = True,
    hollow: bool = False,
) -> None:
    """Draw the column `name` of a table with its interval, columns `name_low` and `name_high`, against `x`.

    Args:
        axes: where.
        x: one value per row.
        rows: the table.
        name: the column.
        style: how the series looks.
        label: its name in the legend.
        line: whether the points are joined.
        hollow: whether markers are outlines alone.
    """
    value = rows[name].to_numpy()
    reach = [value - rows[f"{name}_low"].to_numpy(), rows[f"{name}_high"].to_numpy() - value]
    axes.errorbar(
        x,
        value,
        # A percentile interval need not hold the estimate itself.
        yerr=np.maximum(reach, 0.0),
        ecolor=style.colour,
        elinewidth=0.7,
        capsize=1.5,
        label=label,
        **style.keywords(line=line, hollow=hollow),
    )
