"""The journal of jobs: an embedded database that is written before money is spent and before a result is used.

One row per submission. SQLite; what a crash must not take away is in the file and on the disk before the call that writes it
returns. The file is readable by its owner alone, and holds no account and no token. Processes and threads may use one file
side by side.

A submission's id is no chance but derived: from the place of the journal (machine, user, path), the run, the digest of the work
and the attempt. So a journal that is lost or damaged derives it anew, and finds at the service what it carries as a tag. Two
people who share an account, and two journals of one user, derive different ids for the same command, and leave each other's
jobs alone. A command that is given again once it is finished is a run of another name; that it is finished is marked beside the
journal too, so that it stays so without the journal.
"""

import hashlib
import itertools
import json
import os
import platform
import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from qlifq._files import PathLike, as_path
from qlifq.backends.ibm.database import Database, packed, parsed, unpacked, unreadable
from qlifq.backends.ibm.job_spec import JobSpec, Result
from qlifq.backends.ibm.locks import holding, is_finished, mark_finished
from qlifq.backends.ibm.submissions import CANCELLED, DONE, FAILED, INTENT, STATES, SUBMITTED, Entry, Run
from qlifq.errors import ArgumentError, FileError

__all__ = ["Journal", "default_path", "opened", "unfinished"]

#: Angles of a run that was begun again may differ by the rounding of another machine or number of threads, and by no more.
_ROUNDING = 1e-6

#: A submission that is or was a job of a service, where a snapshot's runs here.
_AT_SERVICE = "job IS NOT NULL AND job NOT LIKE 'local-%'"
#: How many submissions have their charge requested again: services give it late, if at all.
_MOST_UNSETTLED = 16


def default_path() -> Path:
    """Where the journal is: what the environment variable QLIFQ_JOURNAL names, else `.qlifq/jobs.sqlite` at home.

    Raises:
        FileError: if it is not named, and there is no home.
    """
    if named := os.environ.get("QLIFQ_JOURNAL"):
        return Path(named)
    try:
        return Path.home() / ".qlifq" / "jobs.sqlite"
    except RuntimeError as error:
        raise FileError(
            "The journal must have a place, but this user has no home folder: name a file in the environment variable "
            "QLIFQ_JOURNAL."
        ) from error


