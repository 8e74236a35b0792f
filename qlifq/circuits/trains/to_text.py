"""Text forms of a spike train: OpenQASM 3 and a drawing."""

from qlifq._validation import integer
from qlifq.circuits.trains.circuit import REGISTER_BITS, Condition, SpikeTrainCircuit

__all__ = ["drawing", "openqasm"]


def openqasm(train: SpikeTrainCircuit, element: int) -> str:
    """An OpenQASM 3 program; see `SpikeTrainCircuit.to_openqasm`."""
    sizes = [min(REGISTER_BITS, train.steps - first) for first in range(0, train.steps, REGISTER_BITS)]
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{train.sites}] q;"]
    lines += [f"bit[{size}] spike{site}_{number};" for site in range(train.sites) for number, size in enumerate(sizes)]
    for operation in train.instructions(element):
        site, condition = operation.site, operation.condition
        if operation.name == "Measure":
            lines.append(f"{_bit(site, operation.step)} = measure q[{site}];")
        elif operation.name == "Reset":
            lines.append(f"reset q[{site}];")
        else:
            turn = f"ry({operation.angle!r}) q[{site}];"
            lines.append(turn if condition is None else f"if ({_holds(condition, operation.source)}) {{ {turn} }}")
    return "\n".join(lines) + "\n"


def _holds(condition: Condition, source: int) -> str:
    if condition.single:
        return f"{_bit(source, condition.first)} == true"
    since, later = (
        " || ".join(f"spike{source}_{number} >= {1 << bit}" for number, bit in comparisons)
        for comparisons in (condition.comparisons, condition.none_of)
    )
    return f"({since}) && !({later})" if condition.later else since


def _bit(site: int, step: int) -> str:
    return f"spike{site}_{step // REGISTER_BITS}[{step % REGISTER_BITS}]"


def drawing(train: SpikeTrainCircuit, element: int, site: int) -> str:
    """One line per step; see `SpikeTrainCircuit.draw`."""
    integer("site", site, at_least=0, at_most=train.sites - 1)
    lines: list[list[str]] = [["|0⟩ " if train.reset or not step else "    "] for step in range(train.steps)]
    for operation in train.instructions(element):
        if operation.site != site or operation.name == "Reset":
            continue
        step, condition = operation.step, operation.condition
        if operation.name == "Measure":
            lines[step].append(f"M s{step}")
        else:
            turn = f"RY({operation.angle:.6g})"
            lines[step].append(turn if condition is None else f"[{_label(condition)} {turn}]")
    return "\n".join("──".join(line) for line in lines)


def _label(condition: Condition) -> str:
    owner = "" if condition.source is None else f"q{condition.source}."
    if condition.single:
        return f"{owner}s{condition.first}:"
    window = f"s{condition.first}" if condition.first == condition.last else f"s{condition.first}…s{condition.last}"
    return f"{'last' if condition.newest else 'any'} {window}:"
