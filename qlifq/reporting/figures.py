"""The style of all figures, and how one is made and written.

A figure is as wide as one or two columns of a Nature journal, 89 or 183 mm; those of the Physical Review and of the IEEE are
within 5 mm of these. Letters are of 7 points and stay letters in the vector file, colours are those of Okabe and Ito,
which people tell apart whatever their colour vision, and no two series differ in colour alone, so that a grey print is read
as well.

References:
    Nature research figure guide, research-figure-guide.nature.com, "Building and exporting figure panels".
    M. Okabe, K. Ito, Color Universal Design, jfly.uni-koeln.de/color, 2008; B. Wong, Nature Methods 8, 441 (2011).
"""

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from qlifq._files import write_bytes
from qlifq._packages import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "DOUBLE_COLUMN_MM",
    "GREEN",
    "GREY",
    "ORANGE",
    "PURPLE",
    "SINGLE_COLUMN_MM",
    "SKY",
    "VERMILION",
    "SeriesStyle",
    "column_figure",
    "drawn",
    "figure_files",
    "figure_writers",
    "panels_of",
    "print_figure",
    "put_heading",
    "series",
    "styled",
]

SINGLE_COLUMN_MM, DOUBLE_COLUMN_MM = 89.0, 183.0
_MM_PER_INCH = 25.4
#: Dots per inch of a PNG.
RESOLUTION = 200
#: What every figure is written as: to look at, and to print.
ENDINGS = (".png", ".pdf")

BLACK, GREY, PALE = "#000000", "#767676", "#d9d9de"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"

_STYLE: dict[Any, Any] = {
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2.5,
    "figure.dpi": RESOLUTION,
    "figure.titlesize": 7.5,
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
#: Letters of a heading that fit in a millimetre.
_LETTERS_PER_MM = 0.62

Parameters = ParamSpec("Parameters")


@dataclass(frozen=True)
class SeriesStyle:
    """How one of several series looks, in colour and without.

    Args:
        colour: of line and markers.
        marker: as matplotlib names it.
        line: its dashes, as matplotlib names them.
        width: of the line, points.
        size: of the markers, points.
    """

    colour: str
    marker: str
    line: Any
    width: float
    size: float

    def keywords(self, *, line: bool = True, hollow: bool = False) -> dict[str, Any]:
        """The keywords of `Axes.plot` and `Axes.errorbar`.

        Args:
            line: whether the points are joined.
            hollow: whether markers are outlines alone, through which another series is seen.
        """
        return {
            "color": self.tint,
            "marker": self.marker,
            "linestyle": self.line if line else "none",
            "linewidth": self.width,
            "markersize": self.size if hollow else self.size + 0.8,
            # A white rim keeps filled markers apart that lie on each other, without colour too.
            "markeredgecolor": self.colour if hollow else "white",
            "markeredgewidth": 0.8 if hollow else 0.4,
            # Whatever the order in which they are drawn, a wide line lies under a thin one.
            "zorder": 2.5 - 0.1 * self.width,
            "markerfacecolor": "none" if hollow else self.colour,
        }

    @property
    def tint(self) -> str:
        """Of the line: the wider, the paler, so that a thin line over a wide one of the same values is seen."""
        paler = max(0.0, 0.4 * (self.width - 1.0))
        return "#" + "".join(f"{round(level + paler * (255 - level)):02x}" for level in bytes.fromhex(self.colour[1:]))


_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_COLOURS, _MARKERS = (BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE, SKY), "os^DvPX"


def series(place: int) -> SeriesStyle:
    """The look of the series number `place`, from 0.

    A later series has a thinner line and smaller markers, so that it does not hide an earlier one that has the same values.
    """
    turn, at = divmod(place, len(_COLOURS))
    line = _DASHES[(at + turn) % len(_DASHES)]
    return SeriesStyle(_COLOURS[at], _MARKERS[at], line, max(0.8, 2.2 - 0.5 * place), max(2.5, 5.5 - 0.9 * place))


@contextmanager
def styled() -> Iterator[None]:
    """The style of the figures drawn inside, whatever the user's own settings are."""
    style = load("matplotlib.style", package="matplotlib", feature="A figure", install="matplotlib")
    with style.context(["default", _STYLE]):
        yield


def drawn(draw: "Callable[Parameters, Figure]") -> "Callable[Parameters, Figure]":
    """Make a function draw in the style, with letters (a), (b), … on the panels of its figure, where there are several."""

    @wraps(draw)
    def in_style(*args: Parameters.args, **kwargs: Parameters.kwargs) -> "Figure":
        with styled():
            figure = draw(*args, **kwargs)
            panels = panels_of(figure)
            for letter, axes in zip("abcdefghijklmnopqrstuvwxyz", panels if len(panels) > 1 else (), strict=False):
                axes.set_title(f"({letter}) {axes.get_title(loc='left')}".rstrip(), loc="left")
        return figure

    return in_style


def panels_of(figure: "Figure") -> "list[Axes]":
    """The axes of a figure that show data, in reading order: no colour bars, and nothing that is switched off."""
    shown = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]

    def place(axes: "Axes") -> tuple[int, int]:
        spot = axes.get_subplotspec()
        return (0, 0) if spot is None else (spot.rowspan.start, spot.colspan.start)

    return sorted(shown, key=place)


