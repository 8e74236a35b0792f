"""The journal: what is in it survives crashes, other processes and full disks, and nobody else can read it."""

import multiprocessing
import os
import platform
import resource
import shutil
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qlifq.backends.ibm.database import named_errors
from qlifq.backends.ibm.job_spec import DecisionJob, JobSpec
from qlifq.backends.ibm.journal import Journal, opened, unfinished
from qlifq.backends.ibm.submissions import CANCELLED, DONE, INTENT, SUBMITTED, Run
from qlifq.circuits import RYSpike
from qlifq.errors import ArgumentError, FileError, FileFormatError

RUN = Run("a run", "fake_torino", (3, 1, 2), None, None, None)


def work(seed: int = 0, sets: int = 2, change: float = 0.0) -> JobSpec:
    values = np.random.default_rng(seed).random((sets, 3, 1)) + change
    return DecisionJob(RYSpike(), values, (3, 1, 2), 10, seed, 0, "fake_torino")


def submit(journal: Journal, spec: JobSpec) -> str:
    journal.begin(RUN)
    return journal.intend(journal.draft(RUN.name, spec, attempt=1, estimated_seconds=2.0), spec).request


def test_a_submission_is_found_again_with_its_numbers(tmp_path: Path) -> None:
    spec, ones = work(), np.array([[1, 2, 3], [4, 5, 6]])
    with Journal(tmp_path / "j") as journal:
        request = submit(journal, spec)
        assert journal.update(request, SUBMITTED, job="d1").job == "d1"
        journal.store(request, ones)
    with Journal(tmp_path / "j") as journal:
        found = journal.find(RUN.name, spec)
        assert found is not None
        assert (found.request, found.state, found.qubits, found.shots, found.sets) == (request, DONE, (3, 1, 2), 10, 2)
        assert np.array_equal(journal.result(request), ones)
        assert np.array_equal(journal.angles(request), spec.values)
        assert journal.match("d1") == journal.match(request[:8]) == journal.match("a run") == [found]


