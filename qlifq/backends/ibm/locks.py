"""One user at a time for each run of a journal."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qlifq.backends.ibm.database import named_errors
from qlifq.errors import FileError

__all__ = ["holding"]


@contextmanager
def holding(path: Path, run: str) -> Iterator[None]:
    """Keep every other process and thread off a run of a journal, until the block or the process ends, however it ends.

    Args:
        path: the journal's file; the lock is a file in a folder beside it.
        run: the name of the run.

    Raises:
        FileError: if somebody else holds it.
    """
    folder = path.with_name(path.name + ".locks")
    with named_errors(path):
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = sqlite3.connect(folder / hashlib.sha256(run.encode()).hexdigest()[:32], timeout=0, isolation_level=None)
    try:
        try:
            # The lock is the operating system's, which drops it when a process dies; nothing is ever written.
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise FileError(
                f"Run {run} is in use by another process or thread: wait until it ends, or give another `run`."
            ) from error
        yield
    finally:
        lock.close()
