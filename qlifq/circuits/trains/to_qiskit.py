"""Translation of a spike train to a dynamic circuit of Qiskit."""

import functools
from collections.abc import Callable, Iterable, Sequence

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit
from qiskit.circuit.classical import expr

from qlifq.circuits.trains.circuit import REGISTER_BITS, Comparison, Condition, Instruction, SpikeTrainCircuit

__all__ = ["build", "empty", "holds", "register_names", "write"]


def build(train: SpikeTrainCircuit, element: int) -> QuantumCircuit:
    """The dynamic circuit; see `SpikeTrainCircuit.to_qiskit`."""
    circuit, registers = empty(train)
    write(circuit, registers, train.instructions(element), holds)
    return circuit


def write(
    circuit: QuantumCircuit,
    registers: Sequence[Sequence[ClassicalRegister]],
    operations: Iterable[Instruction],
    condition_of: Callable[[Condition, Sequence[ClassicalRegister]], tuple[Clbit, int] | expr.Expr],
) -> None:
    """Append operations, whose angles may be parameters, to a circuit that `empty` gave.

    Args:
        circuit: the circuit.
        registers: those of each site.
        operations: what to append.
        condition_of: writes a condition on the registers of one site, as `holds` does.
    """
    for operation in operations:
        site, step = operation.site, operation.step
        if operation.name == "Measure":
            circuit.measure(site, registers[site][step // REGISTER_BITS][step % REGISTER_BITS])
        elif operation.name == "Reset":
            circuit.reset(site)
        elif operation.condition is None:
            circuit.ry(operation.angle, site)
        else:
            with circuit.if_test(condition_of(operation.condition, registers[operation.source])):
                circuit.ry(operation.angle, site)


def empty(train: SpikeTrainCircuit) -> tuple[QuantumCircuit, list[list[ClassicalRegister]]]:
    """A circuit without operations, with a qubit and registers for each site."""
    sizes = [min(REGISTER_BITS, train.steps - first) for first in range(0, train.steps, REGISTER_BITS)]
    registers = [
        [ClassicalRegister(size, name) for size, name in zip(sizes, names, strict=True)]
        for names in register_names(train.steps, train.sites)
    ]
    every = [register for site in registers for register in site]
    return QuantumCircuit(QuantumRegister(train.sites, "q"), *every, name="SpikeTrain"), registers


def register_names(steps: int, sites: int) -> list[list[str]]:
    """The names of the registers of each site, the first steps first."""
    return [[f"spike{site}_{number}" for number in range(-(-steps // REGISTER_BITS))] for site in range(sites)]


def holds(condition: Condition, registers: Sequence[ClassicalRegister]) -> tuple[Clbit, int] | expr.Expr:
    """A condition on the registers of one site, as `QuantumCircuit.if_test` takes it."""
    if condition.single:
        return registers[condition.first // REGISTER_BITS][condition.first % REGISTER_BITS], 1
    since = _any(condition.comparisons, registers)
    return expr.logic_and(since, expr.logic_not(_any(condition.none_of, registers))) if condition.later else since


def _any(comparisons: Iterable[Comparison], registers: Sequence[ClassicalRegister]) -> expr.Expr:
    compared = (expr.greater_equal(registers[number], 1 << bit) for number, bit in comparisons)
    return functools.reduce(expr.logic_or, compared)
