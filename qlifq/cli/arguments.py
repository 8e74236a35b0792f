"""Options that several commands share, and the pictures that a command could not draw."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDir", "DryRun", "Force", "Noise", "Out", "Sampling", "Scheduler", "tell_problems"]

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


def tell_problems(problems: Iterable[str]) -> None:
    """One line on stderr for each."""
    for problem in problems:
        print(f"Warning: {problem}", file=sys.stderr)
