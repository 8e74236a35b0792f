"""How a job is carried so that no crash, fault or second start loses its result or pays for it twice.

    intent on the disk → submit once, with a tag of its own → job id on the disk → poll → result on the disk → use

Whatever happens on the way, the next start finds the row of the same work and goes on from there. A row without a job id is
looked for at the service by its tag: what is found is adopted, further jobs with the tag are cancelled, and only what is not
there after a time of grace is submitted again, under the same tag.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from qlifq.backends.ibm.entries import CANCELLED, DONE, FAILED, INTENT, SUBMITTED, Entry
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.work import Counts, Work
from qlifq.errors import BackendError, BudgetError, ServiceError

__all__ = ["Carrier", "Channel", "Found", "Patience"]

T = TypeVar("T")

#: States of a job that are final, as every channel tells them, and those of them that leave nothing.
_FINAL = (DONE, FAILED, CANCELLED)
_LOST = (FAILED, CANCELLED)
#: States of a submission that needs no other: its job is at the service, or its result here.
_PLACED = (SUBMITTED, DONE)


class Found(NamedTuple):
    """A job at the service: its id and its state."""

    job: str
    state: str


class Channel(Protocol):
    """Who runs jobs. A service that fails or does not answer is a `ServiceError`."""

    def submit(self, work: Work, entry: Entry, max_seconds: float | None) -> str:
        """Submit a job with the tag of the entry, and return its id."""

    def find(self, entry: Entry) -> list[Found]:
        """The jobs with the tag of the entry, oldest first."""

    def state(self, job: str) -> str:
        """DONE, FAILED, CANCELLED, or what else the service says, such as QUEUED."""

    def result(self, job: str, entry: Entry) -> Counts:
        """The ones of every set and qubit, `(sets, width)`, once it is sure that they are those of the entry."""

    def usage(self, job: str) -> float | None:
        """The device seconds that were charged, None where they are not known yet."""

    def reason(self, job: str) -> tuple[str, bool]:
        """Why a job failed, and whether another attempt may succeed."""

    def cancel(self, job: str) -> bool:
        """Cancel a job; False where it was over already."""


@dataclass(frozen=True)
class Patience:
    """How long and how often to try.

    Args:
        wait_seconds: how long a call waits for a job before it gives up; the job itself goes on.
        poll_seconds: the longest pause between two looks at a job.
        grace_seconds: how long a job may take to be found by its tag, before it counts as never submitted.
        attempts: how often a job may fail, or the service not answer, before the call gives up.
    """

    wait_seconds: float = 86_400.0
    poll_seconds: float = 5.0
    grace_seconds: float = 20.0
    attempts: int = 3


@dataclass(frozen=True)
class Carrier:
    """Carries the jobs of one run, which it holds.

    Args:
        journal: the journal.
        channel: who runs the jobs.
        run: name of the run.
        budget_seconds: the most device seconds that the run may use, None for no bound.
        estimate: device seconds that a job is expected to take, None where nothing is paid.
        patience: how long to try.
        watch: told what is waited for, whenever that changes.
        ready: called with the works that are about to be submitted, before anything of them is written down.
    """

    journal: Journal
    channel: Channel
    run: str
    budget_seconds: float | None
    estimate: Callable[[Work], float | None]
    patience: Patience
    watch: Callable[[str], None]
    ready: Callable[[Sequence[Work]], None] = lambda works: None

    def carry(self, works: Sequence[Work]) -> tuple[list[tuple[Entry, Counts]], int]:
        """The result of each work, and how many of them the journal had already.

        What the journal lacks is submitted, all of it, and then waited for.

        Raises:
            BudgetError: before anything of this call is submitted.
            BackendError: if a job failed for good or the service does not answer. The journal knows how far it came.
        """
        rows = [self.journal.find(self.run, work) for work in works]
        known = sum(row is not None and row.state == DONE for row in rows)
        rows = [row if row is None or row.state != INTENT else self._recovered(row) or row for row in rows]
        lacking = [(work, row) for work, row in zip(works, rows, strict=True) if row is None or row.state not in _PLACED]
        caps = iter(self._allotted(lacking))
        entries = [
            row if row is not None and row.state in _PLACED else self._submit(work, self._intended(work, row, next(caps)))
            for work, row in zip(works, rows, strict=True)
        ]
        entries = [self._finished(entry, work) for entry, work in zip(entries, works, strict=True)]
        return [(entry, self.journal.result(entry.request)) for entry in entries], known

    def resume(self, entry: Entry) -> Entry:
        """Go on with a submission as far as it goes without submitting anything."""
        if entry.state == INTENT:
            entry = self._recovered(entry) or entry
        if entry.state == SUBMITTED:
            entry = self._finished(entry, None)
        if entry.state == DONE and entry.usage_seconds is None:
            entry = self._charged(entry)
        return entry

    def cancel(self, entry: Entry) -> Entry:
        """Cancel whatever of a submission is not over."""
        if entry.state not in {INTENT, SUBMITTED}:
            return entry
        if entry.state == INTENT:
            entry = self._recovered(entry) or entry
        jobs = [found.job for found in self._found(entry) if found.state not in _FINAL]
        cancelled = [job for job in jobs if self.channel.cancel(job)]
        if entry.state == INTENT and not jobs:
            return self.journal.over(entry.request, CANCELLED, "cancelled before a job was known")
        return self.journal.over(entry.request, CANCELLED, "cancelled here") if cancelled else entry

    def _allotted(self, lacking: Sequence[tuple[Work, Entry | None]]) -> list[float | None]:
        """The most device seconds of each work that is about to be submitted: together no more than is left.

        Raises:
            BudgetError: if that is less than they need.
        """
        if not lacking:
            return []
        works = [work for work, _ in lacking]
        # What was written down before, and is surely not at the service, gives back what was set aside for it.
        anew = [row.request for _, row in lacking if row is not None and row.state == INTENT]
        if self.budget_seconds is not None:
            self._settle(anew)
        left = self._check_budget(works, anew)
        self.ready(works)
        expected = [self.estimate(work) or 0.0 for work in works]
        whole = sum(expected)
        return [None if left is None else left * (each / whole if whole else 1 / len(works)) for each in expected]

    def _settle(self, but: Sequence[str]) -> None:
        """Learn what became of the run's other submissions: until that is known they count at the most that they may take."""
        for entry in self.journal.unsettled(self.run):
            if entry.request in but:
                continue
            if entry.state == INTENT and self._recovered(entry) is None:
                self.journal.over(entry.request, CANCELLED, "never reached the service")
            elif entry.state == SUBMITTED and self._state(entry) in _FINAL:
                self._finished(entry, None)
            elif entry.state in _FINAL:
                self._charged(entry)

    def _intended(self, work: Work, row: Entry | None, cap: float | None) -> Entry:
        """The entry of a work that is submitted next, on the disk."""
        if row is not None and row.state == INTENT:
            return self.journal.update(row.request, INTENT, cap_seconds=cap)
        attempt = 1 if row is None else row.attempt + 1
        return self.journal.intend(
            uuid.uuid4().hex, self.run, work, attempt=attempt, estimated_seconds=self.estimate(work), cap_seconds=cap
        )

    def _submit(self, work: Work, entry: Entry) -> Entry:
        """Submit, and where the answer is lost find out what became of it before trying again."""
        for tries in range(1, self.patience.attempts + 1):
            self.watch(f"submitting {work.executions:,} executions to {work.device}")
            try:
                job = self.channel.submit(work, entry, entry.cap_seconds)
            except ServiceError as error:
                # The client submits again by itself after a 5xx: what is refused for now may be the second of two.
                found = None if error.refused and not error.again else self._recovered(entry)
                if found is not None:
                    return found
                if tries == self.patience.attempts or (error.refused and not error.again):
                    raise
                self._pause(tries)
            else:
                return self.journal.update(entry.request, SUBMITTED, job=job)
        raise AssertionError

    def _recovered(self, entry: Entry) -> Entry | None:
        """The entry with the job that the service has of it; None where there is none after the time of grace."""
        self.watch(f"looking for a job of {entry.created}")
        end = time.monotonic() + self.patience.grace_seconds
        pause = min(0.5, self.patience.grace_seconds / 4)
        while True:
            entry = self._alone(entry)
            if entry.state != INTENT:
                return entry
            if time.monotonic() + pause > end:
                return None
            time.sleep(pause)
            pause *= 2

    def _alone(self, entry: Entry) -> Entry:
        """Adopt one of the jobs with the tag of the entry and cancel the others."""
        found = self._found(entry)
        if not found:
            return entry
        # One that is done, else the oldest that may still be, else what is left of it; the sort keeps the order.
        best = sorted(found, key=lambda each: (each.state != DONE, each.state in _FINAL, each.job != entry.job))[0]
        others = [each for each in found if each.job != best.job]
        for each in others:
            if each.state not in _FINAL:
                self._patiently(lambda job=each.job: self.channel.cancel(job))  # type: ignore[misc]
        if (entry.job, entry.duplicates, entry.state) == (best.job, len(others), SUBMITTED):
            return entry
        return self.journal.update(entry.request, SUBMITTED, job=best.job, duplicates=len(others))

    def _found(self, entry: Entry) -> list[Found]:
        """The jobs of an entry that the service knows, oldest first."""
        found = self._patiently(lambda: self.channel.find(entry))
        if entry.job is None or entry.job in {each.job for each in found}:
            return found
        # The service finds a young job by its id before it does by its tag.
        job = entry.job
        return [Found(job, self._patiently(lambda: self.channel.state(job))), *found]

    def _finished(self, entry: Entry, work: Work | None) -> Entry:
        """Wait for a job; where one failed and another may not, submit another, if the work is there to be submitted."""
        tries = 1
        while entry.state == SUBMITTED:
            entry = self._waited(self._alone(entry))
            if entry.state == FAILED and work is not None and tries < self.patience.attempts and self._may_succeed(entry):
                tries += 1
                (cap,) = self._allotted([(work, entry)])
                entry = self._submit(work, self._intended(work, entry, cap))
        if entry.state in _LOST and work is not None:
            raise BackendError(
                f"Job {entry.job} of run {self.run} {entry.error}. Nothing else is lost: the same command submits it again."
            )
        return entry

    def _waited(self, entry: Entry) -> Entry:
        """The entry once its job is over, its result on the disk."""
        assert entry.job is not None
        job, begun, pause, told = entry.job, time.monotonic(), min(0.2, self.patience.poll_seconds), ""
        while (state := self._patiently(lambda: self.channel.state(job))) not in _FINAL:
            if state != told:
                self.watch(f"job {job} {state.lower()}")
                told = state
            if time.monotonic() - begun > self.patience.wait_seconds:
                raise BackendError(
                    f"Job {job} of run {self.run} is {state} after {self.patience.wait_seconds:g} seconds. It goes on: the "
                    "same command waits for it again."
                )
            time.sleep(pause)
            pause = min(1.5 * pause, self.patience.poll_seconds)
        if state == DONE:
            ones = self._patiently(lambda: self.channel.result(job, entry))
            return self._charged(self.journal.store(entry.request, ones))
        reason, again = self._patiently(lambda: self.channel.reason(job)) if state == FAILED else ("was cancelled", True)
        # What ran too long took all that it was allowed.
        return self._charged(self.journal.over(entry.request, state, reason, at_its_cap=not again))

    def _charged(self, entry: Entry) -> Entry:
        """The entry with what its job was charged, where the service tells; that is not worth a failure."""
        assert entry.job is not None
        with contextlib.suppress(ServiceError):
            if (seconds := self.channel.usage(entry.job)) is not None:
                return self.journal.update(entry.request, entry.state, usage_seconds=seconds)
        return entry

    def _may_succeed(self, entry: Entry) -> bool:
        assert entry.job is not None
        job = entry.job
        return self._patiently(lambda: self.channel.reason(job))[1]

    def _state(self, entry: Entry) -> str:
        assert entry.job is not None
        job = entry.job
        return self._patiently(lambda: self.channel.state(job))

    def _check_budget(self, works: Sequence[Work], but: Sequence[str]) -> float | None:
        """The device seconds that are left, None for no bound, leaving out some submissions; refuse what would cost more."""
        if self.budget_seconds is None:
            return None
        left = self.budget_seconds - self.journal.spent(self.run, but)
        expected = sum(self.estimate(work) or 0.0 for work in works)
        if expected > max(left, 0.0):
            raise BudgetError(
                f"Argument `max_device_seconds` is {self.budget_seconds:g} for run {self.run}, of which {max(left, 0):.3g} are "
                f"left, but this needs about {expected:.3g}. Nothing of it was submitted."
            )
        return left

    def _patiently(self, act: Callable[[], T]) -> T:
        """Ask again where the service does not answer, a few times."""
        for attempt in range(1, self.patience.attempts):
            try:
                return act()
            except ServiceError as error:
                if not error.again:
                    raise
                self._pause(attempt)
        return act()

    def _pause(self, attempt: int) -> None:
        time.sleep(min(self.patience.poll_seconds, 0.5 * 2**attempt))
