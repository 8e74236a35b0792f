"""A session or batch is closed however the process ends, and the program's own handlers stay what they are."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qlifq.backends.ibm.exit_guard import ExitGuard
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import DEVICE, Loopback, account

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of a fresh process."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_handlers_are_there_while_a_session_is_open_and_no_longer(build: Build, service: Loopback) -> None:
    backend = build(mode="session")
    with backend:
        backend.run(RY, angles(1, 2), shots=10, seed=1)
        for number in SIGNALS:
            with pytest.raises(SystemExit) as caught:
                signal.raise_signal(number)
            assert caught.value.code == 128 + number
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * 2
    with build(run="b", mode="job") as second:
        second.run(RY, angles(1, 2), shots=10, seed=1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert [session["accepting_jobs"] for session in service.sessions.values()] == [False]


@pytest.mark.usefixtures("handlers")
def test_what_a_program_handles_or_ignores_is_left_alone() -> None:
    def own(*_: object) -> None:
        raise KeyError("own")

    guard = ExitGuard(lambda: None)
    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    guard.arm()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == (own, signal.SIG_IGN)
    guard.disarm()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == (own, signal.SIG_IGN)
    # One that was set while the session was open stays too.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    guard.arm()
    guard.arm()
    signal.signal(signal.SIGTERM, own)
    guard.disarm()
    guard.disarm()
    assert signal.getsignal(signal.SIGTERM) is own


@pytest.mark.usefixtures("handlers")
def test_another_thread_sets_no_handler() -> None:
    problems: list[BaseException] = []

    def act() -> None:
        guard = ExitGuard(lambda: None)
        try:
            guard.arm()
            guard.disarm()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert problems == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGINT])
def test_a_signal_while_a_session_is_opened_waits_for_its_id(build: Build, service: Loopback, number: int) -> None:
    """The service opens it by the time the signal comes, but its answer is not here yet."""

    def interrupt() -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)
        time.sleep(0.2)

    backend = build(mode="session")
    service.faults = {"sessions": [interrupt]}
    with pytest.raises((SystemExit, KeyboardInterrupt)), backend:
        backend.run(RY, angles(1, 2), shots=10, seed=1)
    assert [session["accepting_jobs"] for session in service.sessions.values()] == [False]
    assert service.jobs == {}


SCRIPT = """
    import os, signal, sys, torch
    from qlifq.backends import get
    from qlifq.circuits import RYSpike
    from urllib3.util.retry import Retry
    Retry.get_backoff_time = lambda self: 0.001
    backend = get("ibm", device={device!r}, run="a run", mode={mode!r}, journal={journal!r}, grace_seconds=0.0)
    backend.run(RYSpike(), torch.ones(1, 2, 1), shots=10, seed=1)
    print("open", flush=True)
    if {end!r} != "the end":
        os.kill(os.getpid(), getattr(signal, {end!r}))
        signal.pause()
"""


@pytest.mark.parametrize(("end", "mode"), [("SIGTERM", "session"), ("the end", "batch")])
def test_a_process_that_ends_closes_its_session(tmp_path: Path, service: Loopback, end: str, mode: str) -> None:
    """In a program that uses no `with`."""
    code = textwrap.dedent(SCRIPT).format(device=DEVICE, mode=mode, journal=str(tmp_path / "j"), end=end)
    environment = os.environ | account(service.url) | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.stdout == "open\n", ended.stderr
    assert ended.returncode == (0 if end == "the end" else 128 + getattr(signal, end))
    assert "Traceback" not in ended.stderr
    ((_, session),) = service.sessions.items()
    assert session["accepting_jobs"] is False
