"""Every translation is run and compared with the closed form; the text forms are read back."""

import re

import numpy as np
import openqasm3
import pennylane as qml
import pytest
import qiskit.qasm3
import torch
from qiskit.quantum_info import Statevector

from qlifq.circuits import CIRCUITS, BrandPetruccione, Gate, LeakySpike, RYSpike, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError

PROBES = [
    *(entry.build() for entry in CIRCUITS.values()),
    LeakySpike(-0.3),
    BrandPetruccione("delay"),
    SpikeCircuit("Probe", (Gate("RY", Slot(0)), Gate("RZ", Slot(1)), Gate("RX", Slot(2)))),
    SpikeCircuit(
        "Mixed", (Gate("RX", Slot(1)), Gate("Delay", 1e-7), Gate("RZ", 0.7), Gate("RY", Slot(0)), Gate("RX", Slot(1)))
    ),
    # More slots than ten: their order is by number and not by name.
    SpikeCircuit("Long", tuple(Gate(("RX", "RY", "RZ")[index % 3], Slot(index)) for index in range(12))),
]
each_circuit = pytest.mark.parametrize("circuit", PROBES, ids=lambda circuit: circuit.draw())


def random_angles(*shape: int) -> torch.Tensor:
    """Nonnegative, since some are delays."""
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 6.3


@each_circuit
def test_lightning_gives_the_closed_form_in_a_qnode(circuit: SpikeCircuit) -> None:
    device = qml.device("lightning.qubit", wires=["a", "b", "c"])

    @qml.qnode(device)  # type: ignore[untyped-decorator]
    def node(angles: object) -> object:
        circuit.to_pennylane(angles, wires=["b", "c", "a"])
        return [qml.probs(wires=wire) for wire in ["b", "c", "a"]]

    for angles in random_angles(5, 3, circuit.num_angles):
        ones = [float(pair[1]) for pair in node(angles.numpy())]
        assert ones == pytest.approx(circuit.probability(angles).tolist(), abs=1e-10)


@each_circuit
def test_lightning_gives_the_closed_form_of_a_script(circuit: SpikeCircuit) -> None:
    angles = random_angles(5, circuit.num_angles)
    scripts = [qml.tape.QuantumScript(circuit.to_pennylane(row.numpy(), wires=[0]), [qml.probs(wires=[0])]) for row in angles]
    found = np.array(qml.device("lightning.qubit", wires=1).execute(scripts))
    assert found[:, 1] == pytest.approx(circuit.probability(angles).tolist(), abs=1e-10)


def test_pennylane_differentiates_a_translation() -> None:
    circuit = PROBES[-3]
    angles = random_angles(3).requires_grad_()

    @qml.qnode(qml.device("default.qubit", wires=1), interface="torch", diff_method="backprop")  # type: ignore[untyped-decorator]
    def node(values: torch.Tensor) -> object:
        circuit.to_pennylane(values)
        return qml.probs(wires=0)

    (found,) = torch.autograd.grad(node(angles)[1], angles)
    (expected,) = torch.autograd.grad(circuit.probability(angles), angles)
    assert torch.allclose(found, expected, atol=1e-10)


@each_circuit
@pytest.mark.parametrize("copies", [1, 4])
def test_the_statevector_of_qiskit_gives_the_closed_form_at_every_site(circuit: SpikeCircuit, copies: int) -> None:
    translated = circuit.to_qiskit(copies, measure=False)
    for angles in random_angles(3, copies, circuit.num_angles):
        state = Statevector(translated.assign_parameters(angles.flatten().numpy()))
        ones = [float(state.probabilities([qubit])[1]) for qubit in range(copies)]
        assert ones == pytest.approx(circuit.probability(angles).tolist(), abs=1e-10)


def test_a_qiskit_circuit_measures_each_qubit_into_its_own_bit() -> None:
    translated = RYSpike().to_qiskit(3)
    assert translated.name == "RYSpike"
    assert [register.name for register in translated.cregs] == ["spike"]
    measured = [instruction for instruction in translated.data if instruction.operation.name == "measure"]
    assert [
        (translated.find_bit(instruction.qubits[0]).index, translated.find_bit(instruction.clbits[0]).index)
        for instruction in measured
    ] == [(0, 0), (1, 1), (2, 2)]
    assert not RYSpike().to_qiskit(measure=False).clbits


