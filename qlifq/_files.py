"""Files that survive a crash: each one is the old file or the new one, never half of it."""

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from qlifq.errors import ArgumentError, DtypeError, FileError, FileFormatError

__all__ = [
    "MOST_BYTES_OF_JSON",
    "PathLike",
    "as_path",
    "atomic_write",
    "check_ordinary",
    "is_temporary",
    "named_errors",
    "parse_json",
    "parse_json_of_any_text",
    "read_bytes",
    "read_json",
    "stamp",
    "write_bytes",
    "write_json",
]

PathLike = str | os.PathLike[str]

#: No file of this kind that qlifq writes is larger; one that is was not written by it.
MOST_BYTES_OF_JSON = 256 << 20


def as_path(name: str, value: object) -> Path:
    """A path from a string or a path; the argument is named where it is neither."""
    if not isinstance(value, str | os.PathLike):
        raise DtypeError(f"Argument `{name}` must be a path, but is {value!r}.")
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ArgumentError(f"Argument `{name}` must be a path, but is {text!r}.")
    return Path(text)


@contextmanager
def atomic_write(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when it is complete.

    What is written goes to a temporary file beside `path`, to the disk, and then in one act to its name. If anything fails
    on the way, the old file is as it was and the temporary one is gone. A symbolic link is followed.

    Args:
        path: where to write; its folder must exist.

    Yields:
        A binary file.

    Raises:
        FileError: if there is no such folder, the path is one, or the system refuses (permission, a full disk).
    """
    target = Path(os.path.realpath(as_path("path", path)))
    if target.is_dir():
        raise FileError(f"File {target} cannot be written: it is a folder.")
    if not target.parent.is_dir():
        why = "is not a folder" if target.parent.exists() else "does not exist"
        raise FileError(f"File {target} cannot be written: {target.parent} {why}.")
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        # An error that names another file, or is a sentence already, comes from the caller's block and is not about this file.
        if isinstance(error, FileError) or error.filename not in {None, str(temporary)}:
            raise
        raise FileError(f"File {target} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of a temporary one of `atomic_write`, which only a process that was killed leaves behind."""
    return re.fullmatch(r"\.[0-9a-f]{16}\.tmp", path.name) is not None


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file, atomically.

    Libraries that write formats of their own turn a full disk into errors of any kind, or into none: they write to memory, and
    what they wrote goes to the disk here.

    Raises:
        FileError: if the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(content)


@contextmanager
def named_errors(path: Path, kind: str = "Folder") -> Iterator[None]:
    """Errors of the system while a folder or a file is looked at or made, as a sentence about it; sentences pass."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{kind} {path} cannot be written: {(error.strerror or str(error)).lower()}.") from error


def write_json(path: PathLike, content: Mapping[str, object]) -> None:
    """Write an object as indented JSON, atomically; NaN and infinity are refused, since JSON has none.

    Raises:
        FileFormatError: if the content has no JSON form.
        FileError: if the file cannot be written.
    """
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"File {path} cannot be written as JSON: {error}.") from error
    # A name of bytes that are no text has lone surrogates; written this way, they are JSON and come back as they were.
    write_bytes(path, text.encode(errors="backslashreplace") + b"\n")


def read_bytes(path: PathLike, *, at_most: int | None = None) -> bytes:
    """The content of a file: an ordinary one, not a device or a pipe, which may have no end.

    Args:
        path: the file.
        at_most: how many bytes it may have; None for any number.

    Raises:
        FileFormatError: if there is no such file, it is of another kind or too large, or cannot be read.
    """
    file = as_path("path", path)
    size = check_ordinary(file)
    if at_most is not None and size > at_most:
        raise FileFormatError(f"File {file} must have at most {at_most:,} bytes, but has {size:,}.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def check_ordinary(file: Path) -> int:
    """The size of an ordinary file that can be read: not a folder, and not a device or a pipe, which may have no end.

    Raises:
        FileFormatError: if there is no such file, it is of another kind, or cannot be read.
    """
    try:
        # Before it is opened: a pipe without a writer would wait for one.
        found = file.stat()
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISREG(found.st_mode):
            with open(file, "rb"):
                return found.st_size
    except OSError as error:
        raise _unreadable(file, error) from error
    raise FileFormatError(f"File {file} cannot be read: it is a device, a pipe or a socket.")


def _unreadable(file: Path, error: OSError) -> FileFormatError:
    return FileFormatError(f"File {file} cannot be read: {(error.strerror or str(error)).lower()}.")


def read_json(path: PathLike, *, at_most: int = MOST_BYTES_OF_JSON) -> dict[str, object]:
    """Read a JSON object, see `parse_json`.

    Raises:
        FileFormatError: if there is no such file, it cannot be read, or it does not hold a JSON object.
    """
    return parse_json(read_bytes(path, at_most=at_most), str(as_path("path", path)))


def parse_json(content: bytes, name: str) -> dict[str, object]:
    """The JSON object that a file holds, each name in it once and every text one that can be written down.

    Args:
        content: the bytes of the file.
        name: what it is called in an error.

    Raises:
        FileFormatError: if it holds anything else.
    """
    found = parse_json_of_any_text(content, name)
    if b"\\u" in content:
        # Half of a pair of surrogates, which only an escape can bring in, is no text: nothing can print or keep it.
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise FileFormatError(f"File {name} must hold JSON, but does not: {error}.") from error
    return found


def parse_json_of_any_text(content: bytes, name: str) -> dict[str, object]:
    """As `parse_json`, for a file with names of other files, whose bytes may be no text; `write_json` writes them escaped."""
    try:
        # Decoded here: the parser lets through what is no text when it decodes bytes itself.
        found = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"File {name} must hold JSON, but does not: {error}.") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"File {name} must hold a JSON object, but holds a {type(found).__name__}.")
    return found


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; a name that stands twice would silently mean the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ValueError(f"the name {twice!r} stands twice in an object")
    return found


def stamp() -> dict[str, str]:
    """The origin that every file of qlifq states: the UTC time and the library's version."""
    # Here and not above: a room that writes files is imported while the package itself still is.
    from qlifq._version import __version__

    return {"time_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "qlifq_version": __version__}


def _sync_folder(folder: Path) -> None:
    """Bring the new name itself to the disk; only POSIX systems can open a folder for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
