"""What a command has computed is not lost to settings, names or streams of the user's; and calibrations that broke off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qlifq.calibration import load
from qlifq.cli import main
from qlifq.errors import FileError
from qlifq.studies import replay
from qlifq.studies.calibration_check import record_run
from qlifq.training import cross_backend, report
from qlifq.training.experiment import CHECKPOINTS

Captured = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-c", "import sys; from qlifq.cli import main; sys.exit(main())"]
SMALL = ["simulate", "--samples", "1", "--steps", "8"]
CALIBRATE = ["calibrate", "--noise", "readout_p01=0.03", "--neurons", "2", "--shots", "60", "--out", "cal.json"]


def refuse(capsys: Captured, *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_the_users_settings_of_matplotlib_reach_neither_our_figures_nor_a_backend() -> None:
    Path("matplotlibrc").write_text("text.usetex: True\nfont.family: none\nsavefig.format: ps\n", encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "module://a_notebook.that_is_not_here"}
    done = subprocess.run(
        [*COMMAND, *SMALL, "--backend", "lightning", "--out", "run"], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path("run/figure.png").read_bytes().startswith(b"\x89PNG")


def test_without_streams_the_run_is_written_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for stream in ("stdout", "stderr"):
            patch.setattr(sys, stream, None)
        assert main([*SMALL, "--out", "run"]) == 0
        for stream in ("stdout", "stderr"):
            getattr(sys, stream).close()
    assert json.loads(Path("run/summary.json").read_bytes())["finished"] is True


def test_a_screen_that_takes_nothing_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([*COMMAND, "circuits"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"Error: The command cannot go on: no space left on device.\n")


def test_a_folder_whose_name_is_no_text_holds_the_run(capsys: Captured) -> None:
    name = "run-\udce9"
    np.save("current-\udcff.npy", np.full((9, 1, 3), 1.5))
    assert main(["simulate", "--input", "current-\udcff.npy", "--out", name]) == 0
    facts = json.loads(Path(name, "summary.json").read_bytes())
    assert facts["input"] == "current-\udcff.npy"
    assert name in facts["command"]
    assert main(["simulate", "--input", "current-\udcff.npy", "--out", name, "--force"]) == 0
    assert main([*SMALL, "--mode", "replay", "--out", f"{name}/replay"]) == 0
    assert "run-\\udce9/replay" in Path(name, "replay", "report.md").read_text(encoding="utf-8")


def test_a_figure_that_fails_is_one_sentence_and_the_run_is_kept(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no font\nat all")

    monkeypatch.setattr(replay, "replay_figure", fail)
    assert main([*SMALL, "--mode", "replay", "--out", "run"]) == 0
    output = capsys.readouterr()
    assert output.err == "Warning: All results are written, but the picture run/replay.png is missing: no font at all.\n"
    assert json.loads(Path("run/summary.json").read_bytes())["finished"] is True
    assert sorted(os.listdir("run")) == ["config.toml", "report.md", "steps.csv", "summary.json"]


def test_without_a_home_the_journal_must_be_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("QLIFQ_JOURNAL", raising=False)
    monkeypatch.setattr(Path, "home", none)
    for command in (["jobs", "list"], [*SMALL, "--backend", "ibm", "--device", "fake_manila", "--out", "run"]):
        sentence = refuse(capsys, *command)
        assert "this user has no home folder: name a file in the environment variable QLIFQ_JOURNAL." in sentence
    assert os.listdir() == []
    assert main([*SMALL, "--out", "run"]) == 0


def test_a_calibration_that_broke_off_is_ended_by_the_same_command(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for broken in ("qlifq.studies.calibration_check.save", "qlifq.reporting.figures.print_figure"):
        with monkeypatch.context() as patch:
            patch.setattr(broken, stop)
            assert main(CALIBRATE) == 130
        assert Path("cal.json.unfinished").exists()
        assert Path("cal.json").exists() == broken.endswith("print_figure")
        with pytest.raises(FileError, match=r"an unfinished run of 'qlifq calibrate .*' wrote there"):
            record_run("cal.json", command="qlifq simulate")
    # Another process may be writing beside it.
    Path(".0123456789abcdef.tmp").touch()
    assert main(CALIBRATE) == 0
    assert sorted(os.listdir()) == [".0123456789abcdef.tmp", "cal.json", "cal.pdf", "cal.png", "cal.sites.csv"]
    assert load("cal.json").sites == 2
    assert "it holds an earlier calibration, which only --force overwrites" in refuse(capsys, *CALIBRATE)
    assert main([*CALIBRATE, "--force"]) == 0


def test_a_calibration_replaces_its_own_files_alone(capsys: Captured) -> None:
    Path("cal.png").write_bytes(b"mine")
    assert "cal.png cannot be written: what is there was written by no run" in refuse(capsys, *CALIBRATE)
    Path("cal.png").rename("precious.png")
    assert main(CALIBRATE) == 0
    Path("cal.png").unlink()
    Path("cal.png").symlink_to("precious.png")
    assert "cal.png cannot be written: it is a link" in refuse(capsys, *CALIBRATE, "--force")
    Path("cal.json.unfinished").write_text("{}", encoding="utf-8")
    assert "cal.json.unfinished is not of an unfinished calibration" in refuse(capsys, *CALIBRATE, "--force")
    assert Path("precious.png").read_bytes() == b"mine"


def test_an_events_folder_that_is_a_link_is_refused(capsys: Captured) -> None:
    few = ["train", "--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "5", "--out", "run"]
    Path("other").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qlifq.training.experiment.train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(few) == 130
    Path("run/events").symlink_to(Path("other").absolute())
    assert "run/events cannot be written: it is a link" in refuse(capsys, *few)
    assert os.listdir("other") == []


def test_the_files_that_are_checked_before_a_run_are_those_that_it_writes(capsys: Captured) -> None:
    assert main([*SMALL, "--mode", "replay", "--out", "run"]) == 0
    assert sorted(os.listdir("run")) == sorted([*replay.FILES, "config.toml", "summary.json"])
    few = ["--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "5"]
    written = {"summary.json"}
    for network in ("mlp", "autoencoder"):
        assert main(["train", "--network", network, *few, "--out", network]) == 0
        written |= set(os.listdir(network)) - {"events"}
    assert written == {*report.FILES, *CHECKPOINTS, "config.toml", "summary.json"}
    assert main(["evaluate", "mlp", "--samples", "9", "--out", "evaluated"]) == 0
    # A network that predicts numbers has forecasts in place of the confusion; `tests/training/test_regression.py` has one.
    forecasts = {"forecasts.png", "forecasts.pdf"}
    assert {*os.listdir("evaluated"), *forecasts} == {*cross_backend.FILES, "config.toml", "summary.json"}
