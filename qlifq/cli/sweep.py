"""The command `qlifq sweep`: one run for each combination of the values in a file.

The library is imported inside the command, so that `qlifq --help` answers at once.
"""

import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from qlifq.cli.arguments import AsJson, Force, Out, output_option, run_option
from qlifq.cli.config import COMMAND, option_names, option_values
from qlifq.cli.output import Output, print_problems
from qlifq.cli.progress import progress_bar
from qlifq.cli.tables import show_table
from qlifq.errors import ArgumentError

if TYPE_CHECKING:
    from qlifq.studies import Sweep

__all__ = ["EXAMPLES", "sweep"]

EXAMPLES = (
    "qlifq sweep sweep.toml --dry-run",
    "qlifq sweep sweep.toml --workers 4 --out runs/sweep",
    "qlifq sweep sweep.toml --scheduler tcp://10.0.0.1:8786",
)

#: The entry of a file with the lists of values.
AXES = "sweep"
#: The commands that leave a run in the folder that they are given.
COMMANDS = ("train", "evaluate", "simulate", "compare")
#: What the sweep decides for all of its points.
_OF_THE_SWEEP = ("out", "force", "dry-run", "json")
#: A longer table stands in its file alone.
_MOST_ROWS = 50

# As in `qlifq.cli.entry`, which imports this module.
_UsageError = cast(type[typer.BadParameter], typer.BadParameter.__base__)


def sweep(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Options of a command, and lists of values as [sweep].")],
    workers: Annotated[int | None, run_option(help="Processes on this machine; default one on each core.")] = None,
    scheduler: Annotated[
        str | None,
        run_option(help="Run the points on a Dask scheduler such as tcp://10.0.0.1:8786, or local for a cluster here."),
    ] = None,
    out: Out = None,
    force: Force = False,
    dry_run: Annotated[bool, output_option("--dry-run", help="Print the points and run nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a command for each combination of values, in parallel; a sweep that was killed goes on when it is started again."""
    from qlifq.reporting.config import CommandLine, read_config
    from qlifq.studies.sweep.points import points_of
    from qlifq.studies.sweep.run import run_sweep

    content = read_config(file)
    command, axes, fixed = _content(content, file)
    points = points_of(axes, fixed)
    for point in points:
        _check(command, _options(fixed, point.values), file)
    output = Output(as_json)
    if dry_run:
        if not as_json:
            show_table([("number", "point"), *enumerate(points, start=1)])
        output.end(points=[point.values for point in points])
        return
    with progress_bar("points") as progress:
        done = run_sweep(
            partial(run_point, command, fixed),
            axes,
            out,
            fixed=fixed,
            workers=workers,
            scheduler=scheduler,
            title=f"Sweep of qlifq {command}",
            # Its folder holds the file itself, which repeats the sweep, and not where that lay.
            command=CommandLine(context.obj, lambda: content),
            force=force,
            progress=progress,
        )
    print_problems(done.problems)
    if len(done.points) <= _MOST_ROWS and not as_json:
        show_table(_rows(done))
    output.report(done.report)
    output.row("written to", done.folder, written_to=done.folder)
    output.end()


def _rows(done: "Sweep") -> list[list[object]]:
    """What is varied and the first result of every point, under their names."""
    varied = list(dict.fromkeys(name for point in done.points for name in point.values))
    results = list(dict.fromkeys(name for run in done.runs for name in run.results))[:1]
    rows = [
        [*(point.values.get(name) for name in varied), *(run.results.get(name) for name in results)]
        for point, run in zip(done.points, done.runs, strict=True)
    ]
    return [[*varied, *results], *rows]


def run_point(command: str, fixed: Mapping[str, Any], values: Mapping[str, Any], folder: Path) -> None:
    """Run one point of a sweep, in a worker.

    Raises:
        QLIFError: if the command refuses it.
    """
    from qlifq.cli.entry import app

    arguments = [command, *_arguments(command, _options(fixed, values), "the sweep"), "--out", str(folder)]
    try:
        code = app(arguments, prog_name="qlifq", standalone_mode=False, obj=shlex.join(["qlifq", *arguments]))
    except _UsageError as error:
        raise ArgumentError(error.format_message()) from error
    if code:
        raise ArgumentError(f"Command {shlex.join(arguments)} must end well, but ends with {code}.")


def _content(content: Mapping[str, Any], file: Path) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """The command of a file, its grids of values by the names of options, and its other options."""
    command = content.get(COMMAND)
    if command not in COMMANDS:
        raise ArgumentError(f"File {file} must say `command`, one of {', '.join(COMMANDS)}, but has {command!r}.")
    grids = content.get(AXES)
    grids = [grids] if isinstance(grids, Mapping) else grids
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, Mapping) and grid for grid in grids):
        raise ArgumentError(f"File {file} must have a table [{AXES}] with lists of values, but has none.")
    fixed = {_hyphens(name): value for name, value in content.items() if name not in {COMMAND, AXES}}
    return command, [dict(_flat(grid)) for grid in grids], fixed


def _flat(grid: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The axes of a grid; one in a table of pairs has the name of the table too, such as "param.tau"."""
    for name, values in grid.items():
        if isinstance(values, Mapping):
            yield from ((f"{_hyphens(name)}.{key}", each) for key, each in values.items())
        else:
            yield _hyphens(name), values


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


def _options(fixed: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one point, as a file has them."""
    options = dict(fixed)
    for name, value in values.items():
        table, dot, key = name.partition(".")
        if dot:
            options[table] = {**_pairs(options.get(table, {})), key: value}
        else:
            options[name] = value
    return options


def _pairs(value: object) -> Mapping[str, object]:
    """A table of pairs, which stands as text or as a list where a command wrote the file."""
    if isinstance(value, Mapping):
        return value
    texts = value if isinstance(value, list) else str(value).split(",")
    return {name: text for name, _, text in (str(each).partition("=") for each in texts)}


def _context(command: str) -> Any:
    """The command as it is on the command line, before it has any options."""
    from qlifq.cli.entry import app

    tree: Any = typer.main.get_command(app)
    return tree.commands[command].make_context(
        command, [], parent=tree.make_context("qlifq", [], resilient_parsing=True), resilient_parsing=True
    )


def _arguments(command: str, options: Mapping[str, Any], source: object) -> list[str]:
    """A command line with these options."""
    context = _context(command)
    parameters = {parameter.name: parameter for parameter in option_names(context).values()}
    line, last = list[str](), list[str]()
    for name, value in option_values(context, options, source).items():
        parameter = parameters[name]
        option = max(parameter.opts, key=len)
        if parameter.param_type_name == "argument":
            last += value if isinstance(value, list) else [value]
        elif isinstance(value, bool):
            line += [option] if value else []
        elif parameter.multiple:
            line += [word for each in value for word in (option, each)]
        else:
            line += [option, *(value if isinstance(value, list) else [value])]
    return [*line, *last]


def _check(command: str, options: Mapping[str, Any], file: Path) -> None:
    """Refuse options that the command does not have, or that have values of another type."""
    for name in options:
        if name in _OF_THE_SWEEP:
            raise ArgumentError(f"Option {name} in {file} would be ignored: a sweep has it for all of its points.")
    context = _context(command)
    context.command.make_context(command, _arguments(command, options, file), parent=context.parent)
