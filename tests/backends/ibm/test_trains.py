"""Spike trains as jobs: the real client against the loopback service, the snapshot, the limits, and kills at any moment."""

import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from qlifq.backends import DeviceNoise, get
from qlifq.backends.ibm import job_spec, train_job
from qlifq.backends.ibm.backend import IBMBackend
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.protocol import JobRunner
from qlifq.backends.ibm.train_job import TrainJob, broadcasts, split
from qlifq.backends.snapshots import load_snapshot
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.errors import BudgetError, UnsupportedError
from tests.backends.ibm.conftest import Build
from tests.backends.ibm.faults import _context
from tests.backends.ibm.loopback import DEVICE, Loopback, connected
from tests.backends.test_aer_trains import KINDS, LIMIT, SHOTS, law, p_value

STEPS = 5


def short(kind: str = "renewal", batch: int = 2, sites: int = 3) -> SpikeTrainCircuit:
    """The first steps of random neurons, with other angles in each element."""
    whole = [KINDS[kind](sites, seed=element) for element in range(batch)]
    kept = [number for number, condition in enumerate(whole[0].conditions) if condition.step < STEPS]
    conditions = tuple(whole[0].conditions[number] for number in kept)
    base, angles = (torch.cat(parts, 1) for parts in zip(*((each.base, each.angles) for each in whole), strict=True))
    return SpikeTrainCircuit(base[:STEPS], conditions, angles[kept])


@pytest.mark.parametrize("sampler", ["service", "client"])
@pytest.mark.parametrize("kind", KINDS)
def test_trains_through_the_service_follow_the_exact_law(build: Build, service: Loopback, sampler: str, kind: str) -> None:
    """The dynamic circuit in the device's gates, run without noise; one angle is 0 in one element, and no gate there."""
    train = short(kind)
    train.angles[2, 1, 0] = 0.0
    outcome = build(sampler=sampler).run_train(train, shots=400, seed=1)
    assert p_value(outcome.spikes, train.distribution()) > LIMIT
    assert p_value(outcome.spikes, train.distribution().flip(1)) < LIMIT
    (job,) = service.jobs
    assert outcome.metadata["jobs"] == (job,)
    assert outcome.metadata["device"] == DEVICE


def test_a_snapshot_gives_the_noise_of_its_qubits_to_every_site(tmp_path: Path) -> None:
    """Twenty neurons, each on a poor qubit of its own, against the exact law under the noise of that qubit."""
    qubits = list(load_snapshot("fake_torino"))[100:120]
    own = DeviceNoise.from_snapshot("fake_torino", qubits)
    for kind, make in KINDS.items():
        options = {"device": "fake_torino", "run": kind, "journal": tmp_path / "j", "qubits": qubits}
        backend = get("ibm", **options)
        train = make(20)
        spikes = backend.run_train(train, shots=SHOTS, seed=1).spikes
        assert p_value(spikes, law(train, own)) > LIMIT
        assert p_value(spikes, law(train, None)) < LIMIT
        again = get("ibm", **options).run_train(train, shots=SHOTS, seed=1)
        assert torch.equal(again.spikes, spikes)
        assert again.metadata["jobs_reused"] == 1


