"""What the protocol needs of whoever runs jobs, and how long it tries."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from qlifq.backends.ibm.job_spec import JobSpec, Result
from qlifq.backends.ibm.submissions import Entry
from qlifq.errors import ServiceError

__all__ = ["Channel", "Found", "RetryPolicy"]

#: How often a pause is doubled at most.
_MOST_DOUBLED = 10


class Found(NamedTuple):
    """A job at the service: its id and its state."""

    job: str
    state: str


class Channel(Protocol):
    """Who runs jobs. A service that fails or does not answer is a `ServiceError`."""

    def submit(self, work: JobSpec, entry: Entry, max_seconds: float | None) -> str:
        """Submit a job with the tag of the entry, and return its id."""

    def find(self, entry: Entry) -> list[Found]:
        """The jobs with the tag of the entry, oldest first."""

    def runs(self, job: str, entry: Entry) -> bool:
        """Whether a job runs what the entry says; True where the service does not say."""

    def state(self, job: str) -> str:
        """DONE, FAILED, CANCELLED, or what else the service says, such as QUEUED."""

    def result(self, job: str, entry: Entry) -> Result:
        """What the job brought back, once it is sure that it is that of the entry."""

    def usage(self, job: str) -> float | None:
        """The device seconds that were charged, None where they are not known yet."""

    def reason(self, job: str) -> tuple[str, bool]:
        """Why a job failed, and whether another attempt may succeed."""

    def cancel(self, job: str) -> bool:
        """Cancel a job; False where it was over already."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long and how often to try.

    Args:
        wait_seconds: how long a call waits for a job, and for a service that is away, before it gives up; the job itself goes
            on.
        poll_seconds: the longest pause between two requests for the state of a job.
        grace_seconds: how long a job may take to be found by its tag, before it counts as never submitted.
        attempts: how often a job may fail, or the service refuse or give what cannot be used, before the call gives up.
    """

    wait_seconds: float = 86_400.0
    poll_seconds: float = 5.0
    grace_seconds: float = 20.0
    attempts: int = 3

    def gives_up(self, error: ServiceError, tries: int, seconds: float) -> bool:
        """Whether a read-only request, which failed this often and for this long, is given up."""
        if error.away:
            return seconds >= self.wait_seconds
        # What is refused may be a slip of the service, which shows soon.
        return not (error.again or error.refused) or tries >= self.attempts

    def pause_seconds(self, attempt: int) -> float:
        """The pause after an attempt that failed: doubled each time, and no longer than between two requests for a state."""
        return min(self.poll_seconds, 0.5 * 2.0 ** min(attempt, _MOST_DOUBLED))
