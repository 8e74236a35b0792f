"""What jobs cost on a device, before they are submitted."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from qlifq.backends.snapshots import QubitFacts, read_qubits

__all__ = ["Cost", "Device"]

#: What a job takes beyond its executions, seconds: loading, and initialising the device.
_JOB_SECONDS = 2.0
#: The pause between two executions where the device does not tell its own, seconds.
_PAUSE_SECONDS = 250e-6


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
        circuit: of two pulses and a measurement on the slowest qubit.
        tick: of which delays are multiples; None where the device does not say.
    """

    pause: float
    circuit: float
    tick: float | None

    @classmethod
    def of(cls, device: Device, qubits: Mapping[int, QubitFacts]) -> Self:
        """Those of some of its qubits."""
        measure = device.target["measure"]
        reading = max(float(getattr(measure.get((qubit,)), "duration", None) or 0.0) for qubit in qubits)
        turning = max(facts.turn.time for facts in qubits.values())
        target = device.target
        tick = None if not target.dt else target.dt * max(target.pulse_alignment, target.acquire_alignment)
        return cls(_PAUSE_SECONDS if device.pause is None else device.pause, reading + turning, tick)

    def seconds(self, executions: int, delay: float) -> float:
        """Device seconds of one job, with the longest delay that one of its executions has."""
        return _JOB_SECONDS + executions * (self.pause + self.circuit + delay)
