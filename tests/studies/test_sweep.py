"""A sweep runs every point once, goes on after any kill to the table of an undisturbed one, and claims what intervals show."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlifq.errors import ArgumentError, BackendError, FileError, SweepError, UnsupportedError
from qlifq.reporting.figures import put_heading
from qlifq.reporting.intervals import Interval
from qlifq.reporting.report import Report, write_report
from qlifq.studies import read_run, run_sweep
from qlifq.studies.sweep.points import points_of
from qlifq.studies.sweep.report import sweep_figure
from tests.figure_checks import figure_flaws

# Workers are forks of this process, where other tests may have left threads that wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def measure(values: Mapping[str, Any], folder: Path, refused: object = None) -> None:
    """A run whose result is its values, with an interval; it notes that it was called."""
    with open(folder.parent / "calls", "a", encoding="utf-8") as calls:
        calls.write(f"{folder.name}\n")
    if values["size"] == refused:
        raise ArgumentError(f"Size {refused} is not to be had.")
    length = values["size"] + values.get("seed", 0) / 10
    results = {"length": Interval(length, length - 0.4, length + 0.4)}
    write_report(folder, Report("Length", "?", [], "None.", values, [], "data of a ruler", results=results), command="measure")


def leave_nothing(values: Mapping[str, Any], folder: Path) -> None:
    """No run."""


def die(values: Mapping[str, Any], folder: Path) -> None:
    """As a worker does that the system kills."""
    os._exit(9)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text(encoding="utf-8").splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_sweeps_that_are_killed_three_times_end_with_the_table_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Kills of the whole group of processes at random moments, with two processes and with two workers of Dask."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, "-m", "tests.studies.sweep_kills", str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["expected"].splitlines()) == 13
    assert len(set(pd.read_csv(tmp_path / "undisturbed" / "points.csv")["accuracy"])) > 4
    for name in ("local", "dask"):
        sweep = found[name]
        assert (sweep["code"], sweep["table"]) == (0, found["expected"])
        # Points that were finished at a kill were not run again, and no temporary file is left.
        assert sweep["kept"] >= 3
        assert sweep["same"]
        assert sweep["left"] == ["points.csv", "points.pdf", "points.png", "report.md", "summary.json"]
    # A worker ends with the process that gives out the points.
    assert found["orphans"] == 0


def test_every_point_is_a_run_and_one_table_has_them_all(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    axes = {"size": [1, 2, 4], "seed": [0, 1]}
    sweep = run_sweep(measure, axes, tmp_path / "s", workers=2, progress=lambda *done: told.append(done))
    table = sweep.table
    assert table.columns.tolist() == ["size", "seed", "length", "length_low", "length_high", "folder"]
    assert table["length"].tolist() == pytest.approx([1.0, 1.1, 2.0, 2.1, 4.0, 4.1])
    assert sorted(calls(tmp_path / "s")) == sorted(table["folder"])
    assert told == [(done, 6) for done in range(7)]
    saved = read_run(tmp_path / "s")
    pd.testing.assert_frame_equal(saved.tables["points"], table)
    assert saved.summary["found"][1] == (
        "The length is highest at size=4, seed=1, 4.1 (3.7 to 4.5), and lowest at size=1, seed=0, 1 (0.6 to 1.4); intervals of "
        "some points lie apart."
    )
    assert read_run(tmp_path / "s" / table["folder"][3]).summary["setup"] == {"size": 2, "seed": 1}
    with pytest.raises(FileError, match="holds an earlier run, which only --force overwrites"):
        run_sweep(measure, axes, tmp_path / "s")
    # More values add points to those that are there; other options make other points.
    more = run_sweep(measure, {"size": [1, 2, 4, 5], "seed": [0, 1]}, tmp_path / "s", workers=1, force=True)
    assert len(more.table) == 8
    assert len(calls(tmp_path / "s")) == 8
    run_sweep(measure, {"size": [1]}, tmp_path / "s", fixed={"unit": "mm"}, workers=1, force=True)
    assert len(calls(tmp_path / "s")) == 9


def test_where_points_fail_the_others_are_finished_and_stay(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"1 of 3 points failed, .* size=2: Size 2 is not to be had\."):
        run_sweep(partial(measure, refused=2), {"size": [1, 2, 3]}, tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "points.csv").exists()
    done = run_sweep(measure, {"size": [1, 2, 3]}, tmp_path / "s", workers=1)
    assert done.table["length"].tolist() == [1, 2, 3]
    assert len(calls(tmp_path / "s")) == 4
    with pytest.raises(SweepError, match="must leave a finished run in"):
        run_sweep(leave_nothing, {"size": [1]}, tmp_path / "nothing", workers=1)
    with pytest.raises(BackendError, match="was ended from outside"):
        run_sweep(die, {"size": [1]}, tmp_path / "dead", workers=1)


@pytest.mark.parametrize(
    ("axes", "options", "error", "said"),
    [
        ({}, {}, ArgumentError, "must name at least one value to run"),
        ({"size": []}, {}, ArgumentError, r"Axis `size` must be a list of at least one value, but is \[\]"),
        ({"size": "12"}, {}, ArgumentError, "Axis `size` must be a list"),
        ({"size": [1, 1]}, {}, ArgumentError, "must have every point once, but has `size=1` twice"),
        ([{"size": [1]}, {"size": [1]}], {}, ArgumentError, "must have every point once"),
        ({"size": [object()]}, {}, ArgumentError, "must hold text, numbers, lists"),
        ({"size": [1]}, {"workers": 0}, ArgumentError, "`workers` must be at least 1, but is 0"),
        ({"size": [1]}, {"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, UnsupportedError, "`workers` would be ignored"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(
    tmp_path: Path, axes: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        run_sweep(measure, axes, tmp_path / "s", **options)
    assert list(tmp_path.iterdir()) == []


@given(
    st.dictionaries(
        st.text(min_size=1), st.lists(st.integers() | st.text(), min_size=1, max_size=3, unique=True), min_size=1
    ).filter(lambda axes: len(axes) < 4)
)
def test_every_point_has_a_folder_of_its_own_with_a_name_that_systems_take(axes: dict[str, list[Any]]) -> None:
    found = points_of(axes)
    assert len(found) == pytest.approx(len({point.folder for point in found}))
    other = points_of(axes, {"unit": "mm"})
    assert not {point.folder for point in found} & {point.folder for point in other}
    for point in found:
        assert len(point.folder.encode()) < 256
        assert not set(point.folder) & set("/\\\0:")


def test_a_figure_has_a_point_for_each_row_and_a_curve_for_each_combination() -> None:
    rows = [
        {"seed": seed, "shots": shots, "backend": backend, **Interval(shots + seed, shots - 1, shots + 2).columns("rate")}
        for seed in (0, 1)
        for shots in (1, 10)
        for backend in ("aer", "twin")
    ]
    figure = sweep_figure(pd.DataFrame(rows), ["seed", "shots", "backend"], "rate")
    put_heading(figure, "aer and its twin")
    assert figure_flaws(figure) == []
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("shots (option of the sweep)", "rate (dimensionless)")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10"]
    assert axes.get_legend_handles_labels()[1] == ["mean at one value", "backend=aer", "backend=twin"]
    marks: list[Any] = [bars[0] for bars in axes.containers]
    places = [float(x) for mark in marks for x in mark.get_xdata()]
    assert len(places) == len(set(places)) == len(rows)
    assert all(abs(x - round(x)) < 0.5 for x in places)
    curves: list[Any] = [line for line in axes.lines if line not in marks]
    assert [1.5, 10.5] in [line.get_ydata().tolist() for line in curves]
