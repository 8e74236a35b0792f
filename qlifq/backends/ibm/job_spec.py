"""What one job runs, in plain numbers: laying sites on qubits, splitting at the service's limits, and a digest of it all."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qlifq.circuits import Gate, Slot, SpikeCircuit
from qlifq.circuits.packing import Floats

__all__ = ["MAX_EXECUTIONS", "Counts", "DelayGrid", "JobSpec", "job_sizes", "laid_out"]

Counts = npt.NDArray[np.int64]

#: The most parameter sets × shots that the service takes in one job.
MAX_EXECUTIONS = 10_000_000
#: The most bytes of measured bits that one job shall bring back, since the service refuses results that are too large.
_RESULT_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class JobSpec:
    """One job: a circuit on some qubits, its parameter sets, and what distinguishes it from every other.

    Args:
        circuit: what runs on each qubit.
        values: `(sets, width, num_angles)`, radians and seconds; delays as the device can do them.
        qubits: `(width,)`, the physical qubits.
        shots: per set.
        seed: of the call; on a device it draws nothing, but distinguishes one call from the next.
        part: which of the jobs of its call this is.
        device: name of the device.
    """

    circuit: SpikeCircuit
    values: Floats
    qubits: tuple[int, ...]
    shots: int
    seed: int | None
    part: int
    device: str

    @property
    def sets(self) -> int:
        """How many parameter sets there are."""
        return len(self.values)

    @property
    def executions(self) -> int:
        """What the service counts."""
        return self.sets * self.shots

    @property
    def longest_delay(self) -> float:
        """Seconds that the longest of its executions waits."""
        slots = self.circuit.delay_slots
        constant = sum(
            float(gate.angle) for gate in self.circuit.gates if gate.name == "Delay" and not isinstance(gate.angle, Slot)
        )
        return constant + (float(self.values[:, :, slots].sum(axis=-1).max()) if slots else 0.0)

    @cached_property
    def frame(self) -> str:
        """A digest of everything but the angles."""
        content = (self.circuit.gates, self.values.shape, self.qubits, self.shots, self.seed, self.part, self.device)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """A digest of everything."""
        return hashlib.sha256(self.frame.encode() + np.ascontiguousarray(self.values, dtype="<f8").tobytes()).hexdigest()

    def groups(self) -> list[npt.NDArray[np.intp]]:
        """The sets that share a circuit, since a delay is part of the circuit and no parameter of it."""
        slots = self.circuit.delay_slots
        if not slots:
            return [np.arange(self.sets)]
        delays = self.values[:, :, slots].reshape(self.sets, -1)
        _, inverse = np.unique(delays, axis=0, return_inverse=True)
        return [np.flatnonzero(inverse == number) for number in range(inverse.max() + 1)]


class DelayGrid:
    """Delays as a device can do them.

    Args:
        tick: seconds of which a delay is a multiple; None where the device does not say.
        step: the user's own, coarser, so that fewer circuits differ; None for the tick.
    """

    def __init__(self, tick: float | None, step: float | None) -> None:
        self.tick = tick
        whole = None if tick is None or step is None else max(1, round(step / tick)) * tick
        self.step = whole if whole is not None else (tick if step is None else step)

    def rounded(self, circuit: SpikeCircuit, values: Floats) -> tuple[Floats, float | None]:
        """The values with their delays rounded, and the greatest change in seconds; None without delays."""
        slots = circuit.delay_slots
        if not slots:
            return values, None
        if self.step is None:
            return values, 0.0
        done = values.copy()
        done[..., slots] = np.round(values[..., slots] / self.step) * self.step
        return done, float(np.abs(done - values).max())

    def constants(self, circuit: SpikeCircuit) -> SpikeCircuit:
        """The circuit with its constant delays rounded in the same way."""
        if self.step is None:
            return circuit
        gates = tuple(
            Gate("Delay", round(gate.angle / self.step) * self.step)
            if gate.name == "Delay" and not isinstance(gate.angle, Slot)
            else gate
            for gate in circuit.gates
        )
        return SpikeCircuit(circuit.name, gates)


def laid_out(values: Floats, width: int) -> Floats:
    """Sites on qubits: `(batch, sites, num_angles)` to `(batch × turns, width, num_angles)`.

    Site s goes to qubit s mod width in turn ⌊s / width⌋; what the last turn lacks is filled with zeros.
    """
    batch, sites, slots = values.shape
    turns = -(-sites // width)
    filled = np.zeros((batch, turns * width, slots))
    filled[:, :sites] = values
    return filled.reshape(batch * turns, width, slots)


def job_sizes(sets: int, shots: int, width: int) -> Sequence[int]:
    """How many parameter sets each job takes."""
    most = max(1, min(MAX_EXECUTIONS // shots, _RESULT_BYTES // (shots * -(-width // 8)) or 1))
    whole, rest = divmod(sets, most)
    return [most] * whole + [rest] * (rest > 0)
