"""Everything that may go wrong between a call and its result, one case each, against the loopback service.

A case starts a run of three steps in a process of its own, with one fault planted in the second step, and then starts it a
second time with nothing planted. Starts are forked from a process that has imported everything, so that they are quick.

Faults may also be planted before the first start and between the two. Where the second start must refuse, a remedy follows that
its message names, and a third.
"""

import dataclasses
import json
import logging
import multiprocessing
import os
import re
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.backends.ibm.loopback import DEVICE, GOOD, Job, Loopback, connected

__all__ = ["CASES", "GIVES_UP", "KILLED", "OVERCOME", "STEPS", "Case", "Seen", "die", "run_case", "undisturbed"]

STEPS = 3
RUN = "a run"
#: What a user of a failed start reads: what to do, or that it goes on.
_WAY_OUT = re.compile(
    r"(?i)same command|start|wait|another|move it|look|see |allow|give|name |save|choose|must be|again|cancel|forget|check"
)
_SECONDS = 90.0
#: Failures that the client or the protocol overcomes by itself; after them the first start ends well.
OVERCOME, GIVES_UP, KILLED = "overcome", "gives up", "killed"
#: How a process ends that was killed: at once, or after it closed its session.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGHUP)


def die(folder: Path, *arguments: Any) -> None:
    """End this process as nothing else does."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One fault.

    Args:
        name: what happens.
        ends: how the first start ends.
        kill: a class, a method and "before", "after" or "inside": where the process of the first start kills itself,
        does: or what it does there instead, given the folder and the method's arguments.
        faults: what the service does wrong, see `Loopback`; from the second step on.
        states: what the second step's job is seen in.
        hide: how many searches by tag do not see that job.
        jobs: how many jobs may have run in the end; more than the steps only where a job that failed had run.
        answer_seconds: how long the first start waits for an answer; where it ends well from its first step on.
        blind: a planted fault of the protocol itself: it never looks for a job by its tag.
        prepared: what is done to the folder before the first start.
        tampered: what is done to the service and the second step's job when it takes that in.
        between: what is done to the folder between the two starts.
        says: what the message of the first start that gives up must match.
        refuses: what the message of the second start must match, where it must refuse.
        remedied: what is done to the folder then, before a third.
        mode: how the first start reaches the device, see `IBMBackend`.
    """

    name: str
    ends: str
    kill: tuple[str, str, str] | None = None
    does: Callable[..., None] = die
    faults: dict[str, Sequence[object]] = dataclasses.field(default_factory=dict)
    states: tuple[str | dict[str, object], ...] = GOOD
    hide: int = 0
    jobs: int = STEPS
    answer_seconds: float = 20.0
    blind: bool = False
    prepared: Callable[[Path], None] | None = None
    tampered: Callable[[Loopback, Job], None] | None = None
    between: Callable[[Path], None] | None = None
    says: str = ""
    refuses: str | None = None
    remedied: Callable[[Path], None] | None = None
    mode: str = "job"


class Seen(NamedTuple):
    """What a case ended in; `unclear` and `tracebacks` count starts, `harmed` jobs of others that were cancelled."""

    first: str
    second: str
    same: bool
    submitted: int
    paid: int
    alive: int
    lost: int
    error: str
    unclear: int = 0
    tracebacks: int = 0
    harmed: int = 0

    @property
    def no_way_out(self) -> bool:
        """Whether the run cannot be brought to its end."""
        return self.second != "ended well"

    def right(self, case: Case) -> bool:
        """Whether it is what must be: the same result, no job paid twice, none left to run, none lost, and clear words."""
        return (
            (self.first, self.second) == (case.ends, "ended well")
            and self.same
            and self.paid == case.jobs
            and self.alive == self.lost == self.unclear == self.tracebacks == self.harmed == 0
        )


def _failed(reason: str, code: int) -> tuple[str | dict[str, object], ...]:
    return ("Queued", "Running", {"status": "Failed", "reason": reason, "reason_code": code})


_FAILS = _failed("the device had an internal error", 8000)
_TOO_LONG: tuple[str | dict[str, object], ...] = (
    "Queued",
    "Running",
    {"status": "Cancelled", "reason": "ran too long", "reason_code": 1305},
)
_TOO_LONG_IN_WORDS: tuple[str | dict[str, object], ...] = ("Queued", "Running", {"status": "Cancelled - Ran too long"})

