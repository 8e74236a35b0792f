"""The commands `qlifq runs …`: what runs left, one by one and beside each other.

The library is imported inside the commands, so that `qlifq --help` answers at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qlifq.cli.arguments import AsJson, examples
from qlifq.cli.output import Output
from qlifq.cli.tables import show_table
from qlifq.errors import ArgumentError

if TYPE_CHECKING:
    from qlifq.reporting.runs import RunComparison, RunSummary

__all__ = ["app"]

app = typer.Typer(help="The folders that runs left: list them, show one, compare several.")

#: So many runs are compared in a column each; more of them in a row each, which is narrower.
MOST_COLUMNS = 3


@app.command("list", epilog=examples("qlifq runs list", "qlifq runs list studies --json"))
def list_runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs"), as_json: AsJson = False
) -> None:
    """One line for each run of a folder, the earliest first."""
    from qlifq.reporting import runs

    found = runs.list_runs(folder)
    if as_json:
        Output(as_json).end(folder=folder, runs=[_described(run) for run in found])
        return
    if not found:
        print(f"Folder {folder} holds no runs.")
        return
    rows = [
        (run.folder.name, run.kind, run.time_utc, "finished" if run.finished else "unfinished", _first_result(run))
        for run in found
    ]
    show_table([("run", "command", "UTC time", "state", "result"), *rows])


@app.command(epilog=examples("qlifq runs show runs/digits"))
def show(run: Annotated[Path, typer.Argument(help="The folder of a run.")], as_json: AsJson = False) -> None:
    """What one run was, and what came of it."""
    from qlifq.reporting.runs import summarise_run

    found = summarise_run(run)
    if as_json:
        Output(as_json).end(**_described(found))
        return
    state = "finished" if found.finished else "unfinished: the same command ends it"
    files = ", ".join(map(str, found.facts.get("files", [])))
    show_table(
        [("run", found.folder), ("command", found.command), ("UTC time", found.time_utc), ("state", state), ("files", files)]
    )
    print()
    show_table([("setting", "value"), *found.settings.items()])
    if found.results:
        print()
        show_table([("result", "value"), *found.results.items()])


@app.command(epilog=examples("qlifq runs compare runs/digits runs/torino-digits", "qlifq runs compare runs --json"))
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or a folder with all of its runs.")],
    as_json: AsJson = False,
) -> None:
    """In which settings runs differ, and what came of each, with intervals."""
    from qlifq.reporting.runs import compare_runs

    compared = compare_runs(_runs_in(runs))
    if as_json:
        Output(as_json).end(
            runs=[run.folder for run in compared.runs],
            settings=compared.settings,
            results={name: [value and value.to_dict() for value in values] for name, values in compared.results.items()},
        )
    elif len(compared.runs) > MOST_COLUMNS:
        _show_rows(compared)
    else:
        _show_columns(compared)


def _runs_in(folders: Sequence[Path]) -> "list[RunSummary]":
    """The finished runs in each folder, as a sweep's points are, or where there are none its own; at least two."""
    from qlifq.reporting import runs

    found: list[RunSummary] = []
    for folder in folders:
        found += [run for run in runs.list_runs(folder) if run.finished] or [runs.summarise_run(folder)]
    if len(found) < 2:
        raise ArgumentError(f"Argument RUN must name at least 2 runs, or a folder of them, but names {len(found)}.")
    return found


def _show_columns(compared: "RunComparison") -> None:
    """A row for each setting and result, a column for each run."""
    labels = [run.folder.name for run in compared.runs]
    if len(set(labels)) < len(labels):
        labels = [str(run.folder) for run in compared.runs]
    if compared.settings:
        show_table([("setting", *labels), *((name, *values) for name, values in compared.settings.items())])
    else:
        print("No setting differs.")
    if compared.results:
        print()
        rows = [(name, *values, "apart" if compared.apart(name) else "overlap") for name, values in compared.results.items()]
        show_table([("result", *labels, "intervals"), *rows])


def _show_rows(compared: "RunComparison") -> None:
    """A row for each run, a column for each setting and for the first result."""
    result = next(iter(compared.results), None)
    columns = {"run": [run.folder.name for run in compared.runs], **compared.settings}
    if result is not None:
        columns[result] = compared.results[result]
    show_table([tuple(columns), *zip(*columns.values(), strict=True)])


def _first_result(run: "RunSummary") -> str:
    return next((f"{name} {value}" for name, value in run.results.items()), "none named" if run.finished else "")


def _described(run: "RunSummary") -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "command": run.command,
        "time_utc": run.time_utc,
        "finished": run.finished,
        "settings": run.settings,
        "results": {name: value.to_dict() for name, value in run.results.items()},
    }
