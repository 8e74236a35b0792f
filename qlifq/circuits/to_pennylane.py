"""Translation of a circuit to PennyLane."""

from collections.abc import Sequence
from typing import Any

import pennylane as qml

from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Slot
from qlifq.errors import ShapeError

__all__ = ["build"]

_OPERATIONS = {"RX": qml.RX, "RY": qml.RY, "RZ": qml.RZ}


def build(circuit: SpikeCircuit, angles: Any, wires: Sequence[object]) -> list[object]:
    """The operations of one evaluation per wire; see `SpikeCircuit.to_pennylane`."""
    shape = tuple(qml.math.shape(angles))
    rows = [angles] if shape == (circuit.num_angles,) and len(wires) == 1 else angles
    if rows is angles and shape != (len(wires), circuit.num_angles):
        raise ShapeError(
            f"Argument `angles` must have shape {(len(wires), circuit.num_angles)} "
            f"for {len(wires)} wires of circuit {circuit.name}, but has shape {shape}."
        )
    return [
        _OPERATIONS[gate.name](row[gate.angle.index] if isinstance(gate.angle, Slot) else gate.angle, wires=wire)
        for row, wire in zip(rows, wires, strict=True)
        for gate in circuit.gates
        if gate.name != "Delay"
    ]
