"""Device snapshots: what is read off a Qiskit backend, and that it acts as the snapshot itself does in Aer."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SuperOp, average_gate_fidelity
from qiskit_aer.noise import NoiseModel, QuantumError
from qiskit_ibm_runtime.fake_provider import FakeHanoiV2, FakeManilaV2, FakeTorino
from torch import Tensor

from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.aer.noise import calibrated, on_site
from qlifq.backends.snapshots import choose, load_backend, load_snapshot, read_qubits
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
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.fake_provider", None)
    with pytest.raises(MissingPackageError, match="The snapshot fake_torino needs the package `qiskit_ibm_runtime`"):
        get("aer", noise="fake_torino")


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
