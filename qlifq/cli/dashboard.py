"""The command `qlifq dashboard`."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from qlifq.cli.arguments import output_option, run_option

__all__ = ["EXAMPLES", "dashboard"]


EXAMPLES = ("qlifq dashboard", "qlifq dashboard --folder studies --port 9000 --no-open")


def dashboard(
    folder: Annotated[Path, run_option(help="The folder of runs that the pages may read.")] = Path("runs"),
    address: Annotated[str, output_option(help="Where the server listens; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, output_option(help="Its port.", min=1, max=65535)] = 8501,
    name: Annotated[
        list[str] | None, output_option(help="A further name of the server, such as that of a proxy; can be repeated.")
    ] = None,
    open_browser: Annotated[bool, output_option("--open/--no-open", help="Whether a browser is opened.")] = True,
) -> None:
    """Look at a neuron, a circuit, two backends, a calibration and earlier runs in a browser."""
    # The fronts do not import each other: this is `python -m qlifq.dashboard`, in this process.
    sys.argv = ["qlifq.dashboard", f"--address={address}", f"--port={port}", f"--folder={folder}"]
    sys.argv += [f"--name={each}" for each in name or []]
    sys.argv += [] if open_browser else ["--no-open"]
    try:
        runpy.run_module("qlifq.dashboard", run_name="__main__")
    except SystemExit as end:
        raise typer.Exit(code=int(end.code or 0)) from None
