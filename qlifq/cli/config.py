"""The option --config of every command: its options from a TOML file, and the options in effect for the folder of the run."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from qlifq._validation import suggestion
from qlifq.errors import ArgumentError

__all__ = ["COMMAND", "add_config_option", "option_names", "option_values"]

#: The entry of a file that says which command it is for.
COMMAND = "command"
#: What a run is written to is no part of what it is: the same file repeats it in another place.
_NOT_KEPT = frozenset({"out", "force", "dry_run", "as_json"})


def add_config_option(app: typer.Typer) -> None:
    """Give every command of an app, and of the apps in it, the option --config; called when all commands are registered."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_config(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_config_option(group.typer_instance)


def option_names(context: typer.Context) -> dict[str, Any]:
    """What a file may hold for a command, by name: its options, without the hyphens in front, and its arguments."""
    return {
        max(parameter.opts, key=len).lstrip("-"): parameter
        for parameter in context.command.params
        if parameter.name not in {"config", "help"} and parameter.name is not None
    }


def option_values(context: typer.Context, given: Mapping[str, object], source: object) -> dict[str, Any]:
    """What a command is given by a file, by the names of its parameters.

    Numbers become the text that they would be on the command line, and are checked in the same way: an option for whole numbers
    takes no 2.5.

    Args:
        context: of the command.
        given: the content of the file.
        source: what the file is called in an error.

    Raises:
        ArgumentError: for a name that is no option of the command, or a value that no option has.
    """
    known = option_names(context)
    command = context.command_path.partition(" ")[2]
    if given.get(COMMAND, command) != command:
        raise ArgumentError(f"File {source} must be for the command `{command}`, but is for `{given[COMMAND]}`.")
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("_", "-")
        if name == COMMAND:
            continue
        # Arguments have the names of Python.
        parameter = known.get(name) or known.get(key)
        if parameter is None:
            names = f"it must be one of {', '.join(known)}."
            raise ArgumentError(f"Unknown option `{key}` in {source}: {names}{suggestion(key, known)}")
        if getattr(parameter, "is_flag", False):
            if not isinstance(value, bool):
                raise ArgumentError(f"Option {name} of {source} must be true or false, but is {value!r}.")
            values[parameter.name] = value
        else:
            texts = list(_texts(f"Option {name} of {source}", value))
            several = getattr(parameter, "multiple", False) or parameter.nargs != 1
            values[parameter.name] = texts if several else ",".join(texts)
    return values


def _with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with one more option, which it need not know of."""

    @wraps(command)
    def configured(**options: Any) -> Any:
        del options["config"]
        return command(**options)

    signature = inspect.signature(command)
    option = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Config)
    configured.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    configured.__annotations__ = {**command.__annotations__, "config": _Config}
    return configured


def _read_options(context: typer.Context, path: Path | None) -> Path | None:
    """Make the content of the file the defaults of the options, and let the run know what is in effect."""
    from qlifq.reporting.config import CommandLine, read_config

    if path is not None and not context.resilient_parsing:
        context.default_map = option_values(context, read_config(path), path)
    context.obj = CommandLine(context.obj or "", lambda: _in_effect(context))
    return path


#: Read before all other options, which take their defaults from it.
_Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_read_options,
        help="A TOML file with these options by name; the command line overrides it.",
    ),
]


def _in_effect(context: typer.Context) -> dict[str, object]:
    """The options of a command and their values, but those that have none or say where the run is written."""
    kept: dict[str, object] = {COMMAND: context.command_path.partition(" ")[2]}
    for name, parameter in option_names(context).items():
        value = context.params.get(str(parameter.name))
        if value is not None and value != () and parameter.name not in _NOT_KEPT:
            kept[name] = _plain(value)
    return kept


def _plain(value: object) -> object:
    """A value as TOML has it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _texts(option: str, value: object) -> Iterator[str]:
    """The pieces of a value as text: of a list its entries, of a table pairs such as "tau=10.0"."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield f"{name}={','.join(_texts(f'{option}.{name}', each))}"
    elif isinstance(value, list):
        for each in value:
            yield ",".join(_texts(option, each))
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str | int | float):
        yield str(value)
    else:
        raise ArgumentError(f"{option} must be text, a number, true or false, or a list or table of these, but is {value!r}.")
