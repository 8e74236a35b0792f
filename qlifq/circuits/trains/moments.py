"""Exact first and second moments of long trains, by recursion over what a train remembers of its past."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from qlifq._validation import integer
from qlifq.circuits.trains.circuit import Condition, SpikeTrainCircuit
from qlifq.circuits.trains.law import SinceSpike, TrainLaw, TrainNoise
from qlifq.errors import UnsupportedError

__all__ = ["TrainMoments", "moments"]

#: The most steps back whose bits are all remembered, where the time since the last spike is not enough.
_MOST_BITS = 14


class TrainMoments(NamedTuple):
    """The exact first and second moments of the spikes.

    Args:
        rate: E[s(t)], `(time, batch, sites)`, spikes per step.
        covariances: for lag k = 0, 1, …: Cov[s(t), s(t + k)], `(time − k, batch, sites)`.
    """

    rate: Tensor
    covariances: tuple[Tensor, ...]


def moments(train: SpikeTrainCircuit, max_lag: int = 0, noise: TrainNoise | None = None) -> TrainMoments:
    """Rate and autocovariance of a train, exactly.

    The past enters through a Markov chain whose states are, for a train whose conditions are all "a spike since step …", the
    steps since the last spike; for any other, the last bits as far back as a condition reaches, at most 14. The chain also
    carries the weight of |1⟩ after an imperfect reset.

    Args:
        train: the program.
        max_lag: up to which lag, below the number of steps.
        noise: as for `qlifq.circuits.trains.law.likelihood`.

    Raises:
        UnsupportedError: if conditions on single bits reach further back, or the sites turn each other.
        ArgumentError: for a lag out of range.
    """
    max_lag = integer("max_lag", max_lag, at_least=0, at_most=max(train.steps - 1, 0))
    law, past = TrainLaw(train, noise), _past_of(train)
    weights = past.start(law)
    rates: list[Tensor] = []
    #: Of lag k = 1, 2, …: the weights jointly with a spike k steps ago, and that product's expectation at every step.
    after: list[Tensor] = []
    products: list[list[Tensor]] = [[] for _ in range(max_lag)]
    for step in range(train.steps):
        excited = law.excitation(step, past.at(step).holds)
        following = []
        for lag, joint in enumerate(after):
            one, zero = law.read(joint, excited)
            products[lag].append(one.sum(dim=(0, 1)))
            following.append(past.advance(one, zero))
        one, zero = law.read(weights, excited)
        rates.append(one.sum(dim=(0, 1)))
        after = [past.advance(one, torch.zeros_like(zero)), *following][:max_lag]
        weights = past.advance(one, zero)
    rate = torch.stack(rates) if rates else torch.zeros_like(train.base)
    covariances = [rate * (1 - rate)]
    for lag, found in enumerate(products, start=1):
        covariances.append(torch.stack(found) - rate[:-lag] * rate[lag:])
    return TrainMoments(rate, tuple(covariances))


class _Histories(Protocol):
    def holds(self, condition: Condition) -> Tensor: ...


class _Past(Protocol):
    """What a train remembers: the states of a Markov chain."""

    def at(self, step: int) -> _Histories:
        """Where conditions of a step hold, state by state."""
        ...

    def start(self, law: TrainLaw) -> Tensor:
        """The weights before the first step, `(hidden, states, batch, sites)`."""
        ...

    def advance(self, one: Tensor, zero: Tensor) -> Tensor:
        """The weights of the states after a step, from those jointly with a 1 and with a 0, state by state before it."""
        ...


def _past_of(train: SpikeTrainCircuit) -> _Past:
    longest = max((condition.step - condition.first for condition in train.conditions), default=0)
    if train.renewal:
        return _Renewal(longest, train.base.device)
    if train.coupled:
        raise UnsupportedError("Argument `train` must not have sites that turn each other: their moments need whole networks.")
    if longest > _MOST_BITS:
        raise UnsupportedError(
            f"Argument `train` must have conditions on single bits at most {_MOST_BITS} steps back for exact moments, but one "
            f"reaches {longest} steps back: a greater tolerance drops the oldest, or average the trains of a backend."
        )
    return _LastBits(longest, train.base.device)


class _Renewal:
    """The steps since the last spike: `longest` states, and one for longer ago and never."""

    def __init__(self, longest: int, device: torch.device) -> None:
        self._longest, self._device = longest, device

    def at(self, step: int) -> SinceSpike:
        return SinceSpike(step, self._longest, self._device)

    def start(self, law: TrainLaw) -> Tensor:
        weights = law.start(self._longest + 1).zero_()
        weights[0, -1] = 1.0
        return weights

    def advance(self, one: Tensor, zero: Tensor) -> Tensor:
        moved = torch.cat((one.sum(1, keepdim=True), zero[:, :-1]), dim=1)
        moved[:, -1] += zero[:, -1]
        return moved


class _LastBits:
    """The last bits as one number: bit i is the spike i + 1 steps ago."""

    def __init__(self, longest: int, device: torch.device) -> None:
        self._numbers = torch.arange(2**longest, device=device)[:, None, None]

    def at(self, step: int) -> "_BitHistories":
        return _BitHistories(step, self._numbers)

    def start(self, law: TrainLaw) -> Tensor:
        weights = law.start(len(self._numbers)).zero_()
        weights[0, 0] = 1.0
        return weights

    def advance(self, one: Tensor, zero: Tensor) -> Tensor:
        # The oldest bit is forgotten: two states become one, then the new bit makes it two again.
        halves = [torch.stack(part.chunk(2, dim=1)).sum(0) for part in (zero, one)]
        return torch.stack(halves, dim=2).flatten(1, 2)


class _BitHistories(NamedTuple):
    step: int
    numbers: Tensor

    def holds(self, condition: Condition) -> Tensor:
        ago = self.step - 1 - condition.last
        window = self.numbers >> ago
        later = (self.numbers & ((1 << ago) - 1)) != 0
        holds = (window & ((1 << (condition.last - condition.first + 1)) - 1)) != 0
        return holds & ~later if condition.newest else holds
