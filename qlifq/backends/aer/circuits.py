"""Aer circuits that hold several evaluations, each in its lane, with the noise of its qubit written in.

A lane is the gate list of an evaluation, its delays constant, and the noise of its qubit. Lanes stand side by side on the
qubits of a circuit or follow each other on one qubit that is reset, whichever is faster.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction, Parameter, ParameterVector
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError

from qlifq.backends.aer.noise import Matrix, QubitModel
from qlifq.backends.batching import Floats
from qlifq.backends.translation import to_native
from qlifq.circuits import Gate, Slot
from qlifq.errors import UnsupportedError

__all__ = ["GATES", "Lane", "Native", "PackedCircuit", "program", "settled"]

#: Qiskit's gates by name.
GATES = get_standard_gate_name_mapping()


class Lane(NamedTuple):
    """What runs in one lane: gates, their delays constant, under the noise of one qubit."""

    gates: tuple[Gate, ...]
    model: QubitModel

    @property
    def native(self) -> "Native":
        """The gates as the qubit has them."""
        return _lower(self.gates, self.model.basis)


class Native(NamedTuple):
    """A gate list in the gates that a qubit has.

    Args:
        steps: names and parameters; a float is a constant, an int the number of a native parameter.
        matrix: `(native parameters, slots)`.
        offset: `(native parameters,)`: native parameters are matrix · angles + offset.
    """

    steps: tuple[tuple[str, tuple[float | int, ...]], ...]
    matrix: Floats
    offset: Floats

    def values(self, angles: Floats) -> Floats:
        """`(evaluations, num_angles)` to `(evaluations, native parameters)`."""
        return np.asarray(angles[:, : self.matrix.shape[1]] @ self.matrix.T + self.offset)


class PackedCircuit(NamedTuple):
    """A circuit of several lanes, with its parameters lane by lane, and one without effect where there are none."""

    circuit: QuantumCircuit
    parameters: tuple[tuple[Parameter, ...], ...]
    idle: tuple[Parameter, ...]

    def binds(self, values: Sequence[Floats]) -> dict[Parameter, Floats]:
        """What each parameter is in each set, from the native values of each lane.

        A lane that has run out of evaluations is filled with 0.
        """
        sets = max(len(lane) for lane in values)
        binds: dict[Parameter, Floats] = {parameter: np.zeros(sets) for parameter in self.idle}
        for parameters, lane in zip(self.parameters, values, strict=True):
            filled = np.zeros((sets, len(parameters)))
            filled[: len(lane)] = lane
            binds.update(zip(parameters, filled.T, strict=True))
        return binds


@lru_cache(maxsize=256)
def _lower(gates: tuple[Gate, ...], basis: tuple[str, ...]) -> Native:
    """Translate gates as a device would: runs of rotations to its native gates, merged where they meet.

    Raises:
        QLIFError: if Qiskit finds no translation.
    """
    names = {gate.name.lower() for gate in gates if gate.name != "Delay"}
    as_written = not basis or names <= set(basis)
    slots = 1 + max((gate.angle.index for gate in gates if isinstance(gate.angle, Slot)), default=-1)
    steps: list[tuple[str, tuple[float | int, ...]]] = []
    rows: list[Floats] = []
    offsets: list[float] = []

    def parameter(row: Floats, offset: float) -> int:
        rows.append(row)
        offsets.append(offset)
        return len(rows) - 1

    run: list[Gate] = []
    for gate in (*gates, None):
        if gate is not None and gate.name != "Delay":
            run.append(gate)
            continue
        if as_written:
            for each in run:
                value = each.angle
                number = parameter(np.eye(slots)[value.index], 0.0) if isinstance(value, Slot) else value
                steps.append((each.name.lower(), (number,)))
        elif run:
            for name, expressions in _translated(tuple(run), basis, slots):
                numbers = [parameter(row, offset) if row.any() else offset for row, offset in expressions]
                steps.append((name, tuple(numbers)))
        run = []
        if gate is not None:
            steps.append(("delay", (float(gate.angle),)))  # type: ignore[arg-type]
    return Native(tuple(steps), np.array(rows).reshape(len(rows), slots), np.array(offsets))


@lru_cache(maxsize=512)
def program(lanes: tuple[Lane, ...], qubits: int, measure: bool = True) -> PackedCircuit:
    """The circuit of some lanes: lane j on qubit j mod qubits, read into bit j; a qubit that is used again is reset.

    Without measurements the density matrix is saved instead.
    """
    natives = [lane.native for lane in lanes]
    counts = [len(native.offset) for native in natives]
    vector = list(ParameterVector("angle", sum(counts)))
    circuit = QuantumCircuit(min(qubits, len(lanes)), len(lanes) if measure else 0)
    parameters = []
    idle: tuple[Parameter, ...] = ()
    if not vector:
        # Aer runs a circuit once per value of its parameters: one without any gets one that leaves |0⟩ as it is.
        idle = (Parameter("idle"),)
        circuit.rz(idle[0], 0)
    for place, (lane, native) in enumerate(zip(lanes, natives, strict=True)):
        own = tuple(vector[sum(counts[:place]) : sum(counts[: place + 1])])
        parameters.append(own)
        qubit = place % qubits
        if place >= qubits:
            circuit.reset(qubit)
        for name, numbers in native.steps:
            if name == "delay":
                _append(circuit, lane.model.during(float(numbers[0])), qubit)
                continue
            values = [own[number] if isinstance(number, int) else number for number in numbers]
            circuit.append(GATES[name].base_class(*values), [qubit])
            _append(circuit, lane.model.after(name), qubit)
        _append(circuit, lane.model.reading(), qubit)
        if measure:
            circuit.measure(qubit, place)
    if not measure:
        circuit.save_density_matrix()
    return PackedCircuit(circuit, tuple(parameters), idle)


def _append(circuit: QuantumCircuit, matrix: Matrix | None, qubit: int) -> None:
    if matrix is not None:
        circuit.append(Instruction("superop", 1, 0, [matrix]), [qubit])


def _translated(run: tuple[Gate, ...], basis: tuple[str, ...], slots: int) -> list[tuple[str, list[tuple[Floats, float]]]]:
    """Native gates, and each parameter as (coefficients of the slots, constant)."""
    angles = [Parameter(f"angle{slot}") for slot in range(slots)]
    written = QuantumCircuit(1)
    for gate in run:
        value = angles[gate.angle.index] if isinstance(gate.angle, Slot) else gate.angle
        getattr(written, gate.name.lower())(value, 0)
    try:
        native = to_native(written, basis)
    except QiskitError as error:
        raise UnsupportedError(
            f"Argument `noise` must have native gates that a rotation can be made of, but has {', '.join(basis)}."
        ) from error
    return [(step.operation.name, [_affine(value, angles) for value in step.operation.params]) for step in native.data]


def _affine(value: Any, angles: Sequence[Parameter]) -> tuple[Floats, float]:
    """The coefficients of the angles in a parameter, and its constant."""
    if not hasattr(value, "parameters"):
        return np.zeros(len(angles)), float(value)

    def at(point: Iterable[float]) -> float:
        known = {angle: float(x) for angle, x in zip(angles, point, strict=True) if angle in value.parameters}
        return float(value.bind(known))

    constant = at(np.zeros(len(angles)))
    row = np.array([at(unit) - constant for unit in np.eye(len(angles))]).round(12)
    probe = np.arange(1, len(angles) + 1) * 0.37
    if not math.isclose(at(probe), float(row @ probe) + constant, abs_tol=1e-9):
        raise UnsupportedError(f"Argument `noise` must have native gates whose angles are sums, but one takes {value}.")
    return row, constant


def settled(gates: tuple[Gate, ...], delays: Mapping[int, float]) -> tuple[Gate, ...]:
    """The gates with the slots of delays replaced by these constants, by slot."""
    return tuple(
        replace(gate, angle=float(delays[gate.angle.index])) if gate.name == "Delay" and isinstance(gate.angle, Slot) else gate
        for gate in gates
    )
