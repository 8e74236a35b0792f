"""A run on a device: paid once, taken up again, on its own qubits and within its budget."""

from pathlib import Path
from typing import Any

import pytest
import torch

from qlifq.backends.ibm.journal import Journal
from qlifq.backends.snapshots import load_snapshot
from qlifq.errors import ArgumentError, BudgetError, FileError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import GOOD, Loopback


def test_the_same_call_is_paid_once_and_another_is_not_it(build: Build, service: Loopback) -> None:
    asked = angles(2, 3)
    first = build().run(RY, asked, shots=50, seed=1)
    again = build().run(RY, asked, shots=50, seed=1)
    assert torch.equal(first.probability, again.probability)
    assert (service.paid, again.metadata["jobs_reused"], again.metadata["jobs"]) == (1, 1, first.metadata["jobs"])
    others: list[tuple[dict[str, object], dict[str, Any]]] = [
        ({"run": "another"}, {}),
        ({}, {"seed": 2}),
        ({}, {"shots": 51}),
        ({}, {"angles": asked + 0.1}),
        ({}, {"seed": None}),
    ]
    for number, (options, call) in enumerate(others):
        build(**options).run(RY, **{"angles": asked, "shots": 50, "seed": 1, **call})
        assert service.paid == number + 2
    build().run(RY, asked, shots=50, seed=None)
    assert service.paid == 7


def test_what_was_paid_is_taken_up_whatever_became_of_the_budget_and_the_qubits(
    build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = build(max_device_seconds=5.0).run(RY, angles(1, 2), shots=10, seed=1)
    working = {qubit: facts for qubit, facts in load_snapshot("fake_manila").items() if qubit != 4}
    monkeypatch.setattr("qlifq.backends.ibm.backend.read_qubits", lambda _: working)
    for options in ({"max_device_seconds": 1.0}, {"qubits": (3, 4, 1, 0, 2), "max_device_seconds": 50.0}):
        again = build(**options).run(RY, angles(1, 2), shots=10, seed=1)
        assert torch.equal(again.probability, paid.probability)
    with pytest.raises(ArgumentError, match=r"must be a new name to ask .*: qubit 4 of run a run does not work any more"):
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
    told: list[str] = []
    build(watch=told.append).run(RY, angles(1, 2), shots=10, seed=1)
    assert len(service.jobs) == 1
    build(watch=told.append).run(RY, angles(1, 2), shots=10, seed=2)
    assert any("submitting 10 executions" in text for text in told)


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
