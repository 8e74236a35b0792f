"""What jobs cost on a device, before they are submitted."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from qlifq.backends.snapshots import QubitFacts

__all__ = ["Cost"]

#: What a job takes beyond its executions, seconds: loading, and initialising the device.
_JOB_SECONDS = 2.0
#: The pause between two executions where the device does not tell its own, seconds.
_PAUSE_SECONDS = 250e-6


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
    def of(cls, device: Any, qubits: Mapping[int, QubitFacts]) -> Self:
        """Read them off a Qiskit backend, for some of its qubits."""
        pause = getattr(device, "default_rep_delay", None)
        measure = device.target["measure"]
        reading = max(float(getattr(measure.get((qubit,)), "duration", None) or 0.0) for qubit in qubits)
        turning = max(facts.turn.time for facts in qubits.values())
        target = device.target
        tick = None if not target.dt else target.dt * max(target.pulse_alignment, target.acquire_alignment)
        return cls(_PAUSE_SECONDS if pause is None else float(pause), reading + turning, tick)

    def seconds(self, executions: int, delay: float) -> float:
        """Device seconds of one job, with the longest delay that one of its executions has."""
        return _JOB_SECONDS + executions * (self.pause + self.circuit + delay)
