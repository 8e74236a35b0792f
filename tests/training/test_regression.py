"""Numbers to predict: a network learns them, is killed and goes on, runs on Aer; its report claims what its intervals show."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LinearRegression

from qlifq.errors import ArgumentError, QLIFError, UnsupportedError
from qlifq.studies import read_run
from qlifq.training import (
    Dataset,
    Design,
    Epoch,
    Evaluation,
    RegressionExperiment,
    TrainingSettings,
    evaluate,
    forecasts,
    load_dataset,
    load_run,
    resolve_recipe,
    train,
    train_run,
)
from qlifq.training.checkpoint import load_checkpoint
from qlifq.training.regression.experiment import SeededNetwork
from qlifq.training.regression.linear import linear_model
from qlifq.training.regression.report import regression_report
from tests.cli.harness import Captured, refuse, succeed

FEW = ["--hidden", "6", "--steps", "3", "--epochs", "2", "--repeats", "2"]


def wave(length: int = 160) -> npt.NDArray[np.float64]:
    return np.asarray(np.sin(0.4 * np.arange(length))[:, None] * [1.0, 0.5])


def test_a_network_learns_what_a_linear_model_cannot() -> None:
    data = load_dataset("mackey-glass")
    design, settings = resolve_recipe("mlp", data, settings={"epochs": 6})
    assert (design.targets, design.task.name, settings.smoothing) == (1, "regression", 0.0)
    trained = train(design, data, settings)
    assert [epoch.accuracy for epoch in trained.history] == [None] * 6
    tested = evaluate(trained.network, design, data.test, seed=1)
    assert torch.allclose(tested.losses, (tested.predicted - data.test.labels).square().mean(dim=1))
    linear, numbers = linear_model(data.train, data.test)
    fitted = LinearRegression().fit(data.train.read(slice(None)).numpy(), data.train.labels[:, 0].numpy())
    expected = 1 - fitted.score(data.test.read(slice(None)).numpy(), data.test.labels[:, 0].numpy())
    # R² is 1 less the mean squared error over the variance, which is that of the test part there.
    assert linear.loss == pytest.approx(expected * float(data.test.labels.var(correction=0)), rel=1e-5)
    assert numbers == 5
    assert tested.loss < 0.25 * linear.loss


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("wave.npz", series=wave(), window=3, lag=2)
    return tmp_path / "wave.npz"


@pytest.mark.usefixtures("series")
def test_a_series_trains_from_one_command_is_killed_and_goes_on_and_runs_on_aer(capsys: Captured) -> None:
    command = ["train", "--task", "regression", "--data", "wave.npz", *FEW]
    out = succeed(capsys, *command, "--out", "whole")
    assert "data         wave, 123 samples to learn, 27 for the test\n" in out
    # Killed while the second seed of the classical network learns, between its epochs.
    script = (
        "import sys, os, signal, torch\nfrom qlifq.training import loop\nfrom qlifq.cli import main\ntorch.set_num_threads(1)\n"
        "inner = loop.save_checkpoint\n"
        "def save(path, *rest):\n"
        "    inner(path, *rest)\n"
        "    if path.name == 'classical-1.pt': os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop.save_checkpoint = save\nsys.exit(main(sys.argv[1:]))\n"
    )
    killed = [*command, "--out", "killed"]
    done = subprocess.run([sys.executable, "-c", script, *killed], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    files = ["classical-1.pt", "classical.pt", "network-1.pt", "network.pt"]
    assert sorted(path.name for path in Path("killed").glob("*.pt")) == files
    assert load_checkpoint("killed/classical-1.pt")["finished"] is False
    begun = Path("killed/network-1.pt").stat().st_mtime_ns
    succeed(capsys, *killed)
    assert Path("killed/network-1.pt").stat().st_mtime_ns == begun
    for name in files:
        mine, its = (load_checkpoint(Path(folder) / name)["network"] for folder in ("whole", "killed"))
        assert all(torch.equal(value, its[key]) for key, value in mine.items())
    whole, other = (read_run(folder).tables for folder in ("whole", "killed"))
    pd.testing.assert_frame_equal(whole["models"], other["models"])
    pd.testing.assert_frame_equal(whole["forecasts"], other["forecasts"])
    # What is forecast stands in the table of the folder, in the order of the series.
    assert len(whole["forecasts"]) == 27 * 2
    assert np.allclose(whole["forecasts"]["to predict"], load_run("whole").data().test.labels.flatten(), atol=1e-6)
    assert {path.name for path in Path("whole").glob("*.png")} == {"curves.png", "forecasts.png", "seeds.png"}
    succeed(capsys, "evaluate", "whole", "--shots", "20", "--samples", "20", "--out", "there")
    report = Path("there/report.md").read_text(encoding="utf-8")
    assert re.search(r"aer, 20 shots: an NRMSE of [\d.]+ \(", report)
    assert list(pd.read_csv("there/backends.csv")["run on"])[1].startswith("aer, 20 shots")
    assert (Path("there") / "forecasts.png").stat().st_size > 5000
    # With more seeds, those that are there are taken as they are.
    assert "holds an earlier run" in refuse(capsys, *command, "--out", "whole")


@pytest.mark.usefixtures("series")
def test_what_does_not_go_with_numbers_to_predict_is_one_sentence(capsys: Captured) -> None:
    regression = ["train", "--task", "regression", "--data", "wave.npz"]
    for arguments, message in (
        (["train", "--repeats", "3"], "Argument `repeats` would be ignored: it is for numbers to predict, but it is 3"),
        ([*regression, "--repeats", "1"], "Argument `repeats` must be at least 2 and at most 20, but is 1"),
        ([*regression, "--smoothing", "0.1"], "`smoothing` would be ignored: a network that learns to predict numbers has no"),
        ([*regression, "--network", "autoencoder"], "`targets` would be ignored: network autoencoder predicts no numbers"),
        ([*regression, "--network", "paper"], "`targets` would be ignored: network paper predicts no numbers"),
        ([*regression, "--network", "conv"], "must have at least 4 rows and columns for network conv, but is 3 × 2"),
        (["train", "--task", "forecast"], "Argument `task` must be one of classification, regression, but is 'forecast'"),
        (["train", "--task", "regression", "--dataset", "digits"], "must be classification for data set digits"),
        (["train", "--dataset", "series"], "Argument `data` must be a .npz file with a series, but is None"),
    ):
        assert message in refuse(capsys, *arguments)
    data = forecasts("wave", wave(), window=3, source="made here")
    with pytest.raises(ArgumentError, match="Argument `targets` must be 2, as many as the data have, but is 1"):
        train(Design(network="mlp", picture=(3, 2), targets=1, hidden=(4,), steps=2), data, SETTINGS)
    with pytest.raises(UnsupportedError, match="`targets` would be ignored: there are 3 classes, but it is 1"):
        Design(network="mlp", picture=(3, 2), targets=1, classes=3, hidden=(4,), steps=2)


@pytest.mark.skipif(not os.environ.get("QLIFQ_LONG_TESTS"), reason="ten networks learn in `make long`")
def test_mackey_and_glass_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The error of one training is 0.098, and 0.094 of the classical network, within about 0.01 over seeds."""
    monkeypatch.chdir(tmp_path)
    succeed(capsys, "train", "--task", "regression", "--out", "run")
    models = read_run("run").tables["models"].set_index("model")
    for name in ("QLIF, mapping sigmoid", "classical LIF, deterministic"):
        assert models.loc[name]["nrmse_high"] < 0.15
    assert models.loc["linear model"]["nrmse"] == pytest.approx(0.4376, abs=1e-3)
    assert models.loc["linear model"]["ahead_by_high"] < -0.25
    succeed(capsys, "evaluate", "run", "--sampling", "law", "--out", "there")
    assert read_run("there").tables["backends"]["nrmse_high"].max() < 0.15