CASES: tuple[Case, ...] = (
    Case("kill -9 before the intent is written", KILLED, ("journal.Journal", "intend", "before")),
    Case("kill -9 while the intent is written", KILLED, ("journal.Journal", "intend", "inside")),
    Case("kill -9 after the intent is written", KILLED, ("journal.Journal", "intend", "after")),
    Case("kill -9 before the submission", KILLED, ("client.ServiceChannel", "submit", "before")),
    Case("kill -9 between the commit at the service and its reply", KILLED, faults={"submit": ["commit+call"]}),
    Case("the same, and the job is found by its tag late", KILLED, faults={"submit": ["commit+call"]}, hide=2),
    Case("kill -9 after the reply, before the job id is written", KILLED, ("client.ServiceChannel", "submit", "after")),
    Case("kill -9 while the job id is written", KILLED, ("protocol.JobRunner", "_submit", "inside")),
    Case("kill -9 after the job id is written", KILLED, ("protocol.JobRunner", "_submit", "after")),
    Case("kill -9 while duplicates are looked for", KILLED, ("client.ServiceChannel", "find", "before")),
    Case("kill -9 while the job is queued", KILLED, ("client.ServiceChannel", "state", "after")),
    Case("kill -9 before the result is fetched", KILLED, ("client.ServiceChannel", "result", "before")),
    Case("kill -9 while the result is decoded", KILLED, ("client", "_ones", "before")),
    Case("kill -9 before the result is written", KILLED, ("journal.Journal", "store", "before")),
    Case("kill -9 while the result is written", KILLED, ("journal.Journal", "store", "inside")),
    Case("kill -9 after the result is written", KILLED, ("journal.Journal", "store", "after")),
    Case("kill -9 while the charge is requested", KILLED, ("client.ServiceChannel", "usage", "before")),
    Case("500 once at the submission", OVERCOME, faults={"submit": [500]}),
    Case("500 at the submission until the client gives up", OVERCOME, faults={"submit": [500] * 7}),
    Case("500 at every submission of the first start", GIVES_UP, faults={"submit": [500] * 18}),
    Case("503 at every submission of the first start", GIVES_UP, faults={"submit": [503] * 18}),
    Case("429 once at the submission", OVERCOME, faults={"submit": [429]}),
    Case("429 at every submission of the first start", GIVES_UP, faults={"submit": [429] * 3}),
    Case("400 at the submission", GIVES_UP, faults={"submit": [400]}),
    Case("401 at the submission", GIVES_UP, faults={"submit": [401]}),
    Case("connection dropped before the commit", OVERCOME, faults={"submit": ["drop"]}),
    Case("reply dropped after the commit", OVERCOME, faults={"submit": ["commit+drop"]}),
    Case("reply dropped after the commit, tag found late", OVERCOME, faults={"submit": ["commit+drop"]}, hide=2),
    Case("commit followed by 502, which the client submits again", OVERCOME, faults={"submit": ["commit+502"]}),
    Case("commit followed by 502, and what the client submits again by 429", OVERCOME, faults={"submit": ["commit+502", 429]}),
    Case("three commits followed by 502", OVERCOME, faults={"submit": ["commit+502"] * 3}),
    Case("commit followed by an empty reply", OVERCOME, faults={"submit": ["commit+empty"]}),
    Case("commit, and then the socket hangs", OVERCOME, faults={"submit": ["commit+hang"]}, answer_seconds=0.5),
    Case("socket hangs before the commit", OVERCOME, faults={"submit": ["hang"]}, answer_seconds=0.5),
    Case("500 while duplicates are looked for", OVERCOME, faults={"find": [None] + [500] * 7}),
    Case("search by tag answers nothing at all", OVERCOME, faults={"find": [None, "empty"]}),
    Case("search by tag hangs", OVERCOME, faults={"find": [None, "hang"]}, answer_seconds=0.5),
    Case("500 while the job is polled", OVERCOME, faults={"state": [500] * 7}),
    Case("429 while the job is polled", OVERCOME, faults={"state": [429]}),
    Case("connection dropped while the job is polled", OVERCOME, faults={"state": ["drop"]}),
    Case("socket hangs while the job is polled", OVERCOME, faults={"state": ["hang"]}, answer_seconds=0.5),
    Case("500 while the result is fetched", OVERCOME, faults={"result": [500] * 7}),
    Case("socket hangs while the result is fetched", OVERCOME, faults={"result": ["hang"]}, answer_seconds=0.5),
    Case("empty result once", OVERCOME, faults={"result": ["empty"]}),
    Case("empty result at every request of the first start", GIVES_UP, faults={"result": ["empty"] * 3}),
    Case("500 while the charge is requested", OVERCOME, faults={"metrics": [500] * 7}),
    Case("the job fails", OVERCOME, states=_FAILS, jobs=STEPS + 1),
    Case("the job is cancelled by somebody", GIVES_UP, states=("Queued", {"status": "Cancelled"})),
    Case("the job runs too long", GIVES_UP, states=_TOO_LONG, jobs=STEPS + 1),
    Case("the job runs too long, said in its state", GIVES_UP, states=_TOO_LONG_IN_WORDS, jobs=STEPS + 1),
    Case("the job is in a state that nobody knows", OVERCOME, states=("Queued", "Daydreaming", "Daydreaming", "Completed")),
    Case("the job stays in a state that nobody knows", GIVES_UP, states=("Queued", "Daydreaming")),
    Case("the job stays queued beyond the patience", GIVES_UP, states=("Queued",)),
)


