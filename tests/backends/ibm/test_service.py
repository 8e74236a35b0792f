"""A service that is away, refuses or answers nonsense: every request ends in time, and in one sentence."""

import re
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qlifq.backends.ibm import protocol
from qlifq.backends.ibm.channel import RetryPolicy
from qlifq.backends.ibm.job_spec import DecisionJob
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.protocol import JobRunner
from qlifq.backends.ibm.requests import ServiceRequests
from qlifq.backends.ibm.submissions import DONE, SUBMITTED, Run
from qlifq.errors import ArgumentError, QLIFError, ServiceError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import Away, Body, Loopback
from tests.backends.ibm.test_budget import Service

PAGE = Body("<!DOCTYPE html><html><body><h1>We are back soon</h1></body></html>")
#: Texts that come with status 200 and are no result.
RESULTS = {
    "a page": PAGE,
    "a number": Body("17"),
    "an object": Body('{"pubs": 3}'),
    "a list of numbers": Body("[1, 2]"),
    "a word": Body('"done"'),
    "cut short": "truncated",
    "a foreign register": Body("meas", replaced="spike"),
    "shots of another kind": Body('"pub_results": "none"', replaced='"pub_results"'),
}


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        *((name, "service") for name in RESULTS),
        ("an object", "client"),
        ("cut short", "client"),
        ("a foreign register", "client"),
    ],
)
def test_a_result_that_cannot_be_read_is_requested_again(build: Build, service: Loopback, name: str, sampler: str) -> None:
    backend = build(sampler=sampler)
    service.faults = {"result": [RESULTS[name]] * 5}
    with pytest.raises(
        ServiceError, match=r"^Job \w+ is done, but the service gave a result that cannot be read \(.+\): `qlifq jobs"
    ):
        backend.run(RY, angles(1, 2), shots=20, seed=5)
    assert len(service.faults["result"]) == 2
    outcome = backend.run(RY, angles(1, 2), shots=20, seed=5)
    assert (len(service.jobs), service.paid) == (1, 1)
    proper = build(run="proper", sampler=sampler).run(RY, angles(1, 2), shots=20, seed=5)
    assert torch.equal(outcome.probability, proper.probability)


#: What goes wrong with one request of the start or of a submission, and what is said then.
WRONG: dict[str, tuple[list[object], str]] = {
    "hangs": (["hang"], r"did not answer within 0\.4 seconds|did not come in time"),
    "fails": ([500] * 7, r"500|too many"),
    "refuses": ([403], "403"),
    "is cut short": (["truncated"], "cannot be read"),
    "is a page": ([PAGE], "cannot be read"),
    "is a number": ([Body("3")], "cannot be read"),
    "is a list": ([Body('[{"a": []}]')], "cannot be read"),
    "drops": (["drop"] * 7, "Connection|Remote|closed"),
}


#: Of the steps with the same behaviour, some faults.
START = [
    *((step, name) for step in ("configuration", "properties") for name in WRONG),
    *((step, name) for step in ("token", "usage", "backends") for name in ("hangs", "refuses", "is a page", "is a list")),
]


def refusal(act: Callable[[], object]) -> QLIFError | None:
    """The error that an act ends in, None where it ends well."""
    try:
        act()
    except QLIFError as error:
        return error
    return None


def patience(name: str) -> float:
    """How long is waited for an answer: hardly, where none will come."""
    return 0.4 if name == "hangs" else 20.0


@pytest.mark.parametrize(("step", "name"), START)
def test_a_start_ends_in_time_with_a_sentence(build: Build, service: Loopback, step: str, name: str) -> None:
    faults, said = WRONG[name]
    # The client lists the devices when it connects and again when it looks for one.
    service.faults = {step: faults * 2}
    begun = time.monotonic()
    error = refusal(lambda: build(answer_seconds=patience(name)))
    assert time.monotonic() - begun < 8
    assert error is not None
    assert re.search(said, str(error)), error
    assert "\n" not in str(error)
    assert error.__cause__ is error.__context__ is None
    service.faults.clear()
    service.released.set()
    build()


@pytest.mark.parametrize("step", ["usage", "status"])
@pytest.mark.parametrize("name", ["hangs", "fails", "refuses", "is a page", "is a list"])
def test_what_the_client_asks_before_it_submits_does_no_harm(build: Build, service: Loopback, step: str, name: str) -> None:
    backend = build(answer_seconds=patience(name))
    service.faults = {step: list(WRONG[name][0])}
    error = refusal(lambda: backend.run(RY, angles(1, 2), shots=10, seed=1))
    assert (error is not None) == (name == "refuses")
    assert "403" in str(error or "403")
    service.faults.clear()
    service.released.set()
    build().run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == 1


def test_no_request_for_the_device_bypasses_the_deadline(build: Build, service: Loopback) -> None:
    """What it says of itself is read once, within its deadline, and what the client would request again is not read."""
    backend = build()
    service.faults = {"properties": ["hang"] * 9, "configuration": ["hang"] * 9}
    backend.plan(RY, 2, 2, shots=10)
    backend.run(RY, angles(1, 2), shots=10, seed=1)
    assert service.log.count("GET /backends/ibm_loopback/properties") == 1


def test_a_request_that_nobody_waits_for_any_more_ends(build: Build, service: Loopback) -> None:
    """A service that says that there are more jobs than it lists keeps the client requesting without end."""
    backend = build(answer_seconds=0.3, wait_seconds=0.1)
    service.faults = {"find": [Body('{"jobs": [], "count": 7}')] * 100_000}
    service.states = ("Queued",)
    with pytest.raises(ServiceError, match=r"did not answer within 0\.3 seconds while looking for jobs"):
        backend.run(RY, angles(1, 2), shots=10, seed=1)
    time.sleep(0.2)
    before = len(service.log)
    time.sleep(0.2)
    assert len(service.log) == before