SETTINGS = TrainingSettings(epochs=1, batch=16, learning_rate=1e-2, seed=4)


def test_from_python_a_regression_is_trained_with_seeds_that_follow(tmp_path: Path) -> None:
    data = forecasts("wave", wave(), window=3, source="made here")
    design = Design(network="mlp", picture=(3, 2), targets=2, hidden=(4,), steps=2)
    run = train_run(design, data, SETTINGS, tmp_path / "run", repeats=3)
    assert isinstance(run.experiment, RegressionExperiment)
    for network in run.experiment.networks:
        assert network.seeds == (4, 5, 6)
        for number, seed in enumerate(network.seeds):
            alone = train(network.design, data, replace(SETTINGS, seed=seed))
            tested = evaluate(alone.network, network.design, data.test, seed=1 + number)
            assert torch.equal(tested.losses, network.tested[number].losses)
    assert sorted(os.listdir(tmp_path / "run" / "events")) == ["classical", "qlif"]
    assert json.loads((tmp_path / "run" / "summary.json").read_bytes())["setup"]["seeds"] == "4, 5, 6"


def answers(data: Dataset, loss: float) -> Evaluation:
    return Evaluation(data.test.labels, data.test.labels, torch.full((4,), loss, dtype=torch.float64), (0.1,), 1.0)