def undisturbed() -> list[list[int]]:
    """The counts of a run with which nothing goes wrong."""
    with tempfile.TemporaryDirectory() as folder, Loopback() as service:
        ended, counts, error = _start(service, Path(folder), None)
        assert ended == OVERCOME, error
        assert (service.paid, len(service.jobs)) == (STEPS, STEPS)
    return counts


def run_case(case: Case, expected: list[list[int]]) -> Seen:
    """Plant the fault, start, and start again."""
    with tempfile.TemporaryDirectory() as name, Loopback() as service:
        folder = Path(name)
        if case.prepared is not None:
            case.prepared(folder)
        elif not case.blind:
            _an_old_journal(folder)
        first, _, error = _start(service, folder, case)
        service.faults.clear()
        service.away_until = 0.0
        service.states = GOOD
        service.released.set()
        for job in service.jobs.values():
            if not job.foreign and job.states[-1]["status"] in {"Daydreaming", "Queued"}:
                job.states = [{"status": "Running"}, {"status": "Completed"}]
        unclear = int(first == GIVES_UP and not _is_clear(error, case.says))
        tracebacks = int(first.startswith("died"))
        if case.between is not None:
            case.between(folder)
        if case.refuses is not None:
            ended, _, refused = _start(service, folder, None)
            unclear += ended != GIVES_UP or not _is_clear(refused, case.refuses)
            tracebacks += ended.startswith("died")
            error = f"{error} {refused}"
            if case.remedied is not None:
                case.remedied(folder)
        second, counts, later = _start(service, folder, None, blind=case.blind)
        tracebacks += second.startswith("died")
        from qlifq.backends.ibm.journal import Journal

        with Journal(folder / "jobs.sqlite") as journal:
            done = sum(entry.state == "DONE" for entry in journal.entries(RUN))
        return Seen(
            first,
            "ended well" if second == OVERCOME else later or second,
            counts == expected,
            sum(not job.foreign for job in service.jobs.values()),
            service.paid,
            service.alive + sum(bool(session["accepting_jobs"]) for session in service.sessions.values()),
            STEPS - done,
            error,
            unclear,
            tracebacks,
            sum(job.foreign and job.states[-1]["status"] == "Cancelled" for job in service.jobs.values()),
        )


def _is_clear(message: str, says: str) -> bool:
    """Whether a message is one line of whole sentences, says what it must, and what to do."""
    return (
        re.search(says, message) is not None
        and re.fullmatch(r"[A-Z][^\n]*\.", message) is not None
        and _WAY_OUT.search(message) is not None
    )


def _an_old_journal(folder: Path) -> None:
    """A journal that has been there for years, so that it cannot have taken the place of one that was lost just now."""
    from qlifq.backends.ibm.journal import Journal
    from qlifq.backends.ibm.submissions import Run

    with Journal(folder / "jobs.sqlite") as journal:
        journal.begin(Run("an earlier run", DEVICE, (0,), None, None, None))
        with journal._base.writing() as base:
            base.execute("UPDATE run SET created = '2020-01-01T00:00:00.000000Z'")


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.backends.ibm.loopback", "qlifq.backends.ibm.backend", "qlifq.backends.aer.backend"])
    return context


def _start(service: Loopback, folder: Path, case: Case | None, *, blind: bool = False) -> tuple[str, list[list[int]], str]:
    """One start in a process of its own: how it ended, the counts, and the error."""
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    # What is done on this side of the service does not cross to the other process.
    there = None if case is None else dataclasses.replace(case, prepared=None, tampered=None, between=None, remedied=None)
    process = _context().Process(target=_act, args=(service.url, str(folder), there, blind))
    plant = _Plant(service, case, process)
    with mock.patch.object(service, "commit", plant.commit):
        process.start()
        process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return "hangs", [], f"no end within {_SECONDS:g} s"
    if process.exitcode in _KILLED:
        return KILLED, [], ""
    if not out.exists():
        return f"died with {process.exitcode}", [], ""
    written = json.loads(out.read_text(encoding="utf-8"))
    return (GIVES_UP if written["error"] else OVERCOME), written["counts"], written["error"]