def column_figure(
    height: float, rows: int = 1, columns: int = 1, *, single: bool = False, **options: Any
) -> tuple["Figure", Any]:
    """A figure as wide as one or two columns of a journal, which belongs to no window and need not be closed.

    Args:
        height: in mm; at most 170 leaves space for a caption on the page.
        rows: of axes.
        columns: of axes.
        single: whether it is one column wide and not two.
        **options: as for `Figure.subplots`.

    Returns:
        The figure, and its axes, `(rows, columns)`.
    """
    from matplotlib.figure import Figure

    width = SINGLE_COLUMN_MM if single else DOUBLE_COLUMN_MM
    figure = Figure(figsize=(width / _MM_PER_INCH, height / _MM_PER_INCH), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def put_heading(figure: "Figure", text: str) -> None:
    """Put a heading over a whole figure, in as many lines as its width needs."""
    letters = int(figure.get_figwidth() * _MM_PER_INCH * _LETTERS_PER_MM)
    figure.suptitle("\n".join(textwrap.wrap(text, letters)), x=0.01, ha="left")


def figure_files(*names: str) -> tuple[str, ...]:
    """The files that figures are written to, each as a PNG and as a PDF.

    Args:
        *names: of the figures, without ending.
    """
    return tuple(f"{name}{ending}" for name in names for ending in ENDINGS)


def figure_writers(name: str, draw: "Callable[[], Figure]") -> dict[str, Callable[[Path], None]]:
    """What writes a figure, by the names of its files: `Contents.pictures`.

    Args:
        name: of the figure, without ending.
        draw: makes the figure; it is drawn once, when its first file is written.
    """
    once = cache(draw)
    return {file: partial(_write, once) for file in figure_files(name)}


def _write(draw: "Callable[[], Figure]", path: Path) -> None:
    """Write a figure atomically, as what the ending says."""
    # Text takes some settings when it is printed and not when it is made.
    with styled():
        write_bytes(path, print_figure(draw(), path.suffix.removeprefix(".")))


def print_figure(figure: "Figure", kind: str) -> bytes:
    """A figure as the bytes of a file.

    Args:
        figure: the figure.
        kind: "png" or "pdf".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    image = io.BytesIO()
    # Without a date the same figure is the same file.
    metadata = {"CreationDate": None} if kind == "pdf" else None
    FigureCanvasAgg(figure).print_figure(image, format=kind, dpi=RESOLUTION, metadata=metadata)
    # What is laid out stays, which the second file need not wait for.
    figure.set_layout_engine("none")
    return image.getvalue()
