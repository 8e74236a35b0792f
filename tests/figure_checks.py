"""What is wrong with a figure, read off its structure: labels, units, legends, ticks, letters, orientation, overlaps.

`conftest.py` runs it over every figure that a test writes, those of every command among them.
"""

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from qlifq.reporting.figures import panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

__all__ = ["figure_flaws", "ticks_of"]

#: Quantities without a unit: what is counted, probabilities, and ratios that say what of.
UNITLESS = re.compile(
    r"(neurons?|sites?|pixel|input train|train|class|taken for|epoch|step|shots|image|seed|test sample)\b.*"
    r"|.*P\(1\)( − target)?|.*/.*|probability|pulses.*|P\(1\) without noise"
)
#: What is counted has whole numbers along its axis.
COUNTED = re.compile(
    r"(neurons?|sites?|pixel|input train|train|class|taken for|epoch|step)\b.*|time \(steps\)|.*pulses.*|.*\(steps\)"
)
ROWS = re.compile(r"(neuron|input train|train|site|pixel)\b(?!s).*")
#: A heading names one of these, or says that no qubit decides.
SOURCES = re.compile(
    r"analytic|lightning|pennylane|qiskit|aer|ibm|distributed|twin|reference|snapshot|device|data|decision is classic"
)
#: Two lines are seen as two where they are as far apart, pixels, beside the half width of the upper one.
_APART = 1.0


