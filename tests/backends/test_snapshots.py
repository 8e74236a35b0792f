"""Device snapshots: what is read off a Qiskit backend, and that it acts as the snapshot itself does in Aer."""

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SuperOp, average_gate_fidelity
from qiskit_aer.noise import NoiseModel, QuantumError
from qiskit_ibm_runtime.fake_provider import FakeHanoiV2, FakeManilaV2, FakeTorino
from torch import Tensor

from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.aer.noise import calibrated, on_site
from qlifq.backends.snapshot_files import read_files
from qlifq.backends.snapshots import ONE_QUBIT_GATES, choose, load_backend, load_snapshot, read_qubits
from qlifq.backends.translation import to_native
from qlifq.circuits import BrandPetruccione, RYSpike
from qlifq.errors import ArgumentError, DtypeError, MissingPackageError, QLIFError

Follows = Callable[[Outcome, Tensor], bool]


@dataclass
class Gate:
    """As in Qiskit's target."""

    error: float | None = None
    duration: float | None = None


@dataclass
class Times:
    """As in Qiskit's target."""

    t1: float | None
    t2: float | None


@dataclass
class Target:
    """A target of one-qubit gates alone."""

    gates: dict[str, dict[tuple[int, ...], Gate]]
    qubit_properties: list[Times] | None
    num_qubits: int

    @property
    def operation_names(self) -> list[str]:
        return list(self.gates)

    def __getitem__(self, name: str) -> dict[tuple[int, ...], Gate]:
        return self.gates[name]

    def operation_from_name(self, name: str) -> Any:
        return get_standard_gate_name_mapping()[name]


@dataclass
class Device:
    """A backend with four qubits, best first 2, 0, 1: qubit 3 is faulty."""

    sx_error: float | None = 1e-3
    times: list[Times] | None = field(
        default_factory=lambda: [Times(100e-6, 500e-6), Times(50e-6, 40e-6), Times(None, None), Times(1e-4, 1e-4)]
    )
    name: str = "made_up"

    @property
    def target(self) -> Target:
        measure: dict[tuple[int, ...], Gate] = {(0,): Gate(0.02), (1,): Gate(0.05), (2,): Gate(0.01), (3,): Gate(None)}
        sx: dict[tuple[int, ...], Gate] = {(q,): Gate(self.sx_error, 40e-9) for q in range(4)}
        return Target({"measure": measure, "sx": sx, "rz": {(q,): Gate(0.0, 0.0) for q in range(4)}}, self.times, 4)


def test_qubits_are_ranked_and_faulty_ones_left_out() -> None:
    assert list(read_qubits(Device())) == [2, 0, 1]
    assert list(choose(read_qubits(Device()), [1, 2])) == [1, 2]
    with pytest.raises(ArgumentError, match="that work, but holds 3"):
        choose(read_qubits(Device()), [0, 3])
    with pytest.raises(ArgumentError, match=r"a qubit that works, .* but made_up has none: it offers measure, rz, sx"):
        read_qubits(Device(sx_error=1.0))
    with pytest.raises(DtypeError, match="`backend` must be a Qiskit BackendV2, but is str"):
        DeviceNoise.from_backend("fake_torino")


def test_the_times_are_those_of_a_possible_qubit() -> None:
    noise = DeviceNoise.from_backend(Device(), [0, 1, 2])
    assert noise.t1 == (100e-6, 50e-6, math.inf)
    assert noise.t2 == (200e-6, 40e-6, math.inf)
    assert noise.gate_time == (80e-9, 80e-9, 80e-9)
    assert noise.readout_p01 == noise.readout_p10 == (0.02, 0.05, 0.01)


def test_a_real_snapshot_has_times_that_no_qubit_has() -> None:
    backend = FakeTorino()
    impossible = [q for q, times in enumerate(backend.target.qubit_properties) if times.t2 > 2 * times.t1]
    assert impossible
    noise = DeviceNoise.from_backend(backend, impossible)
    assert noise.t2 == tuple(2 * t1 for t1 in noise.t1)  # type: ignore[union-attr]
    AerBackend("fake_torino", qubits=impossible).run(RYSpike(), torch.ones(1, 2, 1), shots=2, seed=0)


