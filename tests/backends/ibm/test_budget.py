"""What a run may spend: the jobs that are open share its budget, and what failed counts."""

from collections.abc import Iterator

import numpy as np
import pytest

from qlifq.backends.ibm.channel import Found, RetryPolicy
from qlifq.backends.ibm.job_spec import DecisionJob, JobSpec, Result
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.protocol import JobRunner
from qlifq.backends.ibm.submissions import CANCELLED, DONE, FAILED, INTENT, Entry, Run
from qlifq.circuits import RYSpike
from qlifq.errors import BackendError, BudgetError, ServiceError

WORKS = [DecisionJob(RYSpike(), np.ones((2, 3, 1)), (0, 1, 2), 10 * (part + 1), 1, part, "ibm_x") for part in range(3)]


class Service:
    """A channel whose jobs are over at once."""

    def __init__(self) -> None:
        self.jobs: dict[str, Entry] = {}
        self.caps: list[float | None] = []
        self.ends = DONE
        self.charge: float | None = None
        self.deaf = False

    def submit(self, work: JobSpec, entry: Entry, max_seconds: float | None) -> str:
        self.caps.append(max_seconds)
        if self.deaf:
            raise ServiceError("refused", refused=True, again=False)
        self.jobs[f"j{len(self.jobs)}"] = entry
        return f"j{len(self.jobs) - 1}"

    def find(self, entry: Entry) -> list[Found]:
        return [Found(job, self.state(job)) for job, each in self.jobs.items() if each.request == entry.request]

    def runs(self, job: str, entry: Entry) -> bool:
        return True

    def state(self, job: str) -> str:
        return self.ends

    def result(self, job: str, entry: Entry) -> Result:
        return np.zeros((entry.sets, len(entry.qubits)), dtype=np.int64)

    def usage(self, job: str) -> float | None:
        return self.charge

    def reason(self, job: str) -> tuple[str, bool]:
        return "failed: ran too long", False

    def cancel(self, job: str) -> bool:
        return False


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal(None) as found:
        found.begin(Run("r", "ibm_x", (0, 1, 2), 100.0, None, None))
        yield found


def carrier(journal: Journal, service: Service, budget: float = 100.0) -> JobRunner:
    patience = RetryPolicy(1.0, 0.01, 0.0)
    return JobRunner(journal, service, "r", budget, lambda work: float(work.shots), patience, lambda text: None)


def test_the_jobs_of_a_call_share_what_is_left(journal: Journal) -> None:
    service = Service()
    carrier(journal, service).run(WORKS)
    assert service.caps == pytest.approx([100 / 6, 200 / 6, 300 / 6])
    assert journal.spent("r") == 60


def test_what_ran_too_long_counts_as_its_cap_and_what_failed_as_expected(journal: Journal) -> None:
    service = Service()
    service.ends = FAILED
    with pytest.raises(BackendError, match="ran too long"):
        carrier(journal, service, 40.0).run(WORKS[:1])
    assert journal.spent("r") == 40
    with pytest.raises(BudgetError, match=r"of which 0 are left"):
        carrier(journal, service, 40.0).run(WORKS[:1])
    service.ends = CANCELLED
    with pytest.raises(BackendError, match="was cancelled"):
        carrier(journal, service, 50.0).run(WORKS[:1])
    assert (service.caps, journal.spent("r")) == ([40.0, 10.0], 50)
    # The charge that was not known then is requested again before anything else is refused.
    service.ends, service.charge = DONE, 1.5
    carrier(journal, service, 50.0).run(WORKS[:1])
    assert service.caps[-1] == 47
    assert journal.spent("r") == 4.5


def test_what_never_reached_the_service_gives_back_what_was_set_aside(journal: Journal) -> None:
    service = Service()
    service.deaf = True
    with pytest.raises(ServiceError, match="refused"):
        carrier(journal, service).run(WORKS[:1])
    assert ([entry.state for entry in journal.entries()], journal.spent("r")) == ([INTENT], 100)
    service.deaf = False
    carrier(journal, service).run(WORKS[1:2])
    carrier(journal, service).run(WORKS[:1])
    assert [entry.state for entry in journal.entries()] == [CANCELLED, DONE, DONE]
    assert service.caps == [100.0, 100.0, 80.0]


def test_a_submission_that_is_cancelled_is_looked_for_first(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job is found by its tag late, and is over by then: it was paid, so its result is kept."""
    service = Service()
    service.deaf = True
    with pytest.raises(ServiceError, match="refused"):
        carrier(journal, service).run(WORKS[:1])
    (entry,) = journal.entries()
    looks = [0]

    def find(entry: Entry) -> list[Found]:
        looks[0] += 1
        return [Found("late", DONE)] if looks[0] > 1 else []

    monkeypatch.setattr(service, "find", find)
    patient = JobRunner(journal, service, "r", None, lambda work: None, RetryPolicy(1.0, 0.01, 0.2), lambda text: None)
    assert patient.resume(patient.cancel(entry)).state == DONE
