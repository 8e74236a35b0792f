"""`qlifq runs`: tables that fit a screen of 80 columns and hold the whole of what they show, and the same as JSON."""

import json
from pathlib import Path

import pytest

from qlifq.reporting.intervals import Interval
from qlifq.reporting.report import Report, write_report
from tests.cli.harness import Captured, error_of, succeed


@pytest.fixture(autouse=True)
def _runs(_in_an_empty_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(5):
        setup = {"seed": number, "data": "[bold]digits[/bold]", "noise": "t1=0.00012," * (3 + number)}
        results = {"accuracy": Interval(0.9 + number / 100, 0.85, 0.99), "accuracy of another": Interval(0.5, 0.4, 0.6)}
        report = Report("Title", "Question?", ["One."], "None.", setup, [], "a ruler", results=results)
        write_report(Path("runs") / f"run-{number}", report, command=f"qlifq train --seed {number}")


def test_a_list_has_a_line_for_each_run(capsys: Captured) -> None:
    printed = succeed(capsys, "runs", "list")
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.splitlines()[0].split() == ["run", "command", "UTC", "time", "state", "result"]
    # A cell that is too wide goes on in the next line.
    assert printed.count("finished   accuracy 0.9") == 5
    found = json.loads(succeed(capsys, "runs", "list", "--json"))
    assert [round(run["results"]["accuracy"]["value"], 2) for run in found["runs"]] == [0.9, 0.91, 0.92, 0.93, 0.94]
    Path("empty").mkdir()
    assert succeed(capsys, "runs", "list", "empty") == "Folder empty holds no runs.\n"


def test_a_run_is_shown_with_its_settings_as_they_are(capsys: Captured) -> None:
    printed = succeed(capsys, "runs", "show", "runs/run-1")
    assert max(map(len, printed.splitlines())) <= 80
    assert "[bold]digits[/bold]" in printed
    assert "accuracy              0.91 (0.85 to 0.99)" in printed
    shown = json.loads(succeed(capsys, "runs", "show", "runs/run-1", "--json"))
    assert (shown["command"], shown["finished"], shown["settings"]["seed"]) == ("qlifq train --seed 1", True, 1)


def test_few_runs_are_compared_in_columns_and_many_in_rows(capsys: Captured) -> None:
    two = succeed(capsys, "runs", "compare", "runs/run-0", "runs/run-4")
    assert two.splitlines()[0].split() == ["setting", "run-0", "run-4"]
    assert "data" not in two
    assert "overlap" in two
    # Nothing is cut off: a comma stands whole in a cell that goes on over lines.
    assert two.partition("result")[0].count(",") == 3 + 7
    every = succeed(capsys, "runs", "compare", "runs")
    assert every.splitlines()[0].split() == ["run", "seed", "noise", "accuracy"]
    # The folder of a sweep is a run itself, and stands for its points.
    Path("runs/summary.json").write_bytes(Path("runs/run-0/summary.json").read_bytes())
    assert succeed(capsys, "runs", "compare", "runs") == every
    assert max(map(len, (two + every).splitlines())) <= 80
    found = json.loads(succeed(capsys, "runs", "compare", "runs", "--json"))
    assert found["settings"]["seed"] == [0, 1, 2, 3, 4]
    assert found["results"]["accuracy of another"][0] == {"value": 0.5, "low": 0.4, "high": 0.6}


def test_what_cannot_be_compared_is_refused(capsys: Captured) -> None:
    assert "must name at least 2 runs, or a folder of them, but names 1" in error_of(capsys, "runs", "compare", "runs/run-0")
    assert "Folder nowhere must be a folder of runs, but does not exist" in error_of(capsys, "runs", "list", "nowhere")
    assert "nowhere/summary.json cannot be read" in error_of(capsys, "runs", "show", "nowhere")
