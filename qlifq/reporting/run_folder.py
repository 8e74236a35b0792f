"""What a run leaves, so that neither a kill nor a full disk blocks the place where it lies.

A marker is written before anything else: it says which command runs, which files it will write, and that it has not finished.
The results come next, the pictures last, and then the marker says that the run is finished. The same command ends a run that
is unfinished, and only files that a marker lists are ever replaced.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import MappingProxyType

from qlifq._files import (
    MOST_BYTES_OF_JSON,
    PathLike,
    as_path,
    is_temporary,
    named_errors,
    parse_json_of_any_text,
    read_bytes,
    stamp,
    write_json,
)
from qlifq.errors import FileError, FileFormatError, FolderInUseError
from qlifq.reporting.config import CONFIG, CommandLine, write_config

__all__ = [
    "FORMAT",
    "MARKER",
    "VERSION",
    "Contents",
    "RunFolder",
    "check_folder",
    "is_unfinished",
    "listed_files",
    "read_marker",
    "run_folder",
    "same_command",
]

FORMAT = "qlifq run"
VERSION = 1
MARKER = "summary.json"

#: Writes one file, atomically, to the path that it is given.
Writer = Callable[[Path], object]


@dataclass(frozen=True)
class Contents:
    """What a run writes.

    Args:
        facts: what its marker records beside its own entries, numbers and text.
        results: by file name.
        pictures: by file name, the files of one figure with one name before their endings; one that cannot be drawn costs no
            results.
    """

    facts: Mapping[str, object] = field(default_factory=dict)
    results: Mapping[str, Writer] = field(default_factory=dict)
    pictures: Mapping[str, Writer] = field(default_factory=dict)


class RunFolder:
    """The files of one run.

    Args:
        marker: its marker; the files lie beside it.
        command: the command line; one that knows its options leaves them as `config.toml`.
        earlier: files of an earlier or unfinished run, which this one may replace.
        goes_on: whether there is an unfinished run of the same command.
        alone: whether the folder is this run's alone; else its marker goes when it is finished, and what other processes left
            there stays.
    """

    def __init__(
        self,
        marker: Path,
        command: str,
        *,
        earlier: Collection[str] = (),
        goes_on: bool = False,
        alone: bool = True,
    ) -> None:
        self.path, self.command, self.goes_on = marker.parent, command, goes_on
        self.begun = False
        self._marker, self._alone = marker, alone
        self._files = set(earlier)
        # Beside a record, which has no folder of its own, it would be a file among others.
        self._config = command.options if alone and isinstance(command, CommandLine) else None

    def check(self, names: Collection[str]) -> None:
        """Refuse files that must not be written here.

        Args:
            names: their names.

        Raises:
            FileError: if one is a link, or is there and no run wrote it.
        """
        for name in (self._marker.name, *(() if self._config is None else (CONFIG,)), *names):
            place = self.path / name
            if place.is_symlink():
                raise FileError(f"File {place} cannot be written: it is a link, and a run writes into its own files alone.")
            ours = name == self._marker.name or name in self._files
            if place.exists() and not (ours and place.is_file()):
                raise FileError(f"File {place} cannot be written: what is there was written by no run; move it away.")

    def begin(self, names: Collection[str], facts: Mapping[str, object] = MappingProxyType({}), *, keep: bool = False) -> None:
        """Write the marker of an unfinished run; then what an earlier one wrote is removed.

        Args:
            names: the files that will be written.
            facts: as in `Contents`.
            keep: whether the files that are there stay, because this run goes on with them.

        Raises:
            FileError: as `check` does, or if the marker cannot be written.
        """
        with named_errors(self.path):
            self.check(names)
        earlier = () if keep else tuple(self._files)
        # The earlier ones are listed until they are gone: a kill meanwhile leaves no file that no marker knows.
        self._files |= {*names, *(() if self._config is None else (CONFIG,))}
        self._mark(facts, finished=False)
        self.begun = True
        with named_errors(self.path):
            for left in list(self.path.iterdir()):
                if (self._alone and is_temporary(left)) or (left.name in earlier and left.is_file() and not left.is_symlink()):
                    left.unlink(missing_ok=True)
        if self._config is not None:
            write_config(self.path / CONFIG, self._config())

    def write(self, contents: Contents) -> list[str]:
        """Write the marker, the results, the pictures, and at last that the run is finished.

        Args:
            contents: what is written; what was written since `begin` stays.

        Returns:
            A sentence about each figure that could not be drawn, whatever the number of its files.

        Raises:
            QLIFError: if a result cannot be written; the same command begins again then.
        """
        self.begin([*contents.results, *contents.pictures], contents.facts, keep=self.begun)
        for name, write in contents.results.items():
            write(self.path / name)
        problems: dict[str, str] = {}
        for name, draw in contents.pictures.items():
            try:
                draw(self.path / name)
            # Whatever a library raises while it draws, the results are there and stay.
            except Exception as error:
                why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
                sentence = f"All results are written, but the picture {self.path / name} is missing: {why}."
                problems.setdefault(Path(name).stem, sentence)
        self._files = {name for name in self._files if (self.path / name).exists()}
        if self._alone:
            self._mark(contents.facts, finished=True)
        else:
            with named_errors(self._marker, "File"):
                self._marker.unlink()
        return list(problems.values())

    def _mark(self, facts: Mapping[str, object], *, finished: bool) -> None:
        known = {"format": FORMAT, "format_version": VERSION, **stamp(), "command": self.command}
        write_json(self._marker, {**known, "finished": finished, "files": sorted(self._files), **facts})


def read_marker(path: Path, *, at_most: int = MOST_BYTES_OF_JSON) -> dict[str, object]:
    """Read the marker of a run, which may list files, and give a command, whose names are bytes that are no text.

    Raises:
        FileFormatError: if there is no such file, it cannot be read, or it does not hold a JSON object.
    """
    return parse_json_of_any_text(read_bytes(path, at_most=at_most), str(path))


def listed_files(marker: Mapping[str, object]) -> list[str] | None:
    """The files that a marker lists; None where it lists none, as before there were lists.

    Raises:
        FileFormatError: if it lists something else than names of files beside it.
    """
    listed = marker.get("files")
    if listed is None:
        return None
    # What is listed may be removed, so nothing may lead out of the folder.
    if not isinstance(listed, list) or not all(
        isinstance(name, str) and name not in {"", ".", ".."} and not set(name) & {"/", "\\", "\0"} for name in listed
    ):
        raise FileFormatError(f"A marker must list names of files beside it as `files`, but lists {listed!r}.")
    return listed


def is_unfinished(marker: Mapping[str, object]) -> bool:
    """Whether a marker is of a run that has not come to its end."""
    return marker.get("format") == FORMAT and marker.get("finished", True) is False


def same_command(marker: Mapping[str, object], command: str) -> bool:
    """Whether a marker was written by a command of the same kind, such as `qlifq train`, whatever its options."""
    return str(marker.get("command", "")).split()[:2] == command.split()[:2]


def check_folder(folder: PathLike | None, *, command: str = "", files: Collection[str] = (), force: bool = False) -> Path:
    """Refuse, before anything runs, a folder that a run must not be written to.

    Args:
        folder: a folder that is not there yet, is empty but for what a killed write left, or holds an unfinished run of the
            same command, or with `force` any run. None for one under `runs`, named after the UTC time.
        command: the command line.
        files: names of the files that will be written, as far as they are known.
        force: whether an earlier run is overwritten.

    Returns:
        The folder.

    Raises:
        FileError: if it holds something else, is no folder, or one of its files is not of a run.
    """
    path = _default() if folder is None else as_path("out", folder)
    with named_errors(path):
        if not _is_there(path):
            # Found out now, and not when a long run is over.
            above = next(parent for parent in path.absolute().parents if parent.exists())
            if not above.is_dir() or not os.access(above, os.W_OK):
                raise FileError(f"Folder {path} cannot be made: {above} is not a folder that can be written to.")
            return path
        _opened(path, command, files, force=force)
    return path


@contextmanager
def run_folder(
    folder: PathLike | None, *, command: str, files: Collection[str] = (), force: bool = False
) -> Iterator[RunFolder]:
    """A folder that one run has for itself until the block ends, however it ends.

    It is made if it is not there, and goes again if nothing is written to it. Without a name it is one that no other run has.
    Arguments and errors as for `check_folder`.

    Raises:
        FileError: also if another process has the folder.
    """
    path = check_folder(folder, command=command, files=files, force=force)
    with named_errors(path):
        path, made = _made(path, alone=folder is None)
    with _locked(path):
        run = None
        try:
            with named_errors(path):
                run = _opened(path, command, files, force=force)
            yield run
        finally:
            if run is None or not run.begun:
                for place in made:
                    with suppress(OSError):
                        place.rmdir()


def _made(path: Path, *, alone: bool) -> tuple[Path, list[Path]]:
    """The folder, and what had to be made for it, the innermost first; `alone`, it is new and may have another name."""
    while True:
        missing = [place for place in (path, *path.parents) if not place.exists()]
        try:
            path.mkdir(parents=True, exist_ok=not alone)
        except FileExistsError:
            if not alone:
                raise
            path = _default()
        else:
            return path, missing


def _default() -> Path:
    """A folder under `runs` that is not there, named after the UTC time."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    names = (Path("runs", name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in names if not os.path.lexists(path))


