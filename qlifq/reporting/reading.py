"""A run folder read back: its summary, its report, its tables and its arrays.

Whoever wrote the folder may be somebody else, so nothing that is read is unpickled or run, and what is no file of its kind is
refused in a sentence.
"""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qlifq._arrays import parse_npz
from qlifq._files import PathLike, as_path, read_bytes
from qlifq._packages import load
from qlifq.errors import FileFormatError
from qlifq.reporting.run_folder import FORMAT, MARKER, VERSION, is_unfinished, listed_files, read_marker

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SavedRun", "read_run", "read_spikes", "read_table", "read_text"]

#: How many times its packed size an array may have where the size of its file is limited.
_MOST_UNPACKED = 10


@dataclass(frozen=True, eq=False)
class SavedRun:
    """What a run left in its folder.

    Args:
        folder: the folder.
        summary: the facts of `summary.json`: the command, the version of qlifq, the time, and what the run adds.
        report: the text of `report.md`; None where the run wrote none.
        tables: the CSV files by name without ending.
        spikes: of a simulation, `(time, batch, neurons)`, bool or for graded spikes float; None for any other run.
    """

    folder: Path
    summary: Mapping[str, Any]
    report: str | None
    tables: Mapping[str, "DataFrame"]
    spikes: npt.NDArray[Any] | None

    @property
    def command(self) -> str:
        """The command line that made it."""
        return str(self.summary.get("command", ""))

    def array(self, name: str) -> npt.NDArray[Any]:
        """Another recorded variable of a simulation, such as "potential", `(time, batch, neurons)`.

        Raises:
            FileFormatError: if the run recorded none of that name.
        """
        return read_spikes(self.folder / "spikes.npz", name)

    def __str__(self) -> str:
        shape = "none" if self.spikes is None else " × ".join(map(str, self.spikes.shape))
        rows = {"run": self.folder, "command": self.command, "tables": ", ".join(self.tables) or "none", "spikes": shape}
        return "\n".join(f"{name:<12} {value}" for name, value in rows.items())


def read_run(folder: PathLike) -> SavedRun:
    """Read a finished run back, whether `qlifq` on the command line or a function of the library wrote it.

    Args:
        folder: the folder of the run.

    Returns:
        A `SavedRun`.

    Raises:
        FileFormatError: if the folder holds no finished run, or one of its files cannot be read.
    """
    path = as_path("folder", folder)
    summary = read_marker(path / MARKER)
    if summary.get("format") != FORMAT:
        raise FileFormatError(f"File {path / MARKER} must be the summary of a run of qlifq, but is none.")
    if summary.get("format_version") != VERSION:
        raise FileFormatError(
            f"File {path / MARKER} must be of version {VERSION}, but is of version {summary.get('format_version')}."
        )
    if is_unfinished(summary):
        raise FileFormatError(
            f"Folder {path} must hold a finished run, but is unfinished: the same command, {summary.get('command')!r}, ends it."
        )
    names = listed_files(summary)
    if names is None:
        # The version before listed no files.
        names = sorted(place.name for place in path.iterdir())
    return SavedRun(
        folder=path,
        summary=summary,
        report=read_text(path / "report.md") if "report.md" in names else None,
        tables={Path(name).stem: read_table(path / name) for name in names if name.endswith(".csv")},
        spikes=read_spikes(path / "spikes.npz") if "spikes.npz" in names else None,
    )


def read_text(path: Path, *, at_most: int | None = None) -> str:
    """A text file in UTF-8 of at most `at_most` bytes, None for any number."""
    try:
        return read_bytes(path, at_most=at_most).decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"File {path} must be text in UTF-8, but cannot be read as such.") from error


def read_table(path: Path, *, at_most: int | None = None) -> "DataFrame":
    """A CSV file, see `read_text`."""
    content = read_bytes(path, at_most=at_most)
    pandas = load("pandas", package="pandas", feature="A table", install="pandas")
    try:
        table: DataFrame = pandas.read_csv(io.BytesIO(content))
    # The reader of tables has errors of many kinds for bytes that are none.
    except Exception as error:
        why = f"{str(error) or type(error).__name__}".splitlines()[0]
        raise FileFormatError(f"File {path} must be a table, but cannot be read: {why}.") from error
    return table


def read_spikes(path: Path, name: str = "spikes", *, at_most: int | None = None) -> npt.NDArray[Any]:
    """One array of a simulation's `spikes.npz`, `(time, batch, neurons)`, see `read_text`."""
    unpacked = sys.maxsize - 1 if at_most is None else _MOST_UNPACKED * at_most
    values: np.ndarray[Any, Any] = parse_npz(
        read_bytes(path, at_most=at_most), str(path), name, most_bytes=unpacked, kinds="fb"
    )
    if values.ndim != 3:
        raise FileFormatError(f"File {path} must hold {name} of shape (time, batch, neurons), but has {values.shape}.")
    return values
