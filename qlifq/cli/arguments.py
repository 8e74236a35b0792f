"""Options that several commands share, how they are read, and what several commands print."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qlifq.errors import ArgumentError

if TYPE_CHECKING:
    from qlifq.reporting.report import Report

__all__ = [
    "DataDir",
    "DryRun",
    "Force",
    "Noise",
    "Out",
    "Sampling",
    "Scheduler",
    "print_findings",
    "print_problems",
    "whole_numbers",
]

Noise = Annotated[str | None, typer.Option(help="A device snapshot (for aer), or pairs such as t1=120e-6,readout_p01=0.01.")]
DataDir = Annotated[Path | None, typer.Option(help="A folder of IDX files, gzipped or not; default OpenML.")]
Sampling = Annotated[str | None, typer.Option(help="How a backend that offers a choice draws its counts.")]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Spread the calls of the backend: a Dask scheduler such as tcp://10.0.0.1:8786, or local for all cores."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; default runs/ and the UTC time.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an earlier run in that folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and run nothing.")]


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of an option such as "1,10,100"."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentError(f"Option {option} must be whole numbers with commas between them, but is {text!r}.") from None


def print_findings(report: "Report") -> None:
    """The findings of a report, without the signs of Markdown."""
    for sentence in report.findings:
        print(sentence.replace("**", "").replace("`", ""))


def print_problems(problems: Iterable[str]) -> None:
    """One line on stderr for each."""
    for problem in problems:
        print(f"Warning: {problem}", file=sys.stderr)
