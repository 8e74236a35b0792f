"""What Aer does to one qubit, as plain numbers: from a `DeviceNoise` or a calibrated qubit.

A noise is kept as one superoperator per native gate and not as a vendor's object, so that two qubits with equal noise are
equal, and a model of 127 qubits costs no more than the qubits that are used.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qlifq.backends.noise import SiteNoise
from qlifq.backends.snapshots import QubitFacts

__all__ = ["IDEAL", "RESET", "Matrix", "QubitModel", "calibrated", "digest", "on_site", "relaxation"]

Matrix = npt.NDArray[np.complex128]

#: The superoperator of a reset to |0⟩.
RESET: Matrix = np.array([[1, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4], dtype=np.complex128)


@dataclass(frozen=True, slots=True)
class QubitModel:
    """The noise of one qubit.

    Args:
        basis: the native gates; empty where gates run as they are written.
        errors: the superoperator after a gate, by its name: 4 × 4 complex numbers, columns stacked, as bytes. That of "delay"
            comes after every delay, whatever its duration, that of "measure" before the measurement, that of "reset" after it.
        t1: relaxation time that a delay sees, seconds.
        t2: coherence time that a delay sees, seconds.
        readout_p01: probability that 0 is read as 1.
        readout_p10: probability that 1 is read as 0.
        excited: the population of |1⟩ that relaxation in a delay leads to.
        delays_known: whether it is known what a delay does.
        reset_error: probability that a reset leaves |1⟩ as it is.
    """

    basis: tuple[str, ...] = ()
    errors: tuple[tuple[str, bytes], ...] = ()
    t1: float = math.inf
    t2: float = math.inf
    readout_p01: float = 0.0
    readout_p10: float = 0.0
    excited: float = 0.0
    delays_known: bool = True
    reset_error: float = 0.0

    @property
    def relaxes(self) -> bool:
        """Whether a delay does anything."""
        return math.isfinite(self.t1) or math.isfinite(self.t2)

    def after(self, gate: str) -> Matrix | None:
        """The superoperator after a gate, or None."""
        found = dict(self.errors).get(gate)
        # A copy, since Aer reads a view of somebody else's memory in the wrong order.
        return None if found is None else np.frombuffer(found, dtype=np.complex128).reshape(4, 4).copy()

    def during(self, seconds: float) -> Matrix | None:
        """The superoperator of a delay, or None."""
        error = self.after("delay")
        if not self.relaxes:
            return error
        relaxed = relaxation(self.t1, self.t2, seconds, self.excited)
        return relaxed if error is None else relaxed @ error

    def reading(self) -> Matrix | None:
        """The errors of a measurement as a superoperator just before it, or None.

        What a measurement sees is the diagonal alone, on which a readout error is a stochastic matrix; so the counts are
        those of a bit flipped afterwards.
        """
        error = self.after("measure")
        if not self.confuses:
            return error
        return self.confusion() if error is None else self.confusion() @ error

    @property
    def confuses(self) -> bool:
        """Whether there is a readout error."""
        return self.readout_p01 != 0 or self.readout_p10 != 0

    def confusion(self) -> Matrix:
        """The readout error as a superoperator."""
        readout = np.zeros((4, 4), dtype=np.complex128)
        readout[0, 0], readout[3, 0] = 1 - self.readout_p01, self.readout_p01
        readout[0, 3], readout[3, 3] = self.readout_p10, 1 - self.readout_p10
        return readout

    def resetting(self) -> Matrix:
        """The superoperator of a reset with its errors."""
        left = RESET.copy()
        left[0, 3], left[3, 3] = 1 - self.reset_error, self.reset_error
        error = self.after("reset")
        return left if error is None else error @ left

    @property
    def forgets(self) -> bool:
        """Whether a reset leads to the same state from |0⟩ and |1⟩."""
        return self.reset_error == 0


#: A qubit without noise.
IDEAL = QubitModel()


def on_site(noise: SiteNoise) -> QubitModel:
    """One site of a `DeviceNoise`: after each RX and RY as written, depolarisation and then relaxation."""
    error = relaxation(noise.t1, noise.t2, noise.gate_time) @ _depolarisation(noise.gate_error)
    errors = () if np.array_equal(error, np.eye(4)) else (("rx", error.tobytes()), ("ry", error.tobytes()))
    return QubitModel((), errors, noise.t1, noise.t2, noise.readout_p01, noise.readout_p10, reset_error=noise.reset_error)


def calibrated(facts: QubitFacts) -> QubitModel:
    """A qubit as it was calibrated: its own gates, each depolarised and relaxed so that its infidelity is as reported."""
    errors = {
        name: relaxation(facts.t1, facts.t2, gate.time) @ _depolarisation(gate.excess)
        for name, gate in facts.gates.items()
        if gate.time > 0 or gate.excess > 0
    }
    return QubitModel(
        tuple(facts.gates),
        tuple((name, error.tobytes()) for name, error in errors.items()),
        facts.t1,
        facts.t2,
        facts.readout_p01,
        facts.readout_p10,
    )


def digest(models: Sequence[QubitModel]) -> str:
    """The same for qubits whose noise is the same but for rounding."""
    content = [
        (
            model.basis,
            # Added to 0, −0 is 0. A model keeps its errors in the order in which they were added to it.
            [
                (name, (np.frombuffer(error, dtype=np.complex128).round(9) + 0.0).tolist())
                for name, error in sorted(model.errors)
            ],
            [f"{number:.9g}" for number in (model.t1, model.t2, model.readout_p01, model.readout_p10, model.excited)],
            # Left out where there is none, so that a noise without one keeps the digest that records hold.
            *[f"reset {error:.9g}" for error in (model.reset_error,) if error],
        )
        for model in models
    ]
    return f"sha256 {hashlib.sha256(repr(content).encode()).hexdigest()[:16]}"


def relaxation(t1: float, t2: float, time: float, excited: float = 0.0) -> Matrix:
    """The superoperator of dephasing and of relaxation over a time, to |1⟩ with the probability `excited` and else to |0⟩."""
    kept, coherent = math.exp(-time / t1), math.exp(-time / t2)
    matrix = np.diag(np.array([1, coherent, coherent, kept], dtype=np.complex128))
    matrix[0, 3] = 1 - kept
    return matrix if excited == 0 else excited * _turned(matrix) + (1 - excited) * matrix


def _turned(matrix: Matrix) -> Matrix:
    """A superoperator with |0⟩ and |1⟩ in each other's place."""
    return matrix[::-1, ::-1]


def _depolarisation(error: float) -> Matrix:
    """ρ ← (1 − 2e) ρ + 2e·½."""
    matrix = (1 - 2 * error) * np.eye(4, dtype=np.complex128)
    matrix[np.ix_([0, 3], [0, 3])] += error
    return matrix
