"""What a sweep found: its table, its figure, and sentences that claim no more than the intervals of single points."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from qlifq.reporting.figures import column_figure, drawn, figure_files, series
from qlifq.reporting.intervals import CONFIDENCE, Interval
from qlifq.reporting.panels import points
from qlifq.reporting.report import Picture, Report, Section
from qlifq.reporting.runs import RunSummary
from qlifq.reporting.wording import counted, listed
from qlifq.studies.sweep.points import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FILES", "sweep_figure", "sweep_report", "sweep_table"]

#: What a sweep writes beside the folders of its points.
FILES = ("report.md", "points.csv", *figure_files("points"))
#: An axis that repeats a point and draws no curve of its own.
_REPEATED = "seed"
#: How much of the distance between two values their points take.
_SPREAD = 0.5
#: What the results of runs are counted in, where they are counted in anything.
_UNITS = {"firing rate": "spikes per neuron and step", "accuracy": "share of samples"}
#: So many letters stand side by side in a figure.
_LETTERS = 110
_NOTHING = Interval(math.nan, math.nan, math.nan)


def sweep_table(given: Sequence[Point], runs: Sequence[RunSummary]) -> pd.DataFrame:
    """One row per point: what is varied, every result with the columns of its bounds, and the folder of its run."""
    varied = list(dict.fromkeys(name for point in given for name in point.values))
    results = list(dict.fromkeys(name for run in runs for name in run.results))
    rows = []
    for point, run in zip(given, runs, strict=True):
        row = {name: _cell(point.values.get(name)) for name in varied}
        for name in results:
            row |= run.results.get(name, _NOTHING).columns(name)
        rows.append(row | {"folder": point.folder})
    return pd.DataFrame(rows)


def sweep_report(title: str, given: Sequence[Point], runs: Sequence[RunSummary], fixed: Mapping[str, object]) -> Report:
    """The report of a sweep.

    Args:
        title: its heading.
        given: the points.
        runs: the run of each.
        fixed: what all points share.
    """
    table = sweep_table(given, runs)
    varied = list(dict.fromkeys(name for point in given for name in point.values))
    result = next((name for run in runs for name in run.results), None)
    found = [f"{counted(len(given), 'point')}, each in a folder of its own."]
    pictures = {}
    if result is not None:
        found.append(_extremes(given, runs, result))
        caption = f"{result} of every point with its interval; lines through the means of what is repeated."
        pictures["points"] = Picture(partial(sweep_figure, table, varied, result), caption)
    sources = list(dict.fromkeys(str(run.facts.get("source", run.facts.get("decided_by", "not named"))) for run in runs))
    return Report(
        title=title,
        question=f"What comes of {listed(varied)}?",
        findings=found,
        uncertainty=(
            f"Intervals hold {100 * CONFIDENCE:.0f} % for one point, as its own report says, and not for the highest of many, "
            "which is chosen after the fact. What differs between seeds is in no interval."
        ),
        setup={
            **{name: ", ".join(dict.fromkeys(str(point.values.get(name)) for point in given)) for name in varied},
            **{name: str(value) for name, value in fixed.items()},
        },
        sections=[Section("Points", "Every combination of the values.", [], pictures, {"points": table})],
        source="; ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else ""),
    )


@drawn
def sweep_figure(table: pd.DataFrame, varied: Sequence[str], result: str) -> "Figure":
    """A result against the first axis with several values, a series for each combination of the others.

    Values stand side by side in the order of the table, whatever the distance between them, and so do points at one value.
    """
    shown = table[table[result].notna()]
    several = [name for name in varied if shown[name].nunique(dropna=False) > 1] or list(varied[:1])
    x = next((name for name in several if name != _REPEATED), several[0])
    others = [name for name in several if name not in {x, _REPEATED}]
    codes, labels = pd.factorize(shown[x].astype(str))
    names = shown[others].astype(str).apply(lambda row: ", ".join(f"{name}={row[name]}" for name in others), axis=1)
    named = names if others else pd.Series("every point", index=shown.index)
    figure, axes = column_figure(80)
    place = axes[0][0]
    curves = list(named.unique())
    for number, curve in enumerate(curves):
        mine = (named == curve).to_numpy()
        rows, at, look = shown[mine], codes[mine], series(number)
        middle = at + _SPREAD * (number - (len(curves) - 1) / 2) / len(curves)
        # Seeds beside each other in the part of their series.
        order = rows.groupby(at).cumcount().to_numpy()
        beside = _SPREAD * (order - order.max() / 2) / (len(curves) * (order.max() + 1))
        repeated = bool(order.max())
        points(place, middle + beside, rows, result, look, label=curve, line=not repeated)
        if repeated:
            means = rows[result].groupby(middle).mean()
            # A legend leaves out what begins with "_": one of the lines stands for all.
            name = f"_{curve}" if number else "mean at one value"
            place.plot(means.index, means, color=look.tint, linestyle=look.line, linewidth=look.width, label=name)
    long = sum(map(len, labels)) > _LETTERS or len(labels) > _LETTERS // 4
    place.set_xticks(range(len(labels)), labels, rotation=90 if long else 0)
    place.set_xlim(-0.5, len(labels) - 0.5)
    place.set_xlabel(f"{x} (option of the sweep)")
    place.set_ylabel(f"{result} ({_UNITS.get(result, 'dimensionless')})")
    handles = place.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=max(1, _LETTERS // (6 + max(map(len, curves)))))
    return figure


def _extremes(given: Sequence[Point], runs: Sequence[RunSummary], result: str) -> str:
    """The highest and the lowest figure, and whether any two intervals lie apart."""
    known = [(run.results[result], point) for point, run in zip(given, runs, strict=True) if result in run.results]
    (most, at_most), (least, at_least) = max(known, key=lambda each: each[0].value), min(known, key=lambda each: each[0].value)
    if most.value == least.value:
        return f"The {result} is {most} at every point."
    apart = any(one.bounded and two.bounded and not one.overlaps(two) for (one, _), (two, _) in combinations(known, 2))
    shows = "intervals of some points lie apart" if apart else "the intervals of all points overlap or are not known"
    return f"The {result} is highest at {at_most}, {most}, and lowest at {at_least}, {least}; {shows}."


def _cell(value: object) -> object:
    """A value in a cell of a table: a list or a table of values as text."""
    return value if value is None or isinstance(value, str | int | float) else str(value)
