"""The commands `qlifq jobs …`: the journal of jobs on devices."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq._text import one_line, printable
from qlifq.cli.listing import print_table
from qlifq.errors import ArgumentError, QLIFError

if TYPE_CHECKING:
    from qlifq.backends.ibm.journal import Journal
    from qlifq.backends.ibm.protocol import JobRunner
    from qlifq.backends.ibm.submissions import Entry

__all__ = ["app"]

app = typer.Typer(help="What was submitted to devices: see it, take it up, cancel it, export it.")

_Which = Annotated[str, typer.Argument(help="A job, a request, or a run.")]
_File = Annotated[Path | None, typer.Option("--journal", help="The journal; default QLIFQ_JOURNAL or ~/.qlifq/jobs.sqlite.")]
_Account = Annotated[str | None, typer.Option(help="Name of the saved account.")]
_Instance = Annotated[str | None, typer.Option(help="Service instance.")]


@app.command("list")
def list_jobs(
    run: Annotated[str | None, typer.Option(help="Of this run alone.")] = None,
    journal: _File = None,
) -> None:
    """One line per run, or with --run one per submission."""
    with _opened(journal) as book:
        if run is not None:
            _check_run(book, run)
            print_table([_HEADER, *(_line(entry) for entry in book.entries(run))])
            return
        rows: list[tuple[str, ...]] = [("run", "device", "jobs", "done", "open", "failed", "device s", "of")]
        for each in book.runs():
            entries = book.entries(each.name)
            numbers = [sum(entry.state in states for entry in entries) for states in _KINDS]
            budget = "no bound" if each.budget_seconds is None else f"{each.budget_seconds:g}"
            figures = (len(entries), *numbers)
            rows.append((each.name, _described(each.device), *map(str, figures), f"{book.spent(each.name):.1f}", budget))
        print_table(rows)


@app.command()
def show(which: _Which, journal: _File = None) -> None:
    """Everything about some submissions but their numbers."""
    with _opened(journal) as book:
        for entry in _matching(book, which):
            described = _to_dict(entry) | {"device": _described(entry.device)}
            described["continue with"] = next((run.command for run in book.runs(entry.run)), None)
            print("\n".join(f"{name:<18} {printable(str(value))}" for name, value in described.items() if value is not None))
            print()


@app.command()
def resume(which: _Which, journal: _File = None, account: _Account = None, instance: _Instance = None) -> None:
    """Find, wait for and keep the results of what was submitted, without submitting anything."""
    _each(which, journal, account, instance, lambda runner, entry: runner.resume(entry))


@app.command()
def cancel(which: _Which, journal: _File = None, account: _Account = None, instance: _Instance = None) -> None:
    """Cancel what is not over, and do without what the service does not have any more."""
    _each(which, journal, account, instance, lambda runner, entry: runner.cancel(entry))


@app.command()
def forget(which: _Which, journal: _File = None) -> None:
    """Do without what is not over, so that its command submits it again; what runs at the service goes on."""
    with _opened(journal) as book:
        entries = _matching(book, which)
        rows: list[Sequence[str]] = [_HEADER]
        for entry in entries:
            with book.holding(entry.run):
                rows.append(_line(book.forget(entry.request)))
        print_table(rows)


@app.command()
def export(
    which: _Which,
    out: Annotated[Path, typer.Option(help="An .npz file for the angles and counts, and what they are.")],
    journal: _File = None,
) -> None:
    """Write the angles and counts of what is done to a file."""
    import numpy as np
    import numpy.typing as npt

    from qlifq._files import stamp, write_bytes

    if out.suffix != ".npz":
        raise ArgumentError(f"Option --out must be an .npz file, but is {str(out)!r}.")
    with _opened(journal) as book:
        done = [entry for entry in _matching(book, which) if entry.state == "DONE"]
        if not done:
            raise ArgumentError(f"Nothing of {which} is done yet.")
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for number, entry in enumerate(done):
            arrays[f"angles_{number}"] = book.angles(entry.request)
            result = book.result(entry.request)
            # Spike trains come back as they are kept, eight bits to a byte.
            arrays[f"{'spikes' if result.dtype == np.uint8 else 'ones'}_{number}"] = result
        facts = {"format": "qlifq jobs", "format_version": 1, **stamp(), "submissions": [_to_dict(entry) for entry in done]}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, facts=np.array(json.dumps(facts)), **arrays)
    write_bytes(out, packed.getvalue())
    print(f"{len(done)} submissions written to {out}")


_KINDS = (("DONE",), ("INTENT", "SUBMITTED"), ("FAILED", "CANCELLED"))
_HEADER = ("created", "device", "job", "state", "sets", "shots", "device s", "error")


def _line(entry: "Entry") -> Sequence[str]:
    seconds = entry.usage_seconds
    cost = f"{seconds:.1f}" if seconds is not None else f"~{entry.estimated_seconds or 0:.1f}"
    columns = (entry.job or "not known", entry.state, f"{entry.sets:,}", f"{entry.shots:,}", cost, entry.error or "")
    # Some of it are words of a service.
    return tuple(map(one_line, (entry.created[:19] + "Z", _described(entry.device), *columns)))


def _described(device: str) -> str:
    """What stands under "device": its name, or the name of a snapshot as that of one."""
    from qlifq.backends.description import is_snapshot

    return f"snapshot {device}" if is_snapshot(device) else device


def _to_dict(entry: "Entry") -> dict[str, object]:
    """A submission as a dictionary of JSON values."""
    from dataclasses import asdict

    return {**asdict(entry), "qubits": list(entry.qubits)}


@contextmanager
def _opened(path: Path | None) -> Iterator["Journal"]:
    from qlifq.backends.ibm.journal import Journal, default_path

    with Journal(path or default_path(), must_exist=True) as book:
        yield book


def _check_run(book: "Journal", run: str) -> None:
    if not book.runs(run):
        raise ArgumentError(f"Unknown run `{run}`: `qlifq jobs list` shows them.")


def _matching(book: "Journal", which: str) -> list["Entry"]:
    found = book.match(which)
    if not found:
        raise ArgumentError(f"The journal has no job, request or run `{which}`: `qlifq jobs list` shows them.")
    return found


def _each(
    which: str, path: Path | None, account: str | None, instance: str | None, act: Callable[["JobRunner", "Entry"], "Entry"]
) -> None:
    """Do something with every submission that matches, whatever becomes of the others, and print what it is then."""
    from qlifq.backends.description import is_snapshot
    from qlifq.backends.ibm.channel import RetryPolicy
    from qlifq.backends.ibm.client import ServiceChannel
    from qlifq.backends.ibm.protocol import JobRunner

    problems = []
    with _opened(path) as book:
        entries = _matching(book, which)
        rows: list[Sequence[str]] = [_HEADER]
        channels: dict[str, ServiceChannel] = {}
        for entry in entries:
            if is_snapshot(entry.device):
                rows.append(_line(entry))
                continue
            if entry.device not in channels:
                channels[entry.device] = ServiceChannel(entry.device, account=account, instance=instance)
            runner = JobRunner(book, channels[entry.device], entry.run, None, lambda work: None, RetryPolicy(), _say)
            try:
                with book.holding(entry.run):
                    rows.append(_line(act(runner, book.entry(entry.request))))
            except QLIFError as error:
                problems.append(str(error))
        print_table(rows)
    if problems:
        raise ArgumentError(" ".join(dict.fromkeys(problems)))


def _say(text: str) -> None:
    """Say on a terminal what is waited for."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