def test_a_call_is_split_at_the_limits_of_the_service(build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six sites on five qubits in two turns, four broadcasts for each site and element, and shots in parts."""
    train = short(sites=6)
    assert broadcasts(train).tolist() == [[STEPS - 1] * 6] * 2
    monkeypatch.setattr(train_job, "MAX_BROADCASTS", 3 * (STEPS - 1))
    monkeypatch.setattr(job_spec, "MAX_EXECUTIONS", 150)
    backend = build()
    plan = backend.plan_train(train, shots=200)
    assert (plan.jobs, plan.executions, plan.turns, plan.qubits) == (12, 3 * 2 * 200, 2, 3)
    outcome = backend.run_train(train, shots=200, seed=1)
    assert p_value(outcome.spikes, train.distribution()) > LIMIT
    assert len(service.jobs) == plan.jobs
    jobs = [each.job for each in split(train, range(5), 200, 1, DEVICE)]
    assert len({job.digest for job in jobs}) == 12
    assert max(int(broadcasts(job.train).sum()) for job in jobs) <= train_job.MAX_BROADCASTS
    assert max(job.executions for job in jobs) <= 150


def test_bits_that_several_conditions_share_are_passed_on_once() -> None:
    conditions = (Condition(2, 0, 1), Condition(2, 1, 1), Condition(3, 1, 2), Condition(4, 1, 3))
    angles = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)[:, None]
    train = SpikeTrainCircuit(torch.ones((5, 1, 2), dtype=torch.float64), conditions, angles)
    assert broadcasts(train).tolist() == [[3, 3]]
    coupled = SpikeTrainCircuit(
        torch.ones((3, 1, 3)), (Condition(1, 0, 0, source=0), Condition(2, 2, 2, source=0)), torch.tensor([[[0.0, 1, 1]]] * 2)
    )
    assert broadcasts(coupled).tolist() == [[2, 0, 0]]


def test_sites_that_rotate_each_other_stay_in_one_job(build: Build) -> None:
    conditions = tuple(Condition(step, past, past, source=0) for step in range(2) for past in range(step + 1))
    angles = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64).expand(len(conditions), 2, 3)
    train = SpikeTrainCircuit(torch.full((2, 2, 3), 1.2, dtype=torch.float64), conditions, angles.clone())
    spikes = build().run_train(train, shots=1500, seed=1).spikes
    listed = ((torch.arange(64)[:, None] >> torch.arange(6)) & 1).bool().reshape(64, 2, 1, 3).expand(-1, -1, 2, -1)
    truth = train.probability(listed).prod(-1, keepdim=True)
    assert p_value(spikes.transpose(1, 2).flatten(2).unsqueeze(-1).transpose(1, 2), truth) > LIMIT
    wide = SpikeTrainCircuit(torch.ones((1, 1, 6)), (Condition(0, 0, 0, source=0),), torch.tensor([[[0.0] + [1.0] * 5]]))
    with pytest.raises(UnsupportedError, match="at most 5 sites that rotate each other for ibm_loopback, but has 6"):
        build().run_train(wide, shots=1, seed=1)


def test_what_does_not_fit_is_refused_before_anything_is_submitted(
    build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_job, "MAX_BROADCASTS", 3)
    with pytest.raises(
        UnsupportedError, match="at most 3 bits in the conditions of one circuit for ibm_loopback, but a site has 4"
    ):
        build().run_train(short(), shots=1, seed=1)
    monkeypatch.undo()
    with pytest.raises(BudgetError, match="but this needs about 2"):
        build(max_device_seconds=1.0).run_train(short(), shots=1, seed=1)
    backend = build()
    backend._operations = frozenset({"measure", "if_else"})
    with pytest.raises(UnsupportedError, match="must offer reset for a spike train, but ibm_loopback does not"):
        backend.run_train(short(), shots=1, seed=1)
    assert not service.jobs


def test_the_device_seconds_of_trains_are_those_of_their_operations() -> None:
    """200 steps take about 0.8 ms per shot on torino; more shots take more of it and neurons side by side do not."""
    conditions = tuple(Condition(step, step - 1, step - 1) for step in range(1, 200))
    backend = get("ibm", device="fake_torino")

    def seconds(sites: int, shots: int) -> float:
        train = SpikeTrainCircuit(torch.ones((200, 1, sites)), conditions, torch.ones((199, 1, sites)))
        plan = backend.plan_train(train, shots=shots)
        assert plan.jobs == 1
        assert plan.device_seconds is not None
        return plan.device_seconds

    assert seconds(1, 1) == seconds(4, 1)
    assert 0.7e-3 < (seconds(1, 1001) - seconds(1, 1)) / 1000 - 250e-6 < 1e-3


def _act(url: str, folder: str, blind: bool) -> None:
    """A start of a command: three jobs of trains."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if blind:
        mock.patch.object(JobRunner, "_found", return_value=[]).start()
    mock.patch.object(train_job, "MAX_BROADCASTS", STEPS - 1).start()
    with connected(url):
        backend = IBMBackend(
            DEVICE, run="trains", journal=f"{folder}/jobs", poll_seconds=0.02, grace_seconds=0.4, answer_seconds=20.0
        )
        spikes = backend.run_train(short(batch=1), shots=50, seed=1).spikes
    np.save(f"{folder}/spikes.npy", spikes.numpy())


def _start(
    service: Loopback, folder: Path, plant: Callable[[Callable[[], None]], dict[str, Any]], blind: bool = False
) -> int | None:
    """One start in a process of its own, its exit code; `plant` gives the faults of the service from what kills it."""
    process = _context().Process(target=_act, args=(service.url, str(folder), blind))

    def kill() -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    service.on_commit = kill
    service.faults = plant(kill)
    process.start()
    process.join(120)
    assert not process.is_alive()
    return process.exitcode


KILLS: dict[str, Callable[[Callable[[], None]], dict[str, Any]]] = {
    "the second job was committed, and its reply is lost": lambda kill: {"submit": [None, "commit+call"]},
    "all jobs are submitted, the first is queued": lambda kill: {"state": [None, kill]},
    "the result of the second job is sent": lambda kill: {"result": [None, kill]},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    folder = tmp_path_factory.mktemp("undisturbed")
    with Loopback() as service:
        assert _start(service, folder, lambda kill: {}) == 0
        assert service.paid == 3
    return torch.from_numpy(np.load(folder / "spikes.npy"))


@pytest.mark.parametrize("place", KILLS)
def test_a_killed_train_is_taken_up_with_the_same_bits_and_nothing_is_paid_twice(
    place: str, tmp_path: Path, undisturbed: Tensor
) -> None:
    with Loopback() as service:
        assert _start(service, tmp_path, KILLS[place]) == -signal.SIGKILL
        assert not (tmp_path / "spikes.npy").exists()
        assert _start(service, tmp_path, lambda kill: {}) == 0
        assert (service.paid, len(service.jobs), service.alive) == (3, 3, 0)
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "spikes.npy")), undisturbed)
    with Journal(tmp_path / "jobs") as journal:
        assert [entry.state for entry in journal.entries("trains")] == ["DONE"] * 3
        assert journal.entries("trains")[0].circuit.startswith("steps 5 · batch 1 · sites 1 · conditionals 10 per circuit")


def test_a_protocol_that_does_not_look_for_its_jobs_pays_a_train_twice(tmp_path: Path, undisturbed: Tensor) -> None:
    """The planted fault."""
    plant = KILLS["the second job was committed, and its reply is lost"]
    with Loopback() as service:
        assert _start(service, tmp_path, plant, blind=True) == -signal.SIGKILL
        assert _start(service, tmp_path, lambda kill: {}, blind=True) == 0
        assert service.paid + service.alive == 4
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "spikes.npy")), undisturbed)


def test_the_digest_of_a_train_is_that_of_its_program() -> None:
    train = short()
    jobs = [
        TrainJob.of(each, (0, 1, 2), 10, 1, 0, DEVICE)
        for each in (
            train,
            replace(train, base=train.base + 1e-3),
            replace(train, angles=-train.angles),
            replace(train, reset=False),
            replace(train, conditions=tuple(replace(c, last=c.step - 1) for c in train.conditions)),
        )
    ]
    assert len({job.digest for job in jobs}) == 5
    assert jobs[0].digest == TrainJob.of(short(), (0, 1, 2), 10, 1, 0, DEVICE).digest
