"""Options of IBM's devices and samplers that matter to a single qubit, by the real client against the loopback service."""

from pathlib import Path
from typing import Any

import pytest
import torch
from qiskit import transpile
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qlifq import QLIF
from qlifq.backends import get
from qlifq.backends.ibm.backend import IBMBackend
from qlifq.circuits import SpikeTrainCircuit
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from tests.backends.ibm.conftest import RY, Build, angles
from tests.backends.ibm.loopback import DEVICE, Loopback, connected


def test_twirling_runs_as_many_shots_as_the_call_has(build: Build, service: Loopback) -> None:
    backend = build(twirling=4)
    outcome = backend.run(RY, angles(2, 2), shots=20, seed=1)
    (job,) = service.jobs.values()
    assert job.payload["params"]["options"]["twirling"] == {
        "enable_gates": False,
        "enable_measure": True,
        "num_randomizations": 4,
        "shots_per_randomization": 5,
    }
    assert outcome.metadata["twirling"] == 4
    with pytest.raises(ArgumentError, match="`shots` must be a multiple of twirling=4, but is 22"):
        backend.run(RY, angles(2, 2), shots=22, seed=2)
    with pytest.raises(ArgumentError, match="`shots` must be a multiple of twirling=4, but is 1"):
        backend.plan(RY, 2, 2, shots=1)
    assert len(service.jobs) == 1


def test_a_result_with_an_option_is_not_taken_for_one_without(build: Build, service: Loopback) -> None:
    for options in ({}, {"twirling": 4}, {"twirling": 2}, {"twirling": 4}):
        build(**options).run(RY, angles(1, 2), shots=20, seed=1)
    assert len(service.jobs) == 3


def test_a_job_without_options_is_that_of_earlier_journals(build: Build, service: Loopback) -> None:
    build().run(RY, angles(1, 2), shots=20, seed=1)
    assert "twirling" not in next(iter(service.jobs.values())).payload["params"]["options"]


def test_a_fractional_rotation_is_one_pulse(tmp_path: Path) -> None:
    pulses = {}
    with Loopback(snapshot="fake_fractional_backend") as service, connected(service.url):
        for fractional in (False, True):
            backend = IBMBackend(DEVICE, run=f"{fractional}", journal=tmp_path / "jobs.sqlite", fractional=fractional)
            assert backend._remote is not None
            # No job runs, whose simulation takes 20 seconds: the transpiler is given the same target.
            native = transpile(RY.to_qiskit(1), target=backend._remote.facts.target, initial_layout=[0], optimization_level=1)
            pulses[fractional] = {name: count for name, count in native.count_ops().items() if name in {"sx", "x", "rx"}}
            assert backend.facts == {"device": DEVICE} | ({"fractional": True} if fractional else {})
            backend.close()
    assert pulses == {False: {"sx": 2}, True: {"rx": 1}}


def test_a_device_without_fractional_gates_is_refused(build: Build) -> None:
    with pytest.raises(UnsupportedError, match=f"`fractional` must be False for device {DEVICE}, which has no fractional RX"):
        build(fractional=True)


def test_a_spike_train_does_not_mix_with_them(build: Build) -> None:
    train = SpikeTrainCircuit(torch.ones(2, 1, 1), (), torch.zeros(0, 1, 1))
    with pytest.raises(UnsupportedError, match="`twirling` must be left out for a spike train"):
        build(twirling=4).run_train(train, shots=4, seed=1)


def test_a_backend_object_stands_for_its_name(service: Loopback, tmp_path: Path) -> None:
    snapshot = get("ibm", device=FakeManilaV2())
    assert snapshot.description == get("ibm", device="fake_manila").description
    from qlifq.backends.ibm.client import connect

    device = connect(None, None).backend(DEVICE)
    backend = get("ibm", device=device, journal=tmp_path / "jobs.sqlite")
    assert backend.description == f"ibm, device {DEVICE}"
    assert QLIF(2, backend=backend).backend is backend
    assert get(device, journal=tmp_path / "jobs.sqlite").name == "ibm"
    assert service.jobs == {}


def test_a_snapshot_that_was_changed_is_not_taken_for_the_saved_one() -> None:
    changed = FakeManilaV2()
    readout = changed.target["measure"][(0,)]
    changed.target.update_instruction_properties("measure", (0,), type(readout)(duration=readout.duration, error=0.4))
    changed.target.update_instruction_properties("sx", (0,), type(readout)(duration=readout.duration, error=0.3))
    with pytest.raises(UnsupportedError, match=r"`device` must be fake_manila as it is saved, but was changed"):
        get("ibm", device=changed)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dynamical_decoupling": True}, UnsupportedError, "it acts while a qubit waits, in a Delay, and would undo the decay"),
        ({"resilience_level": 1}, UnsupportedError, "it corrects expectation values, and a spike is a count"),
        ({"zne_mitigation": True}, UnsupportedError, "`zne_mitigation` must not be given to backend ibm"),
        ({"measure_mitigation": True}, UnsupportedError, "ReadoutMitigated corrects"),
        ({"gate_twirling": True}, UnsupportedError, "it acts on gates of two qubits"),
        ({"colour": 3}, ArgumentError, "Backend ibm has no option `colour`: its options are device, run, qubits"),
        ({"device": GenericBackendV2(2)}, DtypeError, "or a backend of IBM's client, but is"),
        ({"twirling": 4}, UnsupportedError, "`twirling` would be ignored: fake_manila is a snapshot"),
        ({"fractional": True}, UnsupportedError, "`fractional` would be ignored: fake_manila is a snapshot"),
        ({"twirling": 0}, ArgumentError, "`twirling` must be at least 1, but is 0"),
        ({"fractional": 1}, DtypeError, "`fractional` must be"),
        ({"twirling": 4, "sampler": "client"}, UnsupportedError, "`twirling` must be None for sampler='client'"),
    ],
)
def test_an_option_that_cannot_act_is_refused_at_once(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get("ibm", **({"device": "fake_manila"} | options))
