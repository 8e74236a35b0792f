"""The style of the figures, and the checks of them: what is planted is found."""

import ast
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import qlifq
from qlifq.reporting.figures import (
    DOUBLE_COLUMN_MM,
    SINGLE_COLUMN_MM,
    column_figure,
    drawn,
    figure_writers,
    panels_of,
    print_figure,
    put_heading,
    series,
)
from qlifq.reporting.panels import heat_map, integer_axis, legend_below, marked_line, over_time, spike_raster, stacked
from tests.figure_checks import figure_flaws, ticks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = 40
TIME = np.arange(STEPS)


@drawn
def sound(fault: Callable[["Axes", "Axes"], object] = lambda _left, _right: None) -> "Figure":
    """A raster and two curves as they should be, with a fault planted before the letters are set."""
    figure, axes = column_figure(60, 1, 2)
    left, right = axes[0]
    spike_raster(left, np.random.default_rng(0).random((STEPS, 5)) < 0.2)
    left.set_title("Spikes")
    for place, values in enumerate((np.sin(TIME / 9), np.cos(TIME / 9))):
        right.plot(TIME, values, label=f"curve {place}", **series(place).keywords())
    marked_line(right, 0.2, "threshold")
    right.set(title="Potential", ylabel="V (dimensionless)")
    over_time(right, STEPS)
    legend_below(right)
    put_heading(figure, "aer, noise of the snapshot fake_torino, 1 shot")
    fault(left, right)
    return figure


def test_a_sound_figure_has_no_flaw() -> None:
    assert figure_flaws(sound()) == []
    # Nor has one that was printed already.
    figure = sound()
    print_figure(figure, "png")
    assert figure_flaws(figure) == []


def unnamed(_: "Axes", right: "Axes") -> None:
    right.plot(TIME, 0.1 * TIME / STEPS)


def hidden(_: "Axes", right: "Axes") -> None:
    right.plot(TIME, np.sin(TIME / 9), linewidth=4.0, color="black", zorder=3, label="curve 0")


def pixels(left: "Axes", _: "Axes") -> None:
    heat_map(left, np.eye(5), label="spikes (of one sample)")


def covered(_: "Axes", right: "Axes") -> None:
    right.legend(loc="center")


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (lambda left, _: left.set_ylabel(""), "the y axis has no label"),
        (lambda _, right: right.set_ylabel("V"), "the y axis 'V' has no unit"),
        (lambda left, _: left.set_ylim(4.5, -0.5), "row 0 is not at the bottom"),
        (lambda left, _: left.set_yticks([0.5, 1.5]), "the y axis counts, but has ticks [0.5, 1.5]"),
        (lambda _, right: right.set_xticks([0, 12.5]), "the x axis counts, but has ticks [0.0, 12.5]"),
        (unnamed, "is in no legend and has no name at its end"),
        (lambda _, right: right.axhline(0.7), "is in no legend and has no name at its end"),
        (lambda _, right: right.get_legend().remove(), "the line 'curve 1' is in no legend"),
        (hidden, "the line 'curve 0' lies under 'curve 0'"),
        (covered, "the legend covers the line"),
        (pixels, "spikes are drawn as a picture and not as ticks"),
        (lambda _, right: right.set_title("P" * 90), f"the text '(b) {'P' * 90}' is cut"),
        (lambda _, right: right.text(1.0, 0.2, "of all", transform=right.get_yaxis_transform()), "overlap"),
        (lambda left, _: left.figure.suptitle("Spikes"), "the heading 'Spikes' names neither backend nor device"),
    ],
)
def test_a_planted_fault_is_found(fault: Callable[["Axes", "Axes"], object], found: str) -> None:
    assert any(found in flaw for flaw in figure_flaws(sound(fault)))


def test_panels_without_letters_are_found() -> None:
    figure = sound()
    panels_of(figure)[1].set_title("Potential", loc="left")
    assert figure_flaws(figure) == ["panel 'Potential' has not the letter (b)"]


def test_a_raster_has_a_tick_for_every_spike_and_row_0_at_the_bottom() -> None:
    spikes = np.random.default_rng(1).random((STEPS, 7)) < 0.3
    _, axes = column_figure(40)
    spike_raster(axes[0, 0], spikes)
    assert sorted(ticks_of(axes[0, 0])) == sorted(map(tuple, np.argwhere(spikes).tolist()))
    assert axes[0, 0].get_ylim() == (-0.5, 6.5)
    # Of thousands of rows each tick is still seen.
    spike_raster(axes[0, 0], np.eye(2000))
    low, high = np.asarray(axes[0, 0].collections[-1].get_paths()[1000].vertices)[:, 1]
    assert high - low == pytest.approx(0.018 * 2000)


def test_series_differ_in_more_than_colour() -> None:
    looks = [series(place) for place in range(14)]
    assert len({(look.colour, look.marker, str(look.line)) for look in looks}) == 14
    first = looks[:6]
    for part in ("colour", "marker", "line"):
        assert len({str(getattr(look, part)) for look in first}) == 6
    # The one that is drawn first is seen on both sides of the one over it.
    assert all(later.keywords()["zorder"] >= look.keywords()["zorder"] for look, later in pairwise(first))
    assert all(later.width <= look.width and later.size < look.size for look, later in pairwise(first[:4]))


def test_a_figure_is_as_wide_as_a_column_and_its_files_are_the_same_each_time(tmp_path: Path) -> None:
    for single, width in ((True, SINGLE_COLUMN_MM), (False, DOUBLE_COLUMN_MM)):
        figure, _ = column_figure(50, single=single)
        assert figure.get_figwidth() * 25.4 == pytest.approx(width)
    calls = []

    def draw() -> "Figure":
        calls.append(1)
        return sound()

    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        for name, write in figure_writers("curve", draw).items():
            write(tmp_path / folder / name)
    # Both files come of one drawing.
    assert len(calls) == 2
    for name, start in (("curve.png", b"\x89PNG"), ("curve.pdf", b"%PDF")):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second
        assert first.startswith(start)
    # Letters stay letters: TrueType, as journals ask for.
    assert b"/FontFile2" in first


def test_what_is_stacked_names_its_time_once() -> None:
    _, axes = column_figure(60, 2)
    for panel in axes[:, 0]:
        over_time(panel, 9)
        integer_axis(panel, "y")
    stacked(axes[:, 0])
    assert [panel.get_xlabel() for panel in axes[:, 0]] == ["", "time (steps)"]


def undrawn(source: str) -> list[str]:
    """The functions that make a figure of their own and are not made to draw it in the style."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            calls = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
            if "column_figure" in calls and "drawn" not in map(ast.unparse, node.decorator_list):
                found.append(node.name)
    return found


@pytest.mark.parametrize("room", ["studies", "training"])
def test_every_function_that_makes_a_figure_draws_it_in_the_style(room: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((Path(qlifq.__file__).parent / room).rglob("*.py"))]
    assert sum(source.count("@drawn") for source in sources) >= 4
    assert [name for source in sources for name in undrawn(source)] == []


def test_a_function_without_the_style_is_found() -> None:
    assert undrawn("def plain():\n    return column_figure(9)[0]\n@drawn\ndef good():\n    return column_figure(9)[0]") == [
        "plain"
    ]
