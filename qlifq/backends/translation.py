"""Circuits of one qubit in the gates that a device has."""

from collections.abc import Sequence

from qiskit import QuantumCircuit, transpile
from qiskit.circuit.equivalence_library import SessionEquivalenceLibrary
from qiskit.transpiler import PassManager, TranspilerError
from qiskit.transpiler.passes import BasisTranslator, InverseCancellation, Optimize1qGatesDecomposition

__all__ = ["to_native"]


def to_native(circuit: QuantumCircuit, basis: Sequence[str]) -> QuantumCircuit:
    """A circuit of one qubit in these gates, as `qiskit.transpile` makes it at its first level of optimisation.

    These are the steps of that level that act on one qubit. To put them together itself, Qiskit first imports whatever any
    package registers as a translation, and so IBM's whole client where that is installed, which takes a second.

    Raises:
        QiskitError: if there is no translation.
    """
    gates = list(basis)
    translate = BasisTranslator(SessionEquivalenceLibrary, gates)
    merge = PassManager([Optimize1qGatesDecomposition(basis=gates), InverseCancellation(), translate])
    try:
        native = PassManager([InverseCancellation(), translate]).run(circuit)
    except TranspilerError:
        # Gates without an angle approximate a constant one, which is a stage of its own.
        return transpile(circuit, basis_gates=gates, optimization_level=1, seed_transpiler=0)
    while True:
        before, native = native, merge.run(native)
        if native.count_ops() == before.count_ops():
            return native
