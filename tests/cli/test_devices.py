"""Commands on devices: what a run is, how it is taken up again, and the journal at the command line."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from qlifq.backends import get
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.snapshot import SnapshotChannel
from qlifq.cli import main
from qlifq.errors import ArgumentError
from tests.backends.ibm.loopback import DEVICE, GOOD, Loopback, connected
from tests.cli.harness import Captured, error_of, succeed

SIMULATE = ["simulate", "--backend", "ibm", "--device", "fake_torino", "--samples", "1", "--steps", "6"]


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "jobs.sqlite"))
    # What the picture of a simulation shows has tests of its own, and drawing it takes longer than the run.
    drawn = Figure()
    drawn.suptitle("ibm")
    monkeypatch.setattr("qlifq.studies.run_folder.simulation_figure", lambda *_, **__: drawn)
    # A new journal waits for what the service may list late.
    monkeypatch.setattr("qlifq.backends.ibm.journal.Journal.age_seconds", lambda _: 1e6)
    return tmp_path / "jobs.sqlite"


def spikes(folder: str) -> list[int]:
    with np.load(Path(folder, "spikes.npz")) as arrays:
        return np.flatnonzero(arrays["spikes"]).tolist()


def cut_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a step is submitted."""
    real: Callable[..., str] = SnapshotChannel.submit
    calls = [0]

    def submit(*arguments: object) -> str:
        calls[0] += 1
        if calls[0] == step:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(SnapshotChannel, "submit", submit)