@pytest.mark.parametrize(
    ("other", "same"),
    [(work(change=1e-9), True), (work(change=1e-4), False), (work(seed=1), False), (work(sets=3), False)],
)
def test_only_rounding_is_overlooked(tmp_path: Path, other: JobSpec, same: bool) -> None:
    """A run that is begun again on another number of threads may ask for angles that differ in their last digits."""
    with Journal(tmp_path / "j") as journal:
        submit(journal, work())
        assert (journal.find(RUN.name, other) is not None) is same
        assert journal.find("another run", work()) is None


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "jobs.sqlite"
    with Journal(path) as journal:
        submit(journal, work())
        names = [path.parent, *path.parent.iterdir()]
        assert len(names) == 4
        assert [name for name in names if stat.S_IMODE(name.stat().st_mode) & 0o077] == []
    path.chmod(0o644)
    with Journal(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("something else entirely, and long enough to be looked at" * 50, encoding="utf-8")
    with pytest.raises(FileFormatError, match="text cannot be read: file is not a database"):
        Journal(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE something (x)")
    other.close()
    with pytest.raises(FileFormatError, match="other cannot be used: it is no journal of qlifq"):
        Journal(tmp_path / "other")
    with Journal(tmp_path / "later") as journal:
        journal._base.connection.execute("PRAGMA user_version = 9")
    with pytest.raises(FileFormatError, match="later cannot be used: it is of version 9, but this is 2"):
        Journal(tmp_path / "later")
    with pytest.raises(FileError, match="nothing does not exist"):
        Journal(tmp_path / "nothing", must_exist=True)
    with pytest.raises(FileError, match="cannot be opened"):
        Journal(tmp_path / "text" / "below")


def test_a_run_keeps_its_device_qubits_and_budget(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.begin(Run("r", "ibm_a", (5, 6), 10.0, None, "qlifq …"))
        again = journal.begin(Run("r", "ibm_a", (6, 5), None, None, None))
        assert (again.qubits, again.budget_seconds, again.command) == ((5, 6), 10.0, "qlifq …")
        assert journal.begin(Run("r", "ibm_a", (5, 6), 20.0, None, None)).budget_seconds == 20.0
        with pytest.raises(ArgumentError, match="a new name for ibm_b: run r is of ibm_a"):
            journal.begin(Run("r", "ibm_b", (5, 6), None, None, None))
        assert unfinished(tmp_path / "j", "r") == "r"
        journal.finish("r")
        assert unfinished(tmp_path / "j", "r") == "r #2"


def write_many(path: str, name: str) -> None:
    with Journal(path) as journal:
        for seed in range(25):
            journal.begin(Run(name, "fake_torino", (3, 1, 2), None, None, None))
            spec = work(seed)
            entry = journal.intend(journal.draft(name, spec, attempt=1, estimated_seconds=1.0), spec)
            journal.store(entry.request, np.full((2, 3), seed))


def test_two_processes_write_side_by_side_and_nothing_is_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_many, args=(path, f"run {number}")) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with Journal(path) as journal:
        for number in range(2):
            entries = journal.entries(f"run {number}")
            assert [int(journal.result(entry.request)[0, 0]) for entry in entries] == list(range(25))


def hold(path: str, ready: str) -> None:
    with Journal(path) as journal, journal.holding("a run"):
        Path(ready).touch()
        multiprocessing.Event().wait(60)


def test_a_run_is_one_process_s_until_that_is_dead(tmp_path: Path) -> None:
    path, ready = tmp_path / "j", tmp_path / "ready"
    other = multiprocessing.get_context("fork").Process(target=hold, args=(str(path), str(ready)))
    other.start()
    try:
        while not ready.exists():
            assert other.is_alive()
        with Journal(path) as journal:
            with pytest.raises(FileError, match="Run a run is in use by another process"), journal.holding("a run"):
                pass
            with journal.holding("another run"):
                pass
            other.kill()
            other.join()
            with journal.holding("a run"), pytest.raises(FileError, match="in use"), journal.holding("a run"):
                pass
    finally:
        other.kill()
        other.join()


def test_a_full_database_is_reported_and_holds_what_it_held(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        request = submit(journal, work())
        pages = journal._base.connection.execute("PRAGMA page_count").fetchone()[0]
        journal._base.connection.execute(f"PRAGMA max_page_count = {pages}")
        large = np.random.default_rng(0).integers(0, 2**40, (200, 300))
        with pytest.raises(FileError, match=r"cannot be written: database or disk is full.* start the same command"):
            journal.store(request, large)
        assert journal.entry(request).state == INTENT
        journal._base.connection.execute("PRAGMA max_page_count = 100000")
        journal.store(request, large)
        assert np.array_equal(journal.result(request), large)


def fill(path: str, out: str) -> None:
    """Write until the system refuses: no file of this process may grow beyond 400 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    kept = 0
    try:
        with Journal(path) as journal:
            for seed in range(200):
                request = submit(journal, work(seed))
                journal.store(request, np.random.default_rng(seed).integers(0, 2**40, (20, 60)))
                kept += 1
    except FileError as error:
        with open(out, "w", encoding="utf-8") as file:
            file.write(f"{kept} {error}")


def test_a_full_disk_is_reported_and_nothing_that_was_kept_is_lost(tmp_path: Path) -> None:
    path, out = tmp_path / "j", tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(target=fill, args=(str(path), str(out)))
    process.start()
    process.join(60)
    kept, _, message = out.read_text(encoding="utf-8").partition(" ")
    assert "cannot be written" in message
    assert "start the same command" in message
    assert int(kept) > 3
    with Journal(path) as journal:
        done = [entry for entry in journal.entries() if entry.state == DONE]
        assert len(done) == int(kept)
        assert journal.result(done[-1].request).shape == (20, 60)
        submit(journal, work(1000))


def test_the_open_journal_of_a_thread_is_not_used_beyond_its_file_or_its_process(tmp_path: Path) -> None:
    first = opened(tmp_path / "j", paid=True)
    assert opened(tmp_path / "j", paid=True) is first
    for name in tmp_path.glob("j*"):
        name.unlink()
    with pytest.raises(FileError, match=r"j is not the file any more that was opened: .* start the same command"):
        opened(tmp_path / "j", paid=True)
    second = opened(tmp_path / "j", paid=True)
    assert second is not first
    submit(second, work())
    pid = os.fork()
    if pid == 0:
        os._exit(0 if opened(tmp_path / "j", paid=True) is not second else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert opened(None, paid=True) is not opened(None, paid=True)


def test_an_id_is_derived_from_its_place_run_work_and_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is lost derives it again; another machine, user or path, run, work or attempt has another."""

    def derived(path: Path, run: str = "r", seed: int = 0, attempt: int = 1) -> str:
        with Journal(path) as journal:
            return journal.draft(run, work(seed), attempt=attempt, estimated_seconds=None).request

    first = derived(tmp_path / "j")
    (tmp_path / "j").unlink()
    assert derived(tmp_path / "j") == first
    others = [derived(tmp_path / "k"), derived(tmp_path / "j", run="s"), derived(tmp_path / "j", seed=1)]
    others.append(derived(tmp_path / "j", attempt=2))
    with monkeypatch.context() as patched:
        patched.setattr(platform, "node", lambda: "other-machine")
        others.append(derived(tmp_path / "j"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "getuid", lambda: 4242)
        others.append(derived(tmp_path / "j"))
    assert len({first, *others}) == 7
    with Journal(None) as one, Journal(None) as two:
        drafts = [journal.draft("r", work(), attempt=1, estimated_seconds=None) for journal in (one, two)]
        assert drafts[0].request != drafts[1].request


def test_a_submission_whose_id_was_drawn_is_found_by_it_still(tmp_path: Path) -> None:
    """As earlier versions did."""
    with Journal(tmp_path / "j") as journal:
        journal.begin(RUN)
        draft = journal.draft(RUN.name, work(), attempt=1, estimated_seconds=2.0)
        journal.intend(replace(draft, request="5d1c0ffee"), work())
        found = journal.find(RUN.name, work())
        assert found is not None
        assert found.tag == "qlifq-5d1c0ffee"


def test_what_counts_is_in_the_file_itself(tmp_path: Path) -> None:
    """Its log, where SQLite drops what is damaged without a word, is empty when a write that counts returns."""
    with Journal(tmp_path / "j") as journal:
        request = submit(journal, work())
        for state in (INTENT, DONE, CANCELLED):
            if state == DONE:
                journal.store(request, np.ones((2, 3), dtype=np.int64))
            elif state == CANCELLED:
                journal.over(request, state, "came to nothing")
            assert (tmp_path / "j-wal").stat().st_size == 0
            shutil.copy(tmp_path / "j", tmp_path / "copy")
            with Journal(tmp_path / "copy") as copy:
                assert copy.entry(request).state == state
            (tmp_path / "copy").unlink()
        journal.finish(RUN.name)
        assert (tmp_path / "j-wal").stat().st_size == 0


def test_a_journal_that_is_put_in_another_s_place_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal, Journal(tmp_path / "k"):
        request = submit(journal, work())
        os.replace(tmp_path / "k", tmp_path / "j")
        for act in (journal.check, lambda: journal.update(request, SUBMITTED), lambda: journal.begin(RUN)):
            with pytest.raises(
                FileError, match=r"j is not the file any more that was opened: it was deleted, moved or replaced"
            ):
                act()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (sqlite3.SQLITE_FULL, "make room and start the same command"),
        (sqlite3.SQLITE_IOERR_WRITE, "see whether the disk is full or fails and start"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "wait until the process that holds it ends and start"),
        (sqlite3.SQLITE_LOCKED, "wait until the process that holds it ends and start"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "allow yourself to write it and its folder and start"),
        (sqlite3.SQLITE_CANTOPEN, "allow yourself to write it and its folder and start"),
        (sqlite3.SQLITE_CORRUPT, "cannot be read: planted. Move it away and start the same command"),
        (sqlite3.SQLITE_NOTADB, "cannot be read: planted. Move it away and start the same command"),
        (sqlite3.SQLITE_ERROR, "cannot be read: planted. Move it away and start the same command"),
    ],
)
def test_each_failure_of_the_database_says_what_to_do(code: int, message: str) -> None:
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode = code
    with pytest.raises((FileError, FileFormatError), match=f"Journal /j .*{message}"), named_errors(Path("/j")):
        raise error


def test_a_lock_that_cannot_be_taken_is_not_said_to_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    class Full(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    with Journal(tmp_path / "j") as journal:
        monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: real(*given, **options, factory=Full))
        with pytest.raises(FileError, match=r"disk is full.* make room and start the same command"), journal.holding("r"):
            pass


def test_a_run_that_is_finished_stays_so_without_its_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.begin(RUN)
        journal.finish(RUN.name)
    (tmp_path / "j").unlink()
    assert unfinished(tmp_path / "j", RUN.name) == "a run #2"
    assert not (tmp_path / "j").exists()


def test_what_is_forgotten_is_over_and_what_is_done_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        first, second = submit(journal, work(1)), submit(journal, work(2))
        journal.store(second, np.ones((2, 3), dtype=np.int64))
        assert (journal.forget(first).state, journal.forget(second).state) == (CANCELLED, DONE)
        assert journal.entry(first).error == "was forgotten here"
