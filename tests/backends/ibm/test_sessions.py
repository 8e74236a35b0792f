"""Sessions and batches: opened for what is submitted, taken up again, and closed by their own run."""

from pathlib import Path

import pytest

from qlifq.backends.ibm.journal import Journal
from qlifq.errors import BudgetError, FileError, ServiceError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import Loopback


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_session_is_opened_once_taken_up_again_and_closed(build: Build, service: Loopback, mode: str) -> None:
    build(mode=mode).run(RY, angles(1, 2), shots=10, seed=1)
    with build(mode=mode) as second:
        second.run(RY, angles(1, 2), shots=10, seed=2)
        ((session, description),) = service.sessions.items()
        assert description["accepting_jobs"] is True
    assert description["mode"] == {"batch": "batch", "session": "dedicated"}[mode]
    assert service.sessions[session]["accepting_jobs"] is False
    assert [job.payload["session_id"] for job in service.jobs.values()] == [session] * 2
    build(mode=mode).run(RY, angles(1, 2), shots=10, seed=3)
    assert len(service.sessions) == 2


def test_a_session_is_opened_for_what_is_submitted_alone(build: Build, service: Loopback) -> None:
    build().run(RY, angles(1, 2), shots=10, seed=1)
    with build(mode="session", max_device_seconds=3.0) as backend:
        backend.run(RY, angles(1, 2), shots=10, seed=1)
        with pytest.raises(BudgetError):
            backend.run(RY, angles(1, 2), shots=9000, seed=2)
    assert service.sessions == {}


def test_a_session_is_closed_by_who_opened_it_alone_and_hides_no_error(
    build: Build, service: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(mode="session")
    first.run(RY, angles(1, 2), shots=10, seed=1)
    with Journal(tmp_path / "jobs.sqlite") as journal:
        (session,) = service.sessions
        with journal.holding("a run"), pytest.raises(FileError, match="in use"), build(mode="session") as second:
            second.run(RY, angles(1, 2), shots=10, seed=2)
        assert journal.runs("a run")[0].session == session
        journal.set_session("a run", "another")
        first.close()
        assert journal.runs("a run")[0].session == "another"
    assert service.sessions[session]["accepting_jobs"] is False

    def fail(*_: object) -> None:
        raise ServiceError("down")

    monkeypatch.setattr("qlifq.backends.ibm.client.ServiceChannel.close", fail)
    third = build(mode="session")
    third.run(RY, angles(1, 2), shots=10, seed=3)
    with pytest.raises(KeyboardInterrupt), third:
        raise KeyboardInterrupt
    with pytest.raises(ServiceError, match="down"):
        third.close()


def test_a_plan_without_sessions_says_so(build: Build, service: Loopback) -> None:
    service.plan_has_sessions = False
    with pytest.raises(ServiceError, match=r"opening a session: .*the plan of this instance has no sessions"):
        build(mode="session").run(RY, angles(1, 2), shots=10, seed=1)
    assert service.jobs == {}