def test_a_qiskit_delay_is_in_seconds() -> None:
    translated = BrandPetruccione("delay").to_qiskit().assign_parameters([0.5, 2e-6])
    delay = next(instruction.operation for instruction in translated.data if instruction.operation.name == "delay")
    assert (delay.duration, delay.unit) == (2e-6, "s")


@pytest.mark.parametrize(
    "circuit",
    [circuit for circuit in PROBES if circuit != BrandPetruccione("delay")],
    ids=lambda circuit: circuit.draw(),
)
def test_openqasm_read_back_gives_the_closed_form(circuit: SpikeCircuit) -> None:
    read = qiskit.qasm3.loads(circuit.to_openqasm())
    slots = sorted(read.parameters, key=lambda parameter: int(parameter.name.removeprefix("theta")))
    assert [slot.name for slot in slots] == [f"theta{index}" for index in range(circuit.num_angles)]
    assert [register.name for register in read.cregs] == ["spike"]
    read.remove_final_measurements()
    for angles in random_angles(3, circuit.num_angles):
        state = Statevector(read.assign_parameters(dict(zip(slots, angles.tolist(), strict=True))))
        assert float(state.probabilities([0])[1]) == pytest.approx(circuit.probability(angles).item(), abs=1e-10)


def test_openqasm_keeps_a_constant_delay() -> None:
    circuit = SpikeCircuit("Wait", (Gate("RX", Slot(0)), Gate("Delay", 2.5e-7)))
    assert "delay[2.5e-07s] q[0];" in circuit.to_openqasm()
    read = qiskit.qasm3.loads(circuit.to_openqasm())
    delay = next(instruction.operation for instruction in read.data if instruction.operation.name == "delay")
    assert (delay.duration, delay.unit) == (2.5e-7, "s")


def test_openqasm_with_a_delay_as_input_is_grammatical() -> None:
    # Qiskit's importer takes inputs of type float and angle only, so the program is read by the reference parser.
    program = openqasm3.parse(BrandPetruccione("delay").to_openqasm())
    kinds = [type(statement).__name__ for statement in program.statements]
    assert kinds.count("IODeclaration") == 2
    assert kinds.count("DelayInstruction") == 1
    assert "input duration theta1;" in BrandPetruccione("delay").to_openqasm()


@pytest.mark.parametrize(
    ("circuit", "drawn"),
    [
        (RYSpike(), "|0⟩ ──RY(θ0)──M"),
        (LeakySpike(), "|0⟩ ──RY(θ0)──RX(θ1)──M"),
        (LeakySpike(-0.25), "|0⟩ ──RY(θ0)──RX(-0.25)──M"),
        (BrandPetruccione("delay"), "|0⟩ ──RX(θ0)──Delay(t1)──M"),
        (SpikeCircuit("Wait", (Gate("Delay", 2.5e-7), Gate("RZ", 1 / 3))), "|0⟩ ──Delay(2.5e-07 s)──RZ(0.333333)──M"),
    ],
    ids=lambda value: value.name if isinstance(value, SpikeCircuit) else "",
)
def test_a_drawing_is_one_line(circuit: SpikeCircuit, drawn: str) -> None:
    assert circuit.draw() == drawn


@pytest.mark.parametrize(("copies", "error"), [(0, ArgumentError), (-1, ArgumentError), (1.5, DtypeError), (True, DtypeError)])
def test_a_bad_number_of_copies_is_refused(copies: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"`copies` must be .*, but is {copies}"):
        RYSpike().to_qiskit(copies)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("angles", "wires", "message"),
    [
        ([0.1, 0.2], [0], "must have shape (1, 1) for 1 wires of circuit RYSpike, but has shape (2,)"),
        ([[0.1], [0.2]], [0, 1, 2], "must have shape (3, 1) for 3 wires of circuit RYSpike, but has shape (2, 1)"),
        (0.1, [0], "must have shape (1, 1) for 1 wires of circuit RYSpike, but has shape ()"),
    ],
)
def test_angles_that_do_not_fit_the_wires_are_refused(angles: object, wires: list[int], message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        RYSpike().to_pennylane(angles, wires)
