"""Commands that are killed at random moments and started again, until they end: the harness of `benchmarks.kills`.

A command runs in a fork of this process, which has imported what it needs, so that a start costs no seconds. Half of the
kills fall anywhere in the time that an undisturbed run takes, half of them while files are being written.
"""

import importlib
import json
import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from qlifq._files import is_temporary
from qlifq.cli import main
from qlifq.training.checkpoint import load_checkpoint

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
#: Where `evaluate` finds its network, beside the folders of the trials.
TRAINED = "trained"
#: Longer than any of the commands takes.
_PATIENCE = 300.0


@dataclass(frozen=True)
class Command:
    """A command that leaves files.

    Args:
        name: what the table calls it.
        arguments: of the command line, run in a folder of its own.
        marker: the file that it writes first.
    """

    name: str
    arguments: tuple[str, ...]
    marker: str = "run/summary.json"


_SMALL = ("--samples", "60", "--hidden", "6", "--steps", "4", "--epochs", "2")
TRAIN = ("train", *_SMALL, "--checkpoint-seconds", "0", "--out")
COMMANDS = (
    Command("simulate", ("simulate", "--samples", "2", "--steps", "30", "--shots", "2", "--out", "run")),
    Command("simulate --mode replay", ("simulate", "--samples", "1", "--steps", "20", "--mode", "replay", "--out", "run")),
    Command("calibrate", ("calibrate", "--neurons", "4", "--shots", "500", "--out", "cal.json"), "cal.json.unfinished"),
    Command("compare shot-noise --quick", ("compare", "shot-noise", "--quick", "--shots", "1,10,100", "--out", "run")),
    Command("evaluate", ("evaluate", f"../{TRAINED}", "--samples", "40", "--out", "run")),
    Command("train", (*TRAIN, "run")),
)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed.

    Args:
        seconds: how long it took.
        writing: after how many of them its marker was there.
        results: what it left, see `results_of`.
    """

    seconds: float
    writing: float
    results: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """A command that was killed, and started again.

    Args:
        kills: how often it was killed before it ended.
        writing: how many of these kills found a marker that was not there, or not finished, before.
        code: with which it ended at last, when nobody killed it.
        same: whether it left what an undisturbed run leaves.
    """

    kills: int
    writing: int
    code: int
    same: bool


def warm() -> None:
    """Import what the commands need, so that no fork has to."""
    for module in (
        "matplotlib.style",
        "matplotlib.backends.backend_agg",
        "qlifq.backends.aer.backend",
        "qlifq.studies.calibration_check",
        "qlifq.studies.replay",
        "qlifq.studies.shot_noise.report",
        "qlifq.training.cross_backend",
        "qlifq.training.run_folder",
        "scipy.stats",
        "sklearn.datasets",
        "torch.utils.tensorboard",
    ):
        importlib.import_module(module)


def start(arguments: Sequence[str], folder: Path, plant: Callable[[], object] | None = None) -> int:
    """Run a command in a fork; returns its process.

    Args:
        arguments: of the command line.
        folder: where.
        plant: called in the fork first, to break something there.
    """
    with warnings.catch_warnings():
        # Threads of libraries that this process has loaded, and not used, do not matter to the fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open("../log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        if plant is not None:
            plant()
        code = main(arguments)
    except KeyboardInterrupt:
        code = 130
    finally:
        os._exit(code)


def end(process: int) -> int:
    """Wait for a process; its exit code, or less than 0 for the signal that ended it."""
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -int(signal.SIGALRM)


def undisturbed(command: Command, folder: Path) -> Undisturbed:
    """Run a command to its end, and note when it begins to write."""
    folder.mkdir()
    process, begun, writing = start(command.arguments, folder), time.monotonic(), None
    while writing is None and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if (folder / command.marker).exists():
            writing = time.monotonic() - begun
        time.sleep(0.0005)
    code = end(process)
    seconds = time.monotonic() - begun
    if code or writing is None:
        raise RuntimeError(f"{command.name} ended with {code}: {(folder.parent / 'log').read_text()[-2000:]}")
    return Undisturbed(seconds, writing, results_of(folder))


def run_trial(
    command: Command,
    expected: Undisturbed,
    folder: Path,
    chance: random.Random,
    *,
    kills: int,
    plant: Callable[[], object] | None = None,
) -> Trial:
    """Kill a command, start it again, up to `kills` times or until it has ended; then let it end.

    Args:
        command: the command.
        expected: an undisturbed run of it.
        folder: a new folder for it.
        chance: chooses moments and signals.
        kills: how often at most.
        plant: as for `start`.
    """
    folder.mkdir()
    killed = writing = 0
    code = None
    while killed < kills and code is None:
        process = start(command.arguments, folder, plant)
        if chance.random() < 0.5:
            _sleep(process, chance.uniform(0.0, expected.seconds))
        else:
            _sleep(process, _PATIENCE, until=folder / command.marker)
            _sleep(process, chance.uniform(0.0, expected.seconds - expected.writing))
        os.kill(process, chance.choice(SIGNALS))
        ended = end(process)
        if ended in {0, 2}:
            # The kill came too late, or the start was refused.
            code = ended
        else:
            killed += 1
            writing += (folder / command.marker).exists()
            if _finished(command, folder):
                # All was written, and the process alone had not ended; started again it would refuse to do it twice.
                code = 0
    if code is None:
        code = end(start(command.arguments, folder, plant))
    return Trial(killed, writing, code, code == 0 and same(expected.results, results_of(folder)))


def _finished(command: Command, folder: Path) -> bool:
    """Whether all that a command writes is there."""
    marker = folder / command.marker
    if marker.exists():
        return bool(json.loads(marker.read_bytes())["finished"])
    # The marker of a record goes when it is finished.
    return any(path.suffix == ".json" for path in folder.iterdir())


def _sleep(process: int, seconds: float, until: Path | None = None) -> None:
    """Wait for some time, or till a file is there that was not there, or the process has ended."""
    before = until is not None and until.exists()
    deadline = time.monotonic() + (0.0 if before else seconds)
    while time.monotonic() < deadline and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if until is not None and until.exists():
            return
        time.sleep(0.0005)


def results_of(folder: Path) -> dict[str, Any]:
    """What a run left, by file name, without what another run of the same command has otherwise: times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or "events" in path.parts:
            continue
        if is_temporary(path):
            found[name] = "left behind"
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {key: arrays[key] for key in arrays}
        elif path.suffix == ".csv":
            table = pd.read_csv(path)
            timed = [column for column in table.columns if "seconds" in column]
            found[name] = table.drop(columns=timed).to_csv()
        elif path.suffix == ".pt":
            found[name] = dict(load_checkpoint(path)["network"])
        elif path.name == "summary.json":
            facts = json.loads(path.read_bytes())
            found[name] = {key: facts.get(key) for key in ("finished", "files", "setup", "firing_rate", "seed")}
        elif path.suffix == ".json":
            found[name] = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "time_utc"}
        else:
            # Pictures and text tell times.
            found[name] = path.read_bytes()[:4]
    return found


def same(mine: Any, its: Any) -> bool:
    """Whether two results are equal, bit for bit."""
    if isinstance(mine, dict) and isinstance(its, dict):
        return mine.keys() == its.keys() and all(same(value, its[key]) for key, value in mine.items())
    if isinstance(mine, torch.Tensor):
        return torch.equal(mine, its)
    if isinstance(mine, np.ndarray):
        return bool(np.array_equal(mine, its))
    return bool(mine == its)
