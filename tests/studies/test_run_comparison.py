"""Runs are listed and set beside each other: what differs is shown, what is equal is not, with the intervals of each run."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qlifq.errors import FileFormatError
from qlifq.neurons import QLIF
from qlifq.reporting.intervals import Interval
from qlifq.reporting.report import Report, write_report
from qlifq.reporting.run_folder import Contents, run_folder
from qlifq.studies import compare_runs, list_runs, run_simulation, summarise_run


def write(folder: Path, setup: Mapping[str, object], **results: Interval) -> Path:
    report = Report("Title", "Question?", [], "None.", setup, [], "a ruler", results=results)
    return write_report(folder, report, command=f"qlifq measure --out {folder}")


def test_what_differs_is_set_beside_each_other_with_its_intervals(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"seed": 1, "epochs": 3}, length=Interval(2.0, 1.5, 2.5), width=Interval(1.0, 0.9, 1.1))
    other = write(tmp_path / "other", {"seed": 2, "epochs": 3, "noise": "much"}, length=Interval(4.0, 2.6, 5.0))
    compared = compare_runs([one, other])
    assert compared.settings == {"seed": [1, 2], "noise": [None, "much"]}
    assert compared.results == {
        "length": [Interval(2.0, 1.5, 2.5), Interval(4.0, 2.6, 5.0)],
        "width": [Interval(1.0, 0.9, 1.1), None],
    }
    assert (compared.apart("length"), compared.apart("width")) == (True, False)
    table = compared.table()
    assert table.columns.tolist() == [
        *("run", "seed", "noise", "length", "length_low", "length_high", "width", "width_low", "width_high")
    ]
    assert table["length_low"].tolist() == [1.5, 2.6]
    assert pd.isna(table["width"][1])
    assert compare_runs([one, one]).settings == {}


def test_a_folder_of_runs_is_listed_from_the_earliest_on_with_what_is_unfinished(tmp_path: Path) -> None:
    for name, time in (("b", "2026-01-01T00:00:00Z"), ("a", "2026-01-02T00:00:00Z"), ("c", "2026-01-03T00:00:00Z")):
        marker = write(tmp_path / name, {}) / "summary.json"
        facts = json.loads(marker.read_bytes()) | {"time_utc": time, "finished": name != "a"}
        marker.write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "none").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "c" / "summary.json").write_text("{", encoding="utf-8")
    found = list_runs(tmp_path)
    assert [(run.folder.name, run.kind, run.finished) for run in found] == [("b", "measure", True), ("a", "measure", False)]
    with pytest.raises(FileFormatError, match="must be a folder of runs, but does not exist"):
        list_runs(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match=r"none/summary\.json cannot be read"):
        compare_runs([tmp_path / "none"])


def test_a_simulation_s_settings_are_its_input_and_every_parameter(tmp_path: Path) -> None:
    folders = [tmp_path / "5", tmp_path / "40"]
    for folder in folders:
        run = run_simulation(QLIF(3, seed=2, tau=float(folder.name)), torch.full((12, 2, 3), 1.4))
        with run_folder(folder, command="qlifq simulate") as place:
            place.write(Contents(facts=run.facts()))
    compared = compare_runs(folders)
    assert compared.settings == {"tau": [5.0, 40.0]}
    first, second = (each for each in compared.results["firing rate"] if each is not None)
    assert first.value > second.value
    assert not first.bounded
    # Nothing is claimed where there are no intervals.
    assert not compared.apart("firing rate")


@pytest.mark.parametrize(
    "results", [[1], {"length": 3}, {"length": {"value": 1.0}}, {"length": {"value": "x", "low": 0, "high": 1}}]
)
def test_damaged_results_are_refused(tmp_path: Path, results: object) -> None:
    marker = write(tmp_path / "run", {}) / "summary.json"
    marker.write_text(json.dumps(json.loads(marker.read_bytes()) | {"results": results}), encoding="utf-8")
    with pytest.raises(FileFormatError, match="must hold numbers with bounds as `results`"):
        summarise_run(tmp_path / "run")


@given(st.tuples(*[st.floats(allow_nan=True, allow_infinity=False)] * 3))
def test_an_interval_comes_back_from_its_json(numbers: tuple[float, float, float]) -> None:
    back = Interval.from_dict(json.loads(json.dumps(Interval(*numbers).to_dict(), allow_nan=False)))
    assert all(one == other or (math.isnan(one) and math.isnan(other)) for one, other in zip(numbers, back, strict=True))
