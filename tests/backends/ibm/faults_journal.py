"""What may happen to the journal and its folder: it is lost or damaged, its disk full, its path taken by something else."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

from tests.backends.ibm.faults import GIVES_UP, KILLED, RUN, STEPS, Case

__all__ = ["CASES"]

JOURNAL = "jobs.sqlite"
_QUEUED = ("client.ServiceChannel", "state", "after")
_REPLIED = ("client.ServiceChannel", "submit", "after")
_BEFORE_SUBMISSION = ("client.ServiceChannel", "submit", "before")
_STORED = ("journal.Journal", "store", "after")
_INTENDED = ("journal.Journal", "intend", "after")


# --- the journal is lost or damaged -----------------------------------------------------------------------------------------


def lose_journal(folder: Path, *_: object) -> None:
    """Delete the journal and what SQLite keeps beside it."""
    for path in folder.glob(f"{JOURNAL}*"):
        if path.is_file():
            path.unlink()


def lose_everything(folder: Path, *_: object) -> None:
    """Delete the journal and the folder beside it."""
    lose_journal(folder)
    shutil.rmtree(folder / f"{JOURNAL}.locks", ignore_errors=True)


def lose_main_file(folder: Path, *_: object) -> None:
    """Delete the database, but not its log."""
    (folder / JOURNAL).unlink()


def lose_log(folder: Path, *_: object) -> None:
    """Delete the log, but not the database."""
    (folder / f"{JOURNAL}-wal").unlink(missing_ok=True)


def flip_in_log(at: float) -> Callable[..., None]:
    """Turn one bit of the log, at this fraction of it."""

    def flip(folder: Path, *_: object) -> None:
        log = folder / f"{JOURNAL}-wal"
        if log.exists() and (data := bytearray(log.read_bytes())):
            data[int(at * (len(data) - 1))] ^= 0x10
            log.write_bytes(data)

    return flip


def cut_log(folder: Path, *_: object) -> None:
    """Keep the first half of the log."""
    log = folder / f"{JOURNAL}-wal"
    if log.exists():
        os.truncate(log, log.stat().st_size // 2)


def restore_backup(folder: Path, *_: object) -> None:
    """Put a journal back that knows nothing of the run."""
    from tests.backends.ibm.faults import _an_old_journal

    lose_journal(folder)
    _an_old_journal(folder)


def overwrite_header(folder: Path, *_: object) -> None:
    """Damage the first page of the database behind its header."""
    lose_log(folder)
    with open(folder / JOURNAL, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)


def execute(statement: str) -> Callable[..., None]:
    """Change the database by a statement."""

    def change(folder: Path, *_: object) -> None:
        with closing(sqlite3.connect(folder / JOURNAL)) as base:
            base.execute(statement)
            base.commit()

    return change


# --- the disk and the path --------------------------------------------------------------------------------------------------


def fill_disk(folder: Path, journal: Any, *_: object) -> None:
    """Let the database grow no more, and what is written next be too large for the pages that it has."""
    base = journal._base.connection
    base.execute(f"PRAGMA max_page_count = {base.execute('PRAGMA page_count').fetchone()[0]}")
    mock.patch("qlifq.backends.ibm.journal.packed", return_value=os.urandom(100_000)).start()


_HELD: list[object] = []


def lock_journal(folder: Path, journal: Any, *_: object) -> None:
    """Hold the database as another process would."""
    journal._base.connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(folder / JOURNAL, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _HELD.append(other)


def folder_for_lock(folder: Path) -> None:
    """Let a folder stand where the lock of the run would be."""
    import hashlib

    (folder / f"{JOURNAL}.locks" / hashlib.sha256(RUN.encode()).hexdigest()[:32]).mkdir(parents=True)


def link_for_locks(folder: Path) -> None:
    """Let a link lead to where the locks would be."""
    (folder / "other").mkdir()
    (folder / f"{JOURNAL}.locks").symlink_to("other")


_TERMINALS: dict[Path, tuple[int, int, str, int]] = {}


def link_to_device(folder: Path) -> None:
    """Let the journal be a link to a device, a terminal of our own."""
    ends = os.openpty()
    name = os.ttyname(ends[1])
    os.chmod(name, 0o622)
    _TERMINALS[folder] = (*ends, name, os.stat(name).st_mode)
    (folder / JOURNAL).symlink_to(name)


def device_as_it_was(folder: Path, *_: object) -> None:
    first, second, name, mode = _TERMINALS.pop(folder)
    assert os.stat(name).st_mode == mode, "the mode of the device was changed"
    os.close(first)
    os.close(second)
    (folder / JOURNAL).unlink()


def link_to_file(folder: Path) -> None:
    """Let the journal be a link to a file of the user's."""
    write_text(folder, "target")
    (folder / JOURNAL).symlink_to("target")


