"""Many runs beside each other: what each is, and in which settings and results they differ."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qlifq._files import PathLike, as_path
from qlifq._packages import load
from qlifq.errors import FileFormatError
from qlifq.reporting.intervals import Interval
from qlifq.reporting.run_folder import FORMAT, MARKER, is_unfinished, read_marker

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["RunComparison", "RunSummary", "compare_runs", "list_runs", "summarise_run"]

#: A marker is small; one larger than this is of no run of qlifq.
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run as its `summary.json` describes it, whether it is finished or not.

    Args:
        folder: its folder.
        facts: everything in the summary.
        results: the figures that it is judged by, the first of them above all; empty where the run names none.
    """

    folder: Path
    facts: Mapping[str, Any]
    results: Mapping[str, Interval]

    @property
    def command(self) -> str:
        """The command line that made it."""
        return str(self.facts.get("command", ""))

    @property
    def kind(self) -> str:
        """The command without its options, such as "train"."""
        first, *rest = self.command.split() or [""]
        return rest[0] if first == "qlifq" and rest else first

    @property
    def time_utc(self) -> str:
        """When its summary was written."""
        return str(self.facts.get("time_utc", ""))

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return not is_unfinished(self.facts)

    @property
    def settings(self) -> Mapping[str, object]:
        """What was run, by name: the setup of its report, or of a simulation its input and every parameter."""
        if isinstance(setup := self.facts.get("setup"), Mapping):
            return setup
        described = {name: self.facts[name] for name in _DESCRIBED if name in self.facts}
        parameters = self.facts.get("settings")
        return {**described, **(parameters if isinstance(parameters, Mapping) else {})}


#: What the summary of a simulation says beside the parameters of its neurons.
_DESCRIBED = ("input", "decided_by", "shots", "seed", "neurons", "steps", "samples", "calibration")


def summarise_run(folder: PathLike) -> RunSummary:
    """Read the summary of one run, finished or not; its tables and arrays stay unread.

    Args:
        folder: the folder of the run.

    Raises:
        FileFormatError: if the folder holds no run, or its summary is damaged.
    """
    path = as_path("folder", folder)
    facts = read_marker(path / MARKER, at_most=_MOST_BYTES)
    if facts.get("format") != FORMAT:
        raise FileFormatError(f"File {path / MARKER} must be the summary of a run of qlifq, but is none.")
    kept = facts.get("results", {})
    try:
        results = {str(name): Interval.from_dict(each) for name, each in kept.items()}  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"File {path / MARKER} must hold numbers with bounds as `results`, but does not.") from error
    return RunSummary(path, facts, results)


def list_runs(folder: PathLike = "runs") -> list[RunSummary]:
    """The runs in a folder, the earliest first; what is no run, or has a damaged summary, is passed over.

    Args:
        folder: a folder of runs.

    Raises:
        FileFormatError: if there is no such folder.
    """
    path = as_path("folder", folder)
    if not path.is_dir():
        raise FileFormatError(f"Folder {path} must be a folder of runs, but does not exist.")
    found = []
    for place in sorted(path.iterdir()):
        if (place / MARKER).is_file():
            try:
                found.append(summarise_run(place))
            except FileFormatError:
                # The summary of something else, or a broken one: it says nothing about the others.
                continue
    return sorted(found, key=lambda run: run.time_utc)


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Runs beside each other.

    Args:
        runs: the runs.
        settings: for every setting in which they differ, its value in each run; None where a run has none of that name.
        results: for every result that one of them names, the figure of each run with its interval, or None.
    """

    runs: Sequence[RunSummary]
    settings: Mapping[str, Sequence[object]]
    results: Mapping[str, Sequence[Interval | None]]

    def apart(self, name: str) -> bool:
        """Whether two runs have intervals of a result that do not overlap."""
        known = [each for each in self.results[name] if each is not None]
        return any(not one.overlaps(other) and one.bounded and other.bounded for one, other in combinations(known, 2))

    def table(self) -> "DataFrame":
        """One row per run: its folder, the settings that differ, and each result with the columns of its bounds."""
        pandas = load("pandas", package="pandas", feature="A table", install="pandas")
        rows = []
        for place, run in enumerate(self.runs):
            row: dict[str, object] = {"run": str(run.folder)}
            row |= {name: values[place] for name, values in self.settings.items()}
            for name, values in self.results.items():
                row |= (values[place] or Interval(float("nan"), float("nan"), float("nan"))).columns(name)
            rows.append(row)
        table: DataFrame = pandas.DataFrame(rows)
        return table


def compare_runs(runs: Sequence[PathLike | RunSummary]) -> RunComparison:
    """In which settings runs differ, and what came of each.

    Args:
        runs: at least one run or its folder.

    Returns:
        A `RunComparison`.

    Raises:
        FileFormatError: if one of the folders holds no run.
    """
    read = [run if isinstance(run, RunSummary) else summarise_run(run) for run in runs]
    settings = _columns(read, lambda run: run.settings)
    differing = {name: values for name, values in settings.items() if len({json.dumps(value) for value in values}) > 1}
    return RunComparison(read, differing, _columns(read, lambda run: run.results))


def _columns(runs: Sequence[RunSummary], of: Callable[[RunSummary], Mapping[str, Any]]) -> dict[str, list[Any]]:
    """By name, what each run has."""
    names = dict.fromkeys(name for run in runs for name in of(run))
    return {name: [of(run).get(name) for run in runs] for name in names}
