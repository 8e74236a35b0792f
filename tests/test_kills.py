"""Commands that are killed while they write end when they are started again; `python -m benchmarks.kills` does it at length."""

import random
import signal
from pathlib import Path

import pytest

from qlifq._run_folder import RunFolder
from tests import kills
from tests.kills import Command, run_trial, undisturbed

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs fork and signals")

SIMULATE = Command("simulate", ("simulate", "--samples", "1", "--steps", "10", "--out", "run"))


def marker_last() -> None:
    """The fault that stood: nothing tells that a run is unfinished."""
    inner = RunFolder._mark

    def mark(self: RunFolder, facts: object, *, finished: bool) -> None:
        if finished:
            inner(self, facts, finished=finished)  # type: ignore[arg-type]

    RunFolder._mark = mark  # type: ignore[method-assign]


@pytest.mark.parametrize("planted", [False, True])
def test_a_simulation_that_is_killed_while_it_writes_is_ended_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: bool
) -> None:
    kills.warm()
    expected = undisturbed(SIMULATE, tmp_path / "undisturbed")
    # The moment is that of the first result, and not by chance: nothing is drawn yet.
    watched = Command(SIMULATE.name, SIMULATE.arguments, "run/spikes.npz")
    late = kills.Undisturbed(expected.seconds, expected.seconds, expected.results)
    chance = random.Random(1)
    monkeypatch.setattr(chance, "random", lambda: 1.0)
    trial = run_trial(watched, late, tmp_path / "trial", chance, kills=2, plant=marker_last if planted else None)
    assert trial.kills
    assert (trial.code, trial.same) == ((2, False) if planted else (0, True))


def test_a_training_that_is_killed_at_random_is_ended_by_the_same_command(tmp_path: Path) -> None:
    kills.warm()
    small = ("train", "--samples", "30", "--hidden", "4", "--steps", "3", "--epochs", "2", "--batch", "15")
    command = Command("train", (*small, "--checkpoint-seconds", "0", "--out", "run"))
    expected = undisturbed(command, tmp_path / "undisturbed")
    trial = run_trial(command, expected, tmp_path / "trial", random.Random(3), kills=2)
    assert (trial.code, trial.same) == (0, True)
