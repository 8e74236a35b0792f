"""The database under the journal: its file, its tables, and transactions that are whole or did not happen.

At rest everything that counts is in the one file: the write-ahead log is emptied into it before a durable write returns.
"""

import contextlib
import io
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qlifq.backends.ibm.journal_file import APPLICATION, VERSION, identity, prepare
from qlifq.errors import FileError, FileFormatError

__all__ = ["Database", "named_errors", "packed", "parsed", "unpacked", "unreadable"]

#: How long one process waits for another that is writing, seconds.
_BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE run (
    name TEXT PRIMARY KEY, device TEXT NOT NULL, qubits TEXT NOT NULL, budget_seconds REAL, session TEXT, command TEXT,
    created TEXT NOT NULL, finished TEXT, qlifq_version TEXT NOT NULL
) STRICT;
CREATE TABLE submission (
    request TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES run (name), digest TEXT NOT NULL, frame TEXT NOT NULL,
    attempt INTEGER NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL, device TEXT NOT NULL, circuit TEXT NOT NULL,
    qubits TEXT NOT NULL, sets INTEGER NOT NULL, shots INTEGER NOT NULL, angles BLOB NOT NULL, state TEXT NOT NULL, job TEXT,
    estimated_seconds REAL, cap_seconds REAL, usage_seconds REAL, duplicates INTEGER NOT NULL DEFAULT 0, result BLOB,
    error TEXT,
    UNIQUE (run, digest, attempt)
) STRICT;
CREATE INDEX by_frame ON submission (run, frame);
"""
_COLUMNS = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1, c.cid"

#: What a user does about a database that cannot be written, by SQLite's code.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_IOERR: "see whether the disk is full or fails",
    sqlite3.SQLITE_BUSY: "wait until the process that holds it ends",
    sqlite3.SQLITE_LOCKED: "wait until the process that holds it ends",
    sqlite3.SQLITE_READONLY: "allow yourself to write it and its folder",
    sqlite3.SQLITE_PERM: "allow yourself to write it and its folder",
    sqlite3.SQLITE_CANTOPEN: "allow yourself to write it and its folder",
    sqlite3.SQLITE_NOMEM: "free some memory",
}


class Database:
    """The tables, open.

    Args:
        path: the file, made if it is not there; None keeps it in memory.
        must_exist: whether a missing file is an error.
        paid: whether what is `durable` must outlive a power failure and a damaged log, and not a crash alone.

    Raises:
        QLIFError: if the file cannot be opened or is no journal; then nothing of it was changed.
    """

    def __init__(self, path: Path | None, *, must_exist: bool, paid: bool) -> None:
        self.path, self.paid = path, paid
        with named_errors(path):
            self._file = None if path is None else prepare(path, must_exist=must_exist)
            self.connection = sqlite3.connect(":memory:" if path is None else path, timeout=_BUSY_SECONDS)
            try:
                self._open()
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    def check(self) -> None:
        """Make sure that the path still leads to the file that was opened: what is written to another is lost.

        Raises:
            FileError: if the file was deleted, moved or replaced.
        """
        if self.path is not None and identity(self.path) != self._file:
            raise FileError(
                f"Journal {self.path} is not the file any more that was opened: it was deleted, moved or replaced. Jobs that "
                "were submitted are found again: put it back, or do without it, and start the same command."
            )

    def read(self, query: str, values: Sequence[object]) -> list[Any]:
        """The rows of a query."""
        with named_errors(self.path):
            return self.connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, all of it or nothing, with `durable` in the file and on the disk before the block ends."""
        self.check()
        durable = durable and self.paid
        with named_errors(self.path):
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            if durable:
                # SQLite drops what follows a damaged frame of its log without a word, so nothing that counts stays in it.
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _open(self) -> None:
        base = self.connection
        base.isolation_level = None
        base.execute("PRAGMA foreign_keys = ON")
        if _header(base) != (VERSION, APPLICATION):
            # In one transaction before there is a log, so that a file which is not empty says at once whose it is.
            base.execute("BEGIN IMMEDIATE")
            try:
                # Another process may have made the tables meanwhile.
                if _header(base) != (VERSION, APPLICATION):
                    for statement in _SCHEMA.split(";\n"):
                        base.execute(statement)
                    base.execute(f"PRAGMA application_id = {APPLICATION}")
                    base.execute(f"PRAGMA user_version = {VERSION}")
                base.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    base.execute("ROLLBACK")
                raise
        found = base.execute(_COLUMNS).fetchall()
        if missing := [f"{table}.{column}" for table, column in _expected() if (table, column) not in found]:
            raise unreadable(self.path, f"its tables lack {', '.join(missing[:3])}")
        if self.path is not None:
            base.execute("PRAGMA journal_mode = WAL")


def _header(base: sqlite3.Connection) -> tuple[int, int]:
    """The version of the tables, and whose they are."""
    return base.execute("PRAGMA user_version").fetchone()[0], base.execute("PRAGMA application_id").fetchone()[0]


@cache
def _expected() -> list[tuple[str, str]]:
    """The tables and their columns."""
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.executescript(_SCHEMA)
        return base.execute(_COLUMNS).fetchall()


@contextmanager
def named_errors(path: Path | None) -> Iterator[None]:
    """Errors of the database and of the file system as those of the journal at that path."""
    try:
        yield
    except sqlite3.ProgrammingError:
        # Ours, as the use of a connection by another thread.
        raise
    except sqlite3.Error as error:
        remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", -1) & 0xFF)
        if remedy is None:
            raise unreadable(path, str(error)) from error
        raise FileError(
            f"Journal {path} cannot be written: {error}. What it holds is whole, and jobs that were submitted are "
            f"found again: {remedy} and start the same command."
        ) from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"Journal {path} cannot be opened: {(error.strerror or str(error)).lower()}. Mend that, or name another journal, "
            "see QLIFQ_JOURNAL, and start the same command."
        ) from error


def unreadable(path: Path | None, what: str) -> FileFormatError:
    """A journal that is damaged, and the way on without it."""
    return FileFormatError(
        f"Journal {path} cannot be read: {what}. Move it away and start the same command: jobs that were submitted are found "
        "again at the service."
    )


def parsed(path: Path | None, text: str) -> tuple[int, ...]:
    """Whole numbers as the tables hold them, in JSON."""
    try:
        numbers = json.loads(text)
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise ValueError(f"{text[:40]!r} is no list of whole numbers")
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(path, f"a row is damaged, {error}") from error
    return tuple(numbers)


def packed(array: npt.NDArray[np.generic]) -> bytes:
    """Numbers as the tables hold them."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def unpacked(stored: bytes) -> npt.NDArray[Any]:
    """The numbers again, or a `FileFormatError` where they are damaged."""
    try:
        return np.asarray(np.load(io.BytesIO(zlib.decompress(stored)), allow_pickle=False))
    except (ValueError, TypeError, EOFError, zlib.error) as error:
        raise FileFormatError(f"The journal holds numbers that cannot be read: {error}.") from error