@pytest.mark.parametrize("error", [1e-3, 0.3])
def test_the_infidelity_in_all_is_what_was_reported(error: float) -> None:
    """Two pulses of the average fidelity 1 − error, depolarisation and relaxation together."""
    for facts in read_qubits(Device(sx_error=error)).values():
        channel = calibrated(facts).after("sx")
        assert channel is not None
        assert average_gate_fidelity(SuperOp(channel)) == pytest.approx(1 - error, abs=1e-12)
    noise = DeviceNoise.from_backend(Device(sx_error=error))
    for site, facts in enumerate(read_qubits(Device(sx_error=error)).values()):
        pulse = SuperOp(calibrated(facts).after("sx"))
        both = on_site(noise.at(site)).after("ry")
        assert both is not None
        np.testing.assert_allclose(both, pulse.compose(pulse).data, atol=2e-4 if error < 0.1 else 1e-3)


def test_an_error_below_what_relaxation_does_is_relaxation_alone() -> None:
    assert set(DeviceNoise.from_backend(Device(sx_error=1e-9), [0, 1]).gate_error) == {0.0}  # type: ignore[arg-type]
    assert DeviceNoise.from_backend(Device(sx_error=None, times=None), [0]).t1 == (math.inf,)


def test_a_generic_backend_can_be_read() -> None:
    backend = GenericBackendV2(3, seed=1)
    noise = DeviceNoise.from_backend(backend, [2, 0])
    assert noise.readout_p01 == (backend.target["measure"][2,].error, backend.target["measure"][0,].error)


@pytest.mark.parametrize("backend", [FakeManilaV2(), FakeHanoiV2()], ids=["manila", "hanoi"])
def test_gates_and_readout_are_those_of_the_snapshots_own_noise_model(backend: Any) -> None:
    """Against the model that the snapshot gives Aer, gate by gate, where T2 is possible."""
    found = read_qubits(backend)
    qubits = [q for q in list(found)[:4] if backend.target.qubit_properties[q].t2 < 2 * found[q].t1]
    assert qubits
    model: NoiseModel = backend._get_noise_model_from_backend_v2()
    seen = 0
    for entry in model.to_dict()["errors"]:
        place = entry["gate_qubits"][0]
        if len(place) == 1 and place[0] in qubits:
            ours = calibrated(found[place[0]])
            if entry["type"] == "roerror":
                assert (ours.readout_p01, ours.readout_p10) == pytest.approx(
                    (entry["probabilities"][0][1], entry["probabilities"][1][0]), abs=1e-12
                )
                seen += 1
            elif entry["operations"][0] in {"sx", "x"}:
                own = ours.after(entry["operations"][0])
                assert own is not None
                np.testing.assert_allclose(own, SuperOp(QuantumError.from_dict(entry)).data, atol=1e-9)
                seen += 1
    assert seen == 3 * len(qubits)


def test_a_snapshot_shoots_as_it_does_as_it_comes(follows: Follows) -> None:
    """Counts of the fake backend itself, run by Qiskit, against the law that is read here; one pulse is an RY in two."""
    backend = FakeManilaV2()
    qubits = list(load_snapshot("fake_manila"))
    theta = 1.3
    written = QuantumCircuit(5, 5)
    for bit, qubit in enumerate(qubits):
        written.sx(qubit)
        written.rz(theta + math.pi, qubit)
        written.sx(qubit)
        written.measure(qubit, bit)
    shots = 200_000
    counts = backend.run(written, shots=shots, seed_simulator=5).result().get_counts()
    ones = [sum(n for bits, n in counts.items() if bits[::-1][bit] == "1") for bit in range(5)]
    own = AerBackend("fake_manila", sampling="law")
    law = own._law(RYSpike(), own._models_of(5)).probability(torch.full((1, 5), theta, dtype=torch.float64))
    assert follows(Outcome(law, torch.tensor([ones]), shots), law)
    assert follows(AerBackend("fake_manila").run(RYSpike(), torch.full((1, 5, 1), theta), shots=shots, seed=1), law)
    assert not follows(Outcome(law, torch.tensor([ones]), shots), law + 0.01)