def _is_there(path: Path) -> bool:
    """Whether there is something of that name; what the system refuses to read is an error."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _opened(path: Path, command: str, files: Collection[str], *, force: bool) -> RunFolder:
    """What a run may do in a folder that is there."""
    if not path.is_dir():
        kind = "a file" if path.exists() else "a link that leads nowhere"
        raise FileError(f"Folder {path} cannot be written: it is {kind}.")
    marker = path / MARKER
    if all(is_temporary(left) for left in path.iterdir()):
        return RunFolder(marker, command)
    try:
        known = {} if marker.is_symlink() else read_marker(marker)
        listed = listed_files(known)
    except FileFormatError:
        known = {}
    if known.get("format") != FORMAT:
        raise FileError(f"Folder {path} cannot be written: it holds files that are not of a run. Give another folder.")
    unfinished, same = is_unfinished(known), same_command(known, command)
    if not force and not unfinished:
        raise FileError(f"Folder {path} cannot be written: it holds an earlier run, which only --force overwrites.")
    if not force and not same:
        raise FileError(
            f"Folder {path} cannot be written: it holds an unfinished run of another command, {known.get('command')!r}, which "
            "only --force overwrites."
        )
    if listed is None:
        # The version before listed no files: what a command of the same kind wrote has the same names.
        listed = [name for name in files if same]
    run = RunFolder(marker, command, earlier=listed, goes_on=unfinished and not force)
    run.check(files)
    return run


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep every other process off a folder; the lock is the system's, which drops it when a process dies."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with named_errors(path):
        handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = False
        except BlockingIOError:
            taken = True
        except OSError:
            # Some network file systems lock no folders; there nobody is kept off.
            taken = False
        # Whoever had it a moment ago may have removed it.
        if taken or not path.exists() or not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise FolderInUseError(f"Folder {path} cannot be written: another run is being written to it; wait until it ends.")
        yield
    finally:
        os.close(handle)
