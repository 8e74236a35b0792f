"""Spike trains as jobs: one dynamic circuit for every neuron of a job, split at the limits of the service."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self, final

import numpy as np
import numpy.typing as npt
import torch

from qlifq.backends.batching import shot_parts
from qlifq.backends.ibm import job_spec
from qlifq.backends.ibm.cost import Cost
from qlifq.backends.ibm.job_spec import RESULT_BYTES, JobSpec, Result, WrittenCircuit
from qlifq.circuits import Condition, SpikeTrainCircuit
from qlifq.circuits.packing import Floats
from qlifq.circuits.trains.circuit import REGISTER_BITS
from qlifq.errors import UnsupportedError

if TYPE_CHECKING:
    from qiskit import ClassicalRegister
    from qiskit.circuit.classical.expr import Expr

    from qlifq.backends.interface import Backend

__all__ = ["MAX_BROADCASTS", "PlacedJob", "TrainJob", "broadcasts", "spikes_of", "split"]

#: How many measured bits one job can pass on to its conditions, each by itself, as IBM's guide "Execute dynamic circuits" says.
MAX_BROADCASTS = 2400
#: The most instructions of the control system per qubit in one job, and what a rotation, and a measurement with a reset, take.
_MAX_INSTRUCTIONS = 26_800_000
_PER_ROTATION, _PER_STEP = 7, 20


@final
@dataclass(frozen=True, eq=False)
class TrainJob(JobSpec):
    """Spike trains of some sites: a dynamic circuit for each element of the batch. For the other arguments see `JobSpec`.

    Args:
        train: what runs, one site per qubit.
        values: its angles, `(batch, sites, steps + conditions)`.
    """

    train: SpikeTrainCircuit
    values: Floats
    qubits: tuple[int, ...]
    shots: int
    seed: int | None
    part: int
    device: str

    @classmethod
    def of(
        cls, train: SpikeTrainCircuit, qubits: tuple[int, ...], shots: int, seed: int | None, part: int, device: str
    ) -> Self:
        """The job of a train."""
        values = torch.cat((train.base, train.angles)).permute(1, 2, 0).to("cpu", torch.float64).contiguous().numpy()
        return cls(train, values, qubits, shots, seed, part, device)

    @property
    def structure(self) -> object:
        """See `JobSpec.structure`."""
        return "train", self.train.reset, self.train.steps, self.train.conditions

    @property
    def drawing(self) -> str:
        """See `JobSpec.drawing`."""
        return str(self.train)

    @property
    def metadata(self) -> dict[str, object]:  # type: ignore[override]
        """See `JobSpec.metadata`: how many steps the trains have."""
        return {"steps": self.train.steps}

    def seconds(self, cost: Cost) -> float:
        """See `JobSpec.seconds`."""
        return cost.train_seconds(self.executions, self.train)

    def simulate(self, backend: "Backend", seed: int | None) -> Result:
        """The spikes, `(sets, shots, bytes)`: the bits of a shot in the order of (site, step)."""
        spikes = backend.run_train(self.train, shots=self.shots, seed=seed).spikes
        return np.packbits(spikes.permute(2, 0, 3, 1).flatten(2).numpy(), axis=-1)

    def written(self) -> list[WrittenCircuit]:
        """One circuit for every group of elements that lack the same gates, since an angle of 0 is no gate."""
        from qiskit.circuit import ParameterVector

        from qlifq.circuits.trains.to_qiskit import empty, write

        lacking, inverse = np.unique((self.values != 0).reshape(self.sets, -1), axis=0, return_inverse=True)
        written = []
        for number in range(len(lacking)):
            sets = np.flatnonzero(inverse.reshape(-1) == number)
            programs = [list(self.train.instructions(int(element))) for element in sets]
            values = np.array([[each.angle for each in program if each.name == "RY"] for program in programs])
            angle = iter(ParameterVector("angle", values.shape[1]))
            circuit, registers = empty(self.train)
            operations = (each._replace(angle=next(angle)) if each.name == "RY" else each for each in programs[0])
            write(circuit, registers, operations, _any_bit)
            key = (repr(self.structure), self.qubits, lacking[number].tobytes())
            written.append(WrittenCircuit(key, circuit, values, sets))
        return written


class PlacedJob(NamedTuple):
    """A job of a call, and which of its shots, elements and sites it runs."""

    job: TrainJob
    shots: slice
    elements: slice
    sites: slice


def broadcasts(train: SpikeTrainCircuit) -> npt.NDArray[np.int64]:
    """How many of its bits each site has passed on, `(batch, sites)`: what a condition needs is sent once, when it was read."""
    used = (train.angles != 0).cpu().numpy()
    changes = np.zeros((train.steps + 1, train.batch, train.sites), dtype=np.int64)
    for condition, users in zip(train.conditions, used, strict=True):
        sent = (
            users
            if condition.source is None
            else np.eye(train.sites, dtype=np.bool_)[condition.source] & users.any(-1)[:, None]
        )
        changes[condition.first] += sent
        changes[(condition.step if condition.newest else condition.last + 1)] -= sent
    return np.asarray((changes[:-1].cumsum(axis=0) > 0).sum(axis=0))


def _any_bit(condition: Condition, registers: Sequence["ClassicalRegister"]) -> "Expr":
    """A condition as one on single bits, each of which is passed on once; a register would be again whenever it changed."""
    from qiskit.circuit.classical import expr

    def any_of(first: int, last: int) -> expr.Expr:
        bits = (registers[step // REGISTER_BITS][step % REGISTER_BITS] for step in range(first, last + 1))
        return functools.reduce(expr.logic_or, map(expr.lift, bits))

    inside = any_of(condition.first, condition.last)
    later = any_of(condition.last + 1, condition.step - 1) if condition.later else None
    return inside if later is None else expr.logic_and(inside, expr.logic_not(later))


def _room(train: SpikeTrainCircuit, qubits: int, device: str) -> int:
    """How many sites, or elements of sites that rotate each other, one job has broadcasts for."""
    if train.coupled and train.sites > qubits:
        raise UnsupportedError(
            f"Argument `train` must have at most {qubits} sites that rotate each other for {device}, but has {train.sites}."
        )
    each = broadcasts(train)
    cost = int((each.sum(axis=1) if train.coupled else each).max())
    if cost > MAX_BROADCASTS:
        owner = "its sites have" if train.coupled else "a site has"
        raise UnsupportedError(
            f"Argument `train` must have at most {MAX_BROADCASTS:,} bits in the conditions of one circuit for {device}, but "
            f"{owner} {cost:,}: give fewer steps."
        )
    return MAX_BROADCASTS // max(cost, 1)


def split(train: SpikeTrainCircuit, qubits: Sequence[int], shots: int, seed: int | None, device: str) -> list[PlacedJob]:
    """The jobs of a call, none beyond what the service takes.

    Raises:
        UnsupportedError: if the circuit of one neuron, or of neurons that rotate each other, is.
    """
    room = _room(train, len(qubits), device)
    width = train.sites if train.coupled else min(len(qubits), train.sites, room)
    size = -(-width * train.steps // 8)
    parts = shot_parts(shots, max(1, min(job_spec.MAX_EXECUTIONS, RESULT_BYTES // size)))
    conditional = int((train.angles != 0).sum(dim=0).max()) if train.conditions else 0
    limits = (
        room // (1 if train.coupled else width),
        job_spec.MAX_EXECUTIONS // parts[0],
        RESULT_BYTES // (size * parts[0]),
        _MAX_INSTRUCTIONS // (train.steps * (_PER_STEP + _PER_ROTATION) + conditional * _PER_ROTATION),
        train.batch,
    )
    count = max(1, min(limits))
    placed: list[PlacedJob] = []
    for turn in range(0, train.sites, len(qubits)):
        last = min(turn + len(qubits), train.sites)
        for first, element in itertools.product(range(turn, last, width), range(0, train.batch, count)):
            sites, elements = slice(first, min(first + width, last)), slice(element, min(element + count, train.batch))
            own = replace(train, base=train.base[:, elements, sites], angles=train.angles[:, elements, sites])
            places = tuple(qubits[first - turn : sites.stop - turn])
            for number, part in enumerate(parts):
                job = TrainJob.of(own, places, part, seed, len(placed), device)
                placed.append(PlacedJob(job, slice(sum(parts[:number]), sum(parts[: number + 1])), elements, sites))
    return placed


def spikes_of(placed: Sequence[PlacedJob], results: Sequence[Result], shape: tuple[int, ...]) -> torch.Tensor:
    """The spikes of all jobs in their places, `(shots, time, batch, sites)` bool."""
    spikes = np.zeros(shape, dtype=np.bool_)
    for each, result in zip(placed, results, strict=True):
        width, steps = len(each.job.qubits), each.job.train.steps
        bits = np.unpackbits(np.asarray(result, dtype=np.uint8), axis=-1, count=width * steps)
        own = bits.reshape(*bits.shape[:2], width, steps).transpose(1, 3, 0, 2)
        spikes[each.shots, :, each.elements, each.sites] = own
    return torch.from_numpy(spikes)
