"""A network and the classical ones of its size, trained and tested in the same way."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.neurons.description import describe_layers
from qlifq.random import BatchShard
from qlifq.training.compatibility import check_data
from qlifq.training.data.interface import Dataset
from qlifq.training.evaluation import Evaluation, evaluate, shots_per_decision
from qlifq.training.loop import CHECKPOINT_SECONDS, Epoch, split_validation, train, untrained
from qlifq.training.networks import Design, Network, matched
from qlifq.training.networks.neurons import CLASSICAL, NEURONS
from qlifq.training.processes import SINGLE_PROCESS, Processes
from qlifq.training.settings import TrainingSettings

__all__ = [
    "CHECKPOINT",
    "CHECKPOINTS",
    "TEST_SEED",
    "Contender",
    "Example",
    "Experiment",
    "Progress",
    "checked_contenders",
    "contenders_of",
    "run_experiment",
]

#: The checkpoint of the network itself in the folder of a run; a classical one's is named after its neuron.
CHECKPOINT = "network.pt"
CHECKPOINTS = (CHECKPOINT, *(f"{neuron}.pt" for neuron in CLASSICAL))
#: Seed of the spikes in tests.
TEST_SEED = 1
#: Makes a context with a `progress(done, total)` for one network, given what it is called.
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]


@dataclass(frozen=True, eq=False)
class Contender:
    """A trained network and what came of it.

    Args:
        design: what it was built from.
        parameters: how many numbers it is made of.
        history: its epochs.
        tested: on the test samples.
    """

    design: Design
    parameters: int
    history: tuple[Epoch, ...]
    tested: Evaluation

    @property
    def description(self) -> str:
        """The description of its neuron."""
        return NEURONS[self.design.neuron].description

    @property
    def seconds(self) -> float:
        """Wall time of its training."""
        return sum(epoch.seconds for epoch in self.history)


@dataclass(frozen=True, eq=False)
class Example:
    """One test sample in the network.

    Args:
        image: `(pixels,)`; of a sample in time its mean over the steps, of its largest.
        label: its class.
        signal: the input in time, `(time, pixels)`.
        spikes: of each hidden layer, `(time, neurons)`.
        scores: the answer, `(outputs,)`.
    """

    image: Tensor
    label: int
    signal: Tensor
    spikes: tuple[Tensor, ...]
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Experiment:
    """A network beside the classical ones of its size.

    Args:
        data: what they learned.
        settings: how.
        contenders: the network itself first.
        examples: some test samples in it.
        decided_by: the backend of its spike decisions with its device, noise and shots, see `describe_layers`.
        shots: shots per decision, or "exact".
    """

    data: Dataset
    settings: TrainingSettings
    contenders: tuple[Contender, ...]
    examples: tuple[Example, ...]
    decided_by: str
    shots: int | str


def contenders_of(design: Design) -> Iterator[tuple[str, Design]]:
    """The name of the checkpoint and the design of every network of an experiment, the one itself first."""
    yield CHECKPOINT, design
    for neuron in CLASSICAL:
        if neuron != design.neuron:
            yield f"{neuron}.pt", matched(design, neuron)


def checked_contenders(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
) -> list[tuple[str, Design]]:
    """Those of `contenders_of`, or the reason why one of them cannot be trained; arguments as for `run_experiment`."""
    check_data(design, data)
    split_validation(data.train, settings.validation)
    untrained(design, settings, 0, backend=backend, shots=shots, device=device, processes=processes)
    network, *others = contenders_of(design)
    for _, other in others:
        untrained(other, settings, 0, device=device, processes=processes)
    return [network, *others]


def run_experiment(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    folder: Path,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    progress: Progress | None = None,
    after_epoch: Callable[[Design, Epoch], None] | None = None,
) -> Experiment:
    """Train a network, and classical ones with as many parameters in the same way, and test them on the same samples.

    Args:
        design: of the network.
        data: what they learn and are tested on.
        settings: how they learn.
        folder: where their checkpoints are kept, and gone on from.
        backend: where the network's spike decisions run, or one for each layer of neurons, as for `build`.
        shots: as for `qlifq.QLIF`.
        options: what the backend was made with, as for `train`.
        checkpoint_seconds: as for `train`.
        device: where to train.
        processes: those that train together.
        progress: makes a context with a `progress(done, steps)` for one network, given the description of its neuron.
        after_epoch: called with the design and every epoch that is done.

    Raises:
        QLIFError: as `train` does.
    """
    contenders = []
    examples: tuple[Example, ...] = ()
    designs = checked_contenders(design, data, settings, backend=backend, shots=shots, device=device, processes=processes)
    for name, each in designs:
        placed = {"backend": backend, "shots": shots, "options": options} if name == CHECKPOINT else {}
        description = NEURONS[each.neuron].description
        with progress(description) if progress is not None else contextlib.nullcontext() as update:
            trained = train(
                each,
                data,
                settings,
                checkpoint=folder / name,
                checkpoint_seconds=checkpoint_seconds,
                device=device,
                processes=processes,
                progress=update,
                after_epoch=None if after_epoch is None else partial(after_epoch, each),
                **placed,  # type: ignore[arg-type]
            )
        tested = evaluate(trained.network, each, data.test, seed=TEST_SEED, device=device, processes=processes)
        contenders.append(Contender(each, trained.network.parameter_count(), trained.history, tested))
        if name == CHECKPOINT:
            examples = _examples(trained.network, design, data, device)
            decided_by = describe_layers(trained.network.neurons())
            drawn = shots_per_decision(trained.network, shots)
    return Experiment(data, settings, tuple(contenders), examples, decided_by, drawn)


def _examples(network: Network, design: Design, data: Dataset, device: torch.device | str) -> tuple[Example, ...]:
    """The first test sample of every class, in the network."""
    firsts = [
        int((data.test.labels == label).nonzero()[0])
        for label in range(data.classes)
        if bool((data.test.labels == label).any())
    ]
    inputs = data.test.read(torch.tensor(firsts)).to(device)
    shard = BatchShard(0, len(firsts))
    network.reseed(TEST_SEED, shard)
    signal = design.encode(inputs, TEST_SEED, shard)
    with torch.no_grad():
        run = network.run(signal)
    images = inputs if data.steps is None else inputs.mean(dim=0) / inputs.mean(dim=0).amax().clamp(min=1e-9)
    return tuple(
        Example(
            images[place].cpu(),
            int(data.test.labels[first]),
            signal[:, place].cpu(),
            tuple(spikes[:, place].flatten(1).cpu() for spikes in run.spikes),
            run.answer.scores[place].float().cpu(),
        )
        for place, first in enumerate(firsts)
    )