def made(data: Dataset, first: list[float], second: list[float], linear: float) -> RegressionExperiment:
    """Two networks with these errors, one for each seed."""
    design = Design(network="mlp", picture=(3, 2), targets=2, hidden=(4,), steps=2)
    networks = [
        SeededNetwork(
            replace(design, neuron=neuron),
            tuple(range(len(errors))),
            30,
            ((Epoch(1, 0.5, None, None, None, 1.0),),) * len(errors),
            tuple(answers(data, error**2) for error in errors),
        )
        for neuron, errors in (("qlif", first), ("classical", second))
    ]
    return RegressionExperiment(data, SETTINGS, tuple(networks), answers(data, linear**2), 7, "analytic, exact", "exact")


@pytest.mark.parametrize(
    ("first", "second", "linear", "verdicts"),
    [
        ([0.10, 0.11, 0.12], [0.20, 0.21, 0.22], 0.11, ("ahead of", "no difference")),
        ([0.10, 0.11, 0.12], [0.10, 0.12, 0.11], 0.90, ("no difference", "ahead of")),
        ([0.30, 0.31, 0.32], [0.10, 0.11, 0.13], 0.05, ("behind", "behind")),
        # The mean is lower, but five seeds do not show it.
        ([0.10, 0.13, 0.09, 0.14, 0.10], [0.12, 0.13, 0.12, 0.12, 0.13], 0.12, ("no difference", "no difference")),
    ],
)
def test_a_report_claims_what_its_intervals_show_and_no_more(
    first: list[float], second: list[float], linear: float, verdicts: tuple[str, str]
) -> None:
    data = forecasts("wave", wave(), window=3, source="made here")
    report = regression_report(made(data, first, second, linear), {})
    beside = [sentence for sentence in report.findings if "over these seeds" in sentence or "these seeds show" in sentence]
    assert all(verdict in sentence for verdict, sentence in zip(verdicts, beside, strict=True)), beside
    models = report.tables()["models"].set_index("model")
    low, high = stats.t.interval(0.99, len(first) - 1, np.mean(first), stats.sem(first))
    row = models.loc["QLIF, mapping sigmoid"]
    assert np.allclose(row[["nrmse", "nrmse_low", "nrmse_high"]].astype(float), [np.mean(first), low, high])
    differences = np.subtract(first, second)
    low, high = stats.t.interval(0.99, len(first) - 1, differences.mean(), stats.sem(differences))
    row = models.loc["classical LIF, deterministic"]
    assert np.allclose(row[["ahead_by_low", "ahead_by_high"]].astype(float), [low, high])
    assert models.loc["linear model"]["nrmse"] == pytest.approx(linear)
    assert str(len(first)) in report.uncertainty


def test_a_design_of_a_regression_survives_json_values() -> None:
    design = Design(network="mlp", picture=(3, 2), targets=2, hidden=(4,), steps=2)
    assert Design.from_dict(json.loads(json.dumps(design.to_dict()))) == design
    with pytest.raises(QLIFError, match="Argument `classes` must be at least 2, but is 0"):
        replace(design, targets=0)