def write_text(folder: Path, name: str = JOURNAL) -> None:
    """Let a file of the user's stand where the journal would be."""
    (folder / name).write_text("notes of the user's, and long enough to be looked at\n" * 40, encoding="utf-8")
    (folder / name).chmod(0o644)


def other_database(folder: Path) -> None:
    """Let the database of another program stand where the journal would be."""
    with closing(sqlite3.connect(folder / JOURNAL)) as base:
        base.execute("CREATE TABLE theirs (x)")
        base.commit()
    (folder / JOURNAL).chmod(0o644)
    shutil.copy(folder / JOURNAL, folder / "copy")


def as_it_was(name: str = JOURNAL) -> Callable[..., None]:
    """See that a file of the user's was not touched, and take it away."""

    def check(folder: Path, *_: object) -> None:
        found = folder / name
        assert stat.S_IMODE(found.stat().st_mode) == 0o644, "its mode was changed"
        if (folder / "copy").exists():
            assert found.read_bytes() == (folder / "copy").read_bytes(), "it was changed"
        lose_journal(folder)

    return check


def make_folder(folder: Path) -> None:
    """Let a folder stand where the journal would be."""
    (folder / JOURNAL).mkdir()


def link_for_log(folder: Path) -> None:
    """Let the log of the database be a link."""
    write_text(folder, "target")
    (folder / f"{JOURNAL}-wal").symlink_to("target")


def remove(name: str, kept: str = "") -> Callable[..., None]:
    """Take away what stands in the way."""

    def take(folder: Path, *_: object) -> None:
        if kept:
            assert stat.S_IMODE((folder / kept).stat().st_mode) == 0o644, "its mode was changed"
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    return take


_REGULAR = "where it must be a regular file"
_MOVE = "cannot be read: .*Move it away"

