"""What jobs cost on a device, before they are submitted."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from qlifq.backends.snapshots import QubitFacts, read_qubits
from qlifq.circuits import SpikeTrainCircuit

__all__ = ["Cost", "Device"]

#: What a job takes beyond its executions, seconds: loading, and initialising the device.
_JOB_SECONDS = 2.0
#: The pause between two executions where the device does not tell its own, seconds.
_PAUSE_SECONDS = 250e-6
#: From a measured bit to a rotation that depends on it, seconds; no device reports it.
_FEED_FORWARD_SECONDS = 0.65e-6


class Device(NamedTuple):
    """What a device says about itself, read once: the client may send requests again, without a deadline.

    Args:
        qubits: those that work, best first.
        target: Qiskit's description of its gates.
        pause: between two executions, seconds; None where it does not say.
        translation: what Qiskit's transpiler translates to its gates with; None for its own.
    """

    qubits: Mapping[int, QubitFacts]
    target: Any
    pause: float | None
    translation: str | None

    @classmethod
    def read(cls, backend: Any) -> Self:
        """Read it off a Qiskit backend."""
        qubits, target = read_qubits(backend), backend.target
        pause = getattr(backend, "default_rep_delay", None)
        translation = getattr(backend, "get_translation_stage_plugin", lambda: None)()
        return cls(qubits, target, None if pause is None else float(pause), translation)


class Cost(NamedTuple):
    """The durations of a device, seconds.

    Args:
        pause: between two executions.
        reading: a measurement on the slowest qubit.
        rotation: two pulses on the slowest qubit.
        reset: on the slowest qubit.
        tick: of which delays are multiples; None where the device does not say.
    """

    pause: float
    reading: float
    rotation: float
    reset: float
    tick: float | None

    @classmethod
    def of(cls, device: Device, qubits: Mapping[int, QubitFacts]) -> Self:
        """Those of some of its qubits."""
        reading, reset = (_longest(device.target, name, qubits) for name in ("measure", "reset"))
        turning = max(facts.turn.time for facts in qubits.values())
        target = device.target
        tick = None if not target.dt else target.dt * max(target.pulse_alignment, target.acquire_alignment)
        return cls(_PAUSE_SECONDS if device.pause is None else device.pause, reading, turning, reset, tick)

    def seconds(self, executions: int, delay: float) -> float:
        """Device seconds of one job, with the longest delay that one of its executions has."""
        return _JOB_SECONDS + executions * (self.pause + self.reading + self.rotation + delay)

    def train_seconds(self, executions: int, train: SpikeTrainCircuit) -> float:
        """Device seconds of one job of spike trains; qubits work side by side, and a conditional takes its time either way."""
        conditional = len(train.conditions) * self.rotation + sum(map(bool, train.by_step)) * _FEED_FORWARD_SECONDS
        steps = train.steps * (self.reading + self.rotation + train.reset * self.reset)
        return _JOB_SECONDS + executions * (self.pause + steps + conditional)


def _longest(target: Any, name: str, qubits: Iterable[int]) -> float:
    """How long an instruction takes on the slowest of some qubits, 0 where the device does not say."""
    places = target[name] if name in target.operation_names else {}
    return max(float(getattr((places or {}).get((qubit,)), "duration", None) or 0.0) for qubit in qubits)
