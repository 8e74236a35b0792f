"""The folder of a report: complete, readable, and refused where it must not go."""

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from qlifq.errors import FileError
from qlifq.reporting.figures import column_figure, drawn
from qlifq.reporting.panels import integer_axis
from qlifq.reporting.report import Picture, Report, Section, markdown_table, records, write_report
from qlifq.reporting.wording import listed
from qlifq.studies import check_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONG = pd.DataFrame({"step": range(30), "value": np.linspace(0, 1, 30) ** 3})
SHORT = pd.DataFrame(
    {
        "name": ["a|b", "c"],
        "shots": [1, 100_000],
        "rate": [0.123456, math.nan],
        "rate_low": [0.1, math.nan],
        "rate_high": [0.2, 1.0],
    }
)


@drawn
def falling_line() -> "Figure":
    figure, axes = column_figure(50, single=True)
    axes[0, 0].plot([0, 1], [1, 0])
    axes[0, 0].set(title="A falling line", xlabel="time (steps)", ylabel="P(1)")
    integer_axis(axes[0, 0], "x")
    return figure


def report() -> Report:
    section = Section(
        title="One question",
        question="Was it so?",
        findings=["It was 3 (2 to 4)."],
        pictures={"curve": Picture(falling_line, "A falling line.")},
        tables={"short": SHORT, "long": LONG},
        columns={"rate": "spikes per step"},
    )
    return Report(
        title="A study",
        question="What is it?",
        findings=["It is 3 (2 to 4)."],
        uncertainty="Quite.",
        setup={"backend": "analytic", "seed": 7},
        sections=[section],
        source="aer, noise of the snapshot fake_torino, 30 shots",
    )


def test_the_folder_holds_all_that_report_md_names(tmp_path: Path) -> None:
    folder = write_report(tmp_path / "run", report(), command="qlifq compare it --seed 7")
    assert sorted(path.name for path in folder.iterdir()) == [
        "curve.pdf",
        "curve.png",
        "long.csv",
        "report.md",
        "short.csv",
        "summary.json",
    ]
    text = (folder / "report.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((.+?)\)", text):
        assert (folder / name).is_file()
    for words in (
        "# A study",
        "```\nqlifq compare it --seed 7\n```",
        "| seed | 7 |",
        "- It was 3 (2 to 4).",
        "A falling line.",
    ):
        assert words in text
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "curve.pdf").read_bytes().startswith(b"%PDF")
    assert "[curve.pdf](curve.pdf)" in text


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    folder = write_report(tmp_path / "run", report(), command="x")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "short.csv"), SHORT)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "long.csv"), LONG)


def test_the_summary_has_the_command_the_setup_and_what_was_found(tmp_path: Path) -> None:
    facts = json.loads((write_report(tmp_path / "run", report(), command="x y") / "summary.json").read_text(encoding="utf-8"))
    assert facts["command"] == "x y"
    assert facts["setup"] == {"backend": "analytic", "seed": 7}
    assert facts["found"] == ["It is 3 (2 to 4)."]
    assert {"format", "format_version", "time_utc", "qlifq_version", "title"} <= set(facts)


def test_an_earlier_run_is_kept_without_force(tmp_path: Path) -> None:
    write_report(tmp_path, report(), command="first")
    with pytest.raises(FileError, match=f"{tmp_path}.*earlier run"):
        write_report(tmp_path, report(), command="second")
    assert "first" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert check_folder(tmp_path, force=True) == tmp_path
    write_report(tmp_path, report(), command="second", force=True)
    assert "second" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileError, match=str(tmp_path / "file")):
        write_report(tmp_path / "file" / "run", report(), command="x")


def test_a_markdown_table_shows_a_number_with_its_bounds() -> None:
    assert markdown_table(SHORT) == [
        "| name | shots | rate |",
        "| --- | --- | --- |",
        "| a\\|b | 1 | 0.123 (0.1 to 0.2) |",
        "| c | 100,000 | none |",
    ]


def test_a_long_table_is_named_by_its_file(tmp_path: Path) -> None:
    text = report().markdown("x")
    assert "The 30 rows of this table are in [long.csv](long.csv)." in text
    assert "| 29 |" not in text


def test_records_keep_integers() -> None:
    assert [type(row["shots"]) for row in records(SHORT)] == [int, int]


def test_words_are_listed_with_an_and() -> None:
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
