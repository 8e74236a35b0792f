"""No key is shown: not in errors, logs, warnings, local variables; and nothing that a service says commands a terminal."""

import io
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.traceback import Traceback

from qlifq.backends.ibm.client import ServiceChannel
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.secrets import Secrets, masked, masked_output
from qlifq.cli.entry import main
from qlifq.errors import ArgumentError, QLIFError, ServiceError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import ACCESS, DEVICE, TOKEN, Body, Loopback

#: What no terminal should be sent.
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e\x9b31m"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the client's own log shows, down to its smallest words."""
    logger, shown = logging.getLogger("qiskit_ibm_runtime"), io.StringIO()
    handler, level = logging.StreamHandler(shown), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield shown
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_holder_of_secrets_shows_none() -> None:
    holder = Secrets("s3cr3t/key", "")
    assert "s3cr3t" not in repr(holder)
    assert "s3cr3t" not in repr([getattr(holder, name) for name in Secrets.__slots__])
    assert holder.mask("a s3cr3t/key and s3cr3t%2Fkey, sent") == "a *** and ***, sent"
    assert Secrets("", "no").mask("no secret at all") == "no secret at all"
    assert masked("url?x=s3cr3t%2Fkey") == "url?x=***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def", "***"),
        ('{"apikey": "k1", "grant": "g"}', '{"***", "grant": "g"}'),
        ('{\\"token\\":\\"k1\\"}', '{\\"***\\"}'),
        ("sent apikey abcdef to us", "sent *** to us"),
        ("Provided API key could not be found", "Provided API key could not be found"),
        ("eyJhbGci.eyJpYXQ.c2ln is a token", "*** is a token"),
        ("password=hunter2;x", "***;x"),
    ],
)
def test_what_announces_a_secret_is_masked_with_it(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("step", "status"),
    [("token", 500), ("token", 400), ("usage", 401), ("configuration", 403), ("properties", 400), ("status", 400)],
)
@pytest.mark.filterwarnings("always")
def test_a_service_that_repeats_its_request_shows_no_key(
    build: Build, service: Loopback, log: io.StringIO, tmp_path: Path, step: str, status: int
) -> None:
    begun = time.monotonic()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        # The first is for the question that comes before all others; then the client's own get the answer.
        service.faults = {step: [None, *[status] * 9] if step == "token" else [status] * 2}
        message = ""
        try:
            build().run(RY, angles(1, 2), shots=10, seed=1)
        except QLIFError as error:
            message = str(error)
            shown = Console(file=io.StringIO(), width=200)
            shown.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
            message += shown.file.getvalue()  # type: ignore[attr-defined]
    output = message + log.getvalue() + "".join(str(each.message) for each in warned)
    assert "planted" in output, "the service's words are shown"
    assert time.monotonic() - begun < 30, "the client's token manager lets nobody wait for a minute"
    for path in tmp_path.rglob("*"):
        output += path.read_bytes().decode("latin-1") if path.is_file() else ""
    assert TOKEN not in output
    assert ACCESS not in output


def test_local_variables_show_no_key(build: Build, service: Loopback) -> None:
    service.faults = {"usage": [401]}
    with pytest.raises(ArgumentError) as caught:
        build()
    trace, shown = caught.value.__traceback__, []
    while trace is not None:
        shown += [repr(value) for value in trace.tb_frame.f_locals.values() if trace.tb_frame.f_code.co_name != "make"]
        shown += [repr(vars(value)) for value in trace.tb_frame.f_locals.values() if isinstance(value, ServiceChannel)]
        trace = trace.tb_next
    assert "Secrets(***)" in "".join(shown)
    assert TOKEN not in "".join(shown)


def test_escapes_of_a_service_reach_no_message(build: Build, service: Loopback, tmp_path: Path) -> None:
    messages: list[str] = []
    reason = {"status": "Failed", "reason": f"it {ESCAPES}broke", "reason_code": 1305}
    service.states = (*[f"Queued{ESCAPES}[/]"] * 3, reason)
    with pytest.raises(QLIFError, match="it broke") as caught:
        build(watch=messages.append).run(RY, angles(1, 2), shots=10, seed=1)
    assert any(each.startswith("job") and each.endswith("queued[/]") for each in messages)
    with Journal(tmp_path / "jobs.sqlite") as journal:
        (entry,) = journal.entries()
    for text in (*messages, str(caught.value), str(entry.error)):
        assert text.isprintable(), repr(text)


