"""What the networks of the training room consist of beside public modules: their answers, and the readouts that give them."""

from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from qlifq.neurons import BrandPetruccione, Readout, SpikingSequential
from qlifq.neurons.sequential import ROW_BY_ROW, Chain, run_weighted

__all__ = ["Answer", "MeanReadout", "PooledConvolution", "PopulationReadout"]


class Answer(NamedTuple):
    """What a network says about a batch.

    Args:
        trace: what the loss is summed over, `(moments, batch, outputs)`.
        scores: what is predicted from, `(batch, outputs)`.
    """

    trace: Tensor
    scores: Tensor


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


# Like any convolution it draws nothing, so that a constant image passes it once.
ROW_BY_ROW.add(PooledConvolution)


@final
class MeanReadout(nn.Module):
    """A linear map of the rates of the spikes.

    The rates come first: (1/T) Σ W s[t] = W (1/T) Σ s[t], the same number for a fraction of the work.

    Args:
        shape: of the neurons that it reads.
        weights: a linear map, `(batch, *shape)` to `(batch, outputs)`.
    """

    def __init__(self, shape: int | tuple[int, ...], weights: nn.Module) -> None:
        super().__init__()
        self.rates, self.weights = Readout(shape, over_time="mean", tau=None), weights

    def forward(self, spikes: Tensor) -> Answer:
        """Spikes `(time, batch, *shape)` to an answer of one moment."""
        rates, _ = self.rates(spikes)
        scores = self.weights(rates)
        return Answer(scores.unsqueeze(0), scores)


@final
class PopulationReadout(nn.Module):
    """A layer of Brand and Petruccione that is trained on its populations at every step and predicts by its spike counts.

    Args:
        layer: its "weights" and "neurons".
        ties: whether equal counts are ranked by the mean population, which is below 1, a spike. As published they are not.
    """

    def __init__(self, layer: SpikingSequential, *, ties: bool) -> None:
        super().__init__()
        self.layer, self.ties = layer, ties

    def forward(self, spikes: Tensor) -> Answer:
        """Spikes `(time, batch, ...)` to an answer of as many moments."""
        weighted, _ = Chain.of([self.layer["weights"]]).run(spikes, None)
        populations, counted, _ = run_weighted(cast(BrandPetruccione, self.layer["neurons"]), weighted)
        counts = counted.sum(dim=0)
        return Answer(populations, counts + populations.mean(dim=0) if self.ties else counts)