def figure_flaws(figure: "Figure") -> list[str]:
    """What a reader would stumble over, one phrase each; empty for a figure that can be printed."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        # What is printed already is laid out.
        figure.draw_without_rendering()
    panels = panels_of(figure)
    found = [*_heading(figure), *_letters(panels), *_placed(figure)]
    for number, axes in enumerate(panels):
        name = axes.get_title(loc="left") or f"panel {number + 1}"
        flaws = itertools.chain(
            _labels(axes), _ticks(axes), _rows(axes), _named(figure, axes), _hidden(figure, axes), _covered(axes)
        )
        found += [f"{name}: {flaw}" for flaw in flaws]
    return found


def ticks_of(axes: "Axes") -> list[tuple[int, int]]:
    """The time and row of every tick of a raster."""
    (ticks,) = axes.collections
    spans = [path.vertices for path in ticks.get_paths()]
    return [(round(float(span[0, 0])), round(float(span[:, 1].mean()))) for span in map(np.asarray, spans)]


def _heading(figure: "Figure") -> Iterator[str]:
    if not SOURCES.search(figure.get_suptitle()):
        yield f"the heading {figure.get_suptitle()!r} names neither backend nor device"


def _letters(panels: "list[Axes]") -> Iterator[str]:
    titles = [axes.get_title(loc="left") for axes in panels]
    if len(panels) > 1:
        for letter, title in zip("abcdefghijklmnopqrstuvwxyz", titles, strict=False):
            if not title.startswith(f"({letter})"):
                yield f"panel {title!r} has not the letter ({letter})"


def _labels(axes: "Axes") -> Iterator[str]:
    for which in ("x", "y"):
        label, axis = getattr(axes, f"get_{which}label")(), getattr(axes, f"{which}axis")
        shown = any(tick.label1.get_visible() and tick.label1.get_text() for tick in axis.get_major_ticks())
        if shown and not label:
            yield f"the {which} axis has no label"
        elif label and not re.search(r"\([^)]*\)$", label) and not UNITLESS.fullmatch(label):
            yield f"the {which} axis {label!r} has no unit"


def _ticks(axes: "Axes") -> Iterator[str]:
    for which in ("x", "y"):
        if COUNTED.fullmatch(getattr(axes, f"get_{which}label")()):
            low, high = sorted(getattr(axes, f"get_{which}lim")())
            ticks = [float(tick) for tick in getattr(axes, f"get_{which}ticks")() if low <= tick <= high]
            if any(tick != round(tick) for tick in ticks):
                yield f"the {which} axis counts, but has ticks {ticks}"


def _rows(axes: "Axes") -> Iterator[str]:
    if ROWS.fullmatch(axes.get_ylabel()):
        bottom, top = axes.get_ylim()
        if bottom > top:
            yield "row 0 is not at the bottom"
        if axes.images and "pikes" in axes.get_title(loc="left"):
            yield "spikes are drawn as a picture and not as ticks"


def _lines(axes: "Axes") -> "list[Line2D]":
    """The lines of the data, without the caps of error bars."""
    caps = {line for bars in axes.containers for line in (getattr(bars, "lines", None) or ((), ()))[1]}
    return [line for line in axes.lines if line not in caps and len(line.get_xydata()) and line.get_visible()]  # type: ignore[arg-type]


def _label_of(axes: "Axes", line: "Line2D") -> str:
    for bars in axes.containers:
        if line in (getattr(bars, "lines", None) or ())[:1]:
            return str(bars.get_label())
    return str(line.get_label())


def _named(figure: "Figure", axes: "Axes") -> Iterator[str]:
    legends = [*figure.legends, *(other.get_legend() for other in figure.axes)]
    names = {text.get_text() for legend in legends if legend for text in legend.get_texts()}
    names |= {text.get_text() for text in axes.texts}
    lines = _lines(axes)
    for line in lines:
        label = _label_of(axes, line)
        # One line alone is what the title says.
        if label.removeprefix("_") not in names and not (len(lines) == 1 and axes.get_title(loc="left")):
            yield f"the line {label!r} is in no legend and has no name at its end"


def _pixels(line: "Line2D") -> Any:
    # Times are numbers of days here.
    return line.get_transform().transform(np.column_stack((line.get_xdata(orig=False), line.get_ydata(orig=False))))


def _hidden(figure: "Figure", axes: "Axes") -> Iterator[str]:
    """Lines under another of the same points, which is as wide and has no gaps."""
    for lower, upper in itertools.combinations(sorted(_lines(axes), key=lambda line: line.get_zorder()), 2):
        if len(lower.get_xydata()) != len(upper.get_xydata()) or len(lower.get_xydata()) < 2:  # type: ignore[arg-type]
            continue
        apart = np.abs(_pixels(lower) - _pixels(upper)).max(axis=1)
        known = np.isfinite(apart)
        under = _APART + upper.get_linewidth() / 2 * figure.dpi / 72
        same = known.any() and np.mean(apart[known] < under) > 0.95
        joined = upper.get_linestyle() == "-" and lower.get_linewidth() < upper.get_linewidth() + 0.4
        marked = upper.get_marker() not in {"", "None", None} and lower.get_markersize() <= upper.get_markersize()
        bare = lower.get_linestyle() == "None" or joined
        if same and bare and (joined or marked):
            yield f"the line {_label_of(axes, lower)!r} lies under {_label_of(axes, upper)!r}"


def _covered(axes: "Axes") -> Iterator[str]:
    """A legend in a panel over the data of it."""
    legend = axes.get_legend()
    if legend is None:
        return
    box = legend.get_window_extent()
    for line in _lines(axes):
        at = _pixels(line)
        # Between two points a line is straight: enough are put between them.
        if line.get_linestyle() != "None":
            at = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(at)]) if 1 < len(at) < 500 else at
        inside = axes.bbox.contains
        if any(box.contains(*point) for point in at if np.isfinite(point).all() and inside(*point)):
            yield f"the legend covers the line {_label_of(axes, line)!r}"


def _texts(figure: "Figure") -> "Iterator[tuple[str, Bbox]]":
    """Every text that is seen, with its place."""
    heading = figure._suptitle  # type: ignore[attr-defined]
    if heading is not None:
        yield heading.get_text(), heading.get_window_extent()
    for legend in figure.legends:
        yield "legend", legend.get_window_extent()
    for axes in figure.axes:
        if not axes.axison:
            continue
        for loc in ("left", "center", "right"):
            title = {"left": axes._left_title, "center": axes.title, "right": axes._right_title}[loc]  # type: ignore[attr-defined]
            if title.get_text():
                yield title.get_text(), title.get_window_extent()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            if axis.label.get_text():
                yield axis.label.get_text(), axis.label.get_window_extent()
            if axis.get_offset_text().get_text():
                yield axis.get_offset_text().get_text(), axis.get_offset_text().get_window_extent()
            for tick in axis.get_major_ticks():
                text = tick.label1
                if text.get_visible() and text.get_text() and low <= tick.get_loc() <= high:
                    yield f"tick {text.get_text()}", text.get_window_extent()
        inside = axes.get_legend()
        if inside is not None:
            yield "legend", inside.get_window_extent()
        for text in axes.texts:
            if text.get_text():
                yield text.get_text(), text.get_window_extent()


def _placed(figure: "Figure") -> Iterator[str]:
    """Texts that are cut, or lie over another."""
    texts, page = list(_texts(figure)), figure.bbox
    for text, box in texts:
        if box.x0 < page.x0 - 1 or box.x1 > page.x1 + 1 or box.y0 < page.y0 - 1 or box.y1 > page.y1 + 1:
            yield f"the text {text!r} is cut"
    for (first, one), (second, other) in itertools.combinations(texts, 2):
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1:
            yield f"the texts {first!r} and {second!r} overlap"
