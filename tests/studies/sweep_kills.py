"""Sweeps that are killed, in a process of their own, which has no threads yet: `python -m tests.studies.sweep_kills FOLDER`.

It prints one JSON object for `test_sweep.py`. Every sweep runs in a fork, so that a start costs no imports.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qlifq.reporting.intervals import proportion
from qlifq.reporting.report import Report, report_contents
from qlifq.reporting.run_folder import MARKER
from qlifq.studies import run_sweep, summarise_run
from qlifq.training import Design, TrainingSettings, evaluate, load_dataset, train
from qlifq.training.experiment import CHECKPOINT
from qlifq.training.run_folder import open_run

AXES: dict[str, list[float]] = {"seed": [0, 1, 2], "learning-rate": [0.01, 0.05], "tau": [1.5, 4.0]}
KILLS = 3
#: Longer than any of the sweeps takes.
PATIENCE = 120.0


def point(values: Mapping[str, Any], folder: Path) -> None:
    """A training with a checkpoint after every step, and no figures."""
    data = load_dataset("digits").first(60)
    design = Design(
        network="mlp", picture=(8, 8), classes=10, hidden=(12,), steps=4, gain=2.0, parameters={"tau": values["tau"]}
    )
    settings = TrainingSettings(epochs=2, batch=20, learning_rate=values["learning-rate"], seed=values["seed"])
    with open_run(folder, command="point") as run:
        trained = train(design, data, settings, checkpoint=folder / CHECKPOINT, checkpoint_seconds=0.0)
        correct = evaluate(trained.network, design, data.test, seed=1).correct
        results = {"accuracy": proportion(correct.numpy())}
        report = Report("Point", "?", [], "None.", values, [], "analytic, exact", results=results)
        run.write(report_contents(report, "point"))


def start(act: Callable[[], object]) -> int:
    """Act in a fork, the first of a group of its own; returns its process."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()
        act()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def sweep(folder: Path, scheduler: str | None) -> int:
    """Start a sweep with two workers; returns its process."""
    workers = 2 if scheduler is None else None
    return start(partial(run_sweep, point, AXES, folder, workers=workers, scheduler=scheduler))


def ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.001)


def far_enough(process: int, folder: Path, least: int) -> bool:
    return len(finished(folder)) >= least or ended(process)


def finished(folder: Path) -> dict[str, int]:
    """When the last word of each finished point was written, by its folder."""
    markers = [marker for marker in folder.glob(f"*/{MARKER}") if summarise_run(marker.parent).finished]
    return {marker.parent.name: marker.stat().st_mtime_ns for marker in markers}


def killed_sweep(folder: Path, scheduler: str | None, chance: random.Random) -> dict[str, object]:
    """A sweep that is killed at three random moments, and then ends."""
    kept: dict[str, int] = {}
    for least in sorted(chance.sample(range(1, 10), KILLS)):
        process = sweep(folder, scheduler)
        wait(partial(far_enough, process, folder, least))
        time.sleep(chance.uniform(0.0, 0.05))
        if ended(process):
            os.waitpid(process, 0)
            return {"late": True}
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        kept |= finished(folder)
    process = sweep(folder, scheduler)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    now = finished(folder)
    return {
        "late": False,
        "code": code,
        "table": (folder / "points.csv").read_text(),
        "kept": len(kept),
        "same": all(now[name] == when for name, when in kept.items()),
        "left": sorted(path.name for path in folder.iterdir() if path.is_file()),
    }


def undisturbed(folder: Path) -> str:
    """The table of a sweep that nobody kills, in this process."""
    process = sweep(folder, None)
    os.waitpid(process, 0)
    return (folder / "points.csv").read_text()


def orphans(folder: Path) -> int:
    """How many workers are left when the process alone is killed that gives out the points."""
    psutil: Any = importlib.import_module("psutil")
    process = sweep(folder, None)
    wait(lambda: len(psutil.Process(process).children()) == 2)
    workers = psutil.Process(process).children()
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    _, alive = psutil.wait_procs(workers, timeout=10)
    return sum(worker.status() != psutil.STATUS_ZOMBIE for worker in alive if worker.is_running())


def cluster(address: Path) -> None:
    """Two workers of Dask, until the process is killed or its parent ends; their address goes to a file."""
    from distributed import LocalCluster

    parent = os.getppid()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None
    ) as found:
        address.with_suffix(".new").write_text(found.scheduler_address)
        address.with_suffix(".new").rename(address)
        while os.getppid() == parent:
            time.sleep(0.1)


def in_time(act: Callable[[Path], dict[str, object]], folder: Path) -> dict[str, object]:
    """What came of it; again where a busy machine was late to kill."""
    for attempt in range(5):
        if not (found := act(folder / str(attempt)))["late"]:
            return found
    raise TimeoutError


def main(folder: Path) -> None:
    """Run everything and print what came of it."""
    for module in ("matplotlib.backends.backend_agg", "scipy.stats", "sklearn.datasets", "distributed"):
        importlib.import_module(module)
    for name in ("local", "dask"):
        (folder / name).mkdir()
    # What the first training of a process takes, its kernel above all, no fork takes again.
    point({name: values[0] for name, values in AXES.items()}, folder / "warm")
    expected = undisturbed(folder / "undisturbed")
    chance = random.Random(21)
    local = in_time(partial(killed_sweep, scheduler=None, chance=chance), folder / "local")
    left = orphans(folder / "orphans")
    serving = start(partial(cluster, folder / "address"))
    wait((folder / "address").exists)
    try:
        reached = partial(killed_sweep, scheduler=(folder / "address").read_text(), chance=chance)
        dask = in_time(reached, folder / "dask")
    finally:
        os.killpg(serving, signal.SIGKILL)
        os.waitpid(serving, 0)
    print(json.dumps({"expected": expected, "local": local, "dask": dask, "orphans": left}))


if __name__ == "__main__":
    # What workers call must have a name that they can import.
    importlib.import_module("tests.studies.sweep_kills").main(Path(sys.argv[1]))
