"""A run on a device: paid once, taken up again, on its own qubits and within its budget."""

from pathlib import Path
from typing import Any

import pytest
import torch

from qlifq.backends.ibm.journal import Journal
from qlifq.backends.snapshots import load_snapshot
from qlifq.errors import ArgumentError, BackendError, BudgetError, FileError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import GOOD, Loopback


def test_the_same_call_is_paid_once_and_another_is_not_it(build: Build, service: Loopback) -> None:
    given = angles(2, 3)
    first = build().run(RY, given, shots=50, seed=1)
    again = build().run(RY, given, shots=50, seed=1)
    assert torch.equal(first.probability, again.probability)
    assert (service.paid, again.metadata["jobs_reused"], again.metadata["jobs"]) == (1, 1, first.metadata["jobs"])
    others: list[tuple[dict[str, object], dict[str, Any]]] = [
        ({"run": "another"}, {}),
        ({}, {"seed": 2}),
        ({}, {"shots": 51}),
        ({}, {"angles": given + 0.1}),
        ({}, {"seed": None}),
    ]
    for number, (options, call) in enumerate(others):
        build(**options).run(RY, **{"angles": given, "shots": 50, "seed": 1, **call})
        assert service.paid == number + 2
    build().run(RY, given, shots=50, seed=None)
    assert service.paid == 7