def test_a_dry_run_leaves_nothing_behind(capsys: Captured, tmp_path: Path) -> None:
    out = succeed(capsys, *SIMULATE, "--dry-run")
    assert "jobs 6 · executions 6" in out
    assert "device about 12 s" in out
    assert "in turn      6 steps, each of which waits for the spikes of the one before" in out
    assert "in turn" not in succeed(capsys, *SIMULATE, "--mode", "replay", "--dry-run")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_command_says_how_it_goes_on_and_does(
    capsys: Captured, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(capsys, *SIMULATE, "--seed", "3", "--run", "whole", "--out", "whole")
    with monkeypatch.context() as patched:
        cut_at(4, patched)
        assert main([*SIMULATE, "--seed", "3", "--max-device-seconds", "100"]) == 130
    error = capsys.readouterr().err
    assert "Interrupted: nothing is lost" in error
    assert "To continue: qlifq simulate --backend ibm --device fake_torino" in error
    with Journal(journal) as book:
        name = book.runs()[1].name
        assert name.startswith("simulate --backend ibm --device fake_torino --samples 1 --seed 3 --steps 6 in /")
        before = [entry.request for entry in book.entries(name)]
        assert [entry.state for entry in book.entries(name)] == ["DONE"] * 3 + ["INTENT"]
    succeed(capsys, *SIMULATE, "--seed", "3", "--out", "again")
    with Journal(journal) as book:
        assert [entry.request for entry in book.entries(name)][:4] == before
        assert len(book.entries(name)) == 6
        assert book.runs(name)[0].budget_seconds == 100
    assert spikes("again") == spikes("whole")


def test_a_command_that_is_done_begins_another_run(capsys: Captured, journal: Path) -> None:
    for number in range(2):
        succeed(capsys, *SIMULATE, "--out", f"run{number}")
        succeed(capsys, *SIMULATE, "--run", "mine", "--out", f"mine{number}")
    with Journal(journal) as book:
        first, mine, second = (run.name for run in book.runs())
        assert second == f"{first} #2"
        assert [len(book.entries(name)) for name in (first, mine, second)] == [6, 6, 6]


def test_a_budget_is_kept_over_the_starts(capsys: Captured) -> None:
    error = error_of(capsys, *SIMULATE, "--max-device-seconds", "5", "--out", "run")
    assert re.search(r"`max_device_seconds` is 5 for run .*, of which 0\.\d+ are left, but this needs about 2\. Nothing", error)
    assert "max_device_seconds` is 5" in error_of(capsys, *SIMULATE, "--out", "run")
    succeed(capsys, *SIMULATE, "--max-device-seconds", "20", "--out", "run")


def test_replay_writes_a_report(capsys: Captured) -> None:
    out = succeed(capsys, *SIMULATE, "--mode", "replay", "--out", "replay")
    assert "replay on ibm, snapshot fake_torino (no device), 1,024 shots · 6 steps × 1 × 64 neurons · not calibrated" in out
    text = Path("replay/report.md").read_text(encoding="utf-8")
    assert "mean |measured − predicted|" in text
    assert Path("replay/replay.png").is_file()
    assert len(Path("replay/steps.csv").read_text(encoding="utf-8").splitlines()) == 7


def test_a_calibration_brings_its_qubits(capsys: Captured) -> None:
    qubits = ["calibrate", "--backend", "ibm", "--device", "fake_torino", "--neurons", "64", "--shots", "400"]
    succeed(capsys, *qubits, "--check-shots", "200", "--out", "record.json")
    record = json.loads(Path("record.json").read_text(encoding="utf-8"))
    record["details"]["qubits"].reverse()
    Path("record.json").write_text(json.dumps(record), encoding="utf-8")
    succeed(capsys, *SIMULATE, "--calibration", "record.json", "--out", "run")
    with Journal("jobs.sqlite") as book:
        assert list(book.entries()[-1].qubits) == record["details"]["qubits"]


def test_a_calibration_in_turns_brings_each_qubit_once(capsys: Captured) -> None:
    qubits = ["calibrate", "--backend", "ibm", "--device", "fake_manila", "--neurons", "64", "--shots", "400"]
    succeed(capsys, *qubits, "--check-shots", "200", "--out", "record.json")
    simulate = [text.replace("fake_torino", "fake_manila") for text in SIMULATE]
    succeed(capsys, *simulate, "--calibration", "record.json", "--out", "run")
    with Journal("jobs.sqlite") as book:
        assert len(book.entries()[-1].qubits) == 5


def test_a_missing_device_is_named_in_the_error(capsys: Captured) -> None:
    said = "Argument `device` must be a name such as ibm_boston, or fake_torino for a snapshot, but is missing."
    assert error_of(capsys, "simulate", "--backend", "ibm", "--samples", "1", "--out", "run") == f"Error: {said}\n"
    with pytest.raises(ArgumentError, match=re.escape(said)):
        get("ibm")


def test_the_journal_is_listed_shown_and_exported(capsys: Captured) -> None:
    assert "jobs.sqlite does not exist: no job was submitted yet" in error_of(capsys, "jobs", "list")
    succeed(capsys, *SIMULATE, "--run", "mine", "--out", "run")
    header, line, name = succeed(capsys, "jobs", "list").splitlines()
    assert header.split() == ["#", "jobs", "done", "open", "failed", "device", "s", "of", "device"]
    assert line.split() == ["1", "6", "6", "0", "0", "12.0", "no", "bound", "snapshot", "fake_torino"]
    assert name == "   mine"
    rows = succeed(capsys, "jobs", "list", "--run", "mine").splitlines()
    assert rows == succeed(capsys, "jobs", "list", "--run", "1").splitlines()
    assert rows[0] == "run 1 on snapshot fake_torino: mine"
    assert len(rows) == 8
    job = re.search(r"local-\w+", rows[2])
    assert job is not None
    shown = succeed(capsys, "jobs", "show", job[0])
    assert re.search(r"^device +snapshot fake_torino$", shown, re.MULTILINE)
    assert re.search(r"^state +DONE$", shown, re.MULTILINE)
    assert re.search(r"^continue with +qlifq simulate --backend ibm", shown, re.MULTILINE)
    succeed(capsys, "jobs", "export", "mine", "--out", "mine.npz")
    with np.load("mine.npz") as arrays:
        facts = json.loads(str(arrays["facts"]))
        assert [entry["state"] for entry in facts["submissions"]] == ["DONE"] * 6
        assert arrays["angles_5"].shape == (1, 64, 1)
        assert arrays["ones_5"].shape == (1, 64)
    assert "has no job, request or run `nothing`" in error_of(capsys, "jobs", "show", "nothing")
    assert "must be an .npz file" in error_of(capsys, "jobs", "export", "mine", "--out", "mine.txt")
    assert "Unknown run `nothing`" in error_of(capsys, "jobs", "list", "--run", "nothing")


def test_jobs_are_resumed_and_cancelled_at_the_service(
    capsys: Captured, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlifq.backends.ibm.protocol.JobRunner._pause", lambda *_: None)
    device = ["simulate", "--backend", "ibm", "--device", DEVICE, "--input", "current.npy", "--run", "mine", "--out", "run"]
    np.save("current.npy", np.full((2, 1, 3), 1.4, dtype=np.float32))
    with Loopback() as service, connected(service.url):
        service.states = ("Queued", "Queued", {"status": "Failed", "reason": "not today", "reason_code": 1305})
        assert "not today" in error_of(capsys, *device)
        service.faults = {"submit": ["commit+drop"] + [400] * 9, "find": [None] + [403] * 99}
        service.states = GOOD
        error_of(capsys, *device)
        service.faults.clear()
        with Journal(journal) as book:
            assert [entry.state for entry in book.entries()] == ["FAILED", "INTENT"]
        out = succeed(capsys, "jobs", "resume", "mine")
        # Under the one that failed stands why.
        assert re.findall(r"^2\S+Z +\w+ +(\w+) ", out, re.MULTILINE) == ["FAILED", "DONE"]
        assert re.search(r"^  .*not today", out, re.MULTILINE)
        succeed(capsys, *device)
        assert (len(service.jobs), service.paid) == (3, 3)
        service.states = ("Queued",)
        service.faults = {"find": [None] + [403] * 99, "state": [400] * 99}
        error_of(capsys, *device[:-3], "another", "--out", "other")
        service.faults.clear()
        out = succeed(capsys, "jobs", "cancel", "another")
        assert "CANCELLED" in out
        assert service.alive == 0
        service.states = ("Queued",)
        service.faults = {"state": [400] * 99}
        error_of(capsys, *device[:-3], "gone", "--out", "other")
        service.faults.clear()
        for job in service.jobs.values():
            job.deleted = True
        monkeypatch.setattr("qlifq.backends.ibm.protocol.RetryPolicy.grace_seconds", 0.1)
        for act, state in (("cancel", "CANCELLED"), ("forget", "CANCELLED")):
            assert state in succeed(capsys, "jobs", act, "gone")


def test_a_command_begun_anew_leaves_the_jobs_of_the_finished_run_alone(
    capsys: Captured, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its journal and without: a tag that is derived must not give the second run the shots of the first."""
    device = ["simulate", "--backend", "ibm", "--device", DEVICE, "--input", "current.npy"]
    np.save("current.npy", np.full((1, 1, 2), 1.2, dtype=np.float32))
    with Loopback() as service, connected(service.url):
        for number in range(3):
            if number == 2:
                journal.unlink()
                monkeypatch.setattr("qlifq.backends.ibm.journal._OPENED", threading.local())
            succeed(capsys, *device, "--out", f"run{number}")
            assert len(service.jobs) == number + 1
        with Journal(journal) as book:
            assert [run.name.rpartition(" ")[2] for run in book.runs()] == ["#3"]
