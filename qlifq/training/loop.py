"""The training loop: whatever it draws depends on the seed and on a count alone, so that it can stop and go on anywhere."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.errors import ArgumentError, FileError, UnsupportedError
from qlifq.neurons import SeedStream
from qlifq.random import generator
from qlifq.training.checkpoint import differences, load_checkpoint, save_checkpoint
from qlifq.training.compatibility import check_data
from qlifq.training.data.interface import Dataset, Samples
from qlifq.training.earlier import as_of_today
from qlifq.training.evaluation import child_seed, evaluate
from qlifq.training.networks import Design, Network, build
from qlifq.training.processes import SINGLE_PROCESS, Processes
from qlifq.training.settings import TrainingSettings

__all__ = ["Epoch", "Trained", "identity_of", "split_validation", "train", "untrained"]

#: How long a training may go on without a checkpoint, seconds.
CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples.

    Args:
        number: from 1.
        loss: mean over the samples, each when it was seen.
        accuracy: fraction that was recognised, likewise; None for an autoencoder.
        validation_loss: of the validation samples, after the epoch; None without any.
        validation_accuracy: of the same samples.
        seconds: wall time of the pass, without the validation.
    """

    number: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


class Trained(NamedTuple):
    """A trained network.

    Args:
        network: with its final weights: the best ones where it was stopped early.
        history: every epoch.
    """

    network: Network
    history: tuple[Epoch, ...]


def split_validation(data: Samples, fraction: float) -> tuple[Samples, Samples]:
    """The samples to learn from, and the validation samples, a fraction of all that is spread evenly over them.

    Raises:
        ArgumentError: if the fraction is above 0, but of no whole sample.
    """
    # Sample i goes to validation where ⌊(i + 1) f⌋ exceeds ⌊i f⌋: classes that stand in blocks are all among them.
    counted = (torch.arange(len(data) + 1, dtype=torch.float64) * fraction).floor()
    kept = counted[1:] == counted[:-1]
    if fraction > 0 and bool(kept.all()):
        raise ArgumentError(
            f"Argument `validation` must leave at least 1 of {len(data)} samples for validation, but is {fraction:g}, "
            "which leaves none."
        )
    learn, rest = (data.select(part.nonzero()[:, 0]) for part in (kept, ~kept))
    return learn, rest


def identity_of(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    backend: str,
    shots: int | None,
    options: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, object]:
    """What a training is of: another one cannot go on from its checkpoint."""
    return {
        "design": design.to_dict(),
        "data": data.name,
        "images": len(data.train),
        "fingerprint": data.fingerprint(),
        "backend": backend,
        "shots": shots,
        **options,
        **asdict(settings),
    }


