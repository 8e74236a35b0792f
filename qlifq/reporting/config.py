"""The options of a command in a file: `config.toml`, which every run folder holds, and which repeats the run."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qlifq._files import PathLike, as_path, read_bytes, stamp, write_bytes
from qlifq._packages import load
from qlifq.errors import FileFormatError

__all__ = ["CONFIG", "CommandLine", "read_config", "write_config"]

CONFIG = "config.toml"
#: People write these files; one that is larger is something else.
_MOST_BYTES = 1 << 20


class CommandLine(str):
    """The text of a command line that also knows its options.

    Args:
        text: the command line.
        options: gives the options that are in effect, by name, TOML values; called when the run begins to write, so that a
            command may settle until then what its user left open.
    """

    options: Callable[[], Mapping[str, object]]

    def __new__(cls, text: str, options: Callable[[], Mapping[str, object]]) -> "CommandLine":
        """A string with more in it."""
        line = super().__new__(cls, text)
        line.options = options
        return line


def write_config(path: Path, options: Mapping[str, object]) -> None:
    """Write options as TOML, atomically.

    Raises:
        FileError: if the file cannot be written.
    """
    tomlkit = load("tomlkit", package="tomlkit", feature="A configuration file", install="tomlkit")
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Written by qlifq {stamp()['qlifq_version']}."))
    for name, value in options.items():
        document.add(name, value)
    # A file name of bytes that are no text has lone surrogates, which UTF-8 lacks.
    write_bytes(path, tomlkit.dumps(document).encode(errors="backslashreplace"))


def read_config(path: PathLike) -> dict[str, Any]:
    """Read the options of a command.

    Raises:
        FileFormatError: if there is no such file, or it does not hold TOML.
    """
    file = as_path("config", path)
    content = read_bytes(file, at_most=_MOST_BYTES)
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"File {file} must hold TOML, but does not: {str(error).rstrip('.')}.") from error
