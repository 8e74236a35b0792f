"""Text forms of a circuit: OpenQASM 3 and a drawing."""

from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Gate, Slot

__all__ = ["drawing", "openqasm"]


def openqasm(circuit: SpikeCircuit) -> str:
    """An OpenQASM 3 program; see `SpikeCircuit.to_openqasm`."""
    inputs = {
        gate.angle.index: f"input {'duration' if gate.name == 'Delay' else 'float[64]'} theta{gate.angle.index};"
        for gate in circuit.gates
        if isinstance(gate.angle, Slot)
    }
    lines = [
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        *(inputs[index] for index in sorted(inputs)),
        "bit[1] spike;",
        "qubit[1] q;",
        *(_statement(gate) for gate in circuit.gates),
        "spike[0] = measure q[0];",
    ]
    return "\n".join(lines) + "\n"


def drawing(circuit: SpikeCircuit) -> str:
    """One line of text; see `SpikeCircuit.draw`."""
    return "──".join(["|0⟩ ", *(f"{gate.name}({_label(gate)})" for gate in circuit.gates), "M"])


def _statement(gate: Gate) -> str:
    value = f"theta{gate.angle.index}" if isinstance(gate.angle, Slot) else repr(gate.angle)
    if gate.name != "Delay":
        return f"{gate.name.lower()}({value}) q[0];"
    # A literal duration carries its unit; an input of type duration has one already.
    return f"delay[{value if isinstance(gate.angle, Slot) else value + 's'}] q[0];"


def _label(gate: Gate) -> str:
    if isinstance(gate.angle, Slot):
        return f"{'t' if gate.name == 'Delay' else 'θ'}{gate.angle.index}"
    return f"{gate.angle:.6g}" + (" s" if gate.name == "Delay" else "")
