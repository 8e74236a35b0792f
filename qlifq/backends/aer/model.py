"""An Aer noise model as plain numbers, qubit by qubit.

Aer says at no place what a model may hold, and drops in silence what it does not know. So a model is read entry by entry:
each is applied, is of no instruction that a circuit of one qubit runs, or is refused by its name.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from qiskit.circuit import Delay
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import NoiseModel, RelaxationNoisePass

from qlifq.backends.aer.noise import Matrix, QubitModel
from qlifq.backends.snapshots import ONE_QUBIT_GATES
from qlifq.errors import ArgumentError, UnsupportedError

__all__ = ["from_noise_model"]

#: What Aer keeps in a model: what is read here, and what is a summary of that.
_KNOWN = {
    "_basis_gates",
    "_default_quantum_errors",
    "_local_quantum_errors",
    "_default_readout_error",
    "_local_readout_errors",
    "_custom_noise_passes",
    "_noise_instructions",
    "_noise_qubits",
}

#: Stands for the readout error beside the names of instructions: Aer keeps it apart from a quantum error on `measure`.
_READOUT = "readout"

#: What a circuit of one qubit runs. Nothing else acts in it: it has no gates of two qubits.
_RUN = {*ONE_QUBIT_GATES, "delay", "measure", "reset", _READOUT}

#: How far from a channel an error may be by rounding.
_TOLERANCE = 1e-6


class _Entry(NamedTuple):
    """One error of a model.

    Args:
        instruction: the name or the label of what it acts at.
        qubits: where; None for all qubits.
        error: Aer's object.
    """

    instruction: str
    qubits: tuple[int, ...] | None
    error: Any

    @property
    def size(self) -> int:
        """How many qubits it acts on."""
        return int(self.error.number_of_qubits if self.instruction == _READOUT else self.error.num_qubits)

    def __str__(self) -> str:
        place = "all qubits" if self.qubits is None else f"qubits {', '.join(map(str, self.qubits))}"
        kind = type(self.error).__name__
        return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind} on `{self.instruction}` of {place}"


def from_noise_model(model: NoiseModel, qubits: Sequence[int] | None) -> tuple[dict[int, QubitModel], QubitModel]:
    """The qubits of an Aer noise model that have noise of their own, and the one that stands for all others.

    A circuit runs in the one-qubit gates among the model's basis gates. A qubit's own error of an instruction replaces the one
    that is for all qubits, and its readout error that for all qubits, as in Aer; the two do not replace each other.

    Args:
        model: the noise model.
        qubits: the qubits that are used, None for all.

    Raises:
        QLIFError: for anything in the model that would have to be left out.
    """
    for name, value in vars(model).items():
        if name not in _KNOWN and (len(value) if isinstance(value, Sized) else value is not None):
            raise UnsupportedError(f"Argument `noise` must be a NoiseModel as Aer builds it, but holds an unknown `{name}`.")
    basis = tuple(name for name in ONE_QUBIT_GATES if name in model.basis_gates)
    shared: dict[str, Matrix] = {}
    own: dict[int, dict[str, Matrix]] = {}
    for entry in _entries(model):
        if entry.qubits is not None and qubits is not None and set(entry.qubits).isdisjoint(qubits):
            continue
        if entry.instruction in _RUN or entry.size == 1:
            target = shared if entry.qubits is None else own.setdefault(entry.qubits[0], {})
            target[entry.instruction] = _matrix(entry)
    relaxations = _relaxations(model)
    chosen = {*own, *relaxations} if qubits is None else {*own, *relaxations} & set(qubits)
    models = {qubit: _with_errors(basis, shared | own.get(qubit, {}), relaxations.get(qubit)) for qubit in sorted(chosen)}
    return models, _with_errors(basis, shared, None)


def _entries(model: NoiseModel) -> Iterator[_Entry]:
    """Every error of a model, those for all qubits first."""
    attributes = vars(model)
    for name, error in attributes.get("_default_quantum_errors", {}).items():
        yield _Entry(name, None, error)
    for name, errors in attributes.get("_local_quantum_errors", {}).items():
        for qubits, error in errors.items():
            yield _Entry(name, qubits, error)
    if attributes.get("_default_readout_error") is not None:
        yield _Entry(_READOUT, None, attributes["_default_readout_error"])
    for qubits, error in attributes.get("_local_readout_errors", {}).items():
        yield _Entry(_READOUT, qubits, error)


def _matrix(entry: _Entry) -> Matrix:
    """A readout error as its matrix, rows what was there and columns what is read; any other as a superoperator."""
    if entry.instruction not in _RUN:
        raise UnsupportedError(
            f"Argument `noise` must have errors on instructions that a circuit of one qubit runs, but has {entry}: "
            "no gate has that name or label; add the error to a gate of the basis, to `delay`, `measure` or `reset`."
        )
    if entry.size != 1:
        raise UnsupportedError(
            f"Argument `noise` must have errors of one qubit on `{entry.instruction}`, but has {entry}: "
            "Aer applies none of several qubits there; add one for each qubit."
        )
    if entry.instruction == _READOUT:
        return np.asarray(entry.error.probabilities, dtype=np.complex128)
    try:
        channel = SuperOp(entry.error)
        physical = bool(channel.is_cptp(atol=_TOLERANCE, rtol=0.0))
    except Exception as error:
        raise UnsupportedError(
            f"Argument `noise` must have errors that Qiskit can turn into a SuperOp, but has {entry}: {error}"
        ) from error
    if not physical:
        raise ArgumentError(
            f"Argument `noise` must have errors that a qubit can have, but has {entry}, which is not completely positive and "
            "trace-preserving."
        )
    return np.asarray(channel.data, dtype=np.complex128)


class _Relaxation(NamedTuple):
    """What a delay does to a qubit: T1 and T2 in seconds, and the population of |1⟩ that they lead to."""

    t1: float
    t2: float
    excited: float


def _relaxations(model: NoiseModel) -> dict[int, _Relaxation]:
    """The relaxation of each qubit in delays, from the noise pass that `NoiseModel.from_backend` adds."""
    passes = vars(model).get("_custom_noise_passes")
    if not passes:
        return {}
    known = [each for each in passes if type(each) is RelaxationNoisePass and each._ops == (Delay,)]
    if len(known) != 1 or len(passes) != 1:
        listed = ", ".join(type(each).__name__ for each in passes)
        raise UnsupportedError(
            "Argument `noise` must have no noise pass but one RelaxationNoisePass with op_types=Delay, but has "
            f"{listed}: what a gate does can be added by add_quantum_error."
        )
    columns = [np.asarray(column, dtype=np.float64) for column in (known[0]._t1s, known[0]._t2s, known[0]._p1s)]
    found = {qubit: _Relaxation(*map(float, row)) for qubit, row in enumerate(zip(*columns, strict=True))}
    for qubit, (t1, t2, excited) in found.items():
        if not (t1 > 0 and 0 < t2 <= 2 * t1 and 0 <= excited <= 1):
            raise ArgumentError(
                "Argument `noise` must have T1 above 0, T2 above 0 and at most 2 T1, and an excited population from 0 to 1 in "
                f"its RelaxationNoisePass, but has {t1:g} s, {t2:g} s and {excited:g} at qubit {qubit}."
            )
    return found


def _with_errors(basis: tuple[str, ...], errors: dict[str, Matrix], relaxation: _Relaxation | None) -> QubitModel:
    read = errors.get(_READOUT, np.eye(2)).real
    kept = tuple((name, np.ascontiguousarray(matrix).tobytes()) for name, matrix in errors.items() if name != _READOUT)
    model = QubitModel(
        basis,
        kept,
        readout_p01=float(read[0, 1]),
        readout_p10=float(read[1, 0]),
        delays_known=relaxation is not None or "delay" in errors,
    )
    return model if relaxation is None else replace(model, **relaxation._asdict())
