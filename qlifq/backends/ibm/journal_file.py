"""The file of the journal, looked at before anything of it is changed: a regular file of ours, and no link to one."""

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

from qlifq.errors import FileError, FileFormatError

__all__ = ["APPLICATION", "VERSION", "claimed", "identity", "own_folder", "prepare"]

APPLICATION = 0x514C4946
VERSION = 2
#: What every SQLite database begins with, and where its header holds the version and the application.
_MAGIC, _VERSION_AT, _APPLICATION_AT, _HEADER = b"SQLite format 3\0", 60, 68, 100
#: Files that SQLite keeps beside a database.
_COMPANIONS = ("-journal", "-wal", "-shm")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def identity(path: Path) -> tuple[int, int] | None:
    """What distinguishes a file from every other whatever its name; None where there is none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def prepare(path: Path, *, must_exist: bool) -> tuple[int, int]:
    """The identity of the journal's file, which is there, ours, and readable by its owner alone.

    Raises:
        FileError: if it is something else; then it is as it was.
        OSError: if the system refuses.
    """
    if identity(path) is None:
        if must_exist:
            raise FileError(
                f"Journal {path} does not exist: no job was submitted yet, or it is at another path, see QLIFQ_JOURNAL."
            )
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _COMPANIONS:
        if identity(companion := path.with_name(path.name + name)) is not None:
            _check_kind(companion, companion.lstat())
    handle = claimed(path)
    try:
        found = os.fstat(handle)
        _check_ours(path, os.read(handle, _HEADER), found.st_size)
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(handle if os.chmod in os.supports_fd else path, 0o600)
        return found.st_dev, found.st_ino
    finally:
        os.close(handle)


def claimed(path: Path) -> int:
    """A file open for reading, made for its owner alone if it is not there; never what a link leads to.

    Raises:
        FileError: if there is something else than a regular file.
        OSError: if the system refuses.
    """
    with contextlib.suppress(FileNotFoundError):
        # Before it is opened: opening a pipe or a device can wait or act.
        _check_kind(path, path.lstat())
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
    try:
        _check_kind(path, os.fstat(handle))
    except BaseException:
        os.close(handle)
        raise
    return handle


def own_folder(path: Path) -> Path:
    """A folder for the owner alone, made if it is not there; never what a link leads to.

    Raises:
        FileError: if there is something else.
        OSError: if the system refuses.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise FileError(f"Folder {path} cannot be used: it is a file or a link. Move it away and start the same command.")
    return path


def _check_kind(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise FileError(
            f"File {path} cannot be used for the journal: it is {kind}, where it must be a regular file. Move it away, or name "
            "another journal, see QLIFQ_JOURNAL."
        )


def _check_ours(path: Path, header: bytes, size: int) -> None:
    """Refuse what somebody else wrote; an empty file and an empty database are nobody's."""
    if not size:
        return
    if not header.startswith(_MAGIC) or len(header) < _HEADER:
        raise FileFormatError(f"Journal {path} cannot be read: file is not a database. Name another file, see QLIFQ_JOURNAL.")
    version = int.from_bytes(header[_VERSION_AT : _VERSION_AT + 4], "big")
    application = int.from_bytes(header[_APPLICATION_AT : _APPLICATION_AT + 4], "big")
    tables = 1
    if not version and not application:
        version, application, tables = _in_its_log(path)
    if application != APPLICATION and (application or version or tables):
        raise FileFormatError(
            f"Journal {path} cannot be used: it is no journal of qlifq, but another's database. Name another file, see "
            "QLIFQ_JOURNAL."
        )
    if application == APPLICATION and version != VERSION:
        raise FileFormatError(f"Journal {path} cannot be used: it is of version {version}, but this is {VERSION}.")


def _in_its_log(path: Path) -> tuple[int, int, int]:
    """The version, the application and the number of tables of a database, read from a copy since reading may change it.

    Journals of earlier versions of qlifq could have all their rows in their log.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + "-wal"), f"{copy}-wal")
        with contextlib.closing(sqlite3.connect(copy)) as base:
            queries = ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
            version, application, tables = (int(base.execute(query).fetchone()[0]) for query in queries)
    return version, application, tables