class Journal:
    """The journal, open; a context manager. It belongs to the thread that opened it.

    Args:
        path: the database, made if it is not there; None keeps it in memory, for a run that nobody can take up again.
        must_exist: whether a missing file is an error.
        paid: whether what is written must outlive a power failure and a damaged log, and not a crash alone.

    Raises:
        QLIFError: if the file cannot be opened or is no journal.
    """

    def __init__(self, path: PathLike | None, *, must_exist: bool = False, paid: bool = True) -> None:
        self.path = None if path is None else as_path("journal", path).absolute()
        self._base = Database(self.path, must_exist=must_exist, paid=paid)
        self._place = secrets.token_hex() if self.path is None else _place(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._base.close()

    def check(self) -> None:
        """Make sure that what is written goes where the next start will read it.

        Raises:
            FileError: if the file is not the one any more that was opened.
        """
        self._base.check()

    def age_seconds(self) -> float:
        """How long ago its first run began, by the clock on the wall: what it lacks of before, another journal may have had."""
        ((days,),) = self._base.read("SELECT julianday('now') - julianday(min(created)) FROM run", ())
        return 86_400.0 * (days or 0.0)

    def begin(self, run: Run) -> Run:
        """Enter a run, or find it again; a budget or a command that is given replaces the one before.

        Raises:
            ArgumentError: if the run is of another device.
        """
        from qlifq._version import __version__

        with self._base.writing() as base:
            base.execute(
                "INSERT OR IGNORE INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.name,
                    run.device,
                    json.dumps(run.qubits),
                    run.budget_seconds,
                    None,
                    run.command,
                    _now(),
                    None,
                    __version__,
                ),
            )
            for name in ("budget_seconds", "command"):
                if (value := getattr(run, name)) is not None:
                    base.execute(f"UPDATE run SET {name} = ? WHERE name = ? AND {name} IS NOT ?", (value, run.name, value))
        (found,) = self.runs(run.name)
        if found.device != run.device:
            raise ArgumentError(f"Argument `run` must be a new name for {run.device}: run {run.name} is of {found.device}.")
        return found

    def runs(self, name: str | None = None) -> list[Run]:
        """The run of that name, or all in the order in which they began."""
        rows = self._base.read(
            "SELECT name, device, qubits, budget_seconds, session, command, finished FROM run "
            "WHERE ?1 IS NULL OR name = ?1 ORDER BY rowid",
            (name,),
        )
        return [Run(row[0], row[1], parsed(self.path, row[2]), *row[3:]) for row in rows]

    def set_session(self, run: str, session: str) -> None:
        """Keep the id of a session that was opened."""
        with self._base.writing() as base:
            base.execute("UPDATE run SET session = ? WHERE name = ?", (session, run))

    def forget_session(self, run: str, session: str) -> None:
        """Forget a session that was closed, unless another took its place."""
        with self._base.writing() as base:
            base.execute("UPDATE run SET session = NULL WHERE name = ? AND session = ?", (run, session))

    def finish(self, run: str) -> None:
        """Say that a run is over, so that its command begins another."""
        with self._base.writing() as base:
            base.execute("UPDATE run SET finished = ? WHERE name = ?", (_now(), run))
        if self.path is not None:
            mark_finished(self.path, run)

    def find(self, run: str, work: JobSpec) -> Entry | None:
        """The last attempt at this work: by its digest, else by angles that differ by no more than rounding."""
        rows = self._entries("run = ? AND digest = ? ORDER BY attempt DESC LIMIT 1", (run, work.digest))
        if rows:
            return rows[0]
        near = self._base.read(
            "SELECT request, angles FROM submission WHERE run = ? AND frame = ? ORDER BY attempt", (run, work.frame)
        )
        for request, angles in reversed(near):
            stored = unpacked(angles)
            if stored.shape == work.values.shape and np.abs(stored - work.values).max() <= _ROUNDING:
                return self.entry(request)
        return None

    def draft(
        self,
        run: str,
        work: JobSpec,
        *,
        attempt: int,
        estimated_seconds: float | None,
        cap_seconds: float | None = None,
    ) -> Entry:
        """A submission as it would be written down, with the id that every journal at this place would give it."""
        content = "\n".join((self._place, run, work.digest, str(attempt)))
        return Entry(
            request=hashlib.sha256(content.encode()).hexdigest()[:32],
            run=run,
            attempt=attempt,
            created=_now(),
            device=work.device,
            circuit=work.drawing,
            qubits=work.qubits,
            sets=work.sets,
            shots=work.shots,
            state=INTENT,
            job=None,
            estimated_seconds=estimated_seconds,
            cap_seconds=cap_seconds,
            usage_seconds=None,
            duplicates=0,
            error=None,
        )

    def intend(self, draft: Entry, work: JobSpec) -> Entry:
        """Write down what is about to be submitted; when this returns it is on the disk."""
        values = asdict(draft) | {
            "qubits": json.dumps(draft.qubits),
            "updated": draft.created,
            "digest": work.digest,
            "frame": work.frame,
            "angles": packed(work.values),
        }
        with self._base.writing() as base:
            marks = ", ".join("?" * len(values))
            base.execute(f"INSERT INTO submission ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        return draft

    def update(self, request: str, state: str, *, durable: bool = False, **values: object) -> Entry:
        """A new state, and whatever became known with it: job, cap_seconds, usage_seconds, duplicates, error.

        Were it lost it would be learned again from the service, unless it is `durable`.
        """
        names = "".join(f", {name} = ?" for name in values)
        with self._base.writing(durable=durable) as base:
            base.execute(
                f"UPDATE submission SET state = ?, updated = ?{names} WHERE request = ?",
                (state, _now(), *values.values(), request),
            )
        return self.entry(request)

    def store(self, request: str, result: Result) -> Entry:
        """Keep a result; when this returns it is on the disk."""
        return self.update(request, DONE, durable=True, result=packed(result), cap_seconds=None, error=None)

    def over(self, request: str, state: str, error: str, *, at_its_cap: bool = False) -> Entry:
        """Say that a submission came to nothing, and whether it took all that it was allowed; then it is on the disk."""
        freed: dict[str, Any] = {} if at_its_cap else {"cap_seconds": None}
        return self.update(request, state, durable=True, error=error, **freed)

    def forget(self, request: str) -> Entry:
        """Do without a submission that is not over, whatever becomes of its job: its work is submitted anew when needed."""
        entry = self.entry(request)
        open_still = entry.state in (INTENT, SUBMITTED)
        return self.over(request, CANCELLED, "was forgotten here", at_its_cap=True) if open_still else entry

    def result(self, request: str) -> Result:
        """The ones of every set and qubit, `(sets, width)` int64, or packed spike trains, `(sets, shots, bytes)` uint8."""
        ((stored,),) = self._base.read("SELECT result FROM submission WHERE request = ?", (request,))
        return unpacked(stored)

    def angles(self, request: str) -> npt.NDArray[np.float64]:
        """The submitted angles, `(sets, width, num_angles)`."""
        ((stored,),) = self._base.read("SELECT angles FROM submission WHERE request = ?", (request,))
        return np.asarray(unpacked(stored), dtype=np.float64)

    def entry(self, request: str) -> Entry:
        """A submission by its id."""
        (found,) = self._entries("request = ?", (request,))
        return found

    def entries(self, run: str | None = None) -> list[Entry]:
        """The submissions of a run, or all, in their order."""
        return self._entries("?1 IS NULL OR run = ?1 ORDER BY rowid", (run,))

    def match(self, text: str) -> list[Entry]:
        """The submissions whose job, request (or the beginning of either) or run this is."""
        # Jobs of snapshots all begin with "local-": a beginning must be longer than that to name one.
        clause = (
            "job = ?1 OR run = ?1 OR (length(?1) >= 6 AND substr(request, 1, length(?1)) = ?1) "
            "OR (length(?1) >= 12 AND substr(job, 1, length(?1)) = ?1) ORDER BY rowid"
        )
        return self._entries(clause, (text,))

    def spent(self, run: str, but: Sequence[str] = ()) -> float:
        """Device seconds of a run, without some requests: what was charged, and where that is not known what may be.

        That is the cap of what is open or ran too long, and of the rest what was expected; nothing of what has come to
        nothing and was at no service.
        """
        ((seconds,),) = self._base.read(
            "SELECT coalesce(sum(coalesce(usage_seconds, cap_seconds, estimated_seconds)), 0) FROM submission WHERE run = ? "
            f"AND NOT (state IN (?, ?) AND NOT ({_AT_SERVICE})) AND request NOT IN (SELECT value FROM json_each(?))",
            (run, FAILED, CANCELLED, json.dumps(list(but))),
        )
        return float(seconds)

    def unsettled(self, run: str) -> list[Entry]:
        """The submissions of a run that are open, and the last of those at a service whose charge is not known."""
        return self._entries(
            f"run = ?1 AND (state IN (?2, ?3) OR request IN (SELECT request FROM submission WHERE run = ?1 AND {_AT_SERVICE} "
            "AND usage_seconds IS NULL ORDER BY rowid DESC LIMIT ?4)) ORDER BY rowid",
            (run, INTENT, SUBMITTED, _MOST_UNSETTLED),
        )

    def holding(self, run: str) -> AbstractContextManager[None]:
        """Keep every other process and thread off this run, until the block or the process ends, however it ends.

        Raises:
            FileError: if somebody else holds it.
        """
        return nullcontext() if self.path is None else holding(self.path, run)

    def _entries(self, clause: str, values: Sequence[object]) -> list[Entry]:
        names = ", ".join(Entry.__dataclass_fields__)
        rows = (
            dict(zip(Entry.__dataclass_fields__, row, strict=True))
            for row in self._base.read(f"SELECT {names} FROM submission WHERE {clause}", values)
        )
        entries = [Entry(**row | {"qubits": parsed(self.path, row["qubits"])}) for row in rows]
        if strange := [entry.state for entry in entries if entry.state not in STATES]:
            raise unreadable(self.path, f"a row is damaged, {strange[0]!r} is no state of a submission")
        return entries


_OPENED = threading.local()


def opened(path: PathLike | None, *, paid: bool) -> Journal:
    """The journal that this thread has open at that path, or opened now: opening and closing costs more than a call.

    A connection that came through a fork is not used again.

    Raises:
        FileError: once, if the file of the one that is open was deleted or replaced; the next call opens what is there then.
    """
    if path is None:
        return Journal(None, paid=paid)
    file = as_path("journal", path).absolute()
    key = (os.getpid(), paid, file)
    before = getattr(_OPENED, "key", None)
    if before != key:
        if before is not None and before[0] == os.getpid():
            _OPENED.journal.__exit__()
        _OPENED.key = None
        _OPENED.journal = Journal(file, paid=paid)
        _OPENED.key = key
    found: Journal = _OPENED.journal
    try:
        found.check()
    except FileError:
        found.__exit__()
        _OPENED.key = None
        raise
    return found


def unfinished(path: Path, name: str) -> str:
    """That name, or with a number the first of its kind whose run is not over, by the journal or by what is beside it."""
    over: set[str] = set()
    if path.exists():
        with Journal(path) as journal:
            over = {run.name for run in journal.runs() if run.finished is not None}
    for number in itertools.count(1):
        numbered = name if number == 1 else f"{name} #{number}"
        if numbered not in over and not is_finished(path, numbered):
            return numbered
    raise AssertionError


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _place(path: Path) -> str:
    """What distinguishes a journal from every other, and is the same when it is lost: its machine, user and path."""
    user = os.getuid() if os.name == "posix" else os.getlogin()
    return f"{platform.node()}\n{user}\n{path.resolve()}"
