"""A run folder is read back with everything in it, and what is no finished run is refused in a sentence."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from qlifq.errors import FileFormatError
from qlifq.neurons import QLIF
from qlifq.reporting.report import Report, Section, write_report
from qlifq.studies import read_run, run_simulation, write_simulation

TABLE = pd.DataFrame({"size": [3, 5], "share": [0.25, 0.5]})


def report() -> Report:
    section = Section("Sizes", "How large is each?", ["The second is larger."], tables={"sizes": TABLE})
    return Report("Sizes", "How large are they?", ["3 and 5."], "They were counted.", {"seed": 4}, [section], "a ruler")


def test_a_simulation_is_read_back_as_it_was_recorded(tmp_path: Path) -> None:
    run = run_simulation(QLIF(3, seed=2), torch.full((12, 2, 3), 1.4))
    folder = write_simulation(tmp_path / "run", run, command="qlifq simulate --seed 2", details={"input": "a constant"})
    saved = read_run(folder)
    assert saved.spikes is not None
    assert np.array_equal(saved.spikes, run.recording.spikes.numpy().astype(bool))
    assert np.array_equal(saved.array("potential"), run.recording["potential"].numpy())
    assert (saved.summary["input"], saved.summary["neurons"], saved.report, saved.tables) == ("a constant", 3, None, {})
    assert str(saved).splitlines() == [
        f"run          {folder}",
        "command      qlifq simulate --seed 2",
        "tables       none",
        "spikes       12 × 2 × 3",
    ]
    with pytest.raises(FileFormatError, match="must hold the array `angle`, but does not"):
        saved.array("angle")


def test_a_study_s_report_and_tables_are_read_back(tmp_path: Path) -> None:
    saved = read_run(write_report(tmp_path / "run", report(), command="qlifq compare sizes"))
    assert saved.report is not None
    assert "## Findings\n\n- 3 and 5.\n" in saved.report
    pd.testing.assert_frame_equal(saved.tables["sizes"], TABLE)
    assert (list(saved.tables), saved.spikes, saved.summary["source"]) == (["sizes"], None, "a ruler")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "another"}, "must be the summary of a run of qlifq, but is none"),
        ({"format_version": 7}, "must be of version 1, but is of version 7"),
        ({"finished": False}, "is unfinished: the same command, 'qlifq compare sizes', ends it"),
        ({"files": ["../sizes.csv"]}, "must list names of files beside it"),
        ({"files": ["sizes.csv", "gone.csv"]}, r"gone\.csv cannot be read: no such file"),
    ],
)
def test_what_is_no_finished_run_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    folder = write_report(tmp_path / "run", report(), command="qlifq compare sizes")
    marker = folder / "summary.json"
    marker.write_text(json.dumps(json.loads(marker.read_bytes()) | change), encoding="utf-8")
    with pytest.raises(FileFormatError, match=said):
        read_run(folder)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none/summary\.json cannot be read: no such file"):
        read_run(tmp_path / "none")
    folder = write_report(tmp_path / "run", report(), command="qlifq compare sizes")
    (folder / "sizes.csv").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"sizes\.csv must be a table, but cannot be read: No columns"):
        read_run(folder)
    (folder / "report.md").write_bytes(b"\xff")
    with pytest.raises(FileFormatError, match=r"report\.md must be text in UTF-8"):
        read_run(folder)
