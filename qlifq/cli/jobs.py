"""The commands `qlifq jobs …`: the journal of jobs on devices."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq._text import one_line, printable
from qlifq.cli.arguments import AsJson, device_option, examples, output_option, run_option
from qlifq.cli.output import Output, aligned
from qlifq.errors import ArgumentError, QLIFError

if TYPE_CHECKING:
    from qlifq.backends.ibm.journal import Journal
    from qlifq.backends.ibm.protocol import JobRunner
    from qlifq.backends.ibm.submissions import Entry

__all__ = ["app"]

app = typer.Typer(help="What was submitted to devices: see it, take it up, cancel it, export it.")

#: The width of a terminal that nobody has made wider.
_WIDTH = 80

_Which = Annotated[str, typer.Argument(help="A job, a request, a run, or the number of a run in `qlifq jobs list`.")]
_File = Annotated[Path | None, run_option("--journal", help="The journal; default QLIFQ_JOURNAL or ~/.qlifq/jobs.sqlite.")]
_Account = Annotated[str | None, device_option(help="Name of the saved account.")]
_Instance = Annotated[str | None, device_option(help="Service instance.")]


@app.command("list", epilog=examples("qlifq jobs list", "qlifq jobs list --run 2"))
def list_jobs(
    run: Annotated[str | None, run_option(help="The submissions of this run alone: its name, or its number.")] = None,
    journal: _File = None,
    as_json: AsJson = False,
) -> None:
    """One line per run, or with --run one per submission."""
    output = Output(as_json)
    with _opened(journal) as book:
        if run is not None:
            found = _run_of(book, run)
            if found is None:
                raise ArgumentError(f"Unknown run `{run}`: `qlifq jobs list` shows them.")
            _say_entries(output, book, book.entries(found))
            return
        rows: list[tuple[str, ...]] = [("#", "jobs", "done", "open", "failed", "device s", "of", "device")]
        names, facts = [""], []
        for number, each in enumerate(book.runs(), start=1):
            entries = book.entries(each.name)
            counts = {kind: sum(entry.state in states for entry in entries) for kind, states in _KINDS.items()}
            spent, budget = book.spent(each.name), each.budget_seconds
            bound = "no bound" if budget is None else f"{budget:g}"
            rows.append((*map(str, (number, len(entries), *counts.values())), f"{spent:.1f}", bound, _described(each.device)))
            names.append(each.name)
            facts.append(
                {"number": number, "run": each.name, "device": each.device, "snapshot": _is_snapshot(each.device)}
                | {"jobs": len(entries), **counts, "device_seconds": spent, "budget_seconds": budget, "command": each.command}
            )
        lines = zip(aligned(rows), names, strict=True)
        text = "\n".join(line + (f"\n   {_cut(name)}" if name else "") for line, name in lines)
        output.say(text, runs=facts)
        output.end()


@app.command(epilog=examples("qlifq jobs show 2", "qlifq jobs show 2 --json"))
def show(which: _Which, journal: _File = None, as_json: AsJson = False) -> None:
    """Everything about some submissions but their numbers."""
    output = Output(as_json)
    facts = []
    with _opened(journal) as book:
        for entry in _matching(book, which):
            found = _to_dict(entry)
            described = found | {"device": _described(entry.device)}
            command = next((run.command for run in book.runs(entry.run)), None)
            described["continue with"] = command
            rows = (f"{name:<18} {printable(str(value))}" for name, value in described.items() if value is not None)
            output.say("\n".join(rows) + "\n")
            facts.append(found | {"continue_with": command})
    output.end(submissions=facts)


@app.command(epilog=examples("qlifq jobs resume 2"))
def resume(
    which: _Which,
    journal: _File = None,
    account: _Account = None,
    instance: _Instance = None,
    as_json: AsJson = False,
) -> None:
    """Find, wait for and keep the results of what was submitted, without submitting anything."""
    _each(Output(as_json), which, journal, account, instance, lambda runner, entry: runner.resume(entry))


@app.command(epilog=examples("qlifq jobs cancel 2"))
def cancel(
    which: _Which,
    journal: _File = None,
    account: _Account = None,
    instance: _Instance = None,
    as_json: AsJson = False,
) -> None:
    """Cancel what is not over, and do without what the service does not have any more."""
    _each(Output(as_json), which, journal, account, instance, lambda runner, entry: runner.cancel(entry))


@app.command(epilog=examples("qlifq jobs forget 2"))
def forget(which: _Which, journal: _File = None, as_json: AsJson = False) -> None:
    """Do without what is not over, so that its command submits it again; what runs at the service goes on."""
    with _opened(journal) as book:
        done = []
        for entry in _matching(book, which):
            with book.holding(entry.run):
                done.append(book.forget(entry.request))
        _say_entries(Output(as_json), book, done)


@app.command(epilog=examples("qlifq jobs export 2 --out counts.npz"))
def export(
    which: _Which,
    *,
    journal: _File = None,
    out: Annotated[Path, output_option(help="An .npz file for the angles and counts, and what they are.")],
    as_json: AsJson = False,
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
    output = Output(as_json)
    output.say(f"{len(done)} submissions written to {out}", submissions=facts["submissions"], written_to=out)
    output.end()


_KINDS = {"done": ("DONE",), "open": ("INTENT", "SUBMITTED"), "failed": ("FAILED", "CANCELLED")}
_HEADER = ("created", "job", "state", "sets", "shots", "device s")


def _say_entries(output: Output, book: "Journal", entries: Sequence["Entry"]) -> None:
    """Submissions run by run, one line each, and under it what went wrong."""
    for name, group in groupby(entries, key=lambda entry: entry.run):
        mine = list(group)
        number = [run.name for run in book.runs()].index(name) + 1
        output.say(fill(one_line(f"run {number} on {_described(mine[0].device)}: {name}"), _WIDTH))
        # Some of it are words of a service.
        rows = [_HEADER, *(tuple(map(one_line, _line(entry))) for entry in mine)]
        for line, entry in zip(aligned(rows), [None, *mine], strict=True):
            output.say(line)
            if entry is not None and entry.error:
                output.say(fill(one_line(entry.error), _WIDTH, initial_indent="  ", subsequent_indent="  "))
    output.end(submissions=[_to_dict(entry) for entry in entries])


def _line(entry: "Entry") -> Sequence[str]:
    seconds = entry.usage_seconds
    cost = f"{seconds:.1f}" if seconds is not None else f"~{entry.estimated_seconds or 0:.1f}"
    # A snapshot's jobs have longer ids than a service's; the beginning is enough to name one.
    job = (entry.job or "not known")[:20]
    return entry.created[:19] + "Z", job, entry.state, f"{entry.sets:,}", f"{entry.shots:,}", cost


def _cut(name: str) -> str:
    """The name of a run in one line, without its middle: runs that nobody named begin with the same command."""
    text, half = one_line(name), _WIDTH // 2 - 3
    return text if len(text) <= 2 * half + 1 else f"{text[:half]}…{text[-half:]}"


def _is_snapshot(device: str) -> bool:
    from qlifq.backends.description import is_snapshot

    return is_snapshot(device)


def _described(device: str) -> str:
    """What stands under "device": its name, or the name of a snapshot as that of one."""
    return f"snapshot {device}" if _is_snapshot(device) else device


def _to_dict(entry: "Entry") -> dict[str, object]:
    """A submission as a dictionary of JSON values."""
    from dataclasses import asdict

    return {**asdict(entry), "qubits": list(entry.qubits)}


@contextmanager
def _opened(path: Path | None) -> Iterator["Journal"]:
    from qlifq.backends.ibm.journal import Journal, default_path

    with Journal(path or default_path(), must_exist=True) as book:
        yield book


def _run_of(book: "Journal", text: str) -> str | None:
    """The run of that name, or of that number in the list; runs are never removed, so that a number stays."""
    names = [run.name for run in book.runs()]
    if text in names:
        return text
    return names[int(text) - 1] if text.isdecimal() and 0 < int(text) <= len(names) else None


def _matching(book: "Journal", which: str) -> list["Entry"]:
    found = book.match(which)
    if not found and (run := _run_of(book, which)) is not None:
        found = book.entries(run)
    if not found:
        raise ArgumentError(f"The journal has no job, request or run `{which}`: `qlifq jobs list` shows them.")
    return found


def _each(
    output: Output,
    which: str,
    path: Path | None,
    account: str | None,
    instance: str | None,
    act: Callable[["JobRunner", "Entry"], "Entry"],
) -> None:
    """Do something with every submission that matches, whatever becomes of the others, and print what it is then."""
    from qlifq.backends.ibm.channel import RetryPolicy
    from qlifq.backends.ibm.client import ServiceChannel
    from qlifq.backends.ibm.protocol import JobRunner

    problems = []
    with _opened(path) as book:
        entries = _matching(book, which)
        done = []
        channels: dict[str, ServiceChannel] = {}
        for entry in entries:
            # The job of a snapshot ran here: there is no service to go to.
            if _is_snapshot(entry.device):
                done.append(entry)
                continue
            # Signing in takes seconds, and is done once for each device.
            if entry.device not in channels:
                channels[entry.device] = ServiceChannel(entry.device, account=account, instance=instance)
            runner = JobRunner(book, channels[entry.device], entry.run, None, lambda work: None, RetryPolicy(), _say)
            try:
                # Another process may be going on with this run at this moment.
                with book.holding(entry.run):
                    done.append(act(runner, book.entry(entry.request)))
            # The others come first: one job that the service refuses must not keep the rest from being cancelled.
            except QLIFError as error:
                problems.append(str(error))
        _say_entries(output, book, done)
    if problems:
        raise ArgumentError(" ".join(dict.fromkeys(problems)))


def _say(text: str) -> None:
    """Say on a terminal what is waited for."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