def train(
    design: Design,
    data: Dataset,
    settings: TrainingSettings,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    progress: Callable[[int, int], None] | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train a network, or go on where a checkpoint left off.

    All draws are made with seeds that follow from `settings.seed` and the number of the batch, for the whole batch whichever
    process holds a row. So a training that was killed and started again ends with the weights of an undisturbed one, bit for
    bit with the same number of threads, and several processes have the loss of one to rounding.

    Args:
        design: what the network is built from.
        data: what it learns from; its test part is not used.
        settings: how.
        backend: where the spike decisions run, or one for each layer of neurons, as for `build`.
        shots: as for `qlifq.QLIF`.
        options: what the backend was made with, such as its noise, names and JSON values; a checkpoint is continued with the
            same ones alone.
        checkpoint: the file that the state is kept in; one that is there already is continued. None keeps none.
        checkpoint_seconds: how long to go on without writing it; after every epoch it is written anyway.
        device: where to train.
        processes: those that train together.
        progress: called as `progress(done, steps)` after every step of the optimiser.
        after_epoch: called with every epoch that is done now.

    Returns:
        The network with its history.

    Raises:
        QLIFError: if an argument cannot be used, the checkpoint is of another training, or the loss is no longer finite.
    """
    device = torch.device(device)
    seeds = SeedStream(settings.seed)
    network = untrained(design, settings, seeds.next_seed(), backend=backend, shots=shots, device=device, processes=processes)
    run = _Run(design, data, settings, network, device, processes, order_seed=seeds.next_seed(), noise_seed=seeds.next_seed())
    identity = identity_of(design, data, settings, next(network.neurons()).backend.name, shots, options)
    source = {"kind": data.kind, "path": None if data.path is None else str(data.path.resolve())}
    if checkpoint is not None and checkpoint.exists():
        content = as_of_today(load_checkpoint(checkpoint, device))
        if found := differences(content["identity"], identity):
            raise FileError(f"File {checkpoint} cannot be continued: it is of another training, whose {found[0]}.")
        run.resume(content)

    def save() -> None:
        if checkpoint is not None and processes.first:
            save_checkpoint(checkpoint, identity, {**run.content(), "source": source})

    written = time.monotonic()
    while not run.finished:
        for _ in run.batches():
            if progress is not None:
                progress(run.steps_done, run.steps)
            if time.monotonic() - written >= checkpoint_seconds:
                save()
                written = time.monotonic()
        epoch = run.finish_epoch()
        save()
        written = time.monotonic()
        if after_epoch is not None:
            after_epoch(epoch)
    run.load_best_weights()
    return Trained(network, tuple(run.history))


def untrained(
    design: Design,
    settings: TrainingSettings,
    seed: int,
    *,
    backend: str | Backend | Sequence[Backend] = "analytic",
    shots: int | None = None,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
) -> Network:
    """The network that a training begins with, or the reason why there can be none; arguments as for `train`."""
    settings.check_device(torch.device(device))
    if settings.smoothing and not design.task.classifies:
        raise UnsupportedError(
            f"Argument `smoothing` would be ignored: a network that learns to {design.task.goal} has no classes, but it is "
            f"{settings.smoothing:g}."
        )
    network = build(design, backend=backend, shots=shots, seed=seed).to(device)
    sampled = [layer.backend.name for layer in network.neurons() if layer.shots is not None]
    if processes.count > 1 and sampled:
        # Where the backend draws, it draws for the rows of one process alone.
        raise UnsupportedError(
            f"Argument `shots` must be None for {processes.count} processes: the shots of backend {sampled[0]} would depend on "
            "their number."
        )
    return network


class _Run:
    """A training in progress: everything that changes, and nothing that could not be kept in a file."""

    def __init__(
        self,
        design: Design,
        data: Dataset,
        settings: TrainingSettings,
        network: Network,
        device: torch.device,
        processes: Processes,
        *,
        order_seed: int,
        noise_seed: int,
    ) -> None:
        self.design, self.settings, self.network = design, settings, network
        self.device, self.processes = device, processes
        self.order_seed, self.noise_seed = order_seed, noise_seed
        check_data(design, data)
        self.learned, self.validation = split_validation(data.train, settings.validation)
        if not len(self.learned):
            raise ArgumentError("Argument `data` must hold samples to learn from, but holds none.")
        self.model = processes.parallel(network, device)
        self.optimiser = torch.optim.AdamW(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.per_epoch = math.ceil(len(self.learned) / settings.batch)
        self.batch = 0
        #: Summed loss, and samples recognised, of the epoch so far, over all processes.
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.seconds = 0.0
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None

    @property
    def steps(self) -> int:
        """Steps of the optimiser, if it is not stopped early."""
        return self.settings.epochs * self.per_epoch

    @property
    def steps_done(self) -> int:
        return len(self.history) * self.per_epoch + self.batch

    @property
    def finished(self) -> bool:
        return len(self.history) == self.settings.epochs or self._out_of_patience()

    def content(self) -> dict[str, object]:
        """What a checkpoint keeps."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "batch": self.batch,
            "sums": self.sums,
            "seconds": self.seconds,
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best,
            "finished": self.finished,
        }

    def resume(self, content: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        self.batch, self.seconds, self.best = content["batch"], content["seconds"], content["best"]
        self.sums = content["sums"]
        self.history = [Epoch(**epoch) for epoch in content["history"]]

    def batches(self) -> Iterator[None]:
        """The steps of the optimiser that are left of this epoch; yields after each."""
        # The order is a function of the seed and the epoch, on the CPU for every device, so that a resumed epoch goes on in it.
        order = torch.randperm(
            len(self.learned), generator=generator(child_seed(self.order_seed, len(self.history)), torch.device("cpu"))
        )
        left = torch.split(order, self.settings.batch)[self.batch :]
        own = [rows[self.processes.share(len(rows))[1]] for rows in left]
        begun = time.perf_counter()
        for rows, here, inputs in zip(left, own, self.learned.batches(own), strict=True):
            self._step(len(rows), inputs.to(self.device), self.learned.labels[here].to(self.device))
            self.batch += 1
            self.seconds += time.perf_counter() - begun
            yield
            begun = time.perf_counter()

    def finish_epoch(self) -> Epoch:
        """Sum up an epoch, evaluate the validation samples, and keep the best weights."""
        # The sums are over all samples, and so a short last batch counts by its samples.
        loss, accuracy = (self.sums / len(self.learned)).tolist()
        number = len(self.history) + 1
        # The last step may have spoiled the weights after the last loss was taken.
        if not math.isfinite(loss) or not self._has_finite_weights():
            raise self._diverged()
        epoch = Epoch(number, loss, accuracy if self.design.task.classifies else None, None, None, self.seconds)
        if len(self.validation):
            seen = evaluate(
                self.network,
                self.design,
                self.validation,
                batch=self.settings.batch,
                seed=self.noise_seed,
                device=self.device,
                processes=self.processes,
            )
            validated = seen.accuracy if self.design.task.classifies else None
            epoch = replace(epoch, validation_loss=seen.loss, validation_accuracy=validated)
        self.history.append(epoch)
        self.batch, self.seconds = 0, 0.0
        self.sums.zero_()
        if self.settings.patience is not None and self._best_number() == number:
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        return epoch

    def load_best_weights(self) -> None:
        """Put the best weights in, where they were kept."""
        if self.best is not None:
            self.network.load_state_dict(self.best)

    def _step(self, total: int, inputs: Tensor, labels: Tensor) -> None:
        """One step of the optimiser on a batch of `total` samples, of which this process holds these."""
        shard, _ = self.processes.share(total)
        # Even numbers for the neurons, odd ones for the input.
        self.network.reseed(child_seed(self.noise_seed, 2 * self.steps_done), shard)
        signal = self.design.encode(inputs, child_seed(self.noise_seed, 2 * self.steps_done + 1), shard)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate_at(self.steps_done, self.steps)
        try:
            with self._precision():
                answer = self.model(signal)
        except ArgumentError as error:
            # A layer refuses a current that is no number; here that is what the weights have become.
            if self._has_finite_weights():
                raise
            raise self._diverged() from error
        losses = self.design.losses(answer, inputs, labels, self.settings.smoothing)
        # The gradients are averaged over the processes: of the mean over the whole batch, each has its part times their number.
        loss = losses.sum() * (self.processes.count / total)
        self.optimiser.zero_grad()
        torch.autograd.backward(self.scaler.scale(loss))
        # With float16 a step whose gradients overflowed is left out, and the scale is halved.
        self.scaler.step(self.optimiser)
        self.scaler.update()
        with torch.no_grad():
            correct = self.design.task.correct(answer.scores, labels).sum()
            self.sums += self.processes.all_reduce_sum(torch.stack((losses.sum(), correct)).to(torch.float64))

    def _has_finite_weights(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.network.parameters())

    def _diverged(self) -> ArgumentError:
        return ArgumentError(
            f"Argument `learning_rate` must be lower: in epoch {len(self.history) + 1} the loss is no longer a finite number, "
            f"but it is {self.settings.learning_rate:g}."
        )

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.settings.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.settings.precision))

    def _best_number(self) -> int:
        """The epoch with the least validation loss so far, from 1."""
        losses = [cast(float, epoch.validation_loss) for epoch in self.history]
        return 1 + losses.index(min(losses))

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and bool(self.history) and len(self.history) - self._best_number() >= patience
