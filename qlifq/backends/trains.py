"""What crosses the interface for whole spike trains: the checked call and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from qlifq._validation import integer, shape_of, tensor
from qlifq.backends.description import describe_facts, describe_shots
from qlifq.circuits import SpikeTrainCircuit

__all__ = ["TrainCall", "TrainOutcome"]


@dataclass(frozen=True, slots=True)
class TrainCall:
    """One call of `Backend.run_train`, checked: what `Backend._execute_train` gets.

    Args:
        train: what to run; no dimension is 0.
        shots: how many trains of each site and element of the batch.
        seed: from 0 to 2⁶³ − 1, or None.
    """

    train: SpikeTrainCircuit
    shots: int
    seed: int | None


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """The spike trains that a backend read, eight spikes to a byte.

    Args:
        packed: `(shots, bytes)` uint8, on the CPU: the bits of a shot in the order of (time, batch, site), as
            `numpy.packbits` lays them.
        shape: (time, batch, sites).
        metadata: as for `Outcome`.
    """

    packed: Tensor
    shape: tuple[int, int, int]
    metadata: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, spikes: Tensor, metadata: Mapping[str, object] = MappingProxyType({})) -> "TrainOutcome":
        """The outcome that holds these spikes.

        Args:
            spikes: `(shots, time, batch, sites)`, bool.
            metadata: as for `Outcome`.

        Raises:
            ShapeError: for another shape.
            DtypeError: for another dtype.
        """
        shape_of("spikes", tensor("spikes", spikes, dtypes=(torch.bool,)), ("shots", "time", "batch", "sites"))
        packed = np.packbits(spikes.detach().cpu().flatten(1).numpy(), axis=1)
        return cls(torch.from_numpy(packed), (spikes.shape[1], spikes.shape[2], spikes.shape[3]), metadata)

    @classmethod
    def joined(cls, parts: Sequence["TrainOutcome"]) -> "TrainOutcome":
        """One outcome of the shots of several, at least one; the metadata are those of the first."""
        return replace(parts[0], packed=torch.cat([part.packed for part in parts]))

    @property
    def shots(self) -> int:
        """How many trains of each site and element."""
        return len(self.packed)

    @property
    def spikes(self) -> Tensor:
        """All trains, `(shots, time, batch, sites)` bool, on the CPU; eight times the memory of the outcome itself."""
        return self._unpacked(self.packed)

    def shot(self, number: int) -> Tensor:
        """The trains of one shot, `(time, batch, sites)` bool.

        Raises:
            ArgumentError: if there is no such shot.
            DtypeError: if the number is not an integer.
        """
        number = integer("number", number, at_least=0, at_most=self.shots - 1)
        return self._unpacked(self.packed[number : number + 1])[0]

    def pick(self, shots: Tensor, elements: Tensor) -> Tensor:
        """Some of the trains, `(time, picks, sites)` bool: pick i is shot `shots[i]` of element `elements[i]` of the batch."""
        time, batch, sites = self.shape
        shots, elements = (value.cpu()[None, :, None] for value in (shots, elements))
        place = (torch.arange(time)[:, None, None] * batch + elements) * sites + torch.arange(sites)
        return (self.packed[shots, place >> 3] >> (7 - (place & 7)) & 1).bool()

    def _unpacked(self, packed: Tensor) -> Tensor:
        time, batch, sites = self.shape
        bits = np.unpackbits(packed.numpy(), axis=1, count=time * batch * sites)
        return torch.from_numpy(bits).view(torch.bool).reshape(len(packed), *self.shape)

    def __reduce__(self) -> tuple[type["TrainOutcome"], tuple[object, ...]]:
        # A mapping that is read alone cannot be pickled.
        return type(self), (self.packed, self.shape, dict(self.metadata))

    def __str__(self) -> str:
        time, batch, sites = self.shape
        words = [f"steps {time}", f"batch {batch}", f"sites {sites}", *describe_facts(self.metadata)]
        return " · ".join([*words, describe_shots(self.shots)])


torch.serialization.add_safe_globals([TrainOutcome])
