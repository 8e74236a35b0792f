"""Commands that are killed while they write end when they are started again; `python -m benchmarks.kills` does it at length."""

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from qlifq.reporting.run_folder import RunFolder
from qlifq.studies import run_folder as simulation_folder
from tests import kills
from tests.kills import Command, end, run_trial, start, undisturbed

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
