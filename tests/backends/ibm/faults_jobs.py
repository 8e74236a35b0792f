"""What may happen to jobs at the service: they vanish, change their ids, give a wrong result, or are somebody else's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.backends.ibm.faults import GIVES_UP, KILLED, OVERCOME, STEPS, Case
from tests.backends.ibm.faults_journal import lose_journal
from tests.backends.ibm.loopback import Job, Loopback, run_payload

__all__ = ["CASES"]

_QUEUED = ("client.ServiceChannel", "state", "after")
_REPLIED = ("client.ServiceChannel", "submit", "after")
_PENDING = (403, 3458, "You have reached the maximum number of pending jobs.")


def seven_shots(service: Loopback, job: Job) -> None:
    """Run another number of shots than was submitted."""
    pubs = [[pub[0], pub[1], 7] for pub in job.payload["params"]["pubs"]]
    job.result = run_payload(job.payload | {"params": job.payload["params"] | {"pubs": pubs}}, service.qubits)


def result_of_another(service: Loopback, job: Job) -> None:
    """Give the result of the first job for this one."""
    job.result = next(iter(service.jobs.values())).result


def delete_job(service: Loopback, job: Job) -> None:
    """Know nothing of it any more."""
    job.deleted = True


def answer_in_capitals(service: Loopback, job: Job) -> None:
    """Write its id in capitals in the reply, and nowhere else."""
    job.answered = job.id.upper()


def list_in_capitals(service: Loopback, job: Job) -> None:
    """Write its id in capitals wherever it is listed, and know it under both."""
    job.answered = job.id
    service.jobs[job.id.upper()] = service.jobs.pop(job.id)
    service.any_case = True
    job.id = job.id.upper()


def foreign(status: str, **changed: Any) -> Callable[[Loopback, Job], None]:
    """Have a job of somebody else, with the same tag."""

    def add(service: Loopback, job: Job) -> None:
        params = job.payload["params"]
        pubs = [[pub[0].copy(), pub[1], 11] for pub in params["pubs"]]
        for pub in pubs:
            pub[0].metadata = {"mine": 1}
        payload = job.payload | {"params": params | {"pubs": pubs}} | changed
        other = replace(job, id=f"f{job.id[1:]}", payload=payload, states=[{"status": status}], foreign=True)
        # It was there before ours.
        service.jobs = {other.id: other} | service.jobs

    return add


CASES: tuple[Case, ...] = (
    # Jobs that leave nothing of use, are not there, or are somebody else's.
    Case("the job is done with another number of shots", GIVES_UP, tampered=seven_shots, jobs=STEPS + 1, says="of 7 shots"),
    Case(
        "the job is done with the result of another",
        GIVES_UP,
        tampered=result_of_another,
        jobs=STEPS + 1,
        says="result of another request",
    ),
    Case(
        "the result is refused at every request",
        GIVES_UP,
        faults={"result": [403] * 30},
        jobs=STEPS + 1,
        says="has no result of use",
    ),
    Case("the job is deleted at the service", GIVES_UP, tampered=delete_job, says="is not at the service any more"),
    Case("the job is not known once", OVERCOME, faults={"state": [404]}),
    Case("the job id is answered in capitals", OVERCOME, tampered=answer_in_capitals),
    Case("the job id is listed in capitals", OVERCOME, tampered=list_in_capitals),
    Case("a job of somebody else with the tag is done", OVERCOME, tampered=foreign("Completed")),
    Case("a job of somebody else with the tag is queued", OVERCOME, tampered=foreign("Queued")),
    Case("a job of another program with the tag is done", OVERCOME, tampered=foreign("Completed", program_id="estimator")),
    Case(
        "a job of somebody else with the tag is done, and kill -9 before the job id is written",
        KILLED,
        _REPLIED,
        tampered=foreign("Completed"),
    ),
    Case(
        "a job of somebody else with the tag is queued, and the journal is deleted",
        KILLED,
        _QUEUED,
        between=lose_journal,
        tampered=foreign("Queued"),
    ),
    Case("500 while a job is looked for before the submission", OVERCOME, faults={"find": [500] * 7}),
    Case("500 while what a job runs is requested", OVERCOME, faults={"submit": ["commit+drop"], "inputs": [500] * 7}),
    Case("the service does not tell what a job runs", OVERCOME, faults={"submit": ["commit+drop"], "inputs": [403] * 7}),
    # An account that may have no more jobs waiting.
    Case("the account has as many jobs waiting as it may, for a while", OVERCOME, faults={"submit": [_PENDING] * 5}),
    Case(
        "the account has as many jobs waiting as it may, beyond the patience",
        GIVES_UP,
        faults={"submit": [_PENDING] * 99},
        says="pending jobs",
    ),
)