def test_what_was_paid_is_taken_up_whatever_became_of_the_budget_and_the_qubits(
    build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = build(max_device_seconds=5.0).run(RY, angles(1, 2), shots=10, seed=1)
    working = {qubit: facts for qubit, facts in load_snapshot("fake_manila").items() if qubit != 4}
    monkeypatch.setattr("qlifq.backends.ibm.cost.read_qubits", lambda _: working)
    for options in ({"max_device_seconds": 1.0}, {"qubits": (3, 4, 1, 0, 2), "max_device_seconds": 50.0}):
        again = build(**options).run(RY, angles(1, 2), shots=10, seed=1)
        assert torch.equal(again.probability, paid.probability)
    with pytest.raises(
        ArgumentError, match=r"must be a new name for further jobs on .*: qubit 4 of run a run does not work any more"
    ):
        build().run(RY, angles(1, 2), shots=10, seed=2)
    assert len(service.jobs) == 1
    build().run(RY, angles(1, 1), shots=10, seed=2)
    assert len(service.jobs) == 2


def test_a_budget_is_refused_before_it_is_spent_and_kept(build: Build, service: Loopback) -> None:
    build(max_device_seconds=5.0).run(RY, angles(1, 2), shots=10, seed=1)
    (job,) = service.jobs.values()
    assert job.payload["cost"] == 5
    build().run(RY, angles(1, 2), shots=10, seed=1)
    with pytest.raises(BudgetError, match=r"is 5 for run a run, of which 2\.5 are left, but this needs about 4\.\d+\. Nothing"):
        build().run(RY, angles(1, 2), shots=9000, seed=2)
    assert len(service.jobs) == 1
    build(max_device_seconds=20.0).run(RY, angles(1, 2), shots=9000, seed=2)
    assert len(service.jobs) == 2


def test_an_interrupt_leaves_a_run_that_goes_on(build: Build, service: Loopback) -> None:
    service.states = ("Queued",)

    def interrupt(text: str) -> None:
        if "queued" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(watch=interrupt).run(RY, angles(1, 2), shots=10, seed=1)
    (job,) = service.jobs.values()
    job.states = [{"status": "Completed"}]
    service.states = GOOD
    messages: list[str] = []
    build(watch=messages.append).run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == 1
    build(watch=messages.append).run(RY, angles(1, 2), shots=10, seed=2)
    assert any("submitting 10 executions" in text for text in messages)


def test_a_second_process_on_the_same_run_is_refused(build: Build, tmp_path: Path) -> None:
    with Journal(tmp_path / "jobs.sqlite") as journal, journal.holding("a run"):
        with pytest.raises(FileError, match="Run a run is in use"):
            build().run(RY, angles(1, 2), shots=10, seed=1)
        build(run="another").run(RY, angles(1, 2), shots=10, seed=1)


def test_a_run_keeps_its_qubits(build: Build) -> None:
    first = build(qubits=[2, 0])
    first.run(RY, angles(1, 2), shots=10, seed=1)
    assert build().qubits == (2, 0)
    with pytest.raises(ArgumentError, match="those that run a run began with"):
        build(qubits=[1, 0]).run(RY, angles(1, 2), shots=10, seed=1)


def lose(tmp_path: Path) -> None:
    for path in tmp_path.glob("jobs.sqlite*"):
        if path.is_file():
            path.unlink()


def test_a_journal_that_is_lost_is_found_again_at_the_service(build: Build, service: Loopback, tmp_path: Path) -> None:
    """What was charged counts again, and a bound that is lower now keeps nothing from what was paid."""
    first = build(max_device_seconds=9.0).run(RY, angles(2, 3), shots=40, seed=5)
    lose(tmp_path)
    with pytest.raises(FileError, match="not the file any more that was opened"):
        build().run(RY, angles(2, 3), shots=40, seed=5)
    messages: list[str] = []
    again = build(max_device_seconds=1.0, watch=messages.append).run(RY, angles(2, 3), shots=40, seed=5)
    assert torch.equal(first.probability, again.probability)
    assert any(text.startswith("taking up job") for text in messages)
    assert len(service.jobs) == 1
    with Journal(tmp_path / "jobs.sqlite") as journal:
        assert journal.spent("a run") == 2.5


def test_one_command_of_two_journals_is_two_runs(build: Build, service: Loopback, tmp_path: Path) -> None:
    """Of two people on one account, for whom a job of the other is neither a result nor a duplicate."""
    service.states = ("Queued",)
    for name in ("mine", "yours"):
        with pytest.raises(BackendError, match=r"is QUEUED after 0\.1 seconds"):
            build(journal=tmp_path / name, wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == service.alive == 2
    for job in service.jobs.values():
        job.states = [{"status": "Completed"}]
    for name in ("mine", "yours"):
        build(journal=tmp_path / name).run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == service.paid == 2


def test_only_a_young_journal_looks_for_long(build: Build, service: Loopback, tmp_path: Path) -> None:
    def looks(seed: int) -> int:
        before = len(service.log)
        build(grace_seconds=0.4).run(RY, angles(1, 2), shots=10, seed=seed)
        lines = service.log[before:]
        return lines[: lines.index("POST /jobs")].count("GET /jobs")

    assert looks(1) > 2
    with Journal(tmp_path / "jobs.sqlite") as journal, journal._base.writing() as base:
        base.execute("UPDATE run SET created = '2020-02-02T00:00:00.000000Z'")
    assert looks(2) == 1


def test_a_job_that_is_forgotten_is_submitted_anew(build: Build, service: Loopback, tmp_path: Path) -> None:
    service.states = ("Queued",)
    with pytest.raises(
        BackendError, match=r"the same command waits for it again, and `qlifq jobs forget d\w+` does without it"
    ):
        build(wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=1)
    with Journal(tmp_path / "jobs.sqlite") as journal:
        journal.forget(journal.entries()[0].request)
    service.states = GOOD
    build().run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == 2


def test_a_job_that_is_gone_keeps_no_other_work_of_its_run_waiting(build: Build, service: Loopback, tmp_path: Path) -> None:
    """Where a budget makes the run look up every job that is open."""
    service.states = ("Queued",)
    with pytest.raises(BackendError, match="QUEUED"):
        build(wait_seconds=0.1, max_device_seconds=50.0).run(RY, angles(1, 2), shots=10, seed=1)
    (job,) = service.jobs.values()
    job.deleted, service.states = True, GOOD
    build().run(RY, angles(1, 2), shots=10, seed=2)
    with Journal(tmp_path / "jobs.sqlite") as journal:
        assert [entry.state for entry in journal.entries()] == ["FAILED", "DONE"]
        assert "is not at the service any more" in str(journal.entries()[0].error)
