"""Whatever goes wrong on the way, a second start ends as if nothing had.

A selection; `python -m benchmarks.ibm_faults` tries all.
"""

import pytest

from qlifq.errors import BackendError
from tests.backends.ibm.every_fault import CASES
from tests.backends.ibm.faults import GIVES_UP, Case, run_case, undisturbed

SELECTED = (
    "kill -9 after the intent is written",
    "the same, and the job is found by its tag late",
    "kill -9 while the job id is written",
    "kill -9 while the job is queued",
    "kill -9 while the result is written",
    "503 at every submission of the first start",
    "commit followed by 502, which the client submits again",
    "commit followed by 502, and what the client submits again by 429",
    "commit, and then the socket hangs",
    "empty result at every request of the first start",
    "the job fails",
    "the job runs too long",
    "the job stays in a state that nobody knows",
    "kill -9 after the reply, before the job id is written, and the journal is deleted with all beside it",
    "kill -9 while the job is queued, and a bit in the middle of its log turns",
    "a backup is put back after the intent is written",
    "a row of the journal holds no JSON",
    "the job is done with another number of shots",
    "the job is deleted at the service",
    "the job id is listed in capitals",
    "a job of somebody else with the tag is queued",
    "the account has as many jobs waiting as it may, for a while",
    "the disk is full when the intent is written",
    "the journal is a link to a device",
)
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    return undisturbed()


@pytest.mark.parametrize("name", SELECTED)
def test_a_second_start_ends_as_if_nothing_had_happened(name: str, expected: list[list[int]]) -> None:
    seen = run_case(BY_NAME[name], expected)
    assert seen.right(BY_NAME[name]), seen


def test_a_protocol_that_does_not_look_for_its_jobs_is_caught(expected: list[list[int]]) -> None:
    """The planted fault: after a kill between commit and reply it submits again, and somebody pays twice."""
    case = Case("planted", "killed", faults={"submit": ["commit+call"]}, blind=True)
    seen = run_case(case, expected)
    assert seen.same
    assert not seen.right(case)
    assert seen.submitted == 4
    assert seen.paid + seen.alive == 4


def break_off(*_: object) -> None:
    raise ZeroDivisionError


def grumble(*_: object) -> None:
    raise BackendError("no good")


def test_a_traceback_and_a_message_that_helps_nobody_are_counted(expected: list[list[int]]) -> None:
    """The planted faults of the table's last columns."""
    place = ("journal.Journal", "intend", "before")
    seen = run_case(Case("planted", "died with 1", place, break_off), expected)
    assert (seen.first, seen.tracebacks, seen.unclear, seen.no_way_out) == ("died with 1", 1, 0, False)
    case = Case("planted", GIVES_UP, place, grumble)
    seen = run_case(case, expected)
    assert (seen.tracebacks, seen.unclear) == (0, 1)
    assert not seen.right(case)


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(CASES) > 100
