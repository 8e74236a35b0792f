"""The command line: its commands put together, and one way out for all their errors.

The library is imported inside the commands, so that `qlifq --help` answers at once.
"""

import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from qlifq._text import one_line
from qlifq.cli import calibrate, compare, dashboard, evaluate, jobs, listing, runs, simulate, sweep, train
from qlifq.cli.arguments import examples
from qlifq.cli.config import add_config_option
from qlifq.errors import QLIFError

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Spiking neurons whose spike decision is made by a qubit."
)

for command, shown in (
    (simulate.simulate, simulate.EXAMPLES),
    (train.train, train.EXAMPLES),
    (evaluate.evaluate, evaluate.EXAMPLES),
    (calibrate.calibrate, calibrate.EXAMPLES),
    (compare.compare, compare.EXAMPLES),
    (sweep.sweep, sweep.EXAMPLES),
    (dashboard.dashboard, dashboard.EXAMPLES),
    (listing.circuits, listing.CIRCUITS),
    (listing.backends, listing.BACKENDS),
    (listing.kernels, listing.KERNELS),
):
    app.command(epilog=examples(*shown))(command)
app.add_typer(jobs.app, name="jobs")
app.add_typer(runs.app, name="runs")
add_config_option(app)

# typer brings its own click, whose exceptions are public only as the bases of this one.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Returns:
        0; 2 after one sentence on stderr about what was wrong; 130 after an interrupt.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A process without a terminal may have none; what it would print goes nowhere, and the run does not.
    sys.stdout, sys.stderr = (stream or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console without θ or ⟩ shows a question mark instead of failing.
            stream.reconfigure(errors="replace")
    try:
        code = app(given or ["--help"], prog_name="qlifq", standalone_mode=False, obj=shlex.join(["qlifq", *given]))
        sys.stdout.flush()
        # Commands return nothing; an interrupt arrives here as 130.
        return int(code or 0)
    except _UsageError as error:
        return _refuse(error.format_message())
    except QLIFError as error:
        return _refuse(str(error))
    except (MemoryError, RuntimeError) as error:
        # torch has no class of its own for this.
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        return _refuse("The run does not fit into memory: ask for fewer samples or steps.")
    except OSError as error:
        # The reader has gone, as `head` does, or there is no room for its output; without this Python would complain once
        # more when it exits.
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        place = "" if error.filename is None else f" ({error.filename})"
        return _refuse(f"The command cannot go on: {(error.strerror or str(error)).lower()}{place}.")


def _refuse(message: str) -> int:
    print("Error:", one_line(message), file=sys.stderr)
    return 2


def _print_version(requested: bool) -> None:
    if requested:
        from qlifq._version import __version__

        print(f"qlifq {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
