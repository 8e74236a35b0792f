"""A training with its folder and its report: what `qlifq train` runs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from qlifq._files import PathLike
from qlifq.backends import Backend
from qlifq.errors import UnsupportedError
from qlifq.reporting.report import Report, report_contents
from qlifq.training.data.interface import Dataset
from qlifq.training.events import event_log
from qlifq.training.experiment import Experiment, Progress, checked_contenders, run_experiment
from qlifq.training.loop import CHECKPOINT_SECONDS
from qlifq.training.networks import Design
from qlifq.training.processes import joined
from qlifq.training.regression.experiment import RegressionExperiment, check_regression, run_regression
from qlifq.training.regression.report import regression_report
from qlifq.training.report import training_report
from qlifq.training.run_folder import EVENTS, open_run
from qlifq.training.settings import TrainingSettings

__all__ = ["TrainingRun", "train_run"]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What a training gave and left.

    Args:
        folder: the folder, which `load_run` reads back.
        experiment: the trained network beside those that it is compared with.
        report: what stands in the folder's `report.md`.
        problems: a sentence about each figure that could not be drawn.
        first: whether this process is the one that wrote the folder.
    """

    folder: Path
    experiment: Experiment | RegressionExperiment
    report: Report
    problems: tuple[str, ...]
    first: bool


class _Kind(NamedTuple):
    """How the networks of a task are compared.

    Args:
        check: refuses what cannot be run.
        run: trains and tests.
        report: of what `run` returned.
        repeats: whether each network is trained with several seeds.
    """

    check: Callable[..., object]
    run: Callable[..., Any]
    report: Callable[[Any, Mapping[str, object]], Report]
    repeats: bool


_ONCE = _Kind(checked_contenders, run_experiment, training_report, repeats=False)
_EXPERIMENTS = {
    "classification": _ONCE,
    "reconstruction": _ONCE,
    "regression": _Kind(check_regression, run_regression, regression_report, repeats=True),
}


def train_run(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    folder: PathLike | None = None,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    repeats: int | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: str = "cpu",
    command: str = "qlifq.training.train_run",
    setup: Mapping[str, object] = MappingProxyType({}),
    force: bool = False,
    begun: Callable[[Path], None] | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train a network beside classical ones of its size, and leave checkpoints, events, tables, figures and a report.

    A run that was killed goes on when it is started again with the same arguments. Processes that `torchrun` starts train
    together; the first of them writes.

    Args:
        design: of the network.
        data: what it learns and is tested on.
        settings: how it learns.
        folder: where the run is written; None for one of its own under `runs`.
        backend: where the network's spike decisions run, or one for each layer of neurons, as for `build`.
        shots: as for `qlifq.QLIF`.
        repeats: for a regression, with how many seeds each network is trained, as for `run_regression`.
        options: what the backend was made with, as for `train`.
        checkpoint_seconds: as for `train`.
        device: where to train, such as "cpu" or "cuda".
        command: what the report and the folder give as the command that made them.
        setup: what else the report lists of how it was made, names and JSON values.
        force: whether an earlier run in the folder is overwritten.
        begun: called with the folder in the first process, when all is checked and nothing is trained yet.
        progress: as for `run_experiment`; called in the first process.

    Returns:
        A `TrainingRun`.

    Raises:
        QLIFError: before there is a folder, if an argument cannot be used; later as `train` does.
    """
    kind = _EXPERIMENTS[design.task.name]
    if repeats is not None and not kind.repeats:
        raise UnsupportedError(f"Argument `repeats` would be ignored: it is for numbers to predict, but it is {repeats}.")
    repeated = {"repeats": repeats} if kind.repeats else {}
    with joined(device) as (processes, place), ExitStack() as opened_folder:
        kind.check(design, data, settings, backend=backend, shots=shots, device=place, processes=processes, **repeated)
        if processes.first:
            opened = opened_folder.enter_context(open_run(folder, command=command, force=force))
            if begun is not None:
                begun(opened.path)
        path = Path(processes.agreed(str(opened.path) if processes.first else ""))
        with event_log(path / EVENTS) if processes.first else nullcontext() as log:
            experiment = kind.run(
                design,
                data,
                settings,
                path,
                backend=backend,
                shots=shots,
                options=options,
                checkpoint_seconds=checkpoint_seconds,
                device=place,
                processes=processes,
                progress=progress if processes.first else None,
                after_epoch=log,
                **repeated,
            )
        facts = {"shots": experiment.shots, **setup, "device": str(place), "processes": processes.count}
        report = kind.report(experiment, facts)
        problems = opened.write(report_contents(report, command)) if processes.first else []
        return TrainingRun(path, experiment, report, tuple(problems), processes.first)
