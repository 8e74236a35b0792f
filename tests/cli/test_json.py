"""`--json`: one JSON object on stdout and nothing else, with the numbers that the text has."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qlifq.cli import main
from qlifq.cli.output import plain
from tests.cli.harness import Captured, leave_out_figures, succeed

FEW = ["--samples", "60", "--steps", "3", "--epochs", "1", "--hidden", "6"]


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_figures(monkeypatch)


def both(capsys: Captured, *arguments: str, out: str | None = "run", again: str = "--force") -> tuple[str, dict[str, Any]]:
    """The text and the object of the same command; with a place for its output it runs twice."""
    place = [] if out is None else ["--out", out]
    text = succeed(capsys, *arguments, *place)
    found: dict[str, Any] = json.loads(succeed(capsys, *arguments, "--json", *place, *([] if out is None else [again])))
    return text, found


def test_a_simulation(capsys: Captured) -> None:
    command = ["simulate", "--samples", "2", "--steps", "20", "--gain", "12"]
    text, found = both(capsys, *command)
    assert f"firing rate  {found['firing_rate']:.4f} spikes" in text
    assert f"evaluations  {found['evaluations']:,}\n" in text
    assert (found["steps"], found["samples"], found["neurons"]) == (20, 2, 64)
    assert found["written_to"] == "run"
    marker = json.loads(Path("run/summary.json").read_bytes())
    assert {name: marker[name] for name in ("firing_rate", "decided_by", "settings")} == {
        name: found[name] for name in ("firing_rate", "decided_by", "settings")
    }
    text, found = both(capsys, *command, "--backend", "aer", "--dry-run", out=None)
    assert list(found["plans"]) == ["one step", "all 20"]
    for name, plan in found["plans"].items():
        assert f"{name:<12} evaluations {plan['evaluations']:,} · circuits {plan['circuits']:,} · " in text
    text, found = both(capsys, *command, "--mode", "replay", "--shots", "50", out="replay")
    assert f"mean |measured − predicted| {found['mean_deviation']:.4f}, of which shot noise {found['shot_noise']:.4f}" in text


def test_a_training_and_its_evaluation(capsys: Captured) -> None:
    found = json.loads(succeed(capsys, "train", *FEW, "--json", "--out", "run"))
    report = Path("run/report.md").read_text(encoding="utf-8")
    assert all(f"- {sentence}\n" in report for sentence in found["found"])
    networks = pd.read_csv("run/networks.csv")
    assert [row["parameters"] for row in found["tables"]["networks"]] == networks["parameters"].tolist()
    assert [row["accuracy"] for row in found["tables"]["networks"]] == pytest.approx(networks["accuracy"].tolist(), abs=1e-12)
    assert f": {100 * networks['accuracy'][0]:.2f} % (" in found["found"][0]
    evaluate = ["evaluate", "run", "--samples", "12", "--backend", "analytic", "--shots", "3", "--calibrate", "600"]
    found = json.loads(succeed(capsys, *evaluate, "--json", "--out", "there"))
    assert found["corrections"] == [{"corrected": 6, "beyond_correction": 0}]
    assert found["network"]["hidden"] == [6]
    where = ["analytic, exact", "analytic, 3 shots", "analytic, 3 shots, calibrated"]
    assert [row["run on"] for row in found["tables"]["backends"]] == where
    text, found = both(capsys, *evaluate, "--dry-run", out=None)
    assert f"{found['images']} images · evaluations {found['plan']['evaluations']:,} · " in text


def test_a_calibration_whose_table_is_too_long_for_the_screen(capsys: Captured) -> None:
    command = ["calibrate", "--backend", "analytic", "--noise", "readout_p01=0.03", "--neurons", "30", "--shots", "300"]
    text, found = both(capsys, *command, "--check-shots", "60", out="cal.json")
    # Least, median and most stand on the screen, and all sites in the file and in the object.
    assert [line.split()[0] for line in text.splitlines()[1:5]] == ["site", "least", "median", "most"]
    assert len(text.splitlines()) < 12
    table = pd.read_csv("cal.sites.csv")
    assert [row["site"] for row in found["sites"]] == table["site"].tolist() == list(range(30))
    assert np.allclose([row["q_scale"] for row in found["sites"]], table["q_scale"])
    assert f"{table['q_scale'].median():.4f}" in text
    assert f"RMS {found['check']['rms_before']:.4f} before, {found['check']['rms_after']:.4f} after" in text
    assert found["written_to"] == ["cal.json", "cal.sites.csv", "cal.png", "cal.pdf"]
    text, found = both(capsys, *command, "--dry-run", out="other.json", again="--force")
    assert f"check: evaluations {found['plans']['check']['evaluations']:,} · " in text


def test_the_table_of_counts_leaves_the_file_of_the_counts_alone(capsys: Captured) -> None:
    counts = "site,angle,shots,ones\n0,0.0,1000,21\n0,1.0,1000,240\n0,2.0,500,334\n0,3.1,500,473\n"
    Path("lab.csv").write_text(counts)
    found = json.loads(succeed(capsys, "calibrate", "--counts", "lab.csv", "--json", "--out", "lab.json"))
    assert Path("lab.csv").read_text() == counts
    # What the data do not say is null, since JSON has no NaN, and an empty cell.
    assert found["sites"][0]["q_scale"] is None
    assert found["sites"][0]["readout_p01"] == pytest.approx(0.0214, abs=1e-4)
    assert pd.read_csv("lab.sites.csv")["q_scale"].isna().all()


def test_a_comparison(capsys: Captured) -> None:
    np.save("mine.npy", np.random.default_rng(0).gamma(2.0, 1.0, (20, 1, 3)))
    command = ["compare", "shot-noise", "--input", "mine.npy", "--backend", "analytic", "--shots", "1,9,80", "--out", "run"]
    found = json.loads(succeed(capsys, *command, "--json"))
    assert f"Numbers of: {found['source']}." in Path("run/report.md").read_text(encoding="utf-8")
    assert [row["shots"] for row in found["tables"]["spikes"]] == pd.read_csv("run/spikes.csv")["shots"].tolist()


def test_what_there_is(capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(tmp_path / "kernels"))
    text, found = both(capsys, "backends", out=None)
    assert [row["name"] for row in found["backends"]] == [line.split()[0] for line in text.splitlines()[1:]]
    assert next(row for row in found["backends"] if row["name"] == "aer")["sampling"] == ["shots", "law"]
    text, found = both(capsys, "circuits", out=None)
    assert all(row["drawing"] in text and row["formula"] in text for row in found["circuits"])
    text, found = both(capsys, "circuits", "RYSpike", "--openqasm", out=None)
    assert found["openqasm"] == text
    text, found = both(capsys, "kernels", out=None)
    assert f"built     {found['kernels']} kernels, {found['size_bytes'] / 1e6:.1f} MB" in text
    assert json.loads(succeed(capsys, "kernels", "--clear", "--json")) == {"deleted": 0}


def test_the_journal_in_eighty_columns(capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "jobs.sqlite"))
    np.save("current.npy", np.full((2, 1, 3), 1.4))
    command = ["simulate", "--backend", "ibm", "--device", "fake_manila", "--input", "current.npy", "--param", "tau=10.0"]
    for number in range(2):
        succeed(capsys, *command, "--out", f"a folder with a long name, number {number}")
    text, found = both(capsys, "jobs", "list", out=None)
    assert [row["number"] for row in found["runs"]] == [1, 2]
    assert all(len(row["run"]) > 80 for row in found["runs"])
    assert text.splitlines()[-1].endswith(" #2")
    listed, entries = both(capsys, "jobs", "list", "--run", "2", out=None)
    assert [entry["state"] for entry in entries["submissions"]] == ["DONE", "DONE"]
    assert all(entry["job"][:20] in listed for entry in entries["submissions"])
    assert [line for line in (text + listed).splitlines() if len(line) > 80] == []
    shown, same = both(capsys, "jobs", "show", "2", out=None)
    assert [entry["request"] for entry in same["submissions"]] == re.findall(r"^request +(\w+)$", shown, re.MULTILINE)
    # The screen has the beginning of a long id, which is enough to name the job.
    job = re.findall(r"local-\w{14}", listed)[0]
    assert json.loads(succeed(capsys, "jobs", "show", job, "--json"))["submissions"] == same["submissions"][:1]
    for act in ("resume", "forget"):
        assert json.loads(succeed(capsys, "jobs", act, "2", "--json")) == entries
    exported = json.loads(succeed(capsys, "jobs", "export", "2", "--out", "two.npz", "--json"))
    assert (len(exported["submissions"]), exported["written_to"]) == (2, "two.npz")


def test_an_error_leaves_stdout_empty(capsys: Captured) -> None:
    assert main(["simulate", "--shots", "0", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: Argument `shots`")


def test_values_of_every_kind_have_a_form() -> None:
    given = {"nan": float("nan"), "inf": np.inf, "whole": np.int64(3), "rows": np.eye(2), "path": Path("a/b"), "none": None}
    assert plain(given) == {"nan": None, "inf": None, "whole": 3, "rows": [[1, 0], [0, 1]], "path": "a/b", "none": None}
    assert json.dumps(plain({"a": {1: (True, 2)}})) == '{"a": {"1": [true, 2]}}'
