"""What is known of a run without the journal, in a folder beside it: who uses it now, and whether it is finished."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qlifq.backends.ibm.database import named_errors
from qlifq.backends.ibm.journal_file import claimed, own_folder
from qlifq.errors import FileError

__all__ = ["holding", "is_finished", "mark_finished"]


@contextmanager
def holding(path: Path, run: str) -> Iterator[None]:
    """Keep every other process and thread off a run of a journal, until the block or the process ends, however it ends.

    Args:
        path: the journal's file; the lock is a file in a folder beside it.
        run: the name of the run.

    Raises:
        FileError: if another process holds it, or it cannot be locked.
    """
    with named_errors(path):
        own_folder(_folder(path))
        os.close(claimed(_place(path, run)))
        lock = sqlite3.connect(_place(path, run), timeout=0, isolation_level=None)
    try:
        with named_errors(path):
            try:
                # The lock is the operating system's, which drops it when a process dies; nothing is ever written.
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                raise FileError(
                    f"Run {run} is in use by another process or thread: wait until it ends, or give another `run`."
                ) from error
        yield
    finally:
        lock.close()


def mark_finished(path: Path, run: str) -> None:
    """Keep beside the journal that a run is finished, so that a journal that is lost does not let it begin again."""
    with named_errors(path):
        own_folder(_folder(path))
        handle = claimed(_place(path, run, ".finished"))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_finished(path: Path, run: str) -> bool:
    """Whether a run was marked so."""
    return _place(path, run, ".finished").exists()


def _folder(path: Path) -> Path:
    return path.with_name(path.name + ".locks")


def _place(path: Path, run: str, kind: str = "") -> Path:
    return _folder(path) / (hashlib.sha256(run.encode()).hexdigest()[:32] + kind)