CASES: tuple[Case, ...] = (
    # A journal that is lost is found again at the service.
    *(
        Case(f"kill -9 {moment}, and {what}", KILLED, place, between=between)
        for moment, place in (
            ("after the reply, before the job id is written", _REPLIED),
            ("while the job is queued", _QUEUED),
            ("after the result is written", _STORED),
        )
        for what, between in (
            ("the journal is deleted", lose_journal),
            ("the journal is deleted with all beside it", lose_everything),
            ("the journal is deleted but not its log", lose_main_file),
            ("its log is deleted", lose_log),
            ("a bit of its log turns", flip_in_log(0.02)),
            ("a bit in the middle of its log turns", flip_in_log(0.5)),
            ("its log is cut", cut_log),
            ("a backup of the journal is put back", restore_backup),
        )
    ),
    Case(
        "kill -9 while the job is queued, the journal is deleted, tag found late", KILLED, _QUEUED, between=lose_journal, hide=3
    ),
    Case(
        "the job fails, then kill -9, and the journal is deleted",
        KILLED,
        _STORED,
        between=lose_journal,
        jobs=STEPS + 1,
        states=("Queued", "Running", {"status": "Failed", "reason": "planted", "reason_code": 8000}),
    ),
    Case(
        "the journal is deleted before the submission", GIVES_UP, _BEFORE_SUBMISSION, lose_journal, says="not the file any more"
    ),
    Case("the journal is deleted after the intent is written", GIVES_UP, _INTENDED, lose_journal, says="not the file any more"),
    Case("a backup is put back after the intent is written", GIVES_UP, _INTENDED, restore_backup, says="not the file any more"),
    Case("the journal is deleted while the job is queued", GIVES_UP, _QUEUED, lose_journal, says="not the file any more"),
    Case("the journal is deleted after the result is written", GIVES_UP, _STORED, lose_journal, says="not the file any more"),
    Case(
        "the journal's first page is damaged", KILLED, _QUEUED, between=overwrite_header, refuses=_MOVE, remedied=lose_journal
    ),
    Case(
        "a row of the journal holds no JSON",
        KILLED,
        _QUEUED,
        between=execute("UPDATE submission SET qubits = '[0, 1'"),
        refuses=_MOVE,
        remedied=lose_journal,
    ),
    Case(
        "a run of the journal holds no JSON",
        KILLED,
        _QUEUED,
        between=execute("UPDATE run SET qubits = 'x'"),
        refuses=_MOVE,
        remedied=lose_journal,
    ),
    Case(
        "a row of the journal is in no state",
        KILLED,
        _QUEUED,
        between=execute("UPDATE submission SET state = 'DONX'"),
        refuses=_MOVE,
        remedied=lose_journal,
    ),
    Case(
        "a column of the journal is missing",
        KILLED,
        _QUEUED,
        between=execute("ALTER TABLE submission DROP COLUMN error"),
        refuses="its tables lack submission.error.*Move it away",
        remedied=lose_journal,
    ),
    Case(
        "a table of the journal is missing",
        KILLED,
        _QUEUED,
        between=execute("DROP TABLE submission"),
        refuses="its tables lack submission.*Move it away",
        remedied=lose_journal,
    ),
    Case(
        "a result in the journal is damaged",
        KILLED,
        _STORED,
        between=execute("UPDATE submission SET result = x'00' WHERE state = 'DONE'"),
    ),
    Case(
        "a result in the journal is missing",
        KILLED,
        _STORED,
        between=execute("UPDATE submission SET result = NULL WHERE state = 'DONE'"),
    ),
    # The disk and the path.
    Case(
        "the disk is full when the intent is written",
        GIVES_UP,
        ("journal.Journal", "intend", "before"),
        fill_disk,
        says="disk is full.* make room",
    ),
    Case(
        "the disk is full when the result is written",
        GIVES_UP,
        ("journal.Journal", "store", "before"),
        fill_disk,
        says="disk is full.* make room",
    ),
    Case(
        "the journal is locked by another process",
        GIVES_UP,
        ("journal.Journal", "intend", "before"),
        lock_journal,
        says="is locked.* wait until the process that holds it ends",
    ),
    Case(
        "a folder stands where the lock of the run would be",
        GIVES_UP,
        prepared=folder_for_lock,
        between=remove(f"{JOURNAL}.locks"),
        says="it is a folder",
    ),
    Case(
        "a link stands where the locks would be",
        GIVES_UP,
        prepared=link_for_locks,
        between=remove(f"{JOURNAL}.locks"),
        says="is a file or a link",
    ),
    Case(
        "the journal is a link to a device",
        GIVES_UP,
        prepared=link_to_device,
        between=device_as_it_was,
        says=f"it is a link, {_REGULAR}",
    ),
    Case(
        "the journal is a link to a file",
        GIVES_UP,
        prepared=link_to_file,
        between=remove(JOURNAL, "target"),
        says=f"it is a link, {_REGULAR}",
    ),
    Case("the journal is a text", GIVES_UP, prepared=write_text, between=as_it_was(), says="not a database. Name another file"),
    Case(
        "the journal is another program's database",
        GIVES_UP,
        prepared=other_database,
        between=as_it_was(),
        says="another's database. Name another file",
    ),
    Case(
        "the journal is a folder", GIVES_UP, prepared=make_folder, between=remove(JOURNAL), says=f"it is a folder, {_REGULAR}"
    ),
    Case(
        "the journal's log is a link",
        GIVES_UP,
        prepared=link_for_log,
        between=remove(f"{JOURNAL}-wal", "target"),
        says=f"it is a link, {_REGULAR}",
    ),
)
