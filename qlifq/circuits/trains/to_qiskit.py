"""Translation of a spike train to a dynamic circuit of Qiskit."""

import functools
from collections.abc import Sequence

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit
from qiskit.circuit.classical import expr

from qlifq.circuits.trains.circuit import REGISTER_BITS, Condition, SpikeTrainCircuit

__all__ = ["build", "empty", "holds"]


def build(train: SpikeTrainCircuit, element: int) -> QuantumCircuit:
    """The dynamic circuit; see `SpikeTrainCircuit.to_qiskit`."""
    circuit, registers = empty(train)
    for operation in train.instructions(element):
        site, step = operation.site, operation.step
        if operation.name == "Measure":
            circuit.measure(site, registers[site][step // REGISTER_BITS][step % REGISTER_BITS])
        elif operation.name == "Reset":
            circuit.reset(site)
        elif operation.condition is None:
            circuit.ry(operation.angle, site)
        else:
            with circuit.if_test(holds(operation.condition, registers[operation.source])):
                circuit.ry(operation.angle, site)
    return circuit


def empty(train: SpikeTrainCircuit) -> tuple[QuantumCircuit, list[list[ClassicalRegister]]]:
    """A circuit without operations, with a qubit and registers for each site."""
    sizes = [min(REGISTER_BITS, train.steps - first) for first in range(0, train.steps, REGISTER_BITS)]
    registers = [
        [ClassicalRegister(size, f"spike{site}_{number}") for number, size in enumerate(sizes)] for site in range(train.sites)
    ]
    every = [register for site in registers for register in site]
    return QuantumCircuit(QuantumRegister(train.sites, "q"), *every, name="SpikeTrain"), registers


def holds(condition: Condition, registers: Sequence[ClassicalRegister]) -> tuple[Clbit, int] | expr.Expr:
    """A condition on the registers of one site, as `QuantumCircuit.if_test` takes it."""
    if condition.single:
        return registers[condition.first // REGISTER_BITS][condition.first % REGISTER_BITS], 1
    compared = (expr.greater_equal(registers[number], 1 << bit) for number, bit in condition.comparisons)
    return functools.reduce(expr.logic_or, compared)
