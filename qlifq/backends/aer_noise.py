"""What Aer does to one qubit, as plain numbers: from a `DeviceNoise`, a calibrated qubit or any Aer noise model.

A noise is kept as one superoperator per native gate and not as a vendor's object, so that two qubits with equal noise are
equal, and a model of 127 qubits costs no more than the qubits that are used.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import NoiseModel, QuantumError

from qlifq.backends.noise import SiteNoise
from qlifq.backends.snapshots import ONE_QUBIT_GATES, QubitFacts

__all__ = ["IDEAL", "QubitModel", "calibrated", "digest", "from_noise_model", "on_site", "relaxation"]

Matrix = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class QubitModel:
    """The noise of one qubit.

    Args:
        basis: the native gates; empty where gates run as they are written.
        errors: the superoperator after a gate, by its name: 4 × 4 complex numbers, columns stacked, as bytes.
        t1: relaxation time that a delay sees, seconds.
        t2: coherence time that a delay sees, seconds.
        readout_p01: probability that 0 is read as 1.
        readout_p10: probability that 1 is read as 0.
    """

    basis: tuple[str, ...] = ()
    errors: tuple[tuple[str, bytes], ...] = ()
    t1: float = math.inf
    t2: float = math.inf
    readout_p01: float = 0.0
    readout_p10: float = 0.0

    @property
    def relaxes(self) -> bool:
        """Whether a delay does anything."""
        return math.isfinite(self.t1) or math.isfinite(self.t2)

    def after(self, gate: str) -> Matrix | None:
        """The superoperator after a gate, or None."""
        found = dict(self.errors).get(gate)
        # A copy, since Aer reads a view of somebody else's memory in the wrong order.
        return None if found is None else np.frombuffer(found, dtype=np.complex128).reshape(4, 4).copy()

    def reading(self) -> Matrix | None:
        """The readout error as a superoperator just before the measurement, or None.

        What a measurement sees is the diagonal alone, on which a readout error is a stochastic matrix; so the counts are
        those of a bit flipped afterwards.
        """
        if self.readout_p01 == 0 and self.readout_p10 == 0:
            return None
        matrix = np.zeros((4, 4), dtype=np.complex128)
        matrix[0, 0], matrix[3, 0] = 1 - self.readout_p01, self.readout_p01
        matrix[0, 3], matrix[3, 3] = self.readout_p10, 1 - self.readout_p10
        return matrix


#: A qubit without noise.
IDEAL = QubitModel()


def on_site(noise: SiteNoise) -> QubitModel:
    """One site of a `DeviceNoise`: after each RX and RY as written, depolarisation and then relaxation."""
    error = relaxation(noise.t1, noise.t2, noise.gate_time) @ _depolarisation(noise.gate_error)
    errors = () if np.array_equal(error, np.eye(4)) else (("rx", error.tobytes()), ("ry", error.tobytes()))
    return QubitModel((), errors, noise.t1, noise.t2, noise.readout_p01, noise.readout_p10)


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


def from_noise_model(model: NoiseModel, qubits: Sequence[int] | None) -> tuple[dict[int, QubitModel], QubitModel]:
    """The qubits of an Aer noise model that have errors of their own, and the one that stands for all others.

    Errors of several qubits do not matter to circuits of one qubit. A qubit's own error of a gate replaces the one that
    is for all qubits, as in Aer.

    Args:
        model: the noise model.
        qubits: the qubits that are used, None for all.
    """
    basis = tuple(name for name in ONE_QUBIT_GATES if name in model.basis_gates)
    shared: dict[str, Matrix] = {}
    own: dict[int, dict[str, Matrix]] = {}
    for entry in model.to_dict()["errors"]:
        places = entry.get("gate_qubits")
        targets = [shared]
        if places is not None:
            used = [place[0] for place in places if len(place) == 1 and (qubits is None or place[0] in qubits)]
            targets = [own.setdefault(qubit, {}) for qubit in used]
        for name in entry["operations"]:
            if targets and (name == "measure" or name in ONE_QUBIT_GATES):
                matrix = _readout(entry) if entry["type"] == "roerror" else SuperOp(QuantumError.from_dict(entry)).data
                for target in targets:
                    target[name] = matrix
    ordered = {qubit: _with_errors(basis, shared | errors) for qubit, errors in sorted(own.items())}
    return ordered, _with_errors(basis, shared)


def digest(models: Sequence[QubitModel]) -> str:
    """The same for qubits whose noise is the same but for rounding."""
    told = [
        (
            model.basis,
            # Added to 0, −0 is 0. A model keeps its errors in the order in which they were added to it.
            [
                (name, (np.frombuffer(error, dtype=np.complex128).round(9) + 0.0).tolist())
                for name, error in sorted(model.errors)
            ],
            [f"{number:.9g}" for number in (model.t1, model.t2, model.readout_p01, model.readout_p10)],
        )
        for model in models
    ]
    return f"sha256 {hashlib.sha256(repr(told).encode()).hexdigest()[:16]}"


def relaxation(t1: float, t2: float, time: float) -> Matrix:
    """The superoperator of relaxation to |0⟩ and of dephasing over a time."""
    kept, coherent = math.exp(-time / t1), math.exp(-time / t2)
    matrix = np.diag(np.array([1, coherent, coherent, kept], dtype=np.complex128))
    matrix[0, 3] = 1 - kept
    return matrix


def _depolarisation(error: float) -> Matrix:
    """ρ ← (1 − 2e) ρ + 2e·½."""
    matrix = (1 - 2 * error) * np.eye(4, dtype=np.complex128)
    matrix[np.ix_([0, 3], [0, 3])] += error
    return matrix


def _readout(entry: dict[str, Any]) -> Matrix:
    return np.asarray(entry["probabilities"], dtype=np.complex128)


def _with_errors(basis: tuple[str, ...], errors: dict[str, Matrix]) -> QubitModel:
    read = errors.get("measure", np.eye(2)).real
    kept = tuple((name, np.ascontiguousarray(matrix).tobytes()) for name, matrix in errors.items() if name != "measure")
    return QubitModel(basis, kept, readout_p01=float(read[0, 1]), readout_p10=float(read[1, 0]))
