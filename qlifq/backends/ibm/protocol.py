"""How a job is carried so that no crash, fault or second start loses its result or pays for it twice.

    look for its tag → intent on the disk → submit once, with that tag → job id on the disk → poll → result on the disk → use

Whatever happens on the way, the next start finds the row of the same work and goes on from there. A row without a job id is
looked for at the service by its tag: what is found is adopted, further jobs with the tag are cancelled, and only what is not
there after a time of grace is submitted again, under the same tag.

A journal that is lost derives the same tags again, so every work that it does not know is looked for before it is submitted:
once, and in a journal that is younger than the time of grace until it is that old, since it may have taken the place of one
that knew a job which the service does not list yet. A job with the tag that does not run what the entry says is nobody's
business here: it is neither adopted nor cancelled.

What a job leaves that cannot be used, and a job that the service does not have any more, is over: the next start of the command
submits it again. So no answer of a service keeps a run from its end.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from qlifq.backends.ibm.channel import Channel, Found, RetryPolicy
from qlifq.backends.ibm.job_spec import JobSpec, Result
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.submissions import CANCELLED, DONE, FAILED, INTENT, SUBMITTED, Entry
from qlifq.errors import BackendError, BudgetError, FileFormatError, ServiceError

__all__ = ["JobRunner"]

T = TypeVar("T")

#: States of a job that are final, as every channel reports them, and those of them that leave nothing.
_FINAL = (DONE, FAILED, CANCELLED)
_LOST = (FAILED, CANCELLED)
#: States of a submission that needs no other: its job is at the service, or its result here.
_PLACED = (SUBMITTED, DONE)


@dataclass(frozen=True)
class JobRunner:
    """Runs the jobs of one run, which it holds.

    Args:
        journal: the journal.
        channel: who runs the jobs.
        run_name: name of the run.
        budget_seconds: the most device seconds that the run may use, None for no bound.
        estimate: device seconds that a job is expected to take, None where nothing is paid.
        retry: how long to try.
        watch: called with what is waited for, whenever that changes.
        ready: called with the jobs that are about to be submitted, before anything of them is written down.
    """

    journal: Journal
    channel: Channel
    run_name: str
    budget_seconds: float | None
    estimate: Callable[[JobSpec], float | None]
    retry: RetryPolicy
    watch: Callable[[str], None]
    ready: Callable[[Sequence[JobSpec]], None] = lambda works: None

    def run(self, works: Sequence[JobSpec]) -> tuple[list[tuple[Entry, Result]], int]:
        """The result of each job, and how many of them the journal had already.

        What the journal lacks is submitted, all of it, and then waited for.

        Raises:
            BudgetError: before anything of this call is submitted.
            BackendError: if a job failed for good or the service does not answer. The journal knows how far it came.
        """
        try:
            return self._run(works)
        except ServiceError as error:
            error.args = (f"{error.said} Nothing that was submitted is lost: give the same command again once that is mended.",)
            raise

    def _run(self, works: Sequence[JobSpec]) -> tuple[list[tuple[Entry, Result]], int]:
        rows = [self.journal.find(self.run_name, work) for work in works]
        known = sum(row is not None and row.state == DONE for row in rows)
        rows = [self._known(work, row) for work, row in zip(works, rows, strict=True)]
        lacking = [(work, row) for work, row in zip(works, rows, strict=True) if row is None or row.state not in _PLACED]
        caps = iter(self._allotted(lacking))
        entries = [
            row if row is not None and row.state in _PLACED else self._submit(work, self._intended(work, row, next(caps)))
            for work, row in zip(works, rows, strict=True)
        ]
        entries = [self._finished(entry, work) for entry, work in zip(entries, works, strict=True)]
        return [self._kept(entry, work) for entry, work in zip(entries, works, strict=True)], known

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
        found = self._found(entry)
        if not found:
            return self.journal.over(entry.request, CANCELLED, "was cancelled here, and the service has no job of it")
        cancelled = [each for each in found if each.state not in _FINAL and self.channel.cancel(each.job)]
        return self.journal.over(entry.request, CANCELLED, "was cancelled here") if cancelled else entry

    def _allotted(self, lacking: Sequence[tuple[JobSpec, Entry | None]]) -> list[float | None]:
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
        for entry in self.journal.unsettled(self.run_name):
            if entry.request in but:
                continue
            if entry.state == INTENT and self._recovered(entry) is None:
                self.journal.over(entry.request, CANCELLED, "never reached the service")
            elif entry.state == SUBMITTED and self._is_over(entry):
                self._finished(entry, None)
            elif entry.state in _FINAL:
                self._charged(entry)

    def _known(self, work: JobSpec, row: Entry | None) -> Entry | None:
        """What is known of a work: its last row, after a search at the service for a job that no row has."""
        if row is not None and row.state == INTENT:
            return self._recovered(row) or row
        if row is not None and row.state in _PLACED:
            return row
        draft = self._draft(work, row)
        found = self._looked_for(draft, self.retry.grace_seconds - self.journal.age_seconds())
        if not found:
            return row
        self.watch(f"taking up job {found[0].job}, which the journal does not know")
        return self._adopted(self.journal.intend(draft, work), found)

    def _draft(self, work: JobSpec, row: Entry | None) -> Entry:
        """The entry that follows the last row of a work."""
        attempt = 1 if row is None else row.attempt + 1
        return self.journal.draft(self.run_name, work, attempt=attempt, estimated_seconds=self.estimate(work))

    def _intended(self, work: JobSpec, row: Entry | None, cap: float | None) -> Entry:
        """The entry of a work that is submitted next, on the disk."""
        if row is not None and row.state == INTENT:
            return self.journal.update(row.request, INTENT, cap_seconds=cap)
        return self.journal.intend(replace(self._draft(work, row), cap_seconds=cap), work)

    def _submit(self, work: JobSpec, entry: Entry) -> Entry:
        """Submit, and where the answer is lost find out what became of it before trying again."""
        begun, tries = time.monotonic(), 0
        while True:
            tries += 1
            self.watch(f"submitting {work.executions:,} executions to {work.device}")
            self.journal.check()
            try:
                job = self.channel.submit(work, entry, entry.cap_seconds)
            except ServiceError as error:
                # The client submits again by itself after a 5xx: what is refused for now may be the second of two.
                found = None if _is_refusal(error) else self._recovered(entry)
                if found is not None:
                    return found
                # A service that is full says so until one of the jobs before is over.
                waits = error.refused and error.again and time.monotonic() - begun < self.retry.wait_seconds
                if not waits and (error.refused or tries >= self.retry.attempts):
                    raise
                if waits:
                    self.watch(f"waiting until {work.device} takes more jobs: {error}")
                self._pause(tries)
            else:
                return self.journal.update(entry.request, SUBMITTED, job=job)

    def _recovered(self, entry: Entry) -> Entry | None:
        """The entry with the job that the service has of it; None where there is none after the time of grace."""
        self.watch(f"looking for a job of {entry.created}")
        found = self._looked_for(entry, self.retry.grace_seconds)
        return self._adopted(entry, found) if found else None

    def _looked_for(self, entry: Entry, seconds: float) -> list[Found]:
        """The jobs of an entry, looked for at least once and until there are some or the time is over."""
        end = time.monotonic() + seconds
        pause = min(0.5, self.retry.grace_seconds / 4)
        while not (found := self._found(entry)) and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause *= 2
        return found

    def _adopted(self, entry: Entry, found: Sequence[Found]) -> Entry:
        """The entry with one of its jobs; the others are cancelled."""
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
        """The jobs of an entry that the service has, oldest first; none that only carries its tag."""
        own = "" if entry.job is None else entry.job.casefold()
        found = [
            each
            for each in self._patiently(lambda: self.channel.find(entry))
            # The id that a submission was answered with needs no proof; services write ids in either case.
            if each.job.casefold() == own or self._is_of(each.job, entry)
        ]
        if entry.job is None or own in {each.job.casefold() for each in found}:
            return found
        # The service finds a young job by its id before it does by its tag.
        try:
            return [Found(entry.job, self._state(entry)), *found]
        except ServiceError as error:
            if not _is_refusal(error):
                raise
            return found

    def _is_of(self, job: str, entry: Entry) -> bool:
        """Whether a job with the tag of an entry runs what that says; the tag decides where the service refuses to say."""
        try:
            return self._patiently(lambda: self.channel.runs(job, entry))
        except ServiceError as error:
            if not _is_refusal(error):
                raise
            return True

    def _finished(self, entry: Entry, work: JobSpec | None) -> Entry:
        """Wait for a job; where one failed and another may not, submit another, if the work is there to be submitted."""
        tries = 1
        while entry.state == SUBMITTED:
            try:
                found = self._found(entry)
                entry, again = self._waited(self._adopted(entry, found) if found else entry)
            except ServiceError as error:
                if tries == self.retry.attempts or not _is_refusal(error):
                    raise
                entry, again = self._missed(entry, error), False
                tries += 1
            if entry.state == FAILED and again and work is not None and tries < self.retry.attempts:
                tries += 1
                entry = self._known(work, entry) or entry
                if entry.state not in _PLACED:
                    (cap,) = self._allotted([(work, entry)])
                    entry = self._submit(work, self._intended(work, entry, cap))
        if entry.state in _LOST and work is not None:
            raise BackendError(
                f"Job {entry.job} of run {self.run_name} {entry.error}. Nothing else is lost: the same command "
                "submits it again."
            )
        return entry

    def _missed(self, entry: Entry, error: ServiceError) -> Entry:
        """The entry whose job the service does not give: over, unless the service lists it or another by its tag."""
        found = self._looked_for(replace(entry, job=None), self.retry.grace_seconds)
        if found:
            return self._adopted(entry, found)
        return self.journal.over(entry.request, FAILED, f"is not at the service any more: {_clause(error)}")

    def _waited(self, entry: Entry) -> tuple[Entry, bool]:
        """The entry once its job is over, its result on the disk, and whether another job may succeed where it failed."""
        assert entry.job is not None
        job, begun, pause, reported = entry.job, time.monotonic(), min(0.2, self.retry.poll_seconds), ""
        while (state := self._state(entry)) not in _FINAL:
            if state != reported:
                self.watch(f"job {job} {state.lower()}")
                reported = state
            if time.monotonic() - begun > self.retry.wait_seconds:
                raise BackendError(
                    f"Job {job} of run {self.run_name} is {state} after {self.retry.wait_seconds:g} seconds. It goes on: the "
                    f"same command waits for it again, and `qlifq jobs forget {job}` does without it."
                )
            time.sleep(pause)
            pause = min(1.5 * pause, self.retry.poll_seconds)
        if state == DONE:
            return self._stored(entry), False
        reason, again = self._patiently(lambda: self.channel.reason(job)) if state == FAILED else ("was cancelled", False)
        # What ran too long took all that it was allowed.
        ran_too_long = state == FAILED and not again
        return self._charged(self.journal.over(entry.request, state, reason, at_its_cap=ran_too_long)), again

    def _stored(self, entry: Entry) -> Entry:
        """The entry of a job that is done, its result on the disk, or over where that is not what was submitted."""
        assert entry.job is not None
        job = entry.job
        for attempt in range(1, self.retry.attempts + 1):
            try:
                ones = self._patiently(lambda: self.channel.result(job, entry))
                return self._charged(self.journal.store(entry.request, ones))
            except ServiceError as error:
                if error.again:
                    raise
                if error.refused:
                    # Unless it refuses everything, it will not give this one.
                    self._state(entry)
                wrong = error
                self._pause(attempt)
        return self._charged(self.journal.over(entry.request, FAILED, f"has no result of use: {_clause(wrong)}"))

    def _kept(self, entry: Entry, work: JobSpec) -> tuple[Entry, Result]:
        """The entry of a work that is done, and its result; a damaged one is requested from the service once more."""
        try:
            return entry, self.journal.result(entry.request)
        except FileFormatError:
            self.watch(f"fetching the result of job {entry.job} again: the journal's is damaged")
            entry = self._finished(self.journal.update(entry.request, SUBMITTED), work)
            return entry, self.journal.result(entry.request)

    def _charged(self, entry: Entry) -> Entry:
        """The entry with what its job was charged, where the service says; a failure to learn it is ignored."""
        assert entry.job is not None
        with contextlib.suppress(ServiceError):
            if (seconds := self.channel.usage(entry.job)) is not None:
                return self.journal.update(entry.request, entry.state, usage_seconds=seconds)
        return entry

    def _is_over(self, entry: Entry) -> bool:
        """Whether a job is final, or the service does not give it: then there is nothing to wait for."""
        try:
            return self._state(entry) in _FINAL
        except ServiceError as error:
            if not _is_refusal(error):
                raise
            return True

    def _state(self, entry: Entry) -> str:
        assert entry.job is not None
        job = entry.job
        return self._patiently(lambda: self.channel.state(job))

    def _check_budget(self, works: Sequence[JobSpec], but: Sequence[str]) -> float | None:
        """The device seconds that are left, None for no bound, leaving out some submissions; refuse what would cost more."""
        if self.budget_seconds is None:
            return None
        left = self.budget_seconds - self.journal.spent(self.run_name, but)
        expected = sum(self.estimate(work) or 0.0 for work in works)
        if expected > max(left, 0.0):
            raise BudgetError(
                f"Argument `max_device_seconds` is {self.budget_seconds:g} for run {self.run_name}, of which "
                f"{max(left, 0):.3g} are left, but this needs about {expected:.3g}. Nothing of it was submitted."
            )
        return left

    def _patiently(self, act: Callable[[], T]) -> T:
        """Repeat a read-only request until the service answers: again and again while it is away, else a few times."""
        begun, tries = time.monotonic(), 0
        while True:
            try:
                answer = act()
            except ServiceError as error:
                tries += 1
                gone = time.monotonic() - begun
                if self.retry.gives_up(error, tries, gone):
                    raise
                if error.away:
                    self.watch(f"the service has not answered for {gone:.0f} s, trying again ({error.said})")
                self._pause(tries)
            else:
                if tries:
                    self.watch("the service answers again")
                return answer

    def _pause(self, attempt: int) -> None:
        time.sleep(self.retry.pause_seconds(attempt))


def _is_refusal(error: ServiceError) -> bool:
    """Whether the service will not do this now or later."""
    return error.refused and not error.again


def _clause(error: ServiceError) -> str:
    """What an error says, to be put into a sentence."""
    return error.said.rstrip(".")