def test_escapes_in_a_journal_reach_no_terminal(
    build: Build, service: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build().run(RY, angles(1, 2), shots=10, seed=1)
    path = str(tmp_path / "jobs.sqlite")
    with Journal(path) as journal:
        (entry,) = journal.entries()
        journal.update(entry.request, "FAILED", error=f"it {ESCAPES}broke")
    assert main(["jobs", "list", "--run", "a run", "--journal", path]) == 0
    assert main(["jobs", "show", entry.request, "--journal", path]) == 0
    shown = capsys.readouterr().out
    assert shown.count("it broke") == 2
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize("odd", ["../../instances/usage", "d1 2", "d\x1b[31m", "", "ü", "d" * 300])
def test_an_id_is_checked_before_it_becomes_part_of_a_url(build: Build, service: Loopback, odd: str) -> None:
    service.states = ("Queued",)
    with pytest.raises(QLIFError):
        build(wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=1)
    ((name, job),) = service.jobs.items()
    job.id = odd
    before = len(service.log)
    with pytest.raises(ServiceError, match=r"The id of a job must consist of letters, digits, - and _, but is '") as caught:
        build(wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=1)
    assert str(caught.value).isprintable()
    assert not [line for line in service.log[before:] if "instances/usage/" in line or f"/jobs/{odd}" in line]
    job.id, job.states = name, [{"status": "Completed"}]
    build().run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == 1


@pytest.mark.parametrize("device", ["ibm_../x", "ibm_\x1b[31mred", "ibm boston", ""])
def test_a_device_is_a_name(build: Build, device: str) -> None:
    with pytest.raises(ArgumentError, match=r"`device` must be a name such as ibm_boston") as caught:
        build(device=device)
    assert str(caught.value).isprintable()


def test_the_warnings_of_others_and_who_shows_them_stay_as_they_are() -> None:
    shown: list[str] = []

    def show(message: Warning | str, *rest: object, **options: object) -> None:
        shown.append(str(message))

    holder = Secrets("k-0123456789")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        with masked_output(), masked_output():
            warnings.warn_explicit("the key k-0123456789", UserWarning, "/x/qiskit_ibm_runtime/api/auth.py", 1)
            warnings.warn_explicit("mine: k-0123456789", UserWarning, "/x/mine.py", 1)
        assert warnings.showwarning is show
    assert shown == ["the key ***", "mine: k-0123456789"]
    assert holder.mask("") == ""


def test_the_log_of_others_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    holder = Secrets("k-9876543210")
    caplog.set_level(logging.DEBUG)
    mine, theirs = logging.getLogger("mine"), logging.getLogger("urllib3.connectionpool")
    with masked_output():
        mine.warning("the key %s", "k-9876543210")
        theirs.warning("the key %s at %s", "k-9876543210", ValueError("k-9876543210"))
        theirs.error("no placeholder", "k-9876543210")
        try:
            raise ValueError("k-9876543210")
        except ValueError:
            theirs.exception("failed")
    assert caplog.messages[0] == "the key k-9876543210"
    assert caplog.messages[1] == "the key *** at ***"
    assert caplog.text.count("k-9876543210") == 1
    assert holder.mask("") == ""


def test_a_logger_that_comes_later_is_masked_and_one_that_another_handler_shows() -> None:
    holder = Secrets("k-5555501234")
    at_top, at_root = io.StringIO(), io.StringIO()
    top, root = logging.getLogger("ibm-cloud-sdk-core"), logging.getLogger()
    handlers = [(top, logging.StreamHandler(at_top)), (root, logging.StreamHandler(at_root))]
    for logger, handler in handlers:
        # Before the others, which may have masked the record when it comes here.
        logger.handlers.insert(0, handler)
    try:
        with masked_output():
            logging.getLogger("ibm-cloud-sdk-core.only_now").warning("the key %s", "k-5555501234")
            logging.getLogger("urllib3").warning("the key %s", "k-5555501234")
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)
    assert at_top.getvalue() == "the key ***\n"
    assert at_root.getvalue().endswith("the key ***\n")
    assert holder.mask("") == ""


def test_the_environment_leads_to_the_loopback_service(service: Loopback) -> None:
    assert os.environ["QISKIT_IBM_TOKEN"] == TOKEN
    assert DEVICE in str(Body(DEVICE))
