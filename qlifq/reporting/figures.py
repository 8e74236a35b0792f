"""The style of all figures, and how one is written."""

import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qlifq._files import write_bytes
from qlifq._packages import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["put_heading", "styled", "write_picture"]

_STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
}
#: Of a heading.
_LETTERS_PER_INCH = 11


@contextmanager
def styled() -> Iterator[None]:
    """The style of the figures drawn inside, whatever the user's own settings are."""
    style = load("matplotlib.style", package="matplotlib", feature="A figure", install="matplotlib")
    with style.context(["default", _STYLE]):
        yield


def write_picture(path: Path, draw: Callable[[], "Figure"]) -> None:
    """Draw a figure and write it as PNG, atomically.

    Args:
        path: where.
        draw: makes the figure.
    """
    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        image = io.BytesIO()
        # Text takes some settings when it is drawn and not when it is made.
        FigureCanvasAgg(draw()).print_figure(image, format="png")
    write_bytes(path, image.getvalue())


def put_heading(figure: "Figure", text: str) -> None:
    """Put a heading over a whole figure, in as many lines as its width needs."""
    letters = int(figure.get_figwidth() * _LETTERS_PER_INCH)
    figure.suptitle("\n".join(textwrap.wrap(text, letters)), x=0.01, ha="left", fontsize=11.0, fontweight="bold")