class _Plant:
    """Lets the faults of a case begin when the first step has been submitted and fetched."""

    def __init__(self, service: Loopback, case: Case | None, process: Any) -> None:
        self.service, self.case, self.process = service, case, process
        self.real = service.commit
        service.on_commit = lambda: os.kill(process.pid, signal.SIGKILL)
        if case is not None:
            # The first step sends each request this often; what comes after belongs to the second.
            before = {"submit": 1, "find": 2, "state": 4, "result": 1, "metrics": 1}
            service.faults = {step: [None] * before.get(step, 0) + list(faults) for step, faults in case.faults.items()}

    def commit(self, payload: dict[str, Any]) -> Any:
        second = self.case is not None and sum(not job.foreign for job in self.service.jobs.values()) == 1
        if self.case is not None:
            self.service.states = self.case.states if second else GOOD
            self.service.hide = self.case.hide if second else 0
        job = self.real(payload)
        if second and self.case is not None and self.case.tampered is not None:
            self.case.tampered(self.service, job)
        return job


def _act(url: str, folder: str, case: Case | None, blind: bool) -> None:
    """What a start does: three steps, the angles of each made of the counts before."""
    import torch

    from qlifq.backends.ibm.backend import IBMBackend
    from qlifq.circuits import RYSpike
    from qlifq.errors import QLIFError

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if blind:
        from qlifq.backends.ibm.protocol import JobRunner

        mock.patch.object(JobRunner, "_found", return_value=[]).start()
    counts: list[list[int]] = []
    error = ""
    with connected(url), _disturbed(case, Path(folder)), ExitStack() as stack:
        try:
            backend = IBMBackend(
                DEVICE,
                run=RUN,
                journal=f"{folder}/jobs.sqlite",
                poll_seconds=0.02,
                grace_seconds=0.6,
                wait_seconds=60.0 if case is None or case.ends != GIVES_UP else 1.0,
                answer_seconds=20.0 if case is None or case.ends == OVERCOME else case.answer_seconds,
                mode="job" if case is None else case.mode,
            )
            stack.enter_context(backend)
            if case is not None and case.ends == OVERCOME:
                # A fault that is to be overcome comes later, and a start takes its time where much else runs.
                assert backend._remote is not None
                backend._remote._requests.answer_seconds = case.answer_seconds
            angles = torch.full((2, 3, 1), 1.0, dtype=torch.float64)
            for step in range(STEPS):
                ones = backend.run(RYSpike(), angles, shots=50, seed=step).ones
                assert ones is not None
                counts.append(ones.flatten().tolist())
                angles = 3.0 * (ones / 50).unsqueeze(-1).double()
        except QLIFError as problem:
            error = str(problem)
    Path(folder, "out.json").write_text(json.dumps({"counts": counts, "error": error}), encoding="utf-8")


@contextmanager
def _disturbed(case: Case | None, folder: Path) -> Iterator[None]:
    """Kill this process, or do something else, at a place in the second step."""
    if case is None or case.kill is None:
        yield
        return
    import importlib

    module, _, kind = case.kill[0].partition(".")
    home = importlib.import_module(f"qlifq.backends.ibm.{module}")
    owner = getattr(home, kind) if kind else home
    name, when = case.kill[1:]
    calls = [0]
    #: How often the first step calls it.
    first = {"find": 2, "state": 4}.get(name, 1)

    def planted(real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def act(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] <= first or (case.does.__name__ != "die" and calls[0] > first + 1):
                return real(*arguments, **options)
            if when == "before":
                case.does(folder, *arguments)
            if when == "inside":
                from qlifq.backends.ibm.database import Database

                writing = Database.writing

                @contextmanager
                def dying(self: Any, *, durable: bool = True) -> Iterator[Any]:
                    with writing(self, durable=durable) as base:
                        yield base
                        die(folder)

                with mock.patch.object(Database, "writing", dying):
                    return real(*arguments, **options)
            answer = real(*arguments, **options)
            if when == "after":
                case.does(folder, *arguments)
            return answer

        return act

    with mock.patch.object(owner, name, planted(getattr(owner, name))):
        yield
