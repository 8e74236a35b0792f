"""What one job runs, in plain numbers: laying sites on qubits, splitting at the service's limits, and a digest of it all."""

import abc
import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from qlifq.circuits import Gate, Slot, SpikeCircuit
from qlifq.circuits.packing import Floats

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qlifq.backends.ibm.cost import Cost
    from qlifq.backends.interface import Backend

__all__ = [
    "MAX_EXECUTIONS",
    "RESULT_BYTES",
    "DecisionJob",
    "DelayGrid",
    "JobSpec",
    "Result",
    "WrittenCircuit",
    "job_sizes",
    "laid_out",
]

#: What a job brings back, as the journal keeps it: the ones of every set and qubit, or packed spike trains.
Result = npt.NDArray[np.integer[Any]]

#: The most parameter sets × shots that the service takes in one job.
MAX_EXECUTIONS = 10_000_000
#: The most bytes of measured bits that one job shall bring back, since the service refuses results that are too large.
RESULT_BYTES = 2**26


class WrittenCircuit(NamedTuple):
    """A circuit of a job before it is transpiled, with its parameter sets.

    Args:
        key: equal for equal circuits.
        circuit: Qiskit's.
        values: `(sets, parameters)`.
        sets: `(sets,)`, which sets of the job these are.
    """

    key: Hashable
    circuit: "QuantumCircuit"
    values: Floats
    sets: npt.NDArray[np.intp]


class JobSpec(abc.ABC):
    """One job: circuits on some qubits, their parameter sets, and what distinguishes it from every other.

    Attributes:
        values: `(sets, width, num_angles)`, radians and seconds; delays as the device can do them.
        qubits: `(width,)`, the physical qubits.
        shots: per set.
        seed: of the call; on a device it draws nothing, but distinguishes one call from the next.
        part: which of the jobs of its call this is.
        device: name of the device.
        options: of the device and its sampler that change what a result means, such as "fractional".
        metadata: what its circuits carry beside the request, so that a result can be read without the specification.
    """

    values: Floats
    qubits: tuple[int, ...]
    shots: int
    seed: int | None
    part: int
    device: str
    options: tuple[str, ...] = ()
    metadata: Mapping[str, object] = MappingProxyType({})

    @property
    @abc.abstractmethod
    def structure(self) -> object:
        """What the circuits are without their angles; its `repr` goes into the digest."""

    @property
    @abc.abstractmethod
    def drawing(self) -> str:
        """What runs on each qubit, for people."""

    @abc.abstractmethod
    def written(self) -> list[WrittenCircuit]:
        """The circuits with their parameter sets."""

    @abc.abstractmethod
    def simulate(self, backend: "Backend", seed: int | None) -> Result:
        """The result of a run on a backend of this machine, one site per qubit."""

    @abc.abstractmethod
    def seconds(self, cost: "Cost") -> float:
        """Device seconds that it is expected to take."""

    @property
    def sets(self) -> int:
        """How many parameter sets there are."""
        return len(self.values)

    @property
    def executions(self) -> int:
        """What the service counts."""
        return self.sets * self.shots

    @cached_property
    def frame(self) -> str:
        """A digest of everything but the angles."""
        # Without options the digest is that of a journal from before there were any.
        content = (self.structure, self.values.shape, self.qubits, self.shots, self.seed, self.part, self.device)
        known = (*content, self.options) if self.options else content
        return hashlib.sha256(repr(known).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """A digest of everything."""
        return hashlib.sha256(self.frame.encode() + np.ascontiguousarray(self.values, dtype="<f8").tobytes()).hexdigest()


@final
@dataclass(frozen=True, eq=False)
class DecisionJob(JobSpec):
    """Single spike decisions: a circuit that runs on each qubit. For the other arguments see `JobSpec`.

    Args:
        circuit: what runs on each qubit.
    """

    circuit: SpikeCircuit
    values: Floats
    qubits: tuple[int, ...]
    shots: int
    seed: int | None
    part: int
    device: str
    options: tuple[str, ...] = ()

    @property
    def structure(self) -> object:
        """See `JobSpec.structure`."""
        return self.circuit.gates

    @property
    def drawing(self) -> str:
        """See `JobSpec.drawing`."""
        return self.circuit.draw()

    def seconds(self, cost: "Cost") -> float:
        """See `JobSpec.seconds`."""
        return cost.seconds(self.executions, self.longest_delay)

    def simulate(self, backend: "Backend", seed: int | None) -> Result:
        """The ones of every set and qubit, `(sets, width)`."""
        # The journal reads jobs without torch, which takes a second to import.
        import torch

        outcome = backend.run(self.circuit, torch.from_numpy(self.values), shots=self.shots, seed=seed)
        assert outcome.ones is not None
        return np.asarray(outcome.ones.numpy())

    @property
    def longest_delay(self) -> float:
        """Seconds that the longest of its executions waits."""
        slots = self.circuit.delay_slots
        constant = sum(
            float(gate.angle) for gate in self.circuit.gates if gate.name == "Delay" and not isinstance(gate.angle, Slot)
        )
        return constant + (float(self.values[:, :, slots].sum(axis=-1).max()) if slots else 0.0)

    def written(self) -> list[WrittenCircuit]:
        """One circuit for every group of equal delays, since a delay is part of the circuit and no parameter of it."""
        slots = self.circuit.delay_slots
        rotations = [slot for slot in range(self.circuit.num_angles) if slot not in slots]
        written = []
        for sets in self.groups():
            delays = self.values[sets[0]][:, slots]
            values = self.values[sets][:, :, rotations].reshape(len(sets), -1)
            key = (self.circuit.gates, self.qubits, delays.tobytes())
            written.append(WrittenCircuit(key, self._with_delays(delays), values, sets))
        return written

    def groups(self) -> list[npt.NDArray[np.intp]]:
        """The sets that share a circuit."""
        slots = self.circuit.delay_slots
        if not slots:
            return [np.arange(self.sets)]
        delays = self.values[:, :, slots].reshape(self.sets, -1)
        _, inverse = np.unique(delays, axis=0, return_inverse=True)
        return [np.flatnonzero(inverse == number) for number in range(inverse.max() + 1)]

    def _with_delays(self, delays: Floats) -> "QuantumCircuit":
        """The circuit on all qubits with its delays, `(width, delay slots)`, in place."""
        written, slots = self.circuit.to_qiskit(len(self.qubits)), self.circuit.delay_slots
        angle = {parameter.index: parameter for parameter in written.parameters}
        known = {
            angle[copy * self.circuit.num_angles + slot]: float(delays[copy, place])
            for copy in range(len(self.qubits))
            for place, slot in enumerate(slots)
        }
        return written.assign_parameters(known) if known else written


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
    most = max(1, min(MAX_EXECUTIONS // shots, RESULT_BYTES // (shots * -(-width // 8)) or 1))
    whole, rest = divmod(sets, most)
    return [most] * whole + [rest] * (rest > 0)
