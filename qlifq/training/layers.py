"""Weighted layers of spiking neurons: from a signal in time to spikes in time."""

import math
from collections.abc import Callable
from typing import NamedTuple, final

from torch import Tensor, nn

from qlifq.neurons import QLIF, BrandPetruccione

__all__ = ["INTERVAL", "Answer", "CurrentLayer", "MeanReadout", "PopulationReadout", "RotatedLayer", "over_time"]

#: The longest leak per unit of weighted input, in the unit of T1 = 60: τ = 200 |W_t x|.
INTERVAL = 200.0


class Answer(NamedTuple):
    """What a network says about a batch.

    Args:
        trace: what the loss is summed over, `(moments, batch, outputs)`.
        scores: what is predicted from, `(batch, outputs)`.
    """

    trace: Tensor
    scores: Tensor


def over_time(function: Callable[[Tensor], Tensor], signal: Tensor) -> Tensor:
    """Apply a function to every moment of a signal at once, and only once where all moments are one and the same.

    Args:
        function: `(batch, ...)` to `(batch, ...)`, each row by itself.
        signal: `(time, batch, ...)`.
    """
    time, batch = signal.shape[:2]
    if signal.stride(0) == 0:
        once = function(signal[0])
        return once.expand(time, *once.shape)
    every = function(signal.flatten(0, 1))
    return every.reshape(time, batch, *every.shape[1:])


@final
class CurrentLayer(nn.Module):
    """Neurons that are driven by a weighted current.

    Args:
        weights: from what comes in to one current per neuron, `(batch, ...)` to `(batch, *units)`.
        neurons: the neurons.
    """

    def __init__(self, weights: nn.Module, neurons: QLIF) -> None:
        super().__init__()
        self.weights, self.neurons = weights, neurons

    def forward(self, signal: Tensor) -> Tensor:
        """A signal `(time, batch, ...)` to spikes `(time, batch, *units)`."""
        current = over_time(self.weights, signal)
        spikes: Tensor = self.neurons(over_time(lambda each: each.flatten(1), current))[0]
        return spikes.reshape(current.shape)


@final
class RotatedLayer(nn.Module):
    """Neurons of Brand and Petruccione: θ = π |W_q x|, τ = 200 |W_t x|, an input spike where W_q x > 0.

    Args:
        weights: W_q and W_t one after the other, `(batch, ...)` to `(batch, 2 units, ...)`.
        neurons: the neurons.
    """

    def __init__(self, weights: nn.Module, neurons: BrandPetruccione) -> None:
        super().__init__()
        self.weights, self.neurons = weights, neurons

    def forward(self, signal: Tensor) -> Tensor:
        """A signal `(time, batch, ...)` to spikes `(time, batch, units, ...)`."""
        return self.populations(signal)[1]

    def populations(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """The populations α and the spikes, each `(time, batch, units, ...)`."""
        weighted = over_time(self.weights, signal)
        units = (weighted.shape[2] // 2, *weighted.shape[3:])

        def half(number: int, function: Callable[[Tensor], Tensor]) -> Tensor:
            return over_time(lambda each: function(each.chunk(2, dim=1)[number].flatten(1)), weighted)

        theta = half(0, lambda rotation: math.pi * rotation.abs())
        tau = half(1, lambda interval: INTERVAL * interval.abs())
        driven = half(0, lambda rotation: (rotation.detach() > 0).to(rotation.dtype))
        populations, spikes, _ = self.neurons.run(theta, tau, driven)
        shape = (*weighted.shape[:2], *units)
        return populations.reshape(shape), spikes.reshape(shape)


@final
class MeanReadout(nn.Module):
    """A linear map of the spikes, averaged over time.

    The average comes first: it is the same number for a fraction of the work.

    Args:
        weights: a linear map, `(batch, ...)` to `(batch, outputs)`.
    """

    def __init__(self, weights: nn.Module) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, spikes: Tensor) -> Answer:
        """Spikes `(time, batch, ...)` to an answer of one moment."""
        scores = self.weights(spikes.mean(dim=0))
        return Answer(scores.unsqueeze(0), scores)


@final
class PopulationReadout(nn.Module):
    """A layer of Brand and Petruccione that is trained on its populations at every step and predicts by its spike counts."""

    def __init__(self, layer: RotatedLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, spikes: Tensor) -> Answer:
        """Spikes `(time, batch, ...)` to an answer of as many moments."""
        populations, counted = self.layer.populations(spikes)
        return Answer(populations, counted.sum(dim=0))
