"""Run a sweep, or go on with it: points that are finished stay, and the table is that of an undisturbed one."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qlifq._files import PathLike
from qlifq._text import one_line
from qlifq._validation import optional_integer
from qlifq.errors import FileFormatError, FolderInUseError, QLIFError, SweepError, UnsupportedError
from qlifq.reporting.report import Report, report_contents
from qlifq.reporting.run_folder import MARKER, check_folder, run_folder
from qlifq.reporting.runs import RunSummary, summarise_run
from qlifq.studies.sweep.points import Axes, Point, points_of
from qlifq.studies.sweep.report import FILES, sweep_report, sweep_table
from qlifq.studies.sweep.workers import open_workers

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Sweep", "run_sweep"]

#: How often a point looks whether another process has ended it.
_LOOK_SECONDS = 0.1
#: More failures than these are counted and not told one by one.
_MOST_TOLD = 3


@dataclass(frozen=True, eq=False)
class Sweep:
    """A finished sweep.

    Args:
        folder: its folder, with a run in a folder for each point.
        points: in the order of the table.
        runs: the run of each point.
        report: what stands in the folder's `report.md`.
        problems: a sentence about a figure that could not be drawn.
    """

    folder: Path
    points: Sequence[Point]
    runs: Sequence[RunSummary]
    report: Report
    problems: Sequence[str]

    @property
    def table(self) -> "DataFrame":
        """One row per point: what is varied, every result with the columns of its bounds, and the folder of its run."""
        return sweep_table(self.points, self.runs)


def run_sweep(
    run: Callable[[Mapping[str, Any], Path], object],
    axes: Axes | Sequence[Axes],
    folder: PathLike | None = None,
    *,
    fixed: Mapping[str, object] = MappingProxyType({}),
    workers: int | None = None,
    scheduler: str | None = None,
    title: str = "Sweep",
    command: str = "qlifq.studies.run_sweep",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Run every point of a grid, each into a run folder, and leave one table and one figure of them.

    A sweep that was killed goes on when it is started again: points that are finished stay, and one that was begun goes on if
    its run can. More values add points to those that are there.

    Args:
        run: called as `run(values, folder)` in a worker; it leaves a run in that folder, as `train_run` does. A function at the
            top of a module, or a `functools.partial` of one.
        axes: by name, a list of values; or several such grids, whose points are put together.
        folder: of the sweep; None for one of its own under `runs`. All workers must see it.
        fixed: what else the points depend on, JSON values: with others, they are run anew.
        workers: processes of this machine, at least 1; None for one on each core that this process may use.
        scheduler: the address of a Dask scheduler, whose workers run the points instead; "local" for a cluster on this machine.
        title: heading of the report.
        command: what the report and the folder give as the command that made them.
        force: whether an earlier sweep in the folder is written anew; its points stay.
        progress: called as `progress(done, points)`.

    Returns:
        A `Sweep`.

    Raises:
        SweepError: if points fail; the others are finished then.
        QLIFError: before anything is written, if an argument cannot be used; later if the workers fail.
    """
    optional_integer("workers", workers, at_least=1)
    if workers is not None and scheduler not in {None, "local"}:
        raise UnsupportedError("Argument `workers` would be ignored: a cluster that runs has the workers that it has.")
    points = points_of(axes, fixed)
    check_folder(folder, command=command, files=FILES, force=force)
    with (
        open_workers(scheduler, workers, len(points)) as call_all,
        run_folder(folder, command=command, files=FILES, force=force) as place,
    ):
        place.begin(FILES)
        # Workers of a cluster may run elsewhere in the tree of folders.
        folders = [(place.path / point.folder).absolute() for point in points]
        left = [number for number, path in enumerate(folders) if not _is_finished(path)]
        failed = dict[int, str]()
        calls = [partial(_run_point, run, points[number].values, folders[number], place.path.absolute()) for number in left]
        if progress is not None:
            progress(len(points) - len(left), len(points))
        for done, (number, problem) in enumerate(call_all(calls), start=1):
            if problem is not None:
                failed[left[number]] = problem
            if progress is not None:
                progress(len(points) - len(left) + done, len(points))
        if failed:
            raise _failure(points, failed)
        runs = [summarise_run(place.path / point.folder) for point in points]
        report = sweep_report(title, points, runs, fixed)
        problems = place.write(report_contents(report, command))
    return Sweep(place.path, points, runs, report, problems)


def _run_point(
    run: Callable[[Mapping[str, Any], Path], object], values: Mapping[str, Any], folder: Path, above: Path
) -> str | None:
    """Run one point in a worker; the reason if it cannot be run."""
    if not (above / MARKER).is_file():
        return f"Folder {above} must be on a file system that every worker sees, but one does not see it."
    while not _is_finished(folder):
        try:
            run(values, folder)
        except FolderInUseError:
            # A worker of a sweep that was killed is still at it: its result is as good.
            time.sleep(_LOOK_SECONDS)
        except QLIFError as error:
            # Or it was when this one looked, and had finished when this one began.
            if not _is_finished(folder):
                return str(error)
        else:
            if not _is_finished(folder):
                return f"Argument `run` must leave a finished run in {folder}, but does not."
    return None


def _is_finished(folder: Path) -> bool:
    try:
        return summarise_run(folder).finished
    except FileFormatError:
        return False


def _failure(points: Sequence[Point], failed: Mapping[int, str]) -> SweepError:
    told = [f"{points[number]}: {one_line(failed[number])}" for number in sorted(failed)[:_MOST_TOLD]]
    more = f" And {len(failed) - _MOST_TOLD} more." if len(failed) > _MOST_TOLD else ""
    return SweepError(f"{len(failed)} of {len(points)} points failed, the others are finished and stay. {' '.join(told)}{more}")
