"""The database under the journal: its file, its tables, and transactions that are whole or did not happen."""

import contextlib
import io
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qlifq.errors import FileError, FileFormatError

__all__ = ["Database", "named_errors", "packed", "unpacked"]

_VERSION = 2
_APPLICATION = 0x514C4946
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


class Database:
    """The tables, open.

    Args:
        path: the file, made if it is not there; None keeps it in memory.
        must_exist: whether a missing file is an error.
        paid: whether what is `durable` must outlive a power failure, and not a crash alone.

    Raises:
        QLIFError: if the file cannot be opened or is no journal.
    """

    def __init__(self, path: Path | None, *, must_exist: bool, paid: bool) -> None:
        self.path, self.paid = path, paid
        if path is not None:
            _prepare(path, must_exist=must_exist)
        with named_errors(path):
            self.connection = sqlite3.connect(":memory:" if path is None else path, timeout=_BUSY_SECONDS)
            try:
                self._open()
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    def read(self, query: str, values: Sequence[object]) -> list[Any]:
        """The rows of a query."""
        with named_errors(self.path):
            return self.connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, all of it or nothing, with `durable` on the disk before the block ends."""
        with named_errors(self.path):
            self.connection.execute(f"PRAGMA synchronous = {'FULL' if durable and self.paid else 'NORMAL'}")
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise

    def _open(self) -> None:
        base = self.connection
        base.isolation_level = None
        base.execute("PRAGMA foreign_keys = ON")
        version = base.execute("PRAGMA user_version").fetchone()[0]
        application = base.execute("PRAGMA application_id").fetchone()[0]
        if version == _VERSION and application == _APPLICATION:
            return
        if self.path is not None:
            base.execute("PRAGMA journal_mode = WAL")
        with self.writing():
            # Another process may have made the tables meanwhile.
            version = base.execute("PRAGMA user_version").fetchone()[0]
            tables = base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version == _VERSION:
                return
            if version or tables:
                what = f"is of version {version}, but this is {_VERSION}" if version else "is no journal of qlifq"
                raise FileFormatError(f"Journal {self.path} cannot be used: it {what}.")
            for statement in _SCHEMA.split(";\n"):
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {_APPLICATION}")
            base.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def named_errors(path: Path | None) -> Iterator[None]:
    """Errors of the database and of the file system as those of the journal at that path."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "malformed" in str(error):
            raise FileFormatError(f"Journal {path} cannot be read: {error}.") from error
        raise FileError(
            f"Journal {path} cannot be written: {error}. What it holds is whole, and jobs that were submitted are "
            "found again: make room and start the same command."
        ) from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"Journal {path} cannot be opened: {(error.strerror or str(error)).lower()}.") from error


def packed(array: npt.NDArray[np.generic]) -> bytes:
    """Numbers as the tables hold them."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def unpacked(stored: bytes) -> npt.NDArray[Any]:
    """The numbers again, or a `FileFormatError` where they are damaged."""
    try:
        return np.asarray(np.load(io.BytesIO(zlib.decompress(stored)), allow_pickle=False))
    except (ValueError, zlib.error) as error:
        raise FileFormatError(f"The journal holds numbers that cannot be read: {error}.") from error


def _prepare(path: Path, *, must_exist: bool) -> None:
    """The file and its folder, for the owner alone."""
    if must_exist and not path.exists():
        raise FileError(f"Journal {path} does not exist: no job was submitted yet, or it is elsewhere, see QLIFQ_JOURNAL.")
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise FileError(f"Journal {path} cannot be opened: {(error.strerror or str(error)).lower()}.") from error
