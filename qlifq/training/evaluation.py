"""The evaluation of a network: its answers to samples, without gradients."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qlifq._validation import integer
from qlifq.neurons import SeedStream
from qlifq.training.compatibility import check_samples
from qlifq.training.data.interface import Samples
from qlifq.training.networks import Design, Network
from qlifq.training.processes import SINGLE_PROCESS, Processes

__all__ = ["Evaluation", "child_seed", "evaluate", "shots_per_decision"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The answers of a network to some samples.

    Args:
        labels: their classes, `(samples,)`, or for a regression their numbers, `(samples, targets)`.
        predicted: what it takes them for, of the same shape; an autoencoder's is meaningless.
        losses: `(samples,)`.
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
        """Which samples are recognised, `(samples,)` bool."""
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
    data: Samples,
    *,
    batch: int = 500,
    seed: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluate a network on samples, without gradients.

    Args:
        network: the network, on `device`.
        design: what it was built from.
        data: samples and labels.
        batch: samples at a time; the spikes depend on it.
        seed: of all spikes.
        device: where the network is.
        processes: those that share the work; each gets the whole result.
        progress: called as `progress(done, samples)` after every batch.

    Returns:
        An `Evaluation`.

    Raises:
        QLIFError: if the samples are of another size than the network was built for.
    """
    integer("batch", batch, at_least=1)
    check_samples(design, data)
    # Each process fills its own rows and leaves 0 in the others, so that the sum over processes is the whole.
    each = (design.targets,) if design.targets else ()
    predicted = torch.zeros((len(data), *each), dtype=torch.float64, device=device)
    losses, rates = (
        torch.zeros(len(data), dtype=torch.float64, device=device),
        torch.zeros(len(network.layers), dtype=torch.float64, device=device),
    )
    batches = torch.split(torch.arange(len(data)), batch) if len(data) else ()
    own = [rows[processes.share(len(rows))[1]] for rows in batches]
    begun = time.perf_counter()
    with torch.no_grad():
        for number, (rows, here, read) in enumerate(zip(batches, own, data.batches(own), strict=True)):
            shard, _ = processes.share(len(rows))
            inputs, labels = read.to(device), data.labels[here].to(device)
            # Even children seed the neurons, odd ones the input, as in training: no draw is shared between the two.
            network.reseed(child_seed(seed, 2 * number), shard)
            run = network.run(design.encode(inputs, child_seed(seed, 2 * number + 1), shard))
            predicted[here] = design.task.predicted(run.answer.scores).to(torch.float64)
            losses[here] = design.losses(run.answer, inputs, labels).to(torch.float64)
            # A sum and not a mean, which is no number for a process that holds no sample of a small batch.
            rates += torch.stack([spikes.sum(dtype=torch.float64) / _places(spikes) for spikes in run.spikes])
            if progress is not None:
                progress(int(rows[-1]) + 1, len(data))
    for values in (predicted, losses, rates):
        processes.all_reduce_sum(values)
    return Evaluation(
        labels=data.labels,
        predicted=predicted.cpu() if design.targets else predicted.to("cpu", torch.int64),
        losses=losses.cpu(),
        rates=tuple((rates / len(data)).tolist()),
        seconds=time.perf_counter() - begun,
    )


def _places(spikes: Tensor) -> int:
    """In how many steps and neurons a sample can spike, of `(time, batch, ...)`."""
    return len(spikes) * math.prod(spikes.shape[2:])
