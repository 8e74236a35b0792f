"""The exact law of a spike train: the probability of every bit, given the bits before it.

A measurement projects the qubit and a reset leaves a mixture of |0⟩ and |1⟩, so between two steps of a site there is nothing
but one number: the chance that its qubit is still in |1⟩ although it was reset. What is read at a step has thus a probability
that is linear in the weights of |0⟩ and |1⟩ before it, and a train that of its factors.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._validation import shape_of, tensor
from qlifq.circuits.bloch import Channel, Contraction
from qlifq.circuits.gates import Gate
from qlifq.circuits.sinusoidal import excitation
from qlifq.circuits.trains.circuit import Condition, SpikeTrainCircuit
from qlifq.errors import ArgumentError, UnsupportedError

__all__ = ["Bits", "SinceSpike", "TrainLaw", "TrainNoise", "distribution", "likelihood", "sample"]

#: The most steps whose trains are all listed.
_MOST_LISTED = 20
_RY = Gate("RY", 0.0)

#: Where a condition holds: bool, broadcastable with `(..., batch, sites)`.
Holds = Callable[[Condition], Tensor]


class TrainNoise(NamedTuple):
    """What a qubit does to a train beyond its program; each number is one for all sites or `(sites,)`.

    Args:
        channel: the noise after each rotation, where it runs; None for none.
        readout_p01: probability that 0 is read as 1; the bit that was read is the spike, and what later conditions see.
        readout_p10: probability that 1 is read as 0.
        reset_error: probability that a reset leaves |1⟩ as it is.
    """

    channel: Channel | None = None
    readout_p01: Tensor | float = 0.0
    readout_p10: Tensor | float = 0.0
    reset_error: Tensor | float = 0.0


class TrainLaw:
    """The probabilities of a train's bits, step by step, from the weights of |0⟩ and |1⟩ before a step.

    Weights are `(hidden, ..., batch, sites)`; `hidden` is 2, or 1 where every reset is perfect and the weight of |1⟩ always 0.

    Args:
        train: the program.
        noise: what its qubits do beyond it; None for nothing.
    """

    def __init__(self, train: SpikeTrainCircuit, noise: TrainNoise | None = None) -> None:
        self.train = train
        self.noise = noise or TrainNoise()
        error = self.noise.reset_error if train.reset else 1.0
        self._error = torch.as_tensor(error, dtype=train.base.dtype, device=train.base.device)
        #: 2 where a qubit can be in |1⟩ at the beginning of a step.
        self.hidden = 2 if bool((self._error != 0).any()) else 1

    def start(self, *leading: int) -> Tensor:
        """The weights before the first step, where every qubit is in |0⟩, for leading dimensions of these sizes."""
        weights = self.train.base.new_zeros((self.hidden, *leading, self.train.batch, self.train.sites))
        weights[0] = 1.0
        return weights

    def excitation(self, step: int, holds: Holds) -> Tensor:
        """P(1) before any readout error, from |0⟩ and from |1⟩: `(hidden, ..., batch, sites)`."""
        turns = self._turns(step, holds)
        if self.noise.channel is None:
            total = self.train.base[step].unsqueeze(0)
            for angle, weight in turns:
                total = total + weight * angle
            return torch.stack((excitation(total), excitation(total + torch.pi))[: self.hidden])
        z = torch.tensor([1.0, -1.0], dtype=self.train.base.dtype, device=self.train.base.device)[
            : self.hidden, None, None, None
        ]
        vector = (torch.zeros_like(z), z)
        vector = self._turned(vector, self.train.base[step], self.train.base[step] != 0)
        for angle, weight in turns:
            vector = self._turned(vector, angle, weight)
        return ((1 - vector[1]) / 2).clamp(0.0, 1.0)

    def read(self, weights: Tensor, excited: Tensor) -> tuple[Tensor, Tensor]:
        """The weights before the next step, jointly with that 1 is read now, and jointly with that 0 is.

        Args:
            weights: before this step.
            excited: what `excitation` gives for it.
        """
        noise = self.noise
        one, zero = (weights * excited).sum(0), (weights * (1 - excited)).sum(0)
        read_one = self._reset(one * (1 - noise.readout_p10), zero * noise.readout_p01)
        return read_one, self._reset(one * noise.readout_p10, zero * (1 - noise.readout_p01))

    def _reset(self, one: Tensor, zero: Tensor) -> Tensor:
        """The weights after a reset from those of |1⟩ and |0⟩ before it."""
        if self.hidden == 1:
            return (one + zero).unsqueeze(0)
        return torch.stack((zero + one * (1 - self._error), one * self._error))

    def _turns(self, step: int, holds: Holds) -> Iterator[tuple[Tensor, Tensor]]:
        """The conditional rotations of a step: the angle, `(batch, sites)`, and where it runs."""
        for number in self.train.by_step[step]:
            angle = self.train.angles[number]
            yield angle, holds(self.train.conditions[number]) & (angle != 0)

    def _turned(self, vector: tuple[Tensor, Tensor], angle: Tensor, runs: Tensor) -> tuple[Tensor, Tensor]:
        """The parts x and z of the Bloch vector after an RY with its noise, where it runs."""
        x, z = vector
        cosine, sine = angle.cos(), angle.sin()
        z_after, x_after = z * cosine - x * sine, z * sine + x * cosine
        loss = self._contraction()
        x_after, z_after = x_after * loss.transverse, z_after * loss.longitudinal + loss.shift
        return torch.where(runs, x_after, x), torch.where(runs, z_after, z)

    def _contraction(self) -> Contraction:
        found = None if self.noise.channel is None else self.noise.channel(_RY, 0.0)
        return Contraction(1.0, 1.0, 0.0) if found is None else found


class SinceSpike:
    """The histories of a train in which only the time since the last spike counts: i + 1 steps ago, the last one for never.

    Args:
        step: before which step.
        longest: the most steps that a spike is remembered; one more history stands for longer ago and for never.
        device: of the tensors.
    """

    def __init__(self, step: int, longest: int, device: torch.device) -> None:
        self.step = step
        self._steps_ago = torch.arange(1, longest + 2, device=device)[:, None, None]

    def holds(self, condition: Condition) -> Tensor:
        """Where a condition on a window holds, `(histories, 1, 1)`."""
        inside = (self._steps_ago <= self.step - condition.first) & (self._steps_ago >= self.step - condition.last)
        inside[-1] = False
        return inside


class Bits:
    """Bits that were read, as far as they are known: the histories of drawn trains.

    Args:
        spikes: `(trains, time, batch, sites)` bool; filled by who draws them, step by step.
    """

    def __init__(self, spikes: Tensor) -> None:
        self.spikes = spikes
        #: The step of the last spike, −1 for none.
        self.newest = torch.full((len(spikes), *spikes.shape[2:]), -1, dtype=torch.int64, device=spikes.device)

    def holds(self, condition: Condition) -> Tensor:
        """Where a condition holds, `(trains, batch, sites)`; `(trains, batch, 1)` for a bit of another site."""
        if condition.source is not None:
            return self.spikes[:, condition.first, :, condition.source, None]
        if condition.single:
            return self.spikes[:, condition.first]
        return (self.newest >= condition.first) & (self.newest <= condition.last)

    def close(self, step: int) -> None:
        """Take note of the bits of a step, all of which are known now."""
        self.newest = torch.where(self.spikes[:, step], step, self.newest)

    def excitation(self, law: TrainLaw, step: int) -> Tensor:
        """What `TrainLaw.excitation` gives for these histories, `(hidden, trains, batch, sites)`."""
        if not law.train.renewal:
            return law.excitation(step, self.holds).expand(law.hidden, *self.newest.shape)
        # Of histories that differ in one number there are few: each is evaluated once, whatever the number of trains.
        table = law.excitation(step, SinceSpike(step, step, self.spikes.device).holds)
        table = table.expand(law.hidden, step + 1, law.train.batch, law.train.sites)
        place = torch.where(self.newest < 0, step, step - 1 - self.newest)
        return table.gather(1, place.expand(law.hidden, -1, -1, -1))


def likelihood(train: SpikeTrainCircuit, spikes: Tensor, noise: TrainNoise | None = None) -> Tensor:
    """The exact probability of given trains.

    Args:
        train: the program.
        spikes: `(trains, time, batch, sites)` bool.
        noise: what the qubits do beyond the program; None for nothing.

    Returns:
        `(trains, batch, sites)`: the probability of the bits of each site, given those of the others before them. The product
        over the sites is that of the whole.

    Raises:
        ShapeError: for another shape.
        DtypeError: for another dtype.
    """
    sizes = ("trains", train.steps, train.batch, train.sites)
    spikes = shape_of("spikes", tensor("spikes", spikes, dtypes=(torch.bool,)), sizes).to(train.base.device)
    law, bits = TrainLaw(train, noise), Bits(spikes)
    weights = law.start(len(spikes))
    for step in range(train.steps):
        one, zero = law.read(weights, bits.excitation(law, step))
        weights = torch.where(spikes[:, step], one, zero)
        bits.close(step)
    return weights.sum(0)


def sample(train: SpikeTrainCircuit, shots: int, uniform: Callable[..., Tensor], noise: TrainNoise | None = None) -> Tensor:
    """Trains drawn from the exact law.

    Args:
        train: the program.
        shots: how many trains of each site.
        uniform: gives numbers within [0, 1) of a shape, in the dtype and on the device of the train.
        noise: as for `likelihood`.

    Returns:
        `(shots, time, batch, sites)` bool.
    """
    law = TrainLaw(train, noise)
    bits = Bits(torch.zeros((shots, *train.base.shape), dtype=torch.bool, device=train.base.device))
    weights = law.start(shots)
    for step in range(train.steps):
        numbers = uniform(shots, train.batch, train.sites)
        for sites in train.groups:
            one, zero = law.read(weights, bits.excitation(law, step))
            bits.spikes[:, step, :, sites] = (numbers < one.sum(0))[..., sites]
        bits.close(step)
        if law.hidden == 2:
            weights = torch.where(bits.spikes[:, step], one, zero)
            weights = weights / weights.sum(0)
    return bits.spikes


def distribution(train: SpikeTrainCircuit, noise: TrainNoise | None = None) -> Tensor:
    """The exact probability of every train of a site.

    Args:
        train: the program, of at most 20 steps, whose sites do not turn each other.
        noise: as for `likelihood`.

    Returns:
        `(2**time, batch, sites)`, which add up to 1; bit t of the first index is the spike at step t.

    Raises:
        ArgumentError: for more steps.
        UnsupportedError: for sites that turn each other: their trains are not independent, see `likelihood`.
    """
    if train.coupled:
        raise UnsupportedError("Argument `train` must not have sites that turn each other: take `likelihood` of whole trains.")
    if train.steps > _MOST_LISTED:
        raise ArgumentError(f"Argument `train` must have at most {_MOST_LISTED} steps, but has {train.steps}.")
    steps = torch.arange(train.steps, device=train.base.device)
    numbers = torch.arange(2**train.steps, device=train.base.device)
    listed = ((numbers[:, None] >> steps) & 1).bool()
    return likelihood(train, listed[:, :, None, None].expand(-1, -1, train.batch, train.sites), noise)
