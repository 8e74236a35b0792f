"""What a service may do beside failing: be away, answer nonsense, refuse an account; and signals while a session is open."""

import os
import signal
from pathlib import Path
from typing import Any

from tests.backends.ibm.faults import GIVES_UP, KILLED, OVERCOME, Case
from tests.backends.ibm.loopback import Away, Body

__all__ = ["CASES"]

_PAGE = Body("<!DOCTYPE html><html><body>We are back soon.</body></html>")
_NUMBER, _OBJECT, _REGISTER = Body("17"), Body('{"pubs": 3}'), Body("meas", replaced="spike")
_REVOKED = Body('{"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}', status=400)
_UNREADABLE = r"gave a result that cannot be read .*jobs forget \w+` does without it\. Nothing .* same command"
_LATE = r"did not answer within 0\.5 seconds while .* same command"
_QUEUED = ("client.ServiceChannel", "state", "before")
#: How often the usage and the status are requested before the second step: at the start, and at the first step's submission.
_USAGE, _STATUS = [None] * 2, [None]


def terminate(folder: Path, *arguments: Any) -> None:
    """End this process as a batch system does."""
    os.kill(os.getpid(), signal.SIGTERM)


def hang_up(folder: Path, *arguments: Any) -> None:
    """End this process as a terminal that is closed does."""
    os.kill(os.getpid(), signal.SIGHUP)


CASES: tuple[Case, ...] = (
    Case("a page of HTML for a result, once", OVERCOME, faults={"result": [_PAGE]}),
    Case("a page of HTML for every result", GIVES_UP, faults={"result": [_PAGE] * 9}, says=_UNREADABLE),
    Case("a number for every result", GIVES_UP, faults={"result": [_NUMBER] * 9}, says=_UNREADABLE),
    Case("an object for every result", GIVES_UP, faults={"result": [_OBJECT] * 9}, says=_UNREADABLE),
    Case("a result that is cut short, twice", OVERCOME, faults={"result": ["truncated"] * 2}),
    Case("a foreign register in every result", GIVES_UP, faults={"result": [_REGISTER] * 9}, says=_UNREADABLE),
    Case("a page of HTML for the state of the job", OVERCOME, faults={"state": [_PAGE] * 3}),
    Case("a page of HTML for the search by tag", OVERCOME, faults={"find": [_PAGE] * 3}),
    Case("a page of HTML for the charge", OVERCOME, faults={"metrics": [_PAGE]}),
    Case("the properties hang at the start", GIVES_UP, faults={"properties": ["hang"]}, answer_seconds=0.5, says=_LATE),
    Case("the configuration hangs at the start", GIVES_UP, faults={"configuration": ["hang"]}, answer_seconds=0.5, says=_LATE),
    Case("the list of devices hangs at the start", GIVES_UP, faults={"backends": ["hang"]}, answer_seconds=0.5, says=_LATE),
    Case("500 for the properties at the start", GIVES_UP, faults={"properties": [500] * 7}, says="reading the properties"),
    Case("401 for the properties at the start", GIVES_UP, faults={"properties": [401]}, says="401.* Check the account"),
    Case("properties that are cut short", GIVES_UP, faults={"properties": ["truncated"]}, says="cannot be read while reading"),
    Case("500 for the configuration at the start", GIVES_UP, faults={"configuration": [500] * 7}, says="too many 500"),
    Case(
        "a configuration that is a list", GIVES_UP, faults={"configuration": [Body("[3]")]}, says="cannot be read while looking"
    ),
    Case("the usage hangs at the submission", OVERCOME, faults={"usage": [*_USAGE, "hang"]}, answer_seconds=0.5),
    Case("a usage that is a number at the submission", OVERCOME, faults={"usage": [*_USAGE, _NUMBER]}),
    Case("a status that is cut short at the submission", OVERCOME, faults={"status": [*_STATUS, "truncated"]}),
    Case(
        "a key that was revoked", GIVES_UP, faults={"token": [_REVOKED]}, says="signing in: Provided API key could not be found"
    ),
    Case("401 for everything at the start", GIVES_UP, faults={"usage": [401]}, says="cannot be reached: .* 401 Client Error"),
    Case("the sign-in hangs", GIVES_UP, faults={"token": ["hang"]}, answer_seconds=0.5, says="while signing in"),
    Case("404 once for a job that is known", OVERCOME, faults={"state": [404]}),
    Case("401 once for a job that is known", OVERCOME, faults={"state": [401]}),
    Case("the service is away for 5 s while the job is polled", OVERCOME, faults={"state": [Away(5)]}),
    Case("the service is away for 20 s while the job is polled", OVERCOME, faults={"state": [Away(20)]}),
    Case("the service is away for 20 s when the job is submitted", OVERCOME, faults={"submit": [Away(20)]}),
    Case("the service is away for longer than is waited", GIVES_UP, faults={"state": [Away(4)]}, says="same command"),
    Case("SIGTERM while a session is open", KILLED, _QUEUED, terminate, mode="session"),
    Case("SIGHUP while a session is open", KILLED, _QUEUED, hang_up, mode="session"),
    Case("SIGTERM while a batch is open", KILLED, _QUEUED, terminate, mode="batch"),
)
