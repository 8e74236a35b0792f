"""A network that predicts numbers, beside a classical one of its size and a linear model, each network with several seeds."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch

from qlifq import _validation as check
from qlifq.backends import Backend
from qlifq.errors import ArgumentError
from qlifq.neurons.description import describe_layers
from qlifq.random import MAX_SEED
from qlifq.training.data.interface import Dataset
from qlifq.training.evaluation import Evaluation, evaluate, shots_per_decision
from qlifq.training.experiment import CHECKPOINT, TEST_SEED, Progress
from qlifq.training.loop import CHECKPOINT_SECONDS, Epoch, split_validation, train, untrained
from qlifq.training.networks import Design, matched
from qlifq.training.networks.neurons import NEURONS
from qlifq.training.processes import SINGLE_PROCESS, Processes
from qlifq.training.regression.linear import linear_model
from qlifq.training.settings import TrainingSettings

__all__ = ["CHECKPOINTS", "REPEATS", "RegressionExperiment", "SeededNetwork", "check_regression", "run_regression"]

#: How many seeds a network is trained with by default, and at most.
REPEATS, _MOST_REPEATS = 5, 20
#: The deterministic network of the same size: it has no noise but that of its training.
_CLASSICAL = "classical"


def _checkpoint(neuron: str | None, number: int) -> str:
    """The file of one network: of the network itself (None) with its own seed it is that of any training."""
    stem = CHECKPOINT.removesuffix(".pt") if neuron is None else neuron
    return f"{stem}-{number}.pt" if number else f"{stem}.pt"


#: The files that a regression may leave.
CHECKPOINTS = tuple(_checkpoint(neuron, number) for neuron in (None, _CLASSICAL) for number in range(_MOST_REPEATS))


@dataclass(frozen=True, eq=False)
class SeededNetwork:
    """A network that was trained with several seeds.

    Args:
        design: what it was built from.
        seeds: of its trainings.
        parameters: how many numbers it is made of.
        histories: the epochs of each training.
        tested: the answers to the test samples after each.
    """

    design: Design
    seeds: tuple[int, ...]
    parameters: int
    histories: tuple[tuple[Epoch, ...], ...]
    tested: tuple[Evaluation, ...]

    @property
    def description(self) -> str:
        """The description of its neuron."""
        return NEURONS[self.design.neuron].description


@dataclass(frozen=True, eq=False)
class RegressionExperiment:
    """A network beside a classical one of its size and a linear model.

    Args:
        data: what they learned.
        settings: how; its seed is that of the first training.
        networks: the network itself first.
        linear: the answers of the linear model.
        linear_parameters: how many numbers it is made of.
        decided_by: the backend of the spike decisions with its device, noise and shots, see `describe_layers`.
        shots: shots per decision, or "exact".
    """

    data: Dataset
    settings: TrainingSettings
    networks: tuple[SeededNetwork, ...]
    linear: Evaluation
    linear_parameters: int
    decided_by: str
    shots: int | str


def check_regression(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    *,
    repeats: int | None = None,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
) -> None:
    """Refuse what cannot be run; arguments as for `run_regression`."""
    check.integer("repeats", _or_default(repeats), at_least=2, at_most=_MOST_REPEATS)
    check.integer("seed", settings.seed, at_least=0, at_most=MAX_SEED - _MOST_REPEATS)
    if len(data.test) < 2:
        raise ArgumentError(f"Argument `data` must hold at least 2 samples for testing, but holds {len(data.test)}.")
    split_validation(data.train, settings.validation)
    untrained(design, settings, 0, backend=backend, shots=shots, device=device, processes=processes)
    for _, other in _others(design):
        untrained(other, settings, 0, device=device, processes=processes)


def run_regression(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    folder: Path,
    *,
    repeats: int | None = None,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    progress: Progress | None = None,
    after_epoch: Callable[[Design, Epoch], None] | None = None,
) -> RegressionExperiment:
    """Train every network with every seed, and test all on the same samples; what is trained already is taken as it is.

    Args:
        design: of the network.
        data: what it learns and is tested on.
        settings: how it learns; the seeds are its own and those that follow.
        folder: where the checkpoints are.
        repeats: with how many seeds, from 2 to 20; None for 5.
        backend: where the network's own spike decisions run while it learns, as for `train`.
        shots: as for `train`.
        options: as for `train`.
        checkpoint_seconds: as for `train`.
        device: as for `train`.
        processes: as for `train`.
        progress: as for `run_experiment`.
        after_epoch: called with the design and every epoch of the first training of each network.

    Raises:
        QLIFError: as `train` does.
    """
    seeds = tuple(settings.seed + number for number in range(_or_default(repeats)))
    networks = []
    for neuron, each in ((None, design), *_others(design)):
        own = {"backend": backend, "shots": shots, "options": options} if neuron is None else {}
        histories, tested = [], []
        for number, seed in enumerate(seeds):
            name = f"{NEURONS[each.neuron].description}, seed {seed}"
            with progress(name) if progress is not None else contextlib.nullcontext() as update:
                trained = train(
                    each,
                    data,
                    replace(settings, seed=seed),
                    checkpoint=folder / _checkpoint(neuron, number),
                    checkpoint_seconds=checkpoint_seconds,
                    device=device,
                    processes=processes,
                    progress=update,
                    after_epoch=None if after_epoch is None or number else partial(after_epoch, each),
                    **own,  # type: ignore[arg-type]
                )
            histories.append(trained.history)
            # Spikes of their own for every training: what is drawn in a test must differ between them, too.
            tested.append(
                evaluate(trained.network, each, data.test, seed=TEST_SEED + number, device=device, processes=processes)
            )
        count = trained.network.parameter_count()
        networks.append(SeededNetwork(each, seeds, count, tuple(histories), tuple(tested)))
        if neuron is None:
            decided_by = describe_layers(trained.network.neurons())
            drawn = shots_per_decision(trained.network, shots)
    learned, _ = split_validation(data.train, settings.validation)
    linear, numbers = linear_model(learned, data.test)
    return RegressionExperiment(data, settings, tuple(networks), linear, numbers, decided_by, drawn)


def _others(design: Design) -> Iterator[tuple[str, Design]]:
    """The classical network of the same size; none beside itself."""
    if design.neuron != _CLASSICAL:
        yield _CLASSICAL, matched(design, _CLASSICAL)


def _or_default(repeats: int | None) -> int:
    return REPEATS if repeats is None else repeats