def test_what_is_no_exception_is_reported_at_once() -> None:
    """A parser that is written in Rust panics with what nobody catches."""

    class PanicError(BaseException):
        pass

    def act() -> None:
        raise PanicError("index out of bounds")

    with pytest.raises(ServiceError, match=r"cannot be read while testing \(PanicError: index out of bounds\)"):
        ServiceRequests(20.0).send("testing", act)


CAUSES: dict[str, tuple[dict[str, str], str]] = {
    "refused": ({"IAM_URL": "http://127.0.0.1:9"}, "while signing in: 127.0.0.1: the connection was refused"),
    "no such address": ({"IAM_URL": "http://iam.nowhere.invalid"}, r"iam\.nowhere\.invalid: its address cannot be found"),
    "no certificate": ({"IAM_URL": "https"}, "the secure connection cannot be made"),
    "service refused": (
        {"QISKIT_IBM_URL": "http://127.0.0.1:9/experimental"},
        "account's usage: 127.0.0.1: the connection was",
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_of_a_failed_connection_is_reported_at_once(
    build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    resolve = socket.getaddrinfo

    def without_network(host: str, *rest: object, **options: object) -> object:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    variables, said = CAUSES[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, service.url.replace("http", "https") if value == "https" else value)
    begun = time.monotonic()
    with pytest.raises(ServiceError, match=said) as caught:
        build()
    assert caught.value.away
    assert time.monotonic() - begun < 5


def test_a_key_that_was_revoked_is_refused_at_once(build: Build, service: Loopback) -> None:
    gone = Body('{"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}', status=400)
    service.faults = {"token": [gone]}
    begun = time.monotonic()
    with pytest.raises(
        ArgumentError, match=r"ibm_loopback cannot be reached: .* signing in: Provided API key could not be found\. An account"
    ):
        build()
    service.faults = {"usage": [401]}
    with pytest.raises(ArgumentError, match=r"failed while requesting the account's usage: 401 Client Error"):
        build()
    assert time.monotonic() - begun < 5
    build()


def test_an_account_that_was_not_saved_is_named(build: Build) -> None:
    with pytest.raises(ArgumentError, match=r"`account` must name an account .*name nobody does not exist.*save_account"):
        build(account="nobody")


@pytest.mark.parametrize("step", ["find", "state", "result", "metrics", "submit", "usage"])
def test_an_outage_is_waited_for(build: Build, service: Loopback, step: str) -> None:
    messages: list[str] = []
    backend = build(watch=messages.append)
    service.faults = {step: [Away(0.5)]}
    backend.run(RY, angles(1, 2), shots=10, seed=1)
    assert (len(service.jobs), service.paid) == (1, 1)
    if step != "metrics":
        assert any(
            re.match(r"the service has not answered for \d+ s, trying again \(IBM's service failed", each) for each in messages
        )
        assert "the service answers again" in messages
    assert service.turned_away > 0


@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_single_refusal_of_a_known_job_ends_nothing(build: Build, service: Loopback, status: int) -> None:
    service.faults = {"state": [None, status, None, status], "result": [status]}
    build().run(RY, angles(1, 2), shots=10, seed=1)
    assert (len(service.jobs), service.paid) == (1, 1)


class Clock:
    """Time that goes by when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.pauses = 0.0, [0.0]
        monkeypatch.setattr(protocol, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def away(service: Service, clock: Clock, until: float, error: ServiceError) -> Callable[[str], str]:
    """The state of a job, requested from a service that is away until then."""

    def state(job: str) -> str:
        if clock.now < until:
            raise error
        return DONE

    return state


def carried(monkeypatch: pytest.MonkeyPatch, until: float, error: ServiceError) -> tuple[Clock, list[str]]:
    """A job whose service is away until then, with the patience that a user has."""
    clock, service, messages = Clock(monkeypatch), Service(), list[str]()
    monkeypatch.setattr(service, "state", away(service, clock, until, error))
    work = DecisionJob(RY, np.ones((1, 2, 1)), (0, 1), 10, 1, 0, "ibm_x")
    with Journal(None) as journal:
        journal.begin(Run("r", "ibm_x", (0, 1), None, None, None))
        entry = journal.intend(journal.draft("r", work, attempt=1, estimated_seconds=1.0), work)
        service.jobs["j0"] = entry
        entry = journal.update(entry.request, SUBMITTED, job="j0")
        carrier = JobRunner(journal, service, "r", None, lambda work: 1.0, RetryPolicy(), messages.append)
        assert carrier.resume(entry).state == DONE
    return clock, messages


GONE = ServiceError("IBM's service failed while requesting the state of a job: the connection was refused.", away=True)


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0, 7200.0])
def test_an_outage_within_the_patience_ends_no_run(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock, messages = carried(monkeypatch, seconds, GONE)
    assert seconds <= clock.now < seconds + 10
    assert clock.pauses[1:5] == [1.0, 2.0, 4.0, 5.0][: len(clock.pauses) - 1]
    assert max(clock.pauses) <= RetryPolicy().poll_seconds, "pauses grow, but not beyond those of a job that waits"
    assert messages[-1] == "the service answers again"
    last = [each for each in messages if "has not answered" in each][-1]
    assert re.fullmatch(r"the service has not answered for (\d+) s, trying again \(.*the connection was refused\.\)", last)
    assert seconds - 10 < int(last.split()[6]) < seconds


def test_an_outage_beyond_the_patience_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="the connection was refused"):
        carried(monkeypatch, 86_500.0, GONE)
