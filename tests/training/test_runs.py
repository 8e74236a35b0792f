"""What `qlifq train` and `qlifq evaluate` do, from Python: a run is trained, read back, and evaluated on other backends.

The run is one of a data set and a kind of network that are registered here, one row each, and nowhere else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from qlifq.backends import DeviceNoise, get
from qlifq.calibration import fit
from qlifq.errors import ArgumentError, FileError, FileFormatError, UnsupportedError
from qlifq.reporting.intervals import Interval
from qlifq.reporting.report import records, write_report
from qlifq.studies import read_run, summarise_run
from qlifq.training import (
    DATASETS,
    NETWORKS,
    Dataset,
    DatasetKind,
    Experiment,
    LabelledImages,
    TrainingRun,
    TrainingSettings,
    evaluate,
    evaluate_run,
    load_dataset,
    load_run,
    plan_evaluation,
    resolve_recipe,
    train_run,
)
from qlifq.training.checkpoint import load_checkpoint, save_checkpoint
from qlifq.training.networks import NetworkKind, Recipe
from qlifq.training.networks.kinds import Body, Builder


@dataclass(frozen=True, kw_only=True)
class Centred(NetworkKind):
    """A layer whose weights see the mean of every row of the image."""

    def body(self, builder: Builder) -> Body:
        (size,) = builder.sizes
        rows, columns = builder.picture

        def weights(outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Unflatten(1, (rows, columns)), nn.AvgPool1d(columns), nn.Flatten(), nn.Linear(rows, outputs)
            )

        return Body([builder.hidden(weights, size, size)], [], size)


class Bars(DatasetKind):
    """Images of 4 × 4 pixels with one bright row, which is their class."""

    description = "one bright row of four"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        labels = torch.arange(60) % 4
        noise = 0.2 * torch.rand(60, 4, 4, generator=torch.Generator().manual_seed(11))
        images = (noise + 0.8 * nn.functional.one_hot(labels, 4)[:, :, None]).flatten(1)
        parts = LabelledImages(images[:40], labels[:40]), LabelledImages(images[40:], labels[40:])
        return Dataset("bars", *parts, picture=(4, 4), source="made here")


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    recipe = Recipe({"hidden": (9,), "steps": 4, "gain": 6.0}, {"epochs": 2, "batch": 8, "learning_rate": 0.05})
    with pytest.MonkeyPatch.context() as patch:
        # They go again with the module: other tests list what qlifq brings.
        for registry in (DATASETS, NETWORKS):
            patch.setattr(registry, "_rows", dict(registry))
        DATASETS.register("bars", Bars())
        NETWORKS.register("centred", Centred(recipe=recipe, layers=1))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, _registered: None) -> TrainingRun:
    data = load_dataset("bars")
    design, settings = resolve_recipe("centred", data, settings={"validation": 0.25, "patience": 2, "seed": 13})
    begun: list[Path] = []
    run = train_run(design, data, settings, tmp_path_factory.mktemp("runs") / "bars", begun=begun.append)
    assert begun == [run.folder]
    return run


def test_a_run_is_read_back_with_what_it_was_and_what_it_found(trained: TrainingRun) -> None:
    assert isinstance(trained.experiment, Experiment)
    network = trained.experiment.contenders[0]
    run = load_run(trained.folder)
    assert (run.design, run.settings, run.history) == (network.design, trained.experiment.settings, network.history)
    assert run.settings == TrainingSettings(epochs=2, batch=8, learning_rate=0.05, validation=0.25, patience=2, seed=13)
    assert run.report is not None
    assert all(sentence in run.report for sentence in trained.report.findings)
    # The weights are those that were tested: with the seed of that test they give its answers.
    tested = evaluate(run.network(), run.design, run.data().test, seed=1)
    assert torch.equal(tested.predicted, network.tested.predicted)
    assert torch.equal(tested.losses, network.tested.losses)
    saved = read_run(trained.folder)
    assert saved.report == run.report
    assert saved.tables["networks"]["parameters"][0] == run.network().parameter_count() == 4 * 9 + 9 + 9 * 4 + 4
    assert saved.tables["epochs"]["number"].tolist() == [1, 2] * 3
    assert (saved.summary["setup"]["shots"], saved.summary["setup"]["seed"]) == ("exact", 13)
    results = summarise_run(trained.folder).results
    assert list(results) == ["accuracy", *(f"accuracy of classical LIF, {kind}" for kind in ("deterministic", "stochastic"))]
    assert results["accuracy"] == Interval.of(records(saved.tables["networks"])[0], "accuracy")


def test_an_unfinished_or_changed_run_is_refused(trained: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="must be a run of `qlifq train`, but does not exist"):
        load_run(tmp_path / "none")
    content = load_checkpoint(trained.folder / "network.pt")
    identity = content.pop("identity")
    save_checkpoint(tmp_path / "network.pt", identity, content | {"finished": False})
    with pytest.raises(FileError, match="must hold a finished training"):
        load_run(tmp_path)
    save_checkpoint(tmp_path / "network.pt", identity | {"fingerprint": "another"}, content)
    with pytest.raises(FileFormatError, match="Data set bars must be the one of the run, but its samples or labels are others"):
        load_run(tmp_path).data()
    assert load_run(tmp_path).report is None
    weights = {name: value[..., :-1] for name, value in content["best"].items()}
    save_checkpoint(tmp_path / "network.pt", identity, content | {"best": weights})
    with pytest.raises(FileFormatError, match="does not hold the weights of its own design"):
        load_run(tmp_path).network()


def test_a_finished_run_is_trained_again_by_force_alone(trained: TrainingRun) -> None:
    experiment = trained.experiment
    assert isinstance(experiment, Experiment)
    contender = experiment.contenders[0]
    with pytest.raises(FileError, match="holds an earlier run, which only --force overwrites"):
        train_run(contender.design, experiment.data, experiment.settings, trained.folder)


def test_a_run_is_evaluated_on_another_backend_and_the_report_is_that_of_a_study(trained: TrainingRun, tmp_path: Path) -> None:
    plan = plan_evaluation(trained.folder, get("reference"), samples=10, batch=4, seed=5)
    assert (plan.source, plan.cost().evaluations) == ("reference, exact", 10 * 4 * 9)
    result = evaluate_run(trained.folder, get("reference"), samples=10, batch=4, seed=5)
    here, there = result.answers
    # Drawn with the same numbers from probabilities that agree to rounding.
    assert torch.equal(here.tested.predicted, there.tested.predicted)
    assert (here.where, there.where, there.evaluations) == ("analytic, exact", "reference, exact", 360)
    saved = read_run(write_report(tmp_path / "run", result.report, command="evaluate_run"))
    assert saved.tables["backends"]["run on"].tolist() == ["analytic, exact", "reference, exact"]
    assert list(summarise_run(saved.folder).results) == ["accuracy", "accuracy of analytic, exact"]
    assert saved.summary["setup"] == {
        "run": str(trained.folder),
        "backend": "reference",
        "shots": "exact",
        "test samples": 10,
        "batch": 4,
        "seed": 5,
    }


def test_a_calibration_corrects_the_network_that_is_evaluated(trained: TrainingRun) -> None:
    noisy = get("analytic", noise=DeviceNoise(readout_p01=0.03, readout_p10=0.2))
    run = load_run(trained.folder)
    measured = evaluate_run(run, noisy, shots=1, calibrate=600, samples=8)
    (correction,) = measured.corrections
    assert correction.q_scale.shape == (9,)
    assert [answer.where.endswith("calibrated") for answer in measured.answers] == [False, False, True]
    record = fit(noisy, neurons=9, shots=600, seed=2)
    recorded = plan_evaluation(run, noisy, shots=1, calibration=[record])
    assert len(recorded.corrections) == 1
    with pytest.raises(UnsupportedError, match="Argument `calibrate` would be ignored: `calibration` is given, but it is 7"):
        plan_evaluation(run, noisy, shots=1, calibration=[record], calibrate=7)
    for given, said in (
        ({"samples": 21}, "`samples` must be at least 1 and at most 20, but is 21"),
        ({"batch": 0}, "`batch` must be at least 1, but is 0"),
        ({"seed": -3}, "`seed` must be at least 0"),
    ):
        with pytest.raises(ArgumentError, match=said):
            plan_evaluation(run, noisy, **given)  # type: ignore[arg-type]


def test_a_data_set_and_a_network_of_one_s_own_work_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from qlifq.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dataset", "bars", "--network", "centred", "--epochs", "1", "--out", "run"]) == 0
    assert "data         bars, 40 images to learn, 20 for the test\nrun on       analytic, exact\n" in capsys.readouterr().out
    assert json.loads(Path("run/summary.json").read_bytes())["setup"]["network"].startswith("centred, hidden 9, ")
    assert main(["evaluate", "run", "--backend", "reference", "--samples", "6", "--out", "there"]) == 0
    assert "network      centred, qlif, hidden 9, 4 steps\nrun on       reference, exact\n" in capsys.readouterr().out
