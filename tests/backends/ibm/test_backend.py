"""The backend `ibm` by the real client against the loopback service, and on snapshots."""

import copy
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import qlifq
from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.ibm import protocol
from qlifq.backends.ibm.journal import Journal
from qlifq.backends.ibm.work import MAX_EXECUTIONS, Grid, Work, job_sizes, laid_out
from qlifq.backends.snapshots import load_backend, load_snapshot
from qlifq.circuits import BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, BudgetError, FileError, QLIFError, ServiceError, UnsupportedError
from tests.backends.ibm.conftest import Build
from tests.backends.ibm.loopback import ACCESS, DEVICE, GOOD, TOKEN, Job, Loopback

Follows = Callable[[Outcome, Tensor], bool]

RY = RYSpike()


def angles(batch: int, sites: int, slots: int = 1) -> Tensor:
    return torch.rand(batch, sites, slots, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * math.pi


@pytest.mark.parametrize("sampler", ["service", "client"])
def test_every_answer_is_that_of_its_own_angle(build: Build, service: Loopback, follows: Follows, sampler: str) -> None:
    """Seven sites on five qubits, three elements, one of them not asked; without noise, so the closed form is the truth."""
    asked = angles(3, 7, 2)
    where = torch.ones(3, 7, dtype=torch.bool)
    where[1] = where[0, 2] = False
    outcome = build(sampler=sampler).run(LeakySpike(), asked, shots=20_000, seed=1, where=where)
    assert follows(outcome, LeakySpike().probability(asked) * where)
    assert not follows(outcome, LeakySpike().probability(asked.flip(1)) * where)
    assert outcome.metadata["qubits"] == (3, 4, 1, 0, 2, 3, 4)
    assert len(service.jobs) == 1
    (job,) = service.jobs.values()
    assert job.payload["program_id"] == {"service": "sampler", "client": "executor"}[sampler]


def test_a_circuit_without_angles_runs(build: Build, follows: Follows) -> None:
    fixed = SpikeCircuit("Fixed", (Gate("RY", 1.0),))
    outcome = build().run(fixed, torch.zeros(3, 2, 0), shots=2000, seed=1)
    assert follows(outcome, torch.full((3, 2), math.sin(0.5) ** 2))


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


def test_a_call_beyond_the_limits_is_split_and_put_together(
    build: Build, service: Loopback, follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlifq.backends.ibm.work.MAX_EXECUTIONS", 4000)
    backend = build()
    asked = angles(9, 3)
    assert backend.plan(RY, 9, 3, shots=2000).jobs == 5
    outcome = backend.run(RY, asked, shots=2000, seed=3)
    assert follows(outcome, RY.probability(asked))
    assert len(service.jobs) == 5
    assert len(set(outcome.metadata["jobs"])) == 5  # type: ignore[call-overload]
    submissions = [line for line in service.log if line in {"POST /jobs", "GET /jobs"}]
    assert submissions[:5] == ["POST /jobs"] * 5, "all are submitted before one is waited for"


def test_delays_are_rounded_to_the_clock_and_grouped(build: Build, service: Loopback) -> None:
    asked = torch.tensor([[[1.0, 3.3e-6]], [[1.0, 3.3e-6 + 1e-10]], [[1.0, 9e-6]]], dtype=torch.float64)
    outcome = build().run(BrandPetruccione("delay"), asked, shots=100, seed=1)
    clock = load_backend("fake_manila").dt * 16
    change = outcome.metadata["delay_change_seconds"]
    assert isinstance(change, float)
    assert 0 < change <= clock / 2
    (job,) = service.jobs.values()
    circuits = [pub[0] for pub in job.payload["params"]["pubs"]]
    delays = sorted(step.operation.duration for circuit in circuits for step in circuit.data if step.operation.name == "delay")
    assert delays == [round(3.3e-6 / clock) * 16, round(9e-6 / clock) * 16]
    coarse = build(run="coarse", delay_step=1e-5).run(BrandPetruccione("delay"), asked, shots=100, seed=1)
    assert coarse.metadata["delay_change_seconds"] == pytest.approx(3.3e-6, abs=1e-7)


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_session_is_opened_once_taken_up_again_and_closed(build: Build, service: Loopback, mode: str) -> None:
    build(mode=mode).run(RY, angles(1, 2), shots=10, seed=1)
    with build(mode=mode) as second:
        second.run(RY, angles(1, 2), shots=10, seed=2)
        ((session, told),) = service.sessions.items()
        assert told["accepting_jobs"] is True
    assert told["mode"] == {"batch": "batch", "session": "dedicated"}[mode]
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


def test_a_plan_without_sessions_says_so(build: Build, service: Loopback) -> None:
    service.plan_has_sessions = False
    with pytest.raises(ServiceError, match=r"opening a session: .*the plan of this instance has no sessions"):
        build(mode="session").run(RY, angles(1, 2), shots=10, seed=1)
    assert service.jobs == {}


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


def test_a_budget_binds_a_snapshot_s_run_over_its_calls(tmp_path: Path) -> None:
    backend = get("ibm", device="fake_manila", max_device_seconds=5.0, journal=tmp_path / "j")
    for seed in range(2):
        backend.run(RY, angles(1, 2), shots=10, seed=seed)
    with pytest.raises(BudgetError, match="is 5 for run fake_manila"):
        backend.run(RY, angles(1, 2), shots=10, seed=2)
    backend.run(RY, angles(1, 2), shots=10, seed=1)


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


def test_the_result_of_another_request_is_refused(build: Build, service: Loopback) -> None:
    build().run(RY, angles(1, 2), shots=10, seed=1)
    (first,) = service.jobs.values()
    service.states = ("Queued",)
    with pytest.raises(BackendError, match=r"is QUEUED after 0\.1 seconds\. It goes on"):
        build(wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=2)
    second = list(service.jobs.values())[1]
    second.states, second.result = [{"status": "Completed"}], first.result
    with pytest.raises(ServiceError, match="gave the result of another request"):
        build().run(RY, angles(1, 2), shots=10, seed=2)


def test_a_wrong_number_of_shots_is_refused(build: Build, service: Loopback) -> None:
    real = service.commit

    def with_seven_shots(payload: dict[str, Any]) -> Job:
        payload["params"]["pubs"] = [[pub[0], pub[1], 7] for pub in payload["params"]["pubs"]]
        return real(payload)

    service.commit = with_seven_shots  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="gave 1 sets of 7 shots on 2 qubits, but was asked for 1 of 10 on 2"):
        build().run(RY, angles(1, 2), shots=10, seed=1)


def test_no_token_is_in_the_journal_the_log_or_an_error(
    build: Build, service: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service repeats the authorization in every error that it gives, as careless ones do."""
    caplog.set_level(logging.DEBUG, logger="qlifq")
    monkeypatch.setattr(protocol.Patience, "attempts", 2)
    messages: list[str] = []
    planted: list[tuple[dict[str, list[object]], tuple[str | dict[str, object], ...]]]
    reason = f"failed with Bearer abc.{ACCESS} and token={TOKEN}"
    planted = [
        ({"submit": [400]}, service.states),
        ({"find": [500] * 30}, service.states),
        ({"state": [403] * 30}, service.states),
        ({}, ("Queued", {"status": "Failed", "reason": reason, "reason_code": 1305})),
    ]
    for faults, states in planted:
        service.faults, service.states = faults, states
        with pytest.raises(QLIFError) as caught:
            build(grace_seconds=0.0).run(RY, angles(1, 2), shots=10, seed=len(messages))
        assert caught.value.__cause__ is None
        messages.append(str(caught.value))
    service.faults.clear()
    service.states = GOOD
    build().run(RY, angles(1, 2), shots=10, seed=9)
    assert any("***" in message for message in messages)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"1305" in written
    for secret in (TOKEN, ACCESS):
        assert secret.encode() not in written
        assert secret not in caplog.text
        assert not [message for message in messages if secret in message]


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


def test_an_unknown_device_and_an_account_that_is_not_there(build: Build, service: Loopback) -> None:
    with pytest.raises(ArgumentError, match=r"Device ibm_nowhere cannot be reached: .*No backend matches"):
        build(device="ibm_nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "fake_nowhere"}, "`device` must be the name of a snapshot such as .*, but is 'fake_nowhere'"),
        ({"device": 3}, "`device` must be a name .* but is 3"),
        ({"mode": "session"}, "`mode` would be ignored: fake_manila is a snapshot"),
        ({"account": "mine"}, "`account` would be ignored"),
        ({"sampler": "other"}, "`sampler` must be one of service, client"),
        ({"max_device_seconds": 0}, "`max_device_seconds` must be above 0, but is 0"),
        ({"delay_step": -1.0}, "`delay_step` must be above 0"),
        ({"run": ""}, "`run` must be a name"),
        ({"qubits": [0, 99]}, "`qubits` must hold qubits that the device has"),
        ({"noise": DeviceNoise(t1=1e-4)}, "no option `noise`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(QLIFError, match=message):
        get("ibm", **({"device": "fake_manila"} | options))


def test_without_the_client_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['qiskit_ibm_runtime'] = None\n"
        "from qlifq.backends import get\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "for device in ('ibm_boston', 'fake_torino'):\n"
        "    try: get('ibm', device=device)\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    lines = told.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("MissingPackageError") and "pip install 'qlifq[ibm]'" in line for line in lines)


def test_a_snapshot_gives_the_noise_of_its_qubits_and_the_same_counts_for_a_seed(tmp_path: Path, follows: Follows) -> None:
    backend = get("ibm", device="fake_torino", run="r", journal=tmp_path / "j")
    asked = angles(4, 100)
    first = backend.run(RY, asked, shots=2000, seed=1)
    noise = DeviceNoise.from_backend(load_backend("fake_torino"), list(load_snapshot("fake_torino"))[:100])
    truth = get("analytic", noise=noise).run(RY, asked, shots=None, seed=None).probability
    assert follows(first, truth)
    other = get("ibm", device="fake_torino").run(RY, asked, shots=2000, seed=1)
    assert torch.equal(first.probability, other.probability)
    assert not torch.equal(first.probability, backend.run(RY, asked, shots=2000, seed=2).probability)
    assert not backend.capabilities.remote
    with Journal(tmp_path / "j") as journal:
        assert [entry.sets for entry in journal.entries("r")] == [4, 4]


def test_a_snapshot_s_job_that_died_with_its_process_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"device": "fake_manila", "run": "r", "journal": tmp_path / "j"}
    whole = get("ibm", device="fake_manila").run(RY, angles(2, 2), shots=100, seed=1)
    with monkeypatch.context() as patched:
        patched.setattr("qlifq.backends.ibm.snapshot.SnapshotChannel.result", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            get("ibm", **options).run(RY, angles(2, 2), shots=100, seed=1)
    again = get("ibm", **options).run(RY, angles(2, 2), shots=100, seed=1)
    assert torch.equal(whole.probability, again.probability)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_layer_on_a_snapshot_is_interrupted_anywhere_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def spikes(run: str, stop: int | None = None) -> Tensor:
        told = [0]

        def watch(text: str) -> None:
            told[0] += 1
            if told[0] == stop:
                raise KeyboardInterrupt

        backend = get("ibm", device="fake_manila", run=run, journal=tmp_path / "j", watch=watch)
        layer = qlifq.QLIF(4, backend=backend, seed=3)
        found: Tensor = layer(torch.full((12, 2, 4), 1.4))[0]
        return found

    whole = spikes("whole")
    with pytest.raises(KeyboardInterrupt):
        spikes("cut", 7)
    assert torch.equal(spikes("cut"), whole)
    with Journal(tmp_path / "j") as journal:
        assert len(journal.entries("cut")) == 12


def test_a_layer_with_such_a_backend_can_be_copied(tmp_path: Path) -> None:
    layer = qlifq.QLIF(3, backend=get("ibm", device="fake_manila", run="r", journal=tmp_path / "j"), seed=1)
    layer(torch.ones(2, 1, 3))
    spikes, _ = copy.deepcopy(layer)(torch.ones(2, 1, 3))
    assert spikes.shape == (2, 1, 3)


def test_a_plan_says_what_a_device_is_charged_for() -> None:
    plan = get("ibm", device="fake_torino").plan(RY, 10, 300, shots=1000)
    assert (plan.jobs, plan.turns, plan.executions, plan.qubits, plan.evaluations) == (1, 3, 30_000, 133, 3000)
    assert plan.device_seconds == pytest.approx(2 + 30_000 * 250e-6, rel=0.02)
    assert "device about 9.5" in str(plan)


@pytest.mark.parametrize(
    ("sets", "shots", "width"), [(1, 1, 1), (10, 10_000_000, 5), (9_765_000, 1, 100), (3, 10_000_000, 127)]
)
def test_jobs_hold_every_set_within_the_limits(sets: int, shots: int, width: int) -> None:
    sizes = job_sizes(sets, shots, width)
    assert sum(sizes) == sets
    assert max(sizes) * shots <= MAX_EXECUTIONS


def test_sites_lie_on_qubits_in_turn() -> None:
    values = np.arange(14.0).reshape(2, 7, 1)
    laid = laid_out(values, 3)
    assert laid.shape == (6, 3, 1)
    assert laid[..., 0].tolist()[:3] == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
    assert np.array_equal(laid.reshape(2, 9, 1)[:, :7], values)


def test_constant_delays_are_rounded_too_and_count_as_time() -> None:
    circuit = SpikeCircuit("Waits", (Gate("RY", Slot(0)), Gate("Delay", 1.04e-6)))
    grid = Grid(1e-7, None)
    rounded = grid.constants(circuit)
    assert rounded.gates[1].angle == pytest.approx(1e-6)
    work = Work(rounded, np.zeros((1, 1, 1)), (0,), 1, 0, 0, "x")
    assert work.longest_delay == pytest.approx(1e-6)
    assert grid.rounded(RY, np.zeros((1, 1, 1)))[1] is None


def test_studies_take_a_snapshot_and_refuse_a_device(build: Build) -> None:
    from qlifq.studies.asking import local_backend

    assert local_backend(get("ibm", device="fake_manila")).name == "ibm"
    with pytest.raises(UnsupportedError, match="must be a simulator for a study, but ibm is remote"):
        local_backend(build())


def test_the_loopback_device_is_the_one_that_is_asked(service: Loopback) -> None:
    assert os.environ["IAM_URL"] == service.url
    assert service.configuration["backend_name"] == DEVICE
