"""Gates of one qubit, as data."""

import math
from dataclasses import dataclass

from qlifq._validation import integer, real, suggestion
from qlifq.errors import ArgumentError, DtypeError

__all__ = ["GATE_NAMES", "ROTATIONS", "Gate", "Slot"]

ROTATIONS = ("RX", "RY", "RZ")
GATE_NAMES = (*ROTATIONS, "Delay")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value that is given when the circuit runs.

    Args:
        index: position in the last dimension of `angles`, from 0.

    Raises:
        ArgumentError: if the index is below 0.
        DtypeError: if it is not an integer.
    """

    index: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", integer("index", self.index, at_least=0))


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: a rotation exp(−i angle P/2) about the axis of P = X, Y or Z, or a wait.

    Args:
        name: "RX", "RY", "RZ" or "Delay".
        angle: a constant or a `Slot`; radians for a rotation, seconds (at least 0) for a delay.

    Raises:
        ArgumentError: for another name, or a constant that is not finite or a delay below 0.
        DtypeError: if the angle is neither a number nor a `Slot`.

    Example:
        >>> Gate("RY", Slot(0))
        Gate(name='RY', angle=Slot(index=0))
    """

    name: str
    angle: float | Slot

    def __post_init__(self) -> None:
        if self.name not in GATE_NAMES:
            known = f"Argument `name` of a gate must be one of {', '.join(GATE_NAMES)}, but is {self.name!r}."
            raise ArgumentError(known + suggestion(self.name, GATE_NAMES))
        if isinstance(self.angle, Slot):
            return
        try:
            constant = real("angle", self.angle, at_least=0.0 if self.name == "Delay" else -math.inf)
        except DtypeError as error:
            raise DtypeError(f"Argument `angle` of a gate must be a number or a Slot, but is {self.angle!r}.") from error
        object.__setattr__(self, "angle", constant)

    @property
    def is_virtual(self) -> bool:
        """Whether a device does this gate by relabelling its frame, in no time and without error (RZ)."""
        return self.name == "RZ"
