"""The description of a spike decision on one qubit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qlifq._validation import integer, tensor
from qlifq.circuits.gates import Gate, Slot
from qlifq.errors import ArgumentError, DtypeError, ShapeError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from torch import Tensor

__all__ = ["SpikeCircuit"]


@dataclass(frozen=True)
class SpikeCircuit:
    """A short sequence of gates on |0⟩, measured once: 1 is a spike.

    Two circuits with the same name and gates are equal. Every representation (closed form, PennyLane, Qiskit,
    OpenQASM 3, drawing) is made from `gates`, so no circuit is written twice.

    Args:
        name: what people call it, a Python identifier.
        gates: gates in the order in which they run; their slots are numbered 0, 1, … without a gap.

    Raises:
        ArgumentError: if the name is no identifier, there is no gate, or the slots leave a gap.
        DtypeError: if an item is no `Gate`.

    Example:
        >>> import torch
        >>> circuit = SpikeCircuit("Tilted", (Gate("RY", Slot(0)), Gate("RX", 0.5)))
        >>> circuit.probability(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
        tensor([0.0612, 0.2629], dtype=torch.float64)
        >>> print(circuit.draw())
        |0⟩ ──RY(θ0)──RX(0.5)──M
    """

    name: str
    gates: tuple[Gate, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ArgumentError(f"Argument `name` must be a Python identifier, but is {self.name!r}.")
        gates = tuple(self.gates)
        if not gates:
            raise ArgumentError("Argument `gates` must hold at least one gate, but is empty.")
        for gate in gates:
            if not isinstance(gate, Gate):
                raise DtypeError(f"Argument `gates` must hold gates, but holds {gate!r}.")
        slots = {gate.angle.index for gate in gates if isinstance(gate.angle, Slot)}
        if slots != set(range(len(slots))):
            raise ArgumentError(f"Argument `gates` must use the slots 0, 1, … without a gap, but uses {sorted(slots)}.")
        object.__setattr__(self, "gates", gates)

    @property
    def num_angles(self) -> int:
        """How many values one evaluation takes."""
        return len({gate.angle.index for gate in self.gates if isinstance(gate.angle, Slot)})

    @property
    def delay_slots(self) -> list[int]:
        """The slots that are delays, in order; seconds and no angles."""
        return sorted({gate.angle.index for gate in self.gates if gate.name == "Delay" and isinstance(gate.angle, Slot)})

    @property
    def has_delay(self) -> bool:
        """Whether any of its gates waits, for a constant time or a slot's."""
        return any(gate.name == "Delay" for gate in self.gates)

    @property
    def is_sinusoidal(self) -> bool:
        """Whether P(1) = a + b cos θ + c sin θ: one slot, in one rotation."""
        return self.num_angles == 1 and self.shiftable

    @property
    def shiftable(self) -> bool:
        """Whether the two-term parameter-shift rule holds for every slot: each stands in one rotation."""
        slotted = [gate for gate in self.gates if isinstance(gate.angle, Slot)]
        return len(slotted) == self.num_angles and all(gate.name != "Delay" for gate in slotted)

    def check_angles(self, angles: "Tensor", name: str = "angles") -> "Tensor":
        """Refuse what is not a float tensor of shape `(..., num_angles)`, naming the argument; else return it."""
        tensor(name, angles)
        if angles.ndim == 0 or angles.shape[-1] != self.num_angles:
            raise ShapeError(
                f"Argument `{name}` must have shape (..., {self.num_angles}) for circuit {self.name}, "
                f"but has shape {tuple(angles.shape)}."
            )
        return angles

    def probability(self, angles: "Tensor") -> "Tensor":
        """P(|1⟩) without noise, differentiable.

        Args:
            angles: shape `(..., num_angles)`, radians (seconds for a delay), float32 or float64.

        Returns:
            Shape `(...)`, on the device and in the dtype of `angles`.

        Raises:
            ShapeError: if `angles` has another shape.
            DtypeError: if it has another dtype or is no tensor.
        """
        from qlifq.circuits import bloch

        return bloch.probability(self.gates, self.check_angles(angles))

    def to_qiskit(self, copies: int = 1, *, measure: bool = True) -> "QuantumCircuit":
        """The circuit on `copies` qubits of one Qiskit circuit.

        The parameters are one vector `angle`: slot j of copy k is `angle[k * num_angles + j]`, on qubit k, measured into
        bit k of the classical register `spike`. Delays are in seconds.

        Args:
            copies: how many independent evaluations stand side by side, at least 1.
            measure: whether the circuit ends in measurements.

        Returns:
            A `qiskit.QuantumCircuit`.

        Raises:
            ArgumentError: if `copies` is below 1.
            DtypeError: if it is no integer.
            MissingPackageError: if Qiskit is missing.
        """
        from qlifq.circuits.to_qiskit import build

        return build(self, integer("copies", copies, at_least=1), measure=measure)

    def to_pennylane(self, angles: Any, wires: Sequence[object] = (0,)) -> list[object]:
        """The PennyLane operations of one evaluation per wire.

        Called inside a QNode they are queued, as any PennyLane operation; handed to a `QuantumScript` they are its body.
        A delay is the identity for a simulator without noise and is left out.

        Args:
            angles: one value per slot for each wire, `(wires, num_angles)` or, for one wire, `(num_angles,)`; numbers or
                anything that PennyLane differentiates.
            wires: the wires, one evaluation each.

        Returns:
            The operations, wire by wire.

        Raises:
            QLIFError: if `angles` does not fit the wires and slots, or PennyLane is missing.
        """
        from qlifq.circuits.to_pennylane import build

        return build(self, angles, wires)

    def to_openqasm(self) -> str:
        """An OpenQASM 3 program whose inputs are the slots, `theta0`, `theta1`, …, measured into the bit `spike`."""
        from qlifq.circuits.to_text import openqasm

        return openqasm(self)

    def draw(self) -> str:
        """One line of text: |0⟩, the gates with their angles, the measurement."""
        from qlifq.circuits.to_text import drawing

        return drawing(self)
