"""What a write of the journal costs by the way in which SQLite makes it last, in milliseconds.

    python -m benchmarks.journal_writes [FOLDER]

"counts" is a write that must be on the disk when it returns, as that of an intent and of a result; "other" one that may be
lost, as that of a job's id, which the service reports again. With "emptied" the write-ahead log is copied into the database and
emptied after every write that counts, as the journal does: what a damaged log loses without a word then never counts.
"""

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing

_WRITES = 100
_WAYS = (
    ("WAL", False),
    ("WAL", True),
    ("TRUNCATE", False),
    ("PERSIST", False),
    ("DELETE", False),
)


def measure(folder: str, mode: str, emptied: bool) -> tuple[list[float], list[float]]:
    """Seconds of every write that counts and of every other."""
    with tempfile.TemporaryDirectory(dir=folder) as place, closing(sqlite3.connect(f"{place}/j", isolation_level=None)) as base:
        base.execute(f"PRAGMA journal_mode = {mode}")
        base.execute("CREATE TABLE submission (request INTEGER PRIMARY KEY, angles BLOB, state TEXT)")
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(_WRITES):
            begun = time.perf_counter()
            base.execute("PRAGMA synchronous = FULL")
            base.execute("INSERT INTO submission VALUES (?, ?, 'INTENT')", (number, os.urandom(3000)))
            if emptied:
                base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            times[0].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            base.execute("PRAGMA synchronous = NORMAL")
            base.execute("UPDATE submission SET state = 'SUBMITTED' WHERE request = ?", (number,))
            times[1].append(time.perf_counter() - begun)
    return times


def main() -> int:
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()
    print("journal_mode       counts: median   p90   other: median   p90   (ms)")
    for mode, emptied in _WAYS:
        columns = [
            f"{1e3 * statistics.median(each):6.2f}  {1e3 * sorted(each)[int(0.9 * _WRITES)]:6.2f}"
            for each in measure(folder, mode, emptied)
        ]
        print(f"{mode + (' emptied' if emptied else ''):<18} {columns[0]:>22}  {columns[1]:>20}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
