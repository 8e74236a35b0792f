"""A call cut into blocks, each with a seed of its own, and their answers put together: the same whoever runs them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._validation import finite
from qlifq.backends.batching import shot_parts
from qlifq.backends.interface import Backend, Call, Outcome
from qlifq.backends.trains import TrainCall, TrainOutcome
from qlifq.circuits import SpikeCircuit, SpikeTrainCircuit

__all__ = ["Answer", "Block", "TrainBlock", "block_size", "cut", "cut_train", "put_together", "put_together_train"]

#: Shots of a block: some 15 ms on Aer, several times what it takes to send a block and its answer.
_BLOCK_SHOTS = 2**17
#: What an evaluation takes beside its shots, in shots.
_OVERHEAD_SHOTS = 32
#: Fewer evaluations would leave lanes of Aer's circuits empty, which hold 10, or 4 with noise.
_SMALLEST = 20
#: Separates the seeds of blocks from those that a neuron derives from the same root.
_STREAM = 0x51ED270B

Array = npt.NDArray[np.generic]


class Answer(NamedTuple):
    """What a block of evaluations gave: `(evaluations,)` numbers, and the metadata of the inner backend."""

    places: tuple[int, int]
    probability: Array
    ones: Array | None
    metadata: dict[str, object]


class Block(NamedTuple):
    """Some evaluations of a call, as a call of the inner backend.

    Args:
        circuit: as for the call.
        shots: as for the call.
        angles: `(rows, sites, num_angles)`, the elements of the batch that the block touches.
        where: `(rows, sites)`, or None for all.
        seed: of this block alone, or None.
        places: the first and the last place of the block in the flattened `(batch, sites)`, the last one excluded.
        start: the first place within `(rows, sites)`.
    """

    circuit: SpikeCircuit
    shots: int | None
    angles: Array
    where: npt.NDArray[np.bool_] | None
    seed: int | None
    places: tuple[int, int]
    start: int

    def run(self, inner: Backend) -> Answer:
        """Run it."""
        # Copies, since what arrives over a network is read alone.
        where = None if self.where is None else torch.from_numpy(self.where.copy())
        outcome = inner.run(self.circuit, torch.from_numpy(self.angles.copy()), shots=self.shots, seed=self.seed, where=where)
        first, last = self.places

        def part(values: Tensor) -> Array:
            return np.asarray(values.detach().reshape(-1)[self.start : self.start + last - first].numpy())

        ones = None if outcome.ones is None else part(outcome.ones)
        return Answer(self.places, part(outcome.probability), ones, dict(outcome.metadata))


class TrainBlock(NamedTuple):
    """Some shots of whole spike trains."""

    train: SpikeTrainCircuit
    shots: int
    seed: int | None

    def run(self, inner: Backend) -> TrainOutcome:
        """Run it."""
        return inner.run_train(self.train, shots=self.shots, seed=self.seed)


def block_size(shots: int | None) -> int:
    """How many evaluations a block has: a function of the shots alone, so that no number of workers changes a seed."""
    return max(_SMALLEST, _BLOCK_SHOTS // ((shots or 0) + _OVERHEAD_SHOTS))


def cut(call: Call, size: int) -> list[Block]:
    """The blocks of a call that hold an evaluation which `where` selects.

    Block k holds the places from k · `size` on in the order of (batch, site), whole elements of the batch where one fits. The
    first has the seed of the call itself, so that a call of one block gives what the inner backend alone gives.

    Args:
        call: a call with a batch and sites above 0; on an accelerator this is where its angles are checked first.
        size: the most evaluations of a block.
    """
    batch, sites, _ = call.angles.shape
    host = call.angles.detach().cpu()
    if call.angles.device.type != "cpu":
        finite("angles", host)
    angles = host.numpy()
    where = None if call.where is None else call.where.cpu().numpy()
    step = size // sites * sites or size
    seeds = _seeds(call.seed, -(-batch * sites // step))
    blocks = []
    for first, seed in zip(range(0, batch * sites, step), seeds, strict=True):
        last = min(first + step, batch * sites)
        rows = slice(first // sites, -(-last // sites))
        start = first - rows.start * sites
        mask = None if where is None else where[rows]
        if step % sites:
            inside = np.zeros((rows.stop - rows.start) * sites, dtype=bool)
            inside[start : start + last - first] = True
            mask = inside.reshape(-1, sites) if mask is None else mask & inside.reshape(-1, sites)
        if mask is None or mask.any():
            blocks.append(Block(call.circuit, call.shots, angles[rows], mask, seed, (first, last), start))
    return blocks


def cut_train(call: TrainCall, size: int | None) -> list[TrainBlock]:
    """The blocks of a call of whole trains, which are cut by shots; the first has the seed of the call itself.

    Args:
        call: a call with no dimension 0.
        size: the most evaluations of a block, of which a shot of the call has one for each step, element and site; None for
            what takes as long as a block of `block_size`.
    """
    evaluations = call.train.base.numel()
    most = _BLOCK_SHOTS // (evaluations + _OVERHEAD_SHOTS) if size is None else size // evaluations
    counts = shot_parts(call.shots, max(1, most))
    return [TrainBlock(call.train, count, seed) for count, seed in zip(counts, _seeds(call.seed, len(counts)), strict=True)]


def put_together(call: Call, answers: Sequence[Answer]) -> Outcome:
    """The outcome of a call from the answers of its blocks; metadata that differ between blocks are left out."""
    batch, sites, _ = call.angles.shape
    probability = torch.zeros(batch * sites, dtype=call.angles.dtype)
    counted = call.shots is not None and all(each.ones is not None for each in answers)
    ones = torch.zeros(batch * sites, dtype=torch.int64)
    for each in answers:
        part = slice(*each.places)
        probability[part] = torch.from_numpy(each.probability)
        if counted:
            ones[part] = torch.from_numpy(cast(Array, each.ones))
    device = call.angles.device
    return Outcome(
        probability.reshape(batch, sites).to(device),
        ones.reshape(batch, sites).to(device) if counted else None,
        call.shots,
        _common(each.metadata for each in answers),
    )


def put_together_train(answers: Sequence[TrainOutcome]) -> TrainOutcome:
    """The trains of all blocks, shot after shot."""
    packed = torch.cat([each.packed for each in answers])
    return TrainOutcome(packed, answers[0].shape, _common(each.metadata for each in answers))


def _common(metadata: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """What the metadata of all blocks agree on."""
    every = list(metadata)
    first = every[0] if every else {}
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in every)}


def _seeds(seed: int | None, count: int) -> list[int | None]:
    """A seed for each block."""
    if seed is None:
        return [None] * count
    further = np.random.SeedSequence([seed, _STREAM]).generate_state(count, np.uint64) >> np.uint64(1)
    return [seed, *map(int, further[1:])]
