"""Weighted layers of spiking neurons: from a signal in time to spikes in time."""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from qlifq.neurons import QLIF, BrandPetruccione
from qlifq.neurons.brand_petruccione import rotations
from qlifq.neurons.precision import returned

__all__ = [
    "Answer",
    "CurrentLayer",
    "MeanReadout",
    "PooledConvolution",
    "PopulationReadout",
    "RotatedLayer",
    "over_time",
]


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
    # A stride of 0 in time is what `expand` leaves: every step reads the same memory, so one result serves them all.
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

    For an input that does not change, such as a constant image, a neuron is driven at every step or at none, and begins empty:
    then it never leaks what it has, and W_t has no effect and a gradient of exactly 0.

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
        constant = signal.stride(0) == 0
        weighted = self.weights(signal[0]).unsqueeze(0) if constant else over_time(self.weights, signal)
        units = (weighted.shape[2] // 2, *weighted.shape[3:])
        populations, spikes, _ = self.neurons.run(*rotations(weighted), steps=len(signal) if constant else None)
        shape = (*signal.shape[:2], *units)
        return returned(populations.reshape(shape), weighted), returned(spikes.reshape(shape), weighted)


@final
class PooledConvolution(nn.Conv2d):
    """A convolution without padding and the average over 2 × 2 of what it gives.

    Both together are one convolution of stride 2, whose kernel is the average of four shifted ones: a third of the work.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Images `(batch, channels, rows, columns)` to maps of half the size."""
        # Both are linear: avg₂ₓ₂(w * x) = ¼ Σ over the four shifts of (shifted w) * x, taken at every second place.
        shifts = [(down, right) for down in (0, 1) for right in (0, 1)]
        shifted = [nn.functional.pad(self.weight, (right, 1 - right, down, 1 - down)) for down, right in shifts]
        kernel = torch.stack(shifted).mean(dim=0)
        return nn.functional.conv2d(input, kernel, self.bias, stride=2)


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
    """A layer of Brand and Petruccione that is trained on its populations at every step and predicts by its spike counts.

    Args:
        layer: the layer.
        ties: whether equal counts are ranked by the mean population, which is below 1, a spike. As published they are not.
    """

    def __init__(self, layer: RotatedLayer, *, ties: bool) -> None:
        super().__init__()
        self.layer, self.ties = layer, ties

    def forward(self, spikes: Tensor) -> Answer:
        """Spikes `(time, batch, ...)` to an answer of as many moments."""
        populations, counted = self.layer.populations(spikes)
        counts = counted.sum(dim=0)
        return Answer(populations, counts + populations.mean(dim=0) if self.ties else counts)
