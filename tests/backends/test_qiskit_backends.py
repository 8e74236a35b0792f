"""Qiskit backends whatever their gates are called, held to Aer with the noise model that Aer itself makes of them."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Gate, Measure, Parameter
from qiskit.circuit.library import RGate, RXGate, RZGate, SXGate
from qiskit.providers import QubitProperties
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import InstructionProperties, Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, pauli_error
from torch import Tensor

from qlifq.backends import DeviceNoise, Outcome, get
from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.snapshots import native_gates, read_qubits
from qlifq.circuits import LeakySpike, RYSpike
from qlifq.errors import ArgumentError, UnsupportedError

Follows = Callable[[Outcome, Tensor], bool]

SHOTS = 100_000
THETA = 2.2
#: The gates of devices: of IBM's now and before, of atoms and ions, and others that can be turned by.
BASES = {
    "sx": ["id", "rz", "sx", "x", "cx"],
    "u3": ["u1", "u2", "u3", "cx"],
    "r": ["r", "cz"],
    "cz, rx": ["cz", "rz", "rx"],
    "rx, ry": ["rx", "ry", "rz", "cz"],
    "ry": ["ry", "rz", "cx"],
    "u2": ["u2", "rz", "cx"],
    "h": ["h", "rz", "cx"],
    "u": ["u", "cz"],
}


def generic(basis: list[str] | None = None, *, poor: bool = True, **options: Any) -> GenericBackendV2:
    """Two qubits whose errors are large enough to be seen."""
    if basis is not None:
        options["basis_gates"] = [*basis, "reset", "delay", "measure"]
    backend = GenericBackendV2(2, seed=5, **options)
    if poor:
        backend.target.qubit_properties = [QubitProperties(t1=3e-6, t2=4e-6), QubitProperties(t1=2e-6, t2=1e-6)]
        for name in backend.target.operation_names:
            for qubits, properties in backend.target[name].items():
                if len(qubits) == 1 and properties is not None and name not in {"rz", "delay", "u1"}:
                    properties.error = 0.05 + 0.02 * qubits[0]
    return backend


def counts_of_aer(simulator: AerSimulator, backend: Any) -> Tensor:
    """Ones of qubits 0 and 1, `(1, 2)`, of a circuit that was translated for the backend with the angle open."""
    angle = Parameter("angle")
    written = QuantumCircuit(2, 2)
    for qubit in range(2):
        written.ry(angle, qubit)
        written.measure(qubit, qubit)
    native = transpile(written, backend, initial_layout=[0, 1], optimization_level=1, seed_transpiler=0)
    counts = simulator.run(native.assign_parameters({angle: THETA}), shots=SHOTS, seed_simulator=2).result().get_counts()
    return torch.tensor([[sum(n for bits, n in counts.items() if bits[1 - qubit] == "1") for qubit in range(2)]])


def law_at_theta(backend: AerBackend) -> Tensor:
    return backend._law(RYSpike(), backend._models_of(2)).probability(torch.full((1, 2), THETA, dtype=torch.float64))


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES.keys())
def test_a_backend_acts_as_in_aer_whatever_its_gates(basis: list[str], follows: Follows) -> None:
    """Exact binomial tails; a bias of 0.02 would be seen, and leaving any of the errors out is more."""
    backend = generic(basis)
    simulator = AerSimulator.from_backend(backend, method="density_matrix", max_parallel_threads=1)
    ones = counts_of_aer(simulator, backend)
    law = law_at_theta(AerBackend(backend, sampling="law", qubits=[0, 1]))
    assert follows(Outcome(law, ones, SHOTS), law)
    angles = torch.full((1, 2, 1), THETA, dtype=torch.float64)
    assert follows(AerBackend(backend, qubits=[0, 1]).run(RYSpike(), angles, shots=SHOTS, seed=1), law)
    # The simulator and the noise model of the same backend say the same.
    for noise in (simulator, NoiseModel.from_backend(backend)):
        torch.testing.assert_close(law_at_theta(AerBackend(noise, sampling="law")), law, rtol=0, atol=1e-9)
    numbers = AnalyticBackend(DeviceNoise.from_backend(backend, [0, 1])).run(RYSpike(), angles, shots=None, seed=None)
    # Where an RY is two pulses, one channel after both stands for those after each: exact to first order in the errors.
    pulses = sum(times for name, times in (native_gates(tuple(basis)) or {}).items() if name not in {"rz", "u1"})
    torch.testing.assert_close(numbers.probability, law, rtol=0, atol=1e-9 if pulses == 1 else 1e-2)
    ideal = torch.full((1, 2), math.sin(THETA / 2) ** 2, dtype=torch.float64)
    assert not follows(Outcome(ideal, ones, SHOTS), ideal)


def test_a_generic_backend_as_it_comes(follows: Follows) -> None:
    backend = generic(poor=False)
    ones = counts_of_aer(AerSimulator.from_backend(backend), backend)
    law = law_at_theta(AerBackend(backend, sampling="law", qubits=[0, 1]))
    assert follows(Outcome(law, ones, SHOTS), law)


def test_a_backend_that_reports_nothing_is_perfect() -> None:
    backend = generic(poor=False, noise_info=False)
    noise = DeviceNoise.from_backend(backend)
    assert (noise.gate_error, noise.readout_p01, noise.t1) == ((0.0, 0.0), (0.0, 0.0), (math.inf, math.inf))
    law = law_at_theta(AerBackend(backend, sampling="law"))
    torch.testing.assert_close(law, torch.full((1, 2), math.sin(THETA / 2) ** 2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_circuit_of_two_axes_is_translated_too(follows: Follows) -> None:
    angles = torch.tensor([[[0.7, 0.4], [1.9, 2.5]]], dtype=torch.float64)
    for basis in (["r", "cz"], ["u2", "rz", "cx"]):
        outcome = AerBackend(generic(basis, poor=False, noise_info=False)).run(LeakySpike(), angles, shots=SHOTS, seed=4)
        assert follows(outcome, LeakySpike().probability(angles))


def test_metadata_names_the_backend_and_its_noise() -> None:
    def reported(noise: Any) -> object:
        return AerBackend(noise).run(RYSpike(), torch.zeros(0, 1, 1), shots=1, seed=None).metadata["noise"]

    assert re.fullmatch("generic_backend_2q, sha256 [0-9a-f]{16}", str(reported(generic())))
    assert reported(generic()) == reported(generic())
    assert reported(generic()) != reported(generic(poor=False))


def test_a_copy_needs_no_backend() -> None:
    backend = AerBackend(generic())
    assert backend.noise == "generic_backend_2q"
    angles = torch.full((1, 2, 1), THETA)
    first, second = (each.run(RYSpike(), angles, shots=50, seed=1).ones for each in (backend, copy.deepcopy(backend)))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


class Device:
    """A backend with a target of its own."""

    name = "own"

    def __init__(self, target: Target, noise_model: NoiseModel | None = None) -> None:
        self.target = target
        self.options = type("Options", (), {"noise_model": noise_model})()


def device(*gates: tuple[Gate, str | None], noise_model: NoiseModel | None = None, error: float | None = 0.01) -> Device:
    """One qubit with these gates by these names, and a measurement."""
    target = Target(num_qubits=1)
    for gate, name in gates:
        target.add_instruction(gate, {(0,): InstructionProperties(duration=3e-8, error=error)}, name=name)
    target.add_instruction(Measure(), {(0,): InstructionProperties(duration=1e-6, error=error)})
    return Device(target, noise_model)


ANGLE, PHASE = Parameter("angle"), Parameter("phase")


def test_a_gate_is_known_by_what_it_is_and_not_by_what_the_device_calls_it() -> None:
    facts = read_qubits(device((RGate(ANGLE, PHASE), "prx")))[0]
    assert list(facts.gates) == ["r"]
    assert facts.turn.time == 3e-8
    # A pulse of a fixed angle is not the rotation of that name.
    facts = read_qubits(device((RXGate(math.pi / 2), "rx_90"), (SXGate(), None), (RZGate(ANGLE), None)))[0]
    assert list(facts.gates) == ["rz", "sx"]
    assert facts.turn.time == pytest.approx((native_gates(("rz", "sx")) or {})["sx"] * 3e-8 + 2 * 3e-8)


@pytest.mark.parametrize(
    ("backend", "offers"),
    [
        (generic(["h", "s", "t", "cx"]), "cx, delay, h, measure, reset, s, t"),
        (device((RXGate(math.pi / 2), "rx_90")), "measure, rx_90"),
        (device((Gate("gpi", 1, [PHASE]), None), (Gate("gpi2", 1, [PHASE]), None)), "gpi, gpi2, measure"),
    ],
    ids=["clifford", "fixed", "gpi"],
)
def test_gates_that_make_no_rotation_are_refused(backend: Any, offers: str) -> None:
    with pytest.raises(ArgumentError, match=f"gates that Qiskit can make a rotation of, but .* has none: it offers {offers}"):
        DeviceNoise.from_backend(backend)


def test_a_noise_model_that_the_target_does_not_tell_is_not_lost() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.2), ("I", 0.8)]), "measure")
    simulator = AerSimulator(noise_model=model)
    with pytest.raises(UnsupportedError, match=r'but aer_simulator has it in a noise model: give that to get\("aer"'):
        DeviceNoise.from_backend(simulator)
    torch.testing.assert_close(
        law_at_theta(AerBackend(simulator, sampling="law")), law_at_theta(AerBackend(model, sampling="law")), rtol=0, atol=0
    )


def test_a_qubit_that_reports_no_readout_error_is_faulty_only_where_others_do() -> None:
    backend = generic()
    backend.target["measure"][0,].error = None
    assert list(read_qubits(backend)) == [1]
    backend.target["measure"][1,].error = None
    assert sorted(read_qubits(backend)) == [0, 1]


def test_an_object_that_is_no_backend_is_refused() -> None:
    with pytest.raises(TypeError, match="a Qiskit backend, the name of a snapshot or None, but is dict"):
        get("aer", noise={"x": 0.1})