def test_a_delay_relaxes_with_the_qubits_own_times(follows: Follows) -> None:
    facts = load_snapshot("fake_manila")[1]
    angles = torch.tensor([[[math.pi, wait]] for wait in (0.0, 50e-6, 200e-6)], dtype=torch.float64)
    outcome = AerBackend("fake_manila", qubits=[1]).run(BrandPetruccione("delay"), angles, shots=20_000, seed=0)
    first = float(outcome.probability[0, 0])
    floor = facts.readout_p01
    for row, wait in ((1, 50e-6), (2, 200e-6)):
        decayed = floor + (first - floor) * math.exp(-wait / facts.t1)
        # `first` is measured: its deviation of 0.002 is allowed for six times over.
        assert float(outcome.probability[row, 0]) == pytest.approx(decayed, abs=0.025)


def test_sites_beyond_the_qubits_run_in_turn() -> None:
    backend = AerBackend("fake_manila", qubits=[4, 2])
    plan = backend.plan(RYSpike(), 3, 5, shots=10)
    assert plan.turns == 3
    outcome = backend.run(RYSpike(), torch.ones(3, 5, 1), shots=10, seed=0)
    assert outcome.metadata["qubits"] == (4, 2, 4, 2, 4)
    assert AerBackend("fake_manila").plan(RYSpike(), 1, 5, shots=1).turns == 1
    ranked = tuple(load_snapshot("fake_manila"))
    assert AerBackend("fake_manila").run(RYSpike(), torch.ones(1, 3, 1), shots=1, seed=0).metadata["qubits"] == ranked[:3]


def test_a_large_snapshot_costs_little_for_few_sites() -> None:
    """As it comes, one call takes seconds; a hundredth of a second is far above what this takes and far below that."""
    backend = AerBackend("fake_torino")
    angles = torch.ones(1, 4, 1)
    backend.run(RYSpike(), angles, shots=100, seed=0)
    start = time.perf_counter()
    for seed in range(10):
        backend.run(RYSpike(), angles, shots=100, seed=seed)
    assert (time.perf_counter() - start) / 10 < 0.1


def test_old_gates_are_translated_to() -> None:
    """fake_almaden has u1, u2 and u3."""
    backend = AerBackend("fake_almaden", sampling="law")
    law = backend._law(RYSpike(), backend._models_of(3))
    low, high = law.extremes()
    assert float(low.min()) >= 0
    assert float(low.max()) < 0.1
    assert float(high.min()) > 0.85


def test_an_unknown_snapshot_names_those_that_are_close() -> None:
    with pytest.raises(QLIFError, match=r"name of a snapshot such as fake_torino,.* but is 'fake_turino'"):
        get("aer", noise="fake_turino")
    with pytest.raises(QLIFError, match=r"fake_brisbane,.* but is 'xyzzy'"):
        get("aer", noise="xyzzy")
    with pytest.raises(QLIFError, match="that work, but holds 7"):
        get("aer", noise="fake_manila", qubits=[7])


def test_without_the_runtime_client_a_snapshot_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("qiskit_ibm_runtime", "qiskit_ibm_runtime.fake_provider"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingPackageError, match="The snapshot fake_lagos needs the package `qiskit_ibm_runtime`, which is not"
    ):
        get("aer", noise="fake_lagos")


@pytest.mark.parametrize("name", ["fake_torino", "fake_melbourne", "fake_armonk", "fake_boston", "fake_kolkata"])
def test_the_files_of_a_snapshot_say_what_the_client_makes_of_them(name: str) -> None:
    """Two roads to the same qubits: the client's own object, and its files without importing the client."""
    files = read_files(name, ONE_QUBIT_GATES)
    assert files is not None
    ours, theirs = read_qubits(files), read_qubits(load_backend(name))
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["fake_nighthawk", "fake_fractional_backend", "fake_xyzzy", "torino", "fake_../torino"])
def test_what_has_code_or_names_of_its_own_is_left_to_the_client(name: str) -> None:
    assert read_files(name, ONE_QUBIT_GATES) is None


