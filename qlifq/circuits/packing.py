"""Several evaluations side by side on the qubits of one circuit, and back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qlifq._validation import integer
from qlifq.errors import ShapeError

__all__ = ["Packing"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Packing:
    """How `evaluations` are laid on circuits of `width` qubits.

    Evaluation i goes to qubit i mod width of circuit ⌊i / width⌋; the last circuit is filled with angles of 0, and what is
    measured there is dropped.

    Args:
        evaluations: how many there are, at least 0.
        width: qubits in a circuit, at least 1.

    Raises:
        ArgumentError: if a number is out of range.
        DtypeError: if one is not an integer.

    Example:
        >>> packing = Packing(evaluations=5, width=2)
        >>> packing.circuits
        3
        >>> packing.pack(np.arange(5.0)[:, None])[2].tolist()
        [[4.0], [0.0]]
    """

    evaluations: int
    width: int

    def __post_init__(self) -> None:
        integer("evaluations", self.evaluations, at_least=0)
        integer("width", self.width, at_least=1)

    @property
    def circuits(self) -> int:
        """How many circuits it takes."""
        return -(-self.evaluations // self.width)

    def pack(self, angles: Floats) -> Floats:
        """`(evaluations, num_angles)` to `(circuits, width, num_angles)`, filled with zeros."""
        if angles.ndim != 2 or len(angles) != self.evaluations:
            raise ShapeError(
                f"Argument `angles` must have shape ({self.evaluations}, num_angles), but has shape {angles.shape}."
            )
        packed = np.zeros((self.circuits * self.width, angles.shape[1]))
        packed[: self.evaluations] = angles
        return packed.reshape(self.circuits, self.width, angles.shape[1])

    def unpack(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """One value per circuit and qubit, `(circuits, width)`, to one per evaluation, `(evaluations,)`."""
        if values.shape != (self.circuits, self.width):
            raise ShapeError(f"Argument `values` must have shape {(self.circuits, self.width)}, but has shape {values.shape}.")
        return values.reshape(-1)[: self.evaluations]

    def marginals(self, distribution: Floats) -> Floats:
        """P(1) of every evaluation from the joint distribution of each circuit's bits.

        Args:
            distribution: `(circuits, 2**width)`, qubit 0 the most significant bit, as PennyLane's `probs` orders it.

        Returns:
            `(evaluations,)`.
        """
        if distribution.shape != (self.circuits, 2**self.width):
            raise ShapeError(
                f"Argument `distribution` must have shape {(self.circuits, 2**self.width)}, but has shape {distribution.shape}."
            )
        bits = (np.arange(2**self.width)[:, None] >> np.arange(self.width - 1, -1, -1)) & 1
        return np.asarray(self.unpack(distribution @ bits.astype(np.float64)), dtype=np.float64)
