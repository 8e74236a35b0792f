"""What a Qiskit backend says about its qubits, and the snapshots of devices that ship with Qiskit's runtime client.

Backends are read through the attributes of Qiskit's `BackendV2`, so that this module imports no vendor.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from qlifq._packages import load
from qlifq._validation import integer
from qlifq.backends.snapshot_files import read_files
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

__all__ = [
    "ONE_QUBIT_GATES",
    "GateFacts",
    "QubitFacts",
    "check_qubits",
    "choose",
    "load_backend",
    "load_snapshot",
    "native_gates",
    "read_qubits",
]

#: Gates of one qubit that devices have had as native ones, by the name that Qiskit gives them.
ONE_QUBIT_GATES = (
    "id",
    "rx",
    "ry",
    "rz",
    "p",
    "sx",
    "sxdg",
    "x",
    "y",
    "z",
    "h",
    "s",
    "sdg",
    "t",
    "tdg",
    "r",
    "u",
    "u1",
    "u2",
    "u3",
)

#: What IBM calls P(read 1 | 0) and P(read 0 | 1).
_READOUT = ("prob_meas1_prep0", "prob_meas0_prep1")


class GateFacts(NamedTuple):
    """One native gate: its duration in seconds, and its average infidelity in all and beyond what relaxation does."""

    time: float
    error: float
    excess: float


class QubitFacts(NamedTuple):
    """One qubit as it was calibrated: times in seconds, probabilities, and its native gates by name."""

    t1: float
    t2: float
    readout_p01: float
    readout_p10: float
    gates: Mapping[str, GateFacts]

    @property
    def turn(self) -> GateFacts:
        """All the native gates of one RY together: durations add up, and depolarisations multiply."""
        counted = native_gates(tuple(self.gates)) or {}
        gates = [self.gates[name] for name, times in counted.items() for _ in range(times)]
        kept = math.prod(1 - 2 * gate.excess for gate in gates)
        return GateFacts(sum(gate.time for gate in gates), sum(gate.error for gate in gates), (1 - kept) / 2)

    @property
    def cost(self) -> float:
        """The error of one decision, by which qubits are ranked."""
        return (self.readout_p01 + self.readout_p10) / 2 + self.turn.error


def read_qubits(backend: Any) -> dict[int, QubitFacts]:
    """The qubits of a Qiskit `BackendV2` that work, best first: by the errors of one readout and one RY, then by T1.

    A qubit without a measurement, or without native gates that an RY can be made of, is left out, and so is one whose gates
    always fail. Where a device reports readout errors, a qubit that reports none is faulty. What is not reported is without
    error: a target with no numbers at all is that of perfect qubits. T2 is cut to 2 T1, since snapshots hold pairs that no
    qubit can have. The readout error is asymmetric where the backend's properties say so, else what its target gives for both.

    Raises:
        QLIFError: if `backend` is none, runs a noise model that its target does not report, or no qubit works.
    """
    target = getattr(backend, "target", None)
    if target is None:
        raise DtypeError(f"Argument `backend` must be a Qiskit BackendV2, but is {type(backend).__name__}.")
    properties = _properties(backend)
    faulty = set() if properties is None else set(properties.faulty_qubits())
    names = _gate_names(target)
    qubits = range(target.num_qubits or 0)
    readouts = {qubit: _offered(target, "measure", qubit) for qubit in qubits}
    reported = any(readout is not None and readout.error is not None for readout in readouts.values())
    found = {}
    for qubit in qubits:
        readout = readouts[qubit]
        if qubit in faulty or readout is None or (reported and readout.error is None):
            continue
        offered = {name: _offered(target, key, qubit) for name, key in names.items()}
        gates = {name: gate for name, gate in offered.items() if gate is not None}
        facts = _qubit_facts(target, properties, qubit, readout, gates)
        if facts is not None:
            found[qubit] = facts
    if not found:
        raise ArgumentError(
            "Argument `backend` must have a qubit that works, with a measurement and gates that Qiskit can make a rotation of, "
            f"but {backend.name} has none: it offers {', '.join(sorted(target.operation_names)) or 'nothing'}."
        )
    if getattr(getattr(backend, "options", None), "noise_model", None) is not None and not _reports(found.values()):
        raise UnsupportedError(
            f"Argument `backend` must tell its noise in its target, but {backend.name} has it in a noise model: "
            'give that to get("aer", noise=...).'
        )
    return dict(sorted(found.items(), key=lambda item: (item[1].cost, -item[1].t1, item[0])))


@lru_cache(maxsize=128)
def native_gates(basis: tuple[str, ...]) -> Mapping[str, int] | None:
    """How many of each gate Qiskit makes an RY of, None where it cannot."""
    qiskit, translation = (
        load(module, package="qiskit", feature="Reading a Qiskit backend", install="qiskit")
        for module in ("qiskit", "qlifq.backends.translation")
    )
    circuit = qiskit.QuantumCircuit(1)
    # The angle stays open, since that of a decision does, and Qiskit takes other gates for a constant.
    circuit.ry(qiskit.circuit.Parameter("angle"), 0)
    try:
        native = translation.to_native(circuit, basis)
    except qiskit.exceptions.QiskitError:
        return None
    return MappingProxyType(dict(native.count_ops()))


def choose(found: Mapping[int, QubitFacts], qubits: object) -> dict[int, QubitFacts]:
    """Those of the given qubits, in their order, or all where `qubits` is None."""
    if qubits is None:
        return dict(found)
    chosen = check_qubits(qubits)
    for qubit in chosen:
        if qubit not in found:
            raise ArgumentError(f"Argument `qubits` must hold qubits that the device has and that work, but holds {qubit}.")
    return {qubit: found[qubit] for qubit in chosen}


def check_qubits(qubits: object) -> tuple[int, ...]:
    """Distinct qubit numbers, at least one."""
    if isinstance(qubits, str) or not isinstance(qubits, Sequence):
        raise DtypeError(f"Argument `qubits` must be a list of qubit numbers, but is {qubits!r}.")
    chosen = tuple(integer("qubits", qubit, at_least=0) for qubit in qubits)
    if not chosen:
        raise ShapeError("Argument `qubits` must hold at least one qubit, but is empty.")
    if len(set(chosen)) < len(chosen):
        raise ArgumentError(f"Argument `qubits` must hold each qubit once, but is {list(chosen)}.")
    return chosen


def load_snapshot(name: str) -> Mapping[int, QubitFacts]:
    """The qubits of a snapshot, best first, by its name, such as "fake_torino"; see `load_backend`."""
    return _read_snapshot(name)


def load_backend(name: str, argument: str = "noise") -> Any:
    """A snapshot of a device as Qiskit's runtime client has it.

    Args:
        name: such as "fake_torino".
        argument: what the user gave it as, for the error.

    Raises:
        QLIFError: for a name that no snapshot has, or without the package `qiskit-ibm-runtime`.
    """
    provider = load(
        "qiskit_ibm_runtime.fake_provider",
        package="qiskit_ibm_runtime",
        feature=f"The snapshot {name}",
        install="'qlifq[ibm]'",
    )
    classes = {_snapshot_name(item): item for item in dir(provider) if re.fullmatch("Fake(?!Provider)[A-Z]\\w*", item)}
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=4, cutoff=0.5) or sorted(classes)
        raise ArgumentError(
            f"Argument `{argument}` must be the name of a snapshot such as {', '.join(close)}, but is {name!r}."
        )
    return _instance(provider, classes[name])


@lru_cache(maxsize=8)
def _instance(provider: Any, class_name: str) -> Any:
    # Reading the files of 133 qubits takes some 0.2 s, so what is read is kept.
    return getattr(provider, class_name)()


@lru_cache(maxsize=8)
def _read_snapshot(name: str) -> Mapping[int, QubitFacts]:
    return MappingProxyType(read_qubits(read_files(name, ONE_QUBIT_GATES) or load_backend(name)))


def _snapshot_name(class_name: str) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", class_name.removesuffix("V2")).lower()


class _Offered(NamedTuple):
    """What a target says of one instruction on one qubit; None where it does not say."""

    duration: float | None
    error: float | None


def _gate_names(target: Any) -> dict[str, str]:
    """The one-qubit gates that a target offers, by Qiskit's name of each, and what the target calls it.

    A gate whose angle is fixed is another gate than its name says, and is left out.
    """
    found: dict[str, str] = {}
    for key in target.operation_names:
        operation = target.operation_from_name(key)
        name = getattr(operation, "name", None)
        if name in ONE_QUBIT_GATES and not any(isinstance(value, float | int) for value in operation.params):
            found.setdefault(name, key)
    return {name: found[name] for name in ONE_QUBIT_GATES if name in found}


def _offered(target: Any, key: str, qubit: int) -> _Offered | None:
    """What a target says of an instruction on a qubit, or None where it does not offer it there."""
    if key not in target.operation_names:
        return None
    places = target[key]
    # An instruction without places is offered on every qubit, and one without properties is perfect and takes no time.
    place = (qubit,) if (qubit,) in places else None
    if place not in places:
        return None
    said = places[place]
    return _Offered(None, None) if said is None else _Offered(said.duration, said.error)


def _qubit_facts(
    target: Any, properties: Any, qubit: int, readout: _Offered, gates: Mapping[str, _Offered]
) -> QubitFacts | None:
    """The facts about one qubit, or None where it cannot be turned or has impossible times."""
    used = native_gates(tuple(gates))
    if used is None or any((gates[name].error or 0.0) >= 1.0 for name in used):
        return None
    times = None if target.qubit_properties is None else target.qubit_properties[qubit]
    t1 = math.inf if times is None or times.t1 is None else float(times.t1)
    t2 = 2 * t1 if times is None or times.t2 is None else min(float(times.t2), 2 * t1)
    if not (t1 > 0 and t2 > 0):
        return None
    measured = {} if properties is None else properties.qubit_property(qubit)
    p01, p10 = (float(measured[name][0]) if name in measured else float(readout.error or 0.0) for name in _READOUT)
    return QubitFacts(t1, t2, p01, p10, {name: _gate_facts(gate, t1, t2) for name, gate in gates.items()})


def _reports(found: Iterable[QubitFacts]) -> bool:
    """Whether any qubit has any error."""
    return any(
        facts.readout_p01 or facts.readout_p10 or math.isfinite(facts.t1) or any(gate.error for gate in facts.gates.values())
        for facts in found
    )


def _properties(backend: Any) -> Any:
    read = getattr(backend, "properties", None)
    return read() if callable(read) else None


def _gate_facts(gate: _Offered, t1: float, t2: float) -> GateFacts:
    time = float(gate.duration or 0.0)
    error = float(gate.error or 0.0)
    # The average fidelity of relaxation alone is F; the depolarisation that brings it down to what was reported is
    # (1 − 2e) F + 2e·½ = 1 − error.
    relaxed = 0.5 + (2 * math.exp(-time / t2) + math.exp(-time / t1)) / 6
    return GateFacts(time, error, min(max((relaxed - 1 + error) / (2 * relaxed - 1), 0.0), 0.5))
