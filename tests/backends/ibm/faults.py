"""Everything that may go wrong between a call and its result, one case each, against the loopback service.

A case starts a run of three steps in a process of its own, with one fault planted in the second step, and then starts it a
second time with nothing planted. Starts are forked from a process that has imported everything, so that they are quick.
"""

import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.backends.ibm.loopback import DEVICE, GOOD, Loopback, connected

__all__ = ["CASES", "Case", "Seen", "run_case", "undisturbed"]

STEPS = 3
_SECONDS = 90.0
#: Failures that the client or the protocol overcomes by itself; after them the first start ends well.
OVERCOME, GIVES_UP, KILLED = "overcome", "gives up", "killed"


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        name: what happens, in words.
        ends: how the first start ends.
        kill: a class, a method and "before", "after" or "inside": where the process of the first start kills itself.
        faults: what the service does wrong, see `Loopback`; from the second step on.
        states: what the second step's job is seen in.
        hide: how many searches by tag do not see that job.
        jobs: how many jobs may have run in the end; more than the steps only where a job that failed had run.
        answer_seconds: how long the first start waits for an answer.
        blind: a planted fault of the protocol itself: it never looks for a job by its tag.
    """

    name: str
    ends: str
    kill: tuple[str, str, str] | None = None
    faults: dict[str, Sequence[object]] = dataclasses.field(default_factory=dict)
    states: tuple[str | dict[str, object], ...] = GOOD
    hide: int = 0
    jobs: int = STEPS
    answer_seconds: float = 20.0
    blind: bool = False


class Seen(NamedTuple):
    """What a case ended in."""

    first: str
    second: str
    same: bool
    submitted: int
    paid: int
    alive: int
    lost: int
    error: str

    def right(self, case: Case) -> bool:
        """Whether it is what must be: the same result, no job paid twice, none left to run, none lost."""
        return (
            (self.first, self.second) == (case.ends, "ended well")
            and self.same
            and self.paid == case.jobs
            and self.alive == self.lost == 0
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
    Case("kill -9 while the job id is written", KILLED, ("protocol.Carrier", "_submit", "inside")),
    Case("kill -9 after the job id is written", KILLED, ("protocol.Carrier", "_submit", "after")),
    Case("kill -9 while duplicates are looked for", KILLED, ("client.ServiceChannel", "find", "before")),
    Case("kill -9 while the job is queued", KILLED, ("client.ServiceChannel", "state", "after")),
    Case("kill -9 before the result is fetched", KILLED, ("client.ServiceChannel", "result", "before")),
    Case("kill -9 while the result is decoded", KILLED, ("client", "_ones", "before")),
    Case("kill -9 before the result is written", KILLED, ("journal.Journal", "store", "before")),
    Case("kill -9 while the result is written", KILLED, ("journal.Journal", "store", "inside")),
    Case("kill -9 after the result is written", KILLED, ("journal.Journal", "store", "after")),
    Case("kill -9 while the charge is asked for", KILLED, ("client.ServiceChannel", "usage", "before")),
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
    Case("500 while duplicates are looked for", OVERCOME, faults={"find": [500] * 7}),
    Case("search by tag answers nothing at all", OVERCOME, faults={"find": ["empty"]}),
    Case("search by tag hangs", OVERCOME, faults={"find": ["hang"]}, answer_seconds=0.5),
    Case("500 while the job is polled", OVERCOME, faults={"state": [500] * 7}),
    Case("429 while the job is polled", OVERCOME, faults={"state": [429]}),
    Case("connection dropped while the job is polled", OVERCOME, faults={"state": ["drop"]}),
    Case("socket hangs while the job is polled", OVERCOME, faults={"state": ["hang"]}, answer_seconds=0.5),
    Case("500 while the result is fetched", OVERCOME, faults={"result": [500] * 7}),
    Case("socket hangs while the result is fetched", OVERCOME, faults={"result": ["hang"]}, answer_seconds=0.5),
    Case("empty result once", OVERCOME, faults={"result": ["empty"]}),
    Case("empty result at every request of the first start", GIVES_UP, faults={"result": ["empty"] * 3}),
    Case("500 while the charge is asked for", OVERCOME, faults={"metrics": [500] * 7}),
    Case("the job fails", OVERCOME, states=_FAILS, jobs=STEPS + 1),
    Case("the job is cancelled by somebody", GIVES_UP, states=("Queued", {"status": "Cancelled"})),
    Case("the job runs too long", GIVES_UP, states=_TOO_LONG, jobs=STEPS + 1),
    Case("the job runs too long, told in words", GIVES_UP, states=_TOO_LONG_IN_WORDS, jobs=STEPS + 1),
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
    with tempfile.TemporaryDirectory() as folder, Loopback() as service:
        first, _, error = _start(service, Path(folder), case)
        service.faults.clear()
        service.states = GOOD
        service.released.set()
        for job in service.jobs.values():
            if job.states[-1]["status"] in {"Daydreaming", "Queued"}:
                job.states = [{"status": "Running"}, {"status": "Completed"}]
        second, counts, later = _start(service, Path(folder), None, blind=case.blind)
        from qlifq.backends.ibm.journal import Journal

        with Journal(Path(folder) / "jobs.sqlite") as journal:
            done = sum(entry.state == "DONE" for entry in journal.entries())
        return Seen(
            first,
            "ended well" if second == OVERCOME else later,
            counts == expected,
            len(service.jobs),
            service.paid,
            service.alive,
            STEPS - done,
            error,
        )


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.backends.ibm.loopback", "qlifq.backends.ibm.backend", "qlifq.backends.aer"])
    return context


def _start(service: Loopback, folder: Path, case: Case | None, *, blind: bool = False) -> tuple[str, list[list[int]], str]:
    """One start in a process of its own: how it ended, the counts, and the error."""
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    process = _context().Process(target=_act, args=(service.url, str(folder), case, blind))
    plant = _Plant(service, case, process)
    with mock.patch.object(service, "commit", plant.commit):
        process.start()
        process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return "hangs", [], f"no end within {_SECONDS:g} s"
    if process.exitcode == -signal.SIGKILL:
        return KILLED, [], ""
    if not out.exists():
        return f"died with {process.exitcode}", [], ""
    told = json.loads(out.read_text(encoding="utf-8"))
    return (GIVES_UP if told["error"] else OVERCOME), told["counts"], told["error"]


class _Plant:
    """Lets the faults of a case begin when the first step has been submitted and fetched."""

    def __init__(self, service: Loopback, case: Case | None, process: Any) -> None:
        self.service, self.case, self.process = service, case, process
        self.real = service.commit
        service.on_commit = lambda: os.kill(process.pid, signal.SIGKILL)
        if case is not None:
            # The first step asks each thing so often; what comes after belongs to the second.
            before = {"submit": 1, "find": 1, "state": 4, "result": 1, "metrics": 1}
            service.faults = {step: [None] * before[step] + list(faults) for step, faults in case.faults.items()}

    def commit(self, payload: dict[str, Any]) -> Any:
        second = self.case is not None and len(self.service.jobs) == 1
        if self.case is not None:
            self.service.states = self.case.states if second else GOOD
            self.service.hide = self.case.hide if second else 0
        return self.real(payload)


def _act(url: str, folder: str, case: Case | None, blind: bool) -> None:
    """What a start does: three steps, the angles of each made of the counts before."""
    import torch

    from qlifq.backends import get
    from qlifq.circuits import RYSpike
    from qlifq.errors import QLIFError

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if blind:
        from qlifq.backends.ibm.protocol import Carrier

        mock.patch.object(Carrier, "_recovered", return_value=None).start()
        mock.patch.object(Carrier, "_alone", side_effect=lambda entry: entry).start()
    counts: list[list[int]] = []
    error = ""
    with connected(url), _killed(case):
        try:
            backend = get(
                "ibm",
                device=DEVICE,
                run="a run",
                journal=f"{folder}/jobs.sqlite",
                poll_seconds=0.02,
                grace_seconds=0.6,
                wait_seconds=20.0 if case is None or case.ends != GIVES_UP else 1.0,
                answer_seconds=20.0 if case is None else case.answer_seconds,
            )
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
def _killed(case: Case | None) -> Iterator[None]:
    """Kill this process at a place in the second step."""
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
    first = {"find": 1, "state": 4}.get(name, 1)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def planted(real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def act(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] <= first:
                return real(*arguments, **options)
            if when == "before":
                die()
            if when == "inside":
                from qlifq.backends.ibm.database import Database

                writing = Database.writing

                @contextmanager
                def dying(self: Any, *, durable: bool = False) -> Iterator[Any]:
                    with writing(self, durable=durable) as base:
                        yield base
                        die()

                with mock.patch.object(Database, "writing", dying):
                    return real(*arguments, **options)
            answer = real(*arguments, **options)
            die()
            return answer

        return act

    with mock.patch.object(owner, name, planted(getattr(owner, name))):
        yield
