"""The journal's path is looked at before anything is changed, and what is not ours is left as it is."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from qlifq.backends.ibm import database
from qlifq.backends.ibm.journal import Journal
from qlifq.errors import FileError, FileFormatError
from tests.backends.ibm.test_journal import submit, work


def test_a_journal_whose_log_holds_all_is_ours(tmp_path: Path) -> None:
    """Earlier versions left the main file a stub until they were closed."""
    with closing(sqlite3.connect(tmp_path / "j", isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.executescript(f"BEGIN; {database._SCHEMA} PRAGMA application_id = 0x514C4946; PRAGMA user_version = 2; COMMIT")
        for name in ("stub", "stub-wal"):
            shutil.copy(tmp_path / name.replace("stub", "j"), tmp_path / name)
    assert (tmp_path / "stub").stat().st_size == 4096
    with Journal(tmp_path / "stub") as journal:
        submit(journal, work())


def theirs(path: Path) -> None:
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE theirs (x)")
        base.commit()


def theirs_in_the_log(path: Path) -> None:
    with closing(sqlite3.connect(path.with_name("theirs"))) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("CREATE TABLE theirs (x)")
        base.commit()
        for name in ("", "-wal"):
            shutil.copy(path.with_name("theirs" + name), path.with_name(path.name + name))


def linked(path: Path) -> None:
    theirs(path.with_name("target"))
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"notes" * 300), "cannot be read: file is not a database. Name another file"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "cannot be read: file is not a database"),
        (theirs, "cannot be used: it is no journal of qlifq, but another's database"),
        (theirs_in_the_log, "cannot be used: it is no journal of qlifq, but another's database"),
        (linked, "cannot be used for the journal: it is a link, where it must be a regular file"),
        (lambda path: path.symlink_to("nothing"), "it is a link, where"),
        (os.mkfifo, "it is a pipe, where it must be a regular file"),
        (Path.mkdir, "it is a folder, where it must be a regular file"),
    ],
)
def test_what_is_not_ours_is_looked_at_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "j"
    make(path)

    for each in tmp_path.iterdir():
        if not each.is_symlink():
            each.chmod(0o755 if each.is_dir() else 0o644)

    def facts() -> list[tuple[str, int, bytes]]:
        return [
            (each.name, each.lstat().st_mode, each.read_bytes() if each.is_file() else b"")
            for each in sorted(tmp_path.iterdir())
        ]

    before = facts()
    with pytest.raises((FileError, FileFormatError), match=message):
        Journal(path)
    assert facts() == before
