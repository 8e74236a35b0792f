"""The evaluation of a network: its answers to images, without gradients."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qlifq._validation import integer
from qlifq.errors import ShapeError
from qlifq.neurons import SeedStream
from qlifq.training.data.datasets import LabelledImages
from qlifq.training.networks import Design, Network
from qlifq.training.processes import SINGLE_PROCESS, Processes

__all__ = ["Evaluation", "child_seed", "evaluate", "shots_per_decision"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The answers of a network to some images.

    Args:
        labels: what they show, `(images,)`.
        predicted: what it takes them for, `(images,)`; an autoencoder's is meaningless.
        losses: `(images,)`.
        rates: spikes per neuron and step of each hidden layer.
        seconds: wall time.
    """

    labels: Tensor
    predicted: Tensor
    losses: Tensor
    rates: tuple[float, ...]
    seconds: float

    @property
    def correct(self) -> Tensor:
        """Which images are recognised, `(images,)` bool."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The fraction that is recognised."""
        return float(self.correct.to(torch.float64).mean())

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    def confusion(self, classes: int) -> Tensor:
        """How often each class, a row, is taken for each, a column: `(classes, classes)` int64."""
        return torch.bincount(classes * self.labels + self.predicted, minlength=classes**2).reshape(classes, classes)


def child_seed(root: int, number: int) -> int:
    """Child `number` of a root seed: what is drawn with it depends on no other draw."""
    seeds = SeedStream(root)
    seeds.position = number
    return seeds.next_seed()


def shots_per_decision(network: Network, shots: int | None) -> int | str:
    """How many shots each spike decision of a network takes that was built with `shots`, or "exact"."""
    exact = next(network.neurons()).backend.capabilities.exact
    return "exact" if shots is None and exact else shots or 1


def evaluate(
    network: Network,
    design: Design,
    data: LabelledImages,
    *,
    batch: int = 500,
    seed: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a network on images, without gradients.

    Args:
        network: the network, on `device`.
        design: what it was built from.
        data: images `(images, pixels)` and labels.
        batch: images at a time; the spikes depend on it.
        seed: of all spikes.
        device: where the network is.
        processes: those that share the work; each gets the whole result.
        progress: called as `progress(done, images)` after every batch.

    Returns:
        An `Evaluation`.

    Raises:
        QLIFError: if the images are of another size than the network was built for.
    """
    integer("batch", batch, at_least=1)
    images, labels = data
    if images.shape[1:] != (design.pixels,):
        raise ShapeError(
            f"Argument `data` must hold images of {design.pixels} pixels, but their shape is {tuple(images.shape)}."
        )
    # Each process fills its own rows and leaves 0 in the others, so that the sum over processes is the whole.
    predicted = torch.zeros(len(images), dtype=torch.float64, device=device)
    losses, rates = torch.zeros_like(predicted), torch.zeros(len(network.layers), dtype=torch.float64, device=device)
    begun = time.perf_counter()
    with torch.no_grad():
        for number, start in enumerate(range(0, len(images), batch)):
            stop = min(start + batch, len(images))
            shard, rows = processes.share(stop - start)
            here, shown = images[start:stop][rows].to(device), labels[start:stop][rows].to(device)
            # Even children seed the neurons, odd ones the input, as in training: no draw is shared between the two.
            network.reseed(child_seed(seed, 2 * number), shard)
            run = network.run(design.encode(here, child_seed(seed, 2 * number + 1), shard))
            predicted[start:stop][rows] = run.answer.scores.argmax(dim=1).to(torch.float64)
            losses[start:stop][rows] = design.losses(run.answer, here, shown).to(torch.float64)
            # A sum and not a mean, which is no number for a process that holds no image of a small batch.
            rates += torch.stack([spikes.sum(dtype=torch.float64) / _places(spikes) for spikes in run.spikes])
            if progress is not None:
                progress(stop, len(images))
    for values in (predicted, losses, rates):
        processes.all_reduce_sum(values)
    return Evaluation(
        labels=labels,
        predicted=predicted.to("cpu", torch.int64),
        losses=losses.cpu(),
        rates=tuple((rates / len(images)).tolist()),
        seconds=time.perf_counter() - begun,
    )


def _places(spikes: Tensor) -> int:
    """In how many steps and neurons an image can spike, of `(time, batch, ...)`."""
    return len(spikes) * math.prod(spikes.shape[2:])
