"""`qlifq train` and `qlifq evaluate`: what they print and leave, and one sentence for everything they cannot do."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from qlifq.calibration.design import CalibrationDesign
from qlifq.cli import main
from qlifq.errors import FileError
from qlifq.reporting.figures import figure_files
from qlifq.training import Design, load_run
from qlifq.training.checkpoint import load_checkpoint, save_checkpoint
from qlifq.training.run_folder import open_run
from tests.cli.harness import Captured, leave_out_figures, refuse

SMALL = ["--samples", "200", "--hidden", "12", "--steps", "4", "--epochs", "2"]


@pytest.fixture
def drawn() -> None:
    """Requested by a test that looks at the files of figures."""


@pytest.fixture(autouse=True)
def _without_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "drawn" not in request.fixturenames:
        leave_out_figures(monkeypatch)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["train", *SMALL, "--validation", "0.1", "--out", str(folder)]) == 0
    return folder, output.getvalue()


def test_a_run_leaves_a_report_with_its_classical_networks(run: tuple[Path, str]) -> None:
    folder, printed = run
    assert printed.startswith(
        "data         digits, 200 images to learn, 355 for the test\nrun on       analytic, exact\nQLIF, mapping sigmoid: "
    )
    assert printed.endswith(f"written to   {folder}\n")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "report.md",
        "summary.json",
        "networks.csv",
        "epochs.csv",
        "classes.csv",
        *figure_files("curves", "confusion", "raster"),
        "network.pt",
        "classical.pt",
        "classical-stochastic.pt",
        "events",
        "config.toml",
    }
    networks = pd.read_csv(folder / "networks.csv")
    assert networks["neuron"].tolist() == ["QLIF, mapping sigmoid", "classical LIF, deterministic", "classical LIF, stochastic"]
    assert networks["parameters"].tolist() == [64 * 12 + 12 + 12 * 10 + 10] * 3
    assert ((networks["accuracy_low"] <= networks["accuracy"]) & (networks["accuracy"] <= networks["accuracy_high"])).all()
    epochs = pd.read_csv(folder / "epochs.csv")
    assert epochs["number"].tolist() == [1, 2] * 3
    assert epochs["validation_loss"].notna().all()
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "Numbers of: analytic, exact." in report
    for line in printed.splitlines()[2:-1]:
        assert line in report.replace("**", "")
    for row, others in zip(networks.itertuples(), [None, "deterministic", "stochastic"], strict=True):
        if others is not None:
            # No claim beyond the interval.
            sentence = next(
                line for line in report.splitlines() if f"classical LIF, {others}" in line and "these samples" in line
            )
            low, high = float(row.ahead_by_low), float(row.ahead_by_high)  # type: ignore[arg-type]
            assert ("is ahead of" in sentence) == (low > 0)
            assert ("is behind" in sentence) == (high < 0)
            assert ("show no difference" in sentence) == (low <= 0 <= high)
    summary = json.loads((folder / "summary.json").read_bytes())
    assert (summary["format"], summary["setup"]["label smoothing"]) == ("qlifq run", 0.1)


def test_the_events_of_every_network_are_those_of_its_epochs(run: tuple[Path, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = run
    assert sorted(os.listdir(folder / "events")) == ["classical", "classical-stochastic", "qlif"]
    events = EventAccumulator(str(folder / "events" / "qlif"))
    events.Reload()
    epochs = pd.read_csv(folder / "epochs.csv").query("neuron == 'QLIF, mapping sigmoid'")
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert np.allclose([event.value for event in events.Scalars("validation_accuracy")], epochs["validation_accuracy"])


def test_a_finished_run_is_overwritten_by_force_alone_and_a_killed_one_goes_on(
    run: tuple[Path, str], tmp_path: Path, capsys: Captured
) -> None:
    folder, _ = run
    assert "holds an earlier run, which only --force overwrites" in refuse(capsys, "train", *SMALL, "--out", str(folder))
    # Killed while it trained its second network: a checkpoint of the first is there.
    script = (
        "import sys, os, signal, torch\nfrom qlifq.training import loop\nfrom qlifq.cli import main\ntorch.set_num_threads(1)\n"
        "inner = loop.save_checkpoint\n"
        "def save(path, *rest):\n"
        "    inner(path, *rest)\n"
        "    if path.name == 'classical.pt': os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop.save_checkpoint = save\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = ["train", *SMALL, "--validation", "0.1", "--out", "killed"]
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert sorted(path.name for path in Path("killed").glob("*.pt")) == ["classical.pt", "network.pt"]
    begun = Path("killed/network.pt").stat().st_mtime_ns
    assert "another training, whose seed was 0 and is 1" in refuse(capsys, *command, "--seed", "1")
    assert main(command) == 0
    assert Path("killed/network.pt").stat().st_mtime_ns == begun
    for name in ("network.pt", "classical.pt", "classical-stochastic.pt"):
        mine, its = (load_checkpoint(place / name) for place in (folder, Path("killed")))
        assert all(torch.equal(value, its["network"][key]) for key, value in mine["network"].items())
    assert pd.read_csv("killed/networks.csv")["accuracy"].tolist() == pd.read_csv(folder / "networks.csv")["accuracy"].tolist()


@pytest.mark.usefixtures("drawn")
def test_the_same_weights_run_on_another_backend(run: tuple[Path, str], capsys: Captured) -> None:
    folder, _ = run
    options = ["evaluate", str(folder), "--shots", "1", "--noise", "fake_torino", "--samples", "60"]
    # Without the option every shot runs, as with `get("aer")`, and the plan counts them.
    for sampling, executions in (([], r"[1-9][\d,]+"), (["--sampling", "shots"], r"[1-9][\d,]+"), (["--sampling", "law"], "0")):
        assert main([*options, *sampling, "--dry-run"]) == 0
        assert re.search(rf" · executions {executions} · ", capsys.readouterr().out)
    command = [*options, "--sampling", "law"]
    assert main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "run on       aer, noise of the snapshot fake_torino, 1 shot, sampling law\n" in planned
    assert f"60 images · evaluations {60 * 4 * 12:,} · " in planned
    assert list(Path.cwd().iterdir()) == []
    assert main([*command, "--calibrate", "512", "--out", "there"]) == 0
    printed = capsys.readouterr().out
    # The network runs twice, and in two rounds its 12 neurons for two corners and their gaps.
    points = len(CalibrationDesign("sigmoid", 12).angles)
    assert f"60 images · evaluations {2 * 60 * 4 * 12 + 2 * points * 12:,} · " in printed
    assert "calibration  12 neurons corrected, 0 on qubits that no correction helps\n" in printed
    backends = pd.read_csv("there/backends.csv")
    where = "aer, noise of the snapshot fake_torino, 1 shot, sampling law"
    assert backends["run on"].tolist() == ["analytic, exact", where, f"{where}, calibrated"]
    assert backends["evaluations"].tolist() == [60 * 4 * 12] * 3
    assert backends["accuracy"].between(0.1, 1.0).all()
    # The closed form says what it said at the end of the training about these images.
    network = load_checkpoint(folder / "network.pt")
    assert network["finished"] is True
    assert {path.name for path in Path("there").iterdir()} == {
        "report.md",
        "summary.json",
        "backends.csv",
        "classes.csv",
        *figure_files("confusion"),
        "config.toml",
    }


def test_a_device_shows_its_plan_first_and_its_jobs_stand_in_the_journal(
    run: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    folder, _ = run
    monkeypatch.setenv("QLIFQ_JOURNAL", str(tmp_path / "jobs.sqlite"))
    command = ["evaluate", str(folder), "--backend", "ibm", "--device", "fake_manila", "--samples", "8"]
    assert main([*command, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "run on       ibm, snapshot fake_manila (no device), 1 shot\n" in planned
    assert re.search(r"8 images · evaluations 384 · circuits 1 · qubits \d · jobs 4 · .* · device about 8\.\d+ s\n", planned)
    assert not (tmp_path / "jobs.sqlite").exists()
    assert main([*command, "--max-device-seconds", "1", "--out", "refused"]) == 2
    assert "`max_device_seconds` is 1 for run" in capsys.readouterr().err
    assert main([*command, "--max-device-seconds", "60", "--out", "there"]) == 0
    assert pd.read_csv("there/backends.csv")["evaluations"].tolist() == [384, 384]
    capsys.readouterr()
    assert main(["jobs", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert re.search(r"^1 +4 +4 +0 +0 .* snapshot fake_manila$", line), line
    # A record brings its qubits, in its own order.
    options = ["calibrate", *command[2:6], "--neurons", "12", "--shots", "400", "--check-shots", "100", "--out", "record.json"]
    assert main(options) == 0
    content = json.loads(Path("record.json").read_text(encoding="utf-8"))
    content["details"]["qubits"].reverse()
    Path("record.json").write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    assert main([*command, "--calibration", "record.json", "--dry-run"]) == 0
    assert "calibration  12 neurons corrected" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("backend", "said"),
    [("lightning", "lightning, exact"), ("reference", "reference, exact"), ("analytic", "analytic, exact")],
)
def test_an_exact_backend_gives_the_closed_form_s_answers(
    run: tuple[Path, str], capsys: Captured, backend: str, said: str
) -> None:
    """The spikes are drawn with the same numbers, so two exact probabilities that agree to rounding give the same answers."""
    folder, _ = run
    assert main(["evaluate", str(folder), "--backend", backend, "--samples", "30", "--out", "there"]) == 0
    assert f"Between {said} and analytic, exact these samples show no difference: +0.00 points" in capsys.readouterr().out
    backends = pd.read_csv("there/backends.csv")
    assert backends["loss" if "loss" in backends else "accuracy"].nunique() == 1


def test_an_evaluation_over_a_scheduler_gives_the_same_answers(run: tuple[Path, str], capsys: Captured) -> None:
    """Calls of one block; each layer has its own backend, and a record reaches each."""
    folder, _ = run
    common = ["evaluate", str(folder), "--samples", "20", "--shots", "1", "--backend", "reference"]
    assert main([*common, "--out", "here"]) == 0
    assert main([*common, "--scheduler", "synchronous", "--out", "spread"]) == 0
    here, spread = (pd.read_csv(f"{folder}/backends.csv") for folder in ("here", "spread"))
    assert {"accuracy", "evaluations"} <= set(here)
    pd.testing.assert_frame_equal(here.drop(columns=["seconds"]), spread.drop(columns=["seconds"]))
    capsys.readouterr()
    assert "such as tcp://10.0.0.1:8786, but is 'x'" in refuse(capsys, *common, "--scheduler", "x", "--out", "other")


def test_records_are_applied_one_to_each_layer(run: tuple[Path, str], capsys: Captured) -> None:
    folder, _ = run
    noise = ["--noise", "readout_p01=0.02,readout_p10=0.2"]
    assert main(["calibrate", "--neurons", "12", "--shots", "2048", *noise, "--sampling", "law", "--out", "record.json"]) == 0
    capsys.readouterr()
    common = ["evaluate", str(folder), "--samples", "40"]
    assert main([*common, *noise, "--calibration", "record.json", "--out", "corrected"]) == 0
    assert "12 neurons corrected" in capsys.readouterr().out
    assert main([*common, "--backend", "twin", "--calibration", "record.json", "--out", "twin"]) == 0
    assert "twin of aer, noise readout_p01=0.02, readout_p10=0.2, exact, calibrated: " in capsys.readouterr().out
    # What does not go with the network is refused before anything runs, in a dry run too.
    assert main(["calibrate", "--neurons", "5", "--shots", "50", *noise, "--sampling", "law", "--out", "narrow.json"]) == 0
    capsys.readouterr()
    dry = [*common, "--calibration", "narrow.json", "--dry-run"]
    assert "has 5 sites, but the layer has 12 neurons" in refuse(capsys, *dry, *noise)
    assert "is of noise readout_p01=0.02" in refuse(capsys, *common, "--calibration", "record.json", "--dry-run")
    twice = ["--calibration", "record.json"] * 2
    assert "`calibration` must hold 1 record, but holds 2." in refuse(capsys, *common, *noise, *twice)
    assert "`calibration` must hold 1 record, but holds 0." in refuse(capsys, *common, "--backend", "twin")
    assert "Argument `calibrate` would be ignored" in refuse(
        capsys, *common, *noise, "--calibration", "record.json", "--calibrate", "9"
    )


def record(name: str, neurons: int, p01: float) -> list[str]:
    """Neurons that are read as 1 so often are calibrated; the option that gives the record."""
    options = ["--neurons", str(neurons), "--shots", "4096", "--noise", f"readout_p01={p01}", "--sampling", "law"]
    assert main(["calibrate", *options, "--out", name]) == 0
    return ["--calibration", name]


# The deterministic neurons of so short a training are silent at first, which a layer warns of.
@pytest.mark.filterwarnings("ignore:A layer of .* stayed silent:RuntimeWarning")
def test_a_network_of_several_layers_runs_on_the_twins_of_their_records(capsys: Captured) -> None:
    few = ["--samples", "60", "--steps", "3", "--epochs", "1"]
    assert main(["train", "--network", "conv", *few, "--hidden", "2,3", "--out", "conv"]) == 0
    # Maps of 4 × 4 and of 2 × 2. The qubits of the second layer are read as 1 nine times in ten whatever they are.
    first, second = record("first.json", 2 * 16, 0.0), record("second.json", 3 * 4, 0.9)
    twins = ["evaluate", "conv", "--backend", "twin", "--samples", "40"]
    capsys.readouterr()
    assert main([*twins, *first, *second, "--dry-run"]) == 0
    assert f"40 images · evaluations {2 * 40 * 3 * (32 + 12):,} · " in capsys.readouterr().out
    assert main([*twins, *first, *second, "--out", "there"]) == 0
    backends = pd.read_csv("there/backends.csv")
    twins_of = "twin of aer, exact and twin of aer, noise readout_p01=0.9, exact"
    assert backends["run on"].tolist() == ["analytic, exact", twins_of, f"{twins_of}, calibrated"]
    here, there, _ = ([float(rate) for rate in rates.split()] for rates in backends["spikes"])
    # 3,840 and 1,440 decisions: a difference of 0.07 in the rate of the first is 6 σ, and one of 0.05 in that of the second.
    assert abs(there[0] - here[0]) < 0.07
    assert there[1] > 0.85
    assert here[1] < 0.8
    # And it learns on them: spikes that are forced on the second layer are there while it is trained.
    trained = ["train", "--network", "conv", *few, "--hidden", "2,3", "--backend", "twin"]
    assert main([*trained, *first, *second, "--out", "on-twins"]) == 0
    assert "first.json, second.json, sha256 " in Path("on-twins/report.md").read_text(encoding="utf-8")
    assert "or 2, one for each, but holds 3." in refuse(capsys, *trained, *first, *first, *second)
    assert "it is for --backend twin, but it is 'aer'." in refuse(capsys, "train", "--backend", "aer", *first)
    for records, said in (
        ([], "or 2, one for each, but holds 0."),
        ([*first, *second, *second], "or 2, one for each, but holds 3."),
        ([*second, *first], "The calibration has 12 sites, but the layer has 32 neurons"),
        (first, "The calibration has 32 sites, but the layer has 12 neurons"),
    ):
        assert said in refuse(capsys, *twins, *records)


def test_evaluate_refuses_at_once_what_it_cannot_use(capsys: Captured) -> None:
    few = ["--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "4"]
    assert main(["train", "--network", "paper", "--neuron", "brand-petruccione", *few, "--out", "rotated"]) == 0
    assert main(["train", *few, "--out", "run"]) == 0
    capsys.readouterr()
    for batch in ("0", "-1"):
        assert f"`batch` must be at least 1, but is {batch}." in refuse(
            capsys, "evaluate", "run", "--batch", batch, "--dry-run"
        )
    assert "`seed` must be at least 0" in refuse(capsys, "evaluate", "run", "--seed", "-1", "--dry-run")
    snapshot = refuse(capsys, "evaluate", "run", "--backend", "analytic", "--noise", "fake_torino", "--dry-run")
    assert "must be numbers for backend analytic, a DeviceNoise, but is 'fake_torino'" in snapshot
    # Its circuit has two angles and no law; what the user did not ask for is not refused.
    assert main(["evaluate", "rotated", "--samples", "3", "--shots", "2", "--out", "shots"]) == 0
    assert "is for QLIF neurons on qubits" in refuse(
        capsys, "evaluate", "rotated", "--shots", "2", "--calibrate", "9", "--dry-run"
    )


def test_one_record_is_that_of_all_layers_that_are_as_wide(capsys: Captured) -> None:
    few = ["--samples", "60", "--steps", "3", "--epochs", "1"]
    assert main(["train", *few, "--hidden", "7,7", "--out", "run"]) == 0
    of_all = record("record.json", 7, 0.05)
    capsys.readouterr()
    noise = ["--noise", "readout_p01=0.05"]
    for name, backend in (("twin", ["--backend", "twin"]), ("device", noise)):
        assert main(["evaluate", "run", *backend, "--samples", "20", *of_all, "--out", name]) == 0
        assert capsys.readouterr().out.count("7 neurons corrected") == 2


@pytest.mark.usefixtures("drawn")
def test_an_autoencoder_and_the_paper_s_network_are_trained_and_evaluated_too(capsys: Captured) -> None:
    few = ["--samples", "60", "--steps", "3", "--epochs", "1", "--hidden", "6"]
    assert main(["train", "--network", "autoencoder", *few, "--out", "auto"]) == 0
    assert "a binary cross entropy of 0." in capsys.readouterr().out
    assert {"images.png", "raster.png"} <= set(os.listdir("auto"))
    assert main(["evaluate", "auto", "--samples", "20", "--out", "evaluated"]) == 0
    assert "binary cross entropy" in capsys.readouterr().out
    assert main(["train", "--network", "paper", *few, "--neuron", "brand-petruccione-published", "--out", "paper"]) == 0
    networks = pd.read_csv("paper/networks.csv")
    assert networks["parameters"].tolist() == [2 * (64 * 6 + 6 + 60 + 10), 910, 910]
    assert main(["evaluate", "paper", "--samples", "20", "--backend", "analytic", "--shots", "50", "--out", "shots"]) == 0
    assert "analytic, 50 shots: " in capsys.readouterr().out


def test_a_run_that_was_killed_while_it_wrote_its_first_file_can_be_started_again(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom qlifq.training.run_folder import open_run\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with open_run(sys.argv[1], command='a'): pass\n"
    )

    def opened(folder: str) -> set[str]:
        with open_run(folder, command="a"):
            return {path.name for path in Path(folder).iterdir()}

    done = subprocess.run([sys.executable, "-c", script, "killed"], check=False)
    assert done.returncode == -9
    (left,) = Path("killed").iterdir()
    assert left.suffix == ".tmp"
    assert opened("killed") == {"summary.json"}
    # One that is left beside the checkpoint of a run goes too, and the checkpoint stays.
    for name in ("network.pt", left.name, "mine.tmp"):
        Path("killed", name).write_bytes(b"")
    assert opened("killed") == {"summary.json", "network.pt", "mine.tmp"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.tmp").write_bytes(b"")
    with pytest.raises(FileError, match="holds files that are not of a run"):
        opened("other")


@pytest.mark.usefixtures("drawn")
def test_force_removes_the_checkpoints_of_the_run_and_no_others(capsys: Captured) -> None:
    few = ["train", "--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "5", "--out", "run"]
    assert main(few) == 0
    Path("run/averaged.pt").write_bytes(b"mine")
    Path("run/classical.pt").write_bytes(b"damaged")
    assert main([*few, "--seed", "3", "--force"]) == 0
    assert Path("run/averaged.pt").read_bytes() == b"mine"
    assert load_checkpoint("run/classical.pt")["identity"]["seed"] == 3
    capsys.readouterr()
    # What a run did not write is not overwritten, whatever its name.
    marker = json.loads(Path("run/summary.json").read_bytes())
    Path("run/summary.json").write_text(
        json.dumps(marker | {"files": [name for name in marker["files"] if name != "raster.png"]}), encoding="utf-8"
    )
    assert "run/raster.png cannot be written: what is there was written by no run" in refuse(capsys, *few, "--force")


def test_a_training_of_the_version_before_goes_on_and_gives_way_to_force(capsys: Captured) -> None:
    few = ["train", "--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "5", "--out", "run"]
    assert main(few) == 0
    weights = load_checkpoint("run/network.pt")
    # Its marker listed neither files nor, at the end, that it was finished, its checkpoints had no checksum, its layers no
    # chain, and it left no file of its options.
    old = {"format": "qlifq run", "format_version": 1, "command": "qlifq train --out run"}
    for path in Path("run").glob("*.pt"):
        content = load_checkpoint(path)
        network = {name.replace(".chain.", "."): value for name, value in content["network"].items()}
        torch.save(content | {"format_version": 1, "network": network}, path)
    begun = Path("run/network.pt").stat().st_mtime_ns
    Path("run/summary.json").write_text(json.dumps(old | {"finished": False}), encoding="utf-8")
    Path("run/config.toml").unlink()
    assert main(few) == 0
    assert Path("run/network.pt").stat().st_mtime_ns == begun
    Path("run/config.toml").unlink()
    Path("run/mine.pt").write_bytes(b"mine")
    Path("run/summary.json").write_text(json.dumps(old), encoding="utf-8")
    capsys.readouterr()
    assert "holds an earlier run, which only --force overwrites" in refuse(capsys, *few)
    assert main([*few, "--force"]) == 0
    again = load_checkpoint("run/network.pt")
    assert again["format_version"] == 3
    assert all(torch.equal(value, again["network"][name]) for name, value in weights["network"].items())
    assert Path("run/mine.pt").read_bytes() == b"mine"


def test_two_trainings_do_not_share_a_folder(capsys: Captured) -> None:
    few = ["train", "--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "5", "--out", "run"]
    script = (
        "import sys\nfrom qlifq.training.run_folder import open_run\n"
        "with open_run('run', command='qlifq train'):\n    print('open', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        for force in ([], ["--force"]):
            assert "Folder run cannot be written: another run is being written to it" in refuse(capsys, *few, *force)
        # The lock goes with the process, however it ends.
        other.kill()
    assert main(few) == 0


def test_a_killed_run_goes_on_with_the_same_noise_and_record_alone(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrate(p01: float) -> None:
        options = ["--neurons", "6", "--shots", "512", "--noise", f"readout_p01={p01}", "--sampling", "law"]
        assert (
            main(["calibrate", *options, "--out", "record.json", *(["--force"] if Path("record.json").exists() else [])]) == 0
        )

    def save_and_stop(path: Path, identity: Mapping[str, object], content: Mapping[str, object]) -> None:
        save_checkpoint(path, identity, content)
        raise KeyboardInterrupt

    few = ["--samples", "40", "--steps", "2", "--epochs", "1", "--hidden", "6"]
    noisy = ["train", *few, "--backend", "aer", "--shots", "1", "--sampling", "law", "--out", "noisy"]
    twin = ["train", *few, "--backend", "twin", "--calibration", "record.json", "--out", "twin"]
    calibrate(0.02)
    for command in ([*noisy, "--noise", "readout_p01=0.01"], twin):
        with monkeypatch.context() as patched:
            patched.setattr("qlifq.training.loop.save_checkpoint", save_and_stop)
            assert main(command) == 130
    capsys.readouterr()
    assert "another training, whose noise was 'DeviceNoise(" in refuse(capsys, *noisy, "--noise", "readout_p01=0.4")
    record = Path("record.json").read_bytes()
    calibrate(0.2)
    capsys.readouterr()
    assert "another training, whose calibration was 'sha256 " in refuse(capsys, *twin)
    Path("record.json").write_bytes(record)
    assert main([*noisy, "--noise", "readout_p01=0.01"]) == 0
    assert main(twin) == 0
    report = Path("noisy/report.md").read_text(encoding="utf-8")
    for row in ("| noise | readout_p01=0.01 |", "| sampling | law |", "| shots | 1 |", "| calibration | none |"):
        assert row in report
    assert "| calibration | record.json, sha256 " in Path("twin/report.md").read_text(encoding="utf-8")


#: In batches of 61 two processes hold 30 and 31 images, whose spikes, noise and input are drawn.
SHARED = [
    *("train", "--samples", "300", "--hidden", "24,12", "--steps", "5", "--encoding", "poisson", "--gain", "4"),
    *("--param", "tau=1.5", "--param", "noise_std=0.1", "--epochs", "3", "--batch", "61", "--learning-rate", "0.01"),
    *("--validation", "0.1", "--seed", "5"),
]


def test_two_processes_write_one_run_with_the_losses_and_weights_of_one() -> None:
    assert main([*SHARED, "--out", "one"]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    program = [sys.executable, "-c", "import sys; from qlifq.cli import main; sys.exit(main(sys.argv[1:]))"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, *program, *SHARED, "--out", "two"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert "| processes | 2 |" in Path("two/report.md").read_text(encoding="utf-8")
    mine, its = (pd.read_csv(Path(folder, "epochs.csv")) for folder in ("one", "two"))
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        assert np.allclose(mine[name], its[name], rtol=1e-5), name
    weights, others = (load_run(folder).weights for folder in ("one", "two"))
    for name, value in weights.items():
        assert torch.allclose(value, others[name], rtol=1e-4, atol=1e-5), name
    # The test images are recognised as by one process, class by class.
    assert Path("one/classes.csv").read_bytes() == Path("two/classes.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dataset", "cifar"],
            "one of digits, mnist, fashion-mnist, kmnist, arrays, shd, nmnist, dvs128, series, mackey-glass, but is 'cifar'",
        ),
        (["--dataset", "mnist", "--data", "none"], "Argument `data` must be a folder of IDX files, but none is none"),
        (["--network", "rnn"], "Argument `network` must be one of mlp, conv"),
        (["--neuron", "lif"], "Argument `neuron` must be one of qlif, "),
        (["--hidden", "a"], "Option --hidden must be whole numbers with commas between them, but is 'a'"),
        (["--hidden", "0"], "Argument `hidden` must be at least 1, but is 0"),
        (["--param", "tau=0.5"], "Argument `tau` must be at least dt = 1, but is 0.5"),
        (["--patience", "3"], "Argument `patience` would be ignored: it needs validation above 0, but is 3"),
        (["--precision", "float16"], "Argument `precision` must be float32 or bfloat16 on cpu, but is 'float16'"),
        (["--device", "tpu"], "Argument `device` must be cpu, cuda or cuda:N, but is 'tpu'"),
        (["--backend", "nowhere"], "Unknown backend `nowhere`"),
        (
            ["--validation", "0.0001"],
            "Argument `validation` must leave at least 1 of 1442 samples for validation, but is 0.0001",
        ),
        (["--samples", "0"], "Argument `samples` must be at least 1 and at most 1442, but is 0"),
        (["--samples", "9999"], "Argument `samples` must be at least 1 and at most 1442, but is 9999"),
        (
            ["--network", "autoencoder", "--smoothing", "0.1"],
            "Argument `smoothing` would be ignored: a network that learns to give images back has no classes",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_and_leaves_nothing(
    capsys: Captured, arguments: list[str], message: str
) -> None:
    assert message in refuse(capsys, "train", *arguments)


def test_a_classical_network_that_cannot_be_built_is_found_before_anything_is_trained(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qlifq.training import experiment

    def matched(design: Design, neuron: str) -> Design:
        return replace(design, neuron=neuron, parameters={"quantum_leak": 0.1} if neuron == "classical-stochastic" else {})

    monkeypatch.setattr(experiment, "matched", matched)
    assert "Argument `quantum_leak` would be ignored" in refuse(capsys, "train", *SMALL, "--out", "none")


def test_what_cannot_be_evaluated_is_one_sentence(run: tuple[Path, str], tmp_path: Path, capsys: Captured) -> None:
    folder, _ = run
    assert "must be a run of `qlifq train`, but does not exist" in refuse(capsys, "evaluate", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "network.pt cannot be read: there is none" in refuse(capsys, "evaluate", "empty")
    assert "Argument `samples` must be at least 1 and at most 355, but is 356" in refuse(
        capsys, "evaluate", str(folder), "--samples", "356"
    )
    assert "Argument `data` would be ignored" in refuse(capsys, "evaluate", str(folder), "--data", "empty")
