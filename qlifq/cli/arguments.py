"""Options that several commands share, and the folder of a run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDir", "DryRun", "Force", "Noise", "Out", "Sampling", "run_folder"]

Noise = Annotated[str | None, typer.Option(help="A device snapshot (for aer), or pairs such as t1=120e-6,readout_p01=0.01.")]
DataDir = Annotated[Path | None, typer.Option(help="A folder of IDX files, gzipped or not; default OpenML.")]
Sampling = Annotated[str | None, typer.Option(help="How a backend that offers a choice draws its counts.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; default runs/ and the UTC time.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an earlier run in that folder.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what it would cost and run nothing.")]


def run_folder(out: Path | None) -> Path:
    """Where a run goes: the folder that was asked for, or one under `runs` that is named after the UTC time."""
    return out or Path("runs") / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
