"""The backend `ibm` by the real client against the loopback service: what it requests, what it answers and what it refuses."""

import importlib
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.ibm import channel
from qlifq.backends.snapshots import load_backend
from qlifq.circuits import BrandPetruccione, Gate, LeakySpike, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, QLIFError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import ACCESS, DEVICE, GOOD, TOKEN, Job, Loopback

Follows = Callable[[Outcome, Tensor], bool]


def test_the_sampler_is_that_of_its_module_wherever_the_client_points_its_own_name(
    build: Build, service: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = importlib.import_module("qiskit_ibm_runtime.executor_sampler").Sampler
    for name in ("Sampler", "SamplerV2"):
        monkeypatch.setattr(f"qiskit_ibm_runtime.{name}", executor)
    build(sampler="service").run(RY, torch.zeros(1, 2, 1), shots=6, seed=3)
    (job,) = service.jobs.values()
    assert job.payload["program_id"] == "sampler"


@pytest.mark.parametrize("sampler", ["service", "client"])
def test_every_answer_is_that_of_its_own_angle(build: Build, service: Loopback, follows: Follows, sampler: str) -> None:
    """Seven sites on five qubits, three elements, one left out by `where`; without noise the closed form is the truth."""
    given = angles(3, 7, 2)
    where = torch.ones(3, 7, dtype=torch.bool)
    where[1] = where[0, 2] = False
    outcome = build(sampler=sampler).run(LeakySpike(), given, shots=20_000, seed=1, where=where)
    assert follows(outcome, LeakySpike().probability(given) * where)
    assert not follows(outcome, LeakySpike().probability(given.flip(1)) * where)
    assert outcome.metadata["qubits"] == (3, 4, 1, 0, 2, 3, 4)
    assert len(service.jobs) == 1
    (job,) = service.jobs.values()
    assert job.payload["program_id"] == {"service": "sampler", "client": "executor"}[sampler]


def test_a_circuit_without_angles_runs(build: Build, follows: Follows) -> None:
    fixed = SpikeCircuit("Fixed", (Gate("RY", 1.0),))
    outcome = build().run(fixed, torch.zeros(3, 2, 0), shots=2000, seed=1)
    assert follows(outcome, torch.full((3, 2), math.sin(0.5) ** 2))


def test_a_call_beyond_the_limits_is_split_and_put_together(
    build: Build, service: Loopback, follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qlifq.backends.ibm.job_spec.MAX_EXECUTIONS", 4000)
    backend = build()
    given = angles(9, 3)
    assert backend.plan(RY, 9, 3, shots=2000).jobs == 5
    outcome = backend.run(RY, given, shots=2000, seed=3)
    assert follows(outcome, RY.probability(given))
    assert len(service.jobs) == 5
    assert len(set(outcome.metadata["jobs"])) == 5  # type: ignore[call-overload]
    submissions = [line for line in service.log if line in {"POST /jobs", "GET /jobs"}]
    first = submissions.index("POST /jobs")
    assert submissions[first : first + 5] == ["POST /jobs"] * 5, "all are submitted before one is waited for"


def test_delays_are_rounded_to_the_clock_and_grouped(build: Build, service: Loopback) -> None:
    given = torch.tensor([[[1.0, 3.3e-6]], [[1.0, 3.3e-6 + 1e-10]], [[1.0, 9e-6]]], dtype=torch.float64)
    outcome = build().run(BrandPetruccione("delay"), given, shots=100, seed=1)
    clock = load_backend("fake_manila").dt * 16
    change = outcome.metadata["delay_change_seconds"]
    assert isinstance(change, float)
    assert 0 < change <= clock / 2
    (job,) = service.jobs.values()
    circuits = [pub[0] for pub in job.payload["params"]["pubs"]]
    delays = sorted(step.operation.duration for circuit in circuits for step in circuit.data if step.operation.name == "delay")
    assert delays == [round(3.3e-6 / clock) * 16, round(9e-6 / clock) * 16]
    coarse = build(run="coarse", delay_step=1e-5).run(BrandPetruccione("delay"), given, shots=100, seed=1)
    assert coarse.metadata["delay_change_seconds"] == pytest.approx(3.3e-6, abs=1e-7)


def test_the_result_of_another_request_is_refused(build: Build, service: Loopback) -> None:
    build().run(RY, angles(1, 2), shots=10, seed=1)
    (first,) = service.jobs.values()
    service.states = ("Queued",)
    with pytest.raises(BackendError, match=r"is QUEUED after 0\.1 seconds\. It goes on"):
        build(wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=2)
    second = list(service.jobs.values())[1]
    second.states, second.result = [{"status": "Completed"}], first.result
    with pytest.raises(BackendError, match=r"has no result of use: .* gave the result of another request"):
        build().run(RY, angles(1, 2), shots=10, seed=2)


def test_a_wrong_number_of_shots_is_refused(build: Build, service: Loopback) -> None:
    real = service.commit

    def with_seven_shots(payload: dict[str, Any]) -> Job:
        payload["params"]["pubs"] = [[pub[0], pub[1], 7] for pub in payload["params"]["pubs"]]
        return real(payload)

    service.commit = with_seven_shots  # type: ignore[method-assign]
    with pytest.raises(BackendError, match="gave 1 sets of 7 shots of 2 bits, instead of 1 of 10 of 2"):
        build().run(RY, angles(1, 2), shots=10, seed=1)


def test_no_token_is_in_the_journal_the_log_or_an_error(
    build: Build, service: Loopback, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service repeats the authorization in every error that it gives, as careless ones do."""
    caplog.set_level(logging.DEBUG, logger="qlifq")
    monkeypatch.setattr(channel.RetryPolicy, "attempts", 2)
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
            build(grace_seconds=0.0, wait_seconds=0.1).run(RY, angles(1, 2), shots=10, seed=len(messages))
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
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    lines = printed.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("MissingPackageError") and "pip install 'qlifq[ibm]'" in line for line in lines)


def test_a_plan_says_what_a_device_is_charged_for() -> None:
    plan = get("ibm", device="fake_torino").plan(RY, 10, 300, shots=1000)
    assert (plan.jobs, plan.turns, plan.executions, plan.qubits, plan.evaluations) == (1, 3, 30_000, 133, 3000)
    assert plan.device_seconds == pytest.approx(2 + 30_000 * 250e-6, rel=0.02)
    assert "device about 9.5" in str(plan)


def test_the_loopback_device_is_the_one_that_runs(service: Loopback) -> None:
    assert os.environ["IAM_URL"] == service.url
    assert service.configuration["backend_name"] == DEVICE
