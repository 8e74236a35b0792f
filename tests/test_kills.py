"""Commands that are killed while they write end when they are started again; `python -m benchmarks.kills` does it at length."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from qlifq.cli import main
from qlifq.reporting.run_folder import RunFolder
from qlifq.studies import run_folder as simulation_folder
from qlifq.training import Dataset, evaluate_run, from_torch, load_run, resolve_recipe, train, train_run
from tests import kills
from tests.kills import Command, end, run_trial, start, undisturbed
from tests.training.data_files import write_spikes

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork and signals")

SIMULATE = Command("simulate", ("simulate", "--samples", "1", "--steps", "10", "--out", "run"))


def marker_last() -> None:
    """An earlier fault: nothing says that a run is unfinished."""
    inner = RunFolder._mark

    def mark(self: RunFolder, facts: object, *, finished: bool) -> None:
        if finished:
            inner(self, facts, finished=finished)  # type: ignore[arg-type]

    RunFolder._mark = mark  # type: ignore[method-assign]


def killed_while_it_draws() -> None:
    """The results are written then, and the run is not finished."""
    module: Any = simulation_folder
    module.simulation_figure = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("planted", [False, True])
def test_a_simulation_that_is_killed_while_it_draws_is_ended_by_the_same_command(tmp_path: Path, planted: bool) -> None:
    def killed() -> None:
        killed_while_it_draws()
        if planted:
            marker_last()

    kills.warm()
    expected = undisturbed(SIMULATE, tmp_path / "undisturbed")
    (tmp_path / "killed").mkdir()
    assert end(start(SIMULATE.arguments, tmp_path / "killed", killed)) == -signal.SIGKILL
    code = end(start(SIMULATE.arguments, tmp_path / "killed"))
    same = kills.same(expected.results, kills.results_of(tmp_path / "killed"))
    assert (code, same) == ((2, False) if planted else (0, True))


def test_a_training_that_is_killed_at_random_is_ended_by_the_same_command(tmp_path: Path) -> None:
    kills.warm()
    small = ("train", "--samples", "30", "--hidden", "4", "--steps", "3", "--epochs", "2", "--batch", "15")
    command = Command("train", (*small, "--checkpoint-seconds", "0", "--out", "run"))
    expected = undisturbed(command, tmp_path / "undisturbed")
    trial = run_trial(command, expected, tmp_path / "trial", random.Random(3), kills=2)
    assert (trial.code, trial.same) == (0, True)


SETTINGS = ("--hidden", "4", "--epochs", "2", "--checkpoint-seconds", "0", "--out", "run")


def of_pytorch() -> Dataset:
    """A thousand currents of 3 steps and 5 neurons; the largest mean is the class."""
    currents = torch.rand((1000, 3, 5), generator=torch.Generator().manual_seed(3)) * 6
    return from_torch(TensorDataset(currents, currents.mean(dim=1).argmax(dim=1)), in_time=True)


def trained_in_python() -> None:
    """What a user writes for a data set of PyTorch."""
    data = of_pytorch()
    design, settings = resolve_recipe("mlp", data, {"hidden": (4,)}, {"epochs": 2})
    train_run(design, data, settings, "run", checkpoint_seconds=0)
    os._exit(0)


def killed_when(condition: Callable[[str, int], bool]) -> None:
    """A kill that nothing notices comes when a checkpoint is written of which this is true: its name and its number."""
    from qlifq.training import loop

    module: Any = loop
    inner, written = module.save_checkpoint, []

    def save(path: Path, *rest: Any) -> None:
        inner(path, *rest)
        written.append(path)
        if condition(path.name, len(written)):
            os.kill(os.getpid(), signal.SIGKILL)

    module.save_checkpoint = save


@pytest.mark.parametrize("kind", ["npz", "h5", "torch"])
def test_a_training_on_one_s_own_data_goes_on_after_kills_and_is_evaluated_on_circuits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The others are trained to their reports in the guide, and killed here when their own network is done."""
    kills.warm()
    place = tmp_path / "trial"
    place.mkdir()
    monkeypatch.chdir(place)
    if kind == "npz":
        pictures = np.random.default_rng(2).random((1000, 2, 3))
        np.savez(tmp_path / "own.npz", x=pictures, y=pictures.reshape(1000, 6).argmax(axis=1))
    elif kind == "h5":
        write_spikes(tmp_path / "own.h5", 100)
    command = () if kind == "torch" else ("train", "--data", f"../own.{kind}", "--steps", "3", *SETTINGS)

    def started(condition: Callable[[str, int], bool]) -> int:
        def plant() -> None:
            killed_when(condition)
            if kind == "torch":
                trained_in_python()

        return end(start(command, place, plant))

    def done(name: str, _: int) -> bool:
        return kind != "h5" and name == "classical.pt"

    # Twice within the first network.
    assert [started(lambda _, number: number == 2) for _ in range(2)] == [-signal.SIGKILL] * 2
    assert started(done) == (0 if kind == "h5" else -signal.SIGKILL)
    run = load_run("run")
    data = run.data(of_pytorch() if kind == "torch" else None)
    undisturbed_weights = train(run.design, data, run.settings).network.state_dict()
    assert all(torch.equal(value, undisturbed_weights[name]) for name, value in run.weights.items())
    if kind == "h5":
        assert main(["evaluate", "run", "--samples", "20", "--out", "there"]) == 0
    exact, circuits = evaluate_run(run, "aer", samples=20, data=of_pytorch() if kind == "torch" else None).answers
    assert circuits.where == "aer, 1 shot"
    # Spikes are drawn anew: 20 samples whose accuracy differs by 19 and more would be no accident.
    assert abs(int(exact.tested.correct.sum()) - int(circuits.tested.correct.sum())) < 19