@pytest.fixture
def manila(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files of fake_manila, which is read from now on."""
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    assert spec is not None
    assert spec.origin is not None
    place = Path("fake_provider", "backends", "manila")
    shutil.copytree(Path(spec.origin).parent / place, tmp_path / place)
    monkeypatch.setattr(spec, "origin", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return tmp_path / place


def test_what_does_not_work_is_left_out_as_by_the_client(manila: Path) -> None:
    file = manila / "props_manila.json"
    content = json.loads(file.read_text())
    broken = {"name": "operational", "value": 0, "unit": "", "date": "2021-03-15T08:00:00+00:00"}
    content["qubits"][1].append(broken)
    next(gate for gate in content["gates"] if (gate["gate"], gate["qubits"]) == ("sx", [3]))["parameters"].append(broken)
    file.write_text(json.dumps(content))
    files = read_files("fake_manila", ONE_QUBIT_GATES)
    assert files is not None
    theirs = read_qubits(type("Changed", (FakeManilaV2,), {"dirname": str(manila)})())
    assert read_qubits(files) == theirs
    assert set(theirs) == {0, 2, 4}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"qubits": [[3]]}'])
def test_files_in_another_form_are_left_to_the_client(content: str, manila: Path) -> None:
    assert read_files("fake_manila", ONE_QUBIT_GATES) is not None
    (manila / "props_manila.json").write_text(content)
    assert read_files("fake_manila", ONE_QUBIT_GATES) is None


def test_a_snapshot_is_read_without_importing_the_client() -> None:
    script = (
        "import sys; from qlifq.backends.snapshots import load_snapshot\n"
        "assert len(load_snapshot('fake_torino')) > 100; print('qiskit_ibm_runtime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    "basis",
    ["rz sx x id", "u1 u2 u3", "rx rz", "p sx", "r", "h s t rz", "rx ry", "x z", "h t", ""],
    ids=lambda basis: basis or "none",
)
def test_a_circuit_of_one_qubit_is_translated_as_qiskit_does(basis: str) -> None:
    gates = basis.split()
    theta, phi = Parameter("theta"), Parameter("phi")
    for run in ([theta], [0.7], [0.0], [math.pi], [theta, phi], [theta, 0.3], [0.5, -0.2], [theta, 0.2, phi, math.pi / 2]):
        circuit = QuantumCircuit(1)
        for place, angle in enumerate(run):
            (circuit.rx if place % 2 else circuit.ry)(angle, 0)
        if (gates, run) == (["h", "t"], [0.5, -0.2]):
            continue  # Thousands of gates, the same function on both sides.
        by_qiskit = partial(transpile, basis_gates=gates, optimization_level=1, seed_transpiler=0)
        assert translated(partial(to_native, basis=gates), circuit) == translated(by_qiskit, circuit)


def translated(translate: Callable[[QuantumCircuit], QuantumCircuit], circuit: QuantumCircuit) -> list[object] | str:
    """Gates and angles, or the kind of the error."""
    try:
        return [(step.operation.name, *map(str, step.operation.params)) for step in translate(circuit).data]
    except QiskitError as error:
        return type(error).__name__


@pytest.mark.parametrize("qubits", [None, (3, 1)])
def test_the_noise_of_a_snapshot_is_that_of_its_qubits(qubits: tuple[int, ...] | None) -> None:
    noise = DeviceNoise.from_snapshot("fake_manila", qubits)
    facts = load_snapshot("fake_manila")
    chosen = [facts[qubit] for qubit in (facts if qubits is None else qubits)]
    assert noise.t1 == tuple(each.t1 for each in chosen)
    assert noise.t2 == tuple(each.t2 for each in chosen)
    assert noise.readout_p01 == tuple(each.readout_p01 for each in chosen)
    assert noise.readout_p10 == tuple(each.readout_p10 for each in chosen)
    assert noise.gate_time == tuple(each.turn.time for each in chosen)
    assert noise.gate_error == tuple(each.turn.excess for each in chosen)
    assert noise == DeviceNoise.from_backend(load_backend("fake_manila"), qubits)


def test_the_noise_of_an_unknown_snapshot_names_it() -> None:
    with pytest.raises(QLIFError, match="fake_atlantis"):
        DeviceNoise.from_snapshot("fake_atlantis")
