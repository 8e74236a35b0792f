"""Translation of a circuit to Qiskit."""

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector

from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Slot

__all__ = ["build"]


def build(circuit: SpikeCircuit, copies: int, *, measure: bool) -> QuantumCircuit:
    """`copies` evaluations side by side; see `SpikeCircuit.to_qiskit`."""
    # One ParameterVector: its elements keep their order, whereas loose Parameters are sorted by name ("t10" before "t2").
    angle = ParameterVector("angle", copies * circuit.num_angles)
    qubits = QuantumRegister(copies, "q")
    bits = [ClassicalRegister(copies, "spike")] if measure else []
    translated = QuantumCircuit(qubits, *bits, name=circuit.name)
    for copy, qubit in enumerate(qubits):
        for gate in circuit.gates:
            value = gate.angle
            if isinstance(value, Slot):
                value = angle[copy * circuit.num_angles + value.index]
            if gate.name == "Delay":
                translated.delay(value, qubit, unit="s")
            else:
                getattr(translated, gate.name.lower())(value, qubit)
        if measure:
            translated.measure(qubit, bits[0][copy])
    return translated
