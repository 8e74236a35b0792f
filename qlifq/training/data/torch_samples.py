"""Any data set of PyTorch."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, default_collate

from qlifq._validation import flag, not_finite
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError, UnsupportedError
from qlifq.training.data.array_samples import checked_labels
from qlifq.training.data.interface import Dataset, Samples, split

__all__ = ["from_torch"]

#: Samples that are read at once where all are looked at, and how many of the first are read twice.
_CHUNK, _TWICE = 64, 4


def from_torch(train: object, test: object = None, *, in_time: bool = False, name: str = "torch") -> Dataset:
    """A data set of the samples that a `Dataset` or a `DataLoader` of PyTorch gives.

    Everything is read once now, in batches, to see whether it can be used; what a sample holds is read again when it is
    needed, and never kept. A `DataLoader` gives its data set, its `collate_fn` and its workers. The order of the samples and
    the size of a batch are the training's own, so that one that was killed goes on in them.

    Args:
        train: samples by their number from 0 on, each a pair (x, y): y the class, a whole number from 0 on, and x finite
            numbers of shape (features,), (rows, columns) or (channels, rows, columns), with time before it where they are in
            time. Bytes stand for 0 to 1.
        test: samples to be tested on; None tests on every fifth of a class.
        in_time: whether the first dimension of x is time.
        name: what reports call it.

    Returns:
        The data set, which `train_run`, `evaluate_run` and the others take.

    Raises:
        QLIFError: if a sample is none of these, or not the same when it is read again, or a setting would be ignored.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = from_torch(TensorDataset(torch.rand(20, 8, 8), torch.arange(20) % 2))
        >>> len(data.train), len(data.test), data.picture, data.classes
        (16, 4, (8, 8), 2)
    """
    flag("in_time", in_time)
    given = [("train", train)] if test is None else [("train", train), ("test", test)]
    looked = [_looked_through(_source(argument, each), in_time) for argument, each in given]
    if len({each.shape for each in looked}) > 1:
        raise ShapeError(f"Argument `test` must give samples of shape {looked[0].shape}, but gives {looked[1].shape}.")
    labels = checked_labels([each.labels.numpy() for each in looked], "Argument `train`", ArgumentError)
    parts: list[Samples] = [_TorchSamples(each, part, in_time) for each, part in zip(looked, labels, strict=True)]
    first, second = parts if len(parts) > 1 else split(parts[0])
    step = looked[0].shape[in_time:]
    return Dataset(name, first, second, (math.prod(step[:-1]), step[-1]), "a data set of PyTorch")


class _Source(NamedTuple):
    """Where samples come from.

    Args:
        argument: what it is called in an error.
        dataset: gives samples by their numbers.
        collate: makes a batch of them.
        options: of the loader that reads them, such as its workers.
    """

    argument: str
    dataset: Any
    collate: Callable[[list[Any]], Any]
    options: dict[str, Any]


class _LookedThrough(NamedTuple):
    """What was found when everything was read: the shape of a sample, the labels, and a digest of the samples."""

    source: _Source
    shape: tuple[int, ...]
    labels: Tensor
    digest: str


@final
class _TorchSamples(Samples):
    """Samples that are read from PyTorch's data set."""

    def __init__(self, looked: _LookedThrough, labels: Tensor, in_time: bool) -> None:
        super().__init__(labels, math.prod(looked.shape[in_time:]), looked.shape[0] if in_time else None, looked.digest)
        self.looked = looked

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """What the loader gives."""
        for values, _ in _read(self.looked.source, order, self.looked.shape, self.steps is not None):
            yield values.flatten(1) if self.steps is None else values.flatten(2).transpose(0, 1)


def _source(argument: str, given: object) -> _Source:
    """What a data set or a loader reads from, with nothing of it that would be ignored."""
    if not isinstance(given, DataLoader):
        if isinstance(given, IterableDataset) or not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
            raise DtypeError(
                f"Argument `{argument}` must be a data set of PyTorch with a length and samples by their number, or a "
                f"DataLoader of one, but is {type(given).__name__}."
            )
        return _Source(argument, given, default_collate, {})
    inner = _source(argument, given.dataset)
    sampler = given.sampler
    ordered = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    for ignored, name in (
        (given.batch_size is None, "batch_sampler"),
        (not ordered, "sampler"),
        (given.drop_last, "drop_last"),
    ):
        if ignored:
            raise UnsupportedError(
                f"Argument `{argument}` must be a DataLoader without `{name}`, which would be ignored: a training takes every "
                "sample once per epoch, in an order of its own."
            )
    kept = ("num_workers", "timeout", "worker_init_fn", "multiprocessing_context")
    return inner._replace(collate=given.collate_fn, options={name: getattr(given, name) for name in kept})


def _looked_through(source: _Source, in_time: bool) -> _LookedThrough:
    """Read everything once."""
    try:
        size = len(source.dataset)
    except TypeError as error:
        raise DtypeError(f"Argument `{source.argument}` must have a length, but has none: {error}.") from error
    if size < 1:
        raise ArgumentError(f"Argument `{source.argument}` must hold samples, but holds none.")
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    labels: list[Tensor] = []
    chunks = torch.split(torch.arange(size), _CHUNK)
    for rows, (values, classes) in zip(chunks, _read(source, chunks, shape, in_time), strict=True):
        shape = shape or tuple(values.shape[1:])
        if tuple(values.shape[1:]) != shape:
            raise ShapeError(
                f"Argument `{source.argument}` must give samples of one shape, but sample {int(rows[0])} has "
                f"{tuple(values.shape[1:])} and sample 0 {shape}."
            )
        if not_finite(values):
            bad = int(rows[(~values.isfinite()).flatten(1).any(dim=1)][0])
            raise ArgumentError(
                f"Argument `{source.argument}` must give finite numbers, but sample {bad} holds NaN or infinity."
            )
        if not labels:
            again = next(iter(_read(source, [rows[:_TWICE]], shape, in_time)))[0]
            if not torch.equal(again, values[:_TWICE]):
                raise ArgumentError(
                    f"Argument `{source.argument}` must give the same sample whenever it is read, so that a training that was "
                    "killed can go on, but gives others the second time: leave out random transforms."
                )
        digest.update(values.contiguous().numpy().tobytes())
        labels.append(classes)
    return _LookedThrough(source, shape, torch.cat(labels), f"{digest.hexdigest()} {shape}")


def _read(source: _Source, order: Iterable[Tensor], shape: tuple[int, ...], in_time: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of samples `(batch, ...)` float32 and their labels; of no rows only where the shape is known."""
    batches = [rows.tolist() for rows in order]
    loader = DataLoader(
        source.dataset,
        batch_sampler=[rows for rows in batches if rows],
        collate_fn=source.collate,
        # PyTorch draws a seed for the workers, which must not come from the user's generator.
        generator=torch.Generator(),
        **source.options,
    )
    read = iter(loader)
    for rows in batches:
        if not rows:
            yield torch.empty((0, *shape)), torch.empty(0, dtype=torch.int64)
            continue
        try:
            batch = next(read)
        except QLIFError:
            raise
        # A data set is a user's code, and fails in a user's ways.
        except Exception as error:
            lines = (str(error).strip() or type(error).__name__).splitlines()
            # A worker's error ends with what was raised there, after its traceback.
            said = lines[-1 if source.options.get("num_workers") else 0].rstrip(".")
            raise ArgumentError(
                f"Argument `{source.argument}` must give samples of one shape that can be read, but a batch from sample "
                f"{rows[0]} on cannot: {said}."
            ) from error
        yield _checked_pair(source.argument, batch, len(rows), in_time)


def _checked_pair(argument: str, batch: Any, size: int, in_time: bool) -> tuple[Tensor, Tensor]:
    """Samples as floats and labels of a batch that a loader gave."""
    values, labels = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (None, None)
    if not isinstance(values, Tensor) or not isinstance(labels, Tensor):
        kinds = ", ".join(type(part).__name__ for part in batch) if isinstance(batch, tuple | list) else type(batch).__name__
        raise DtypeError(f"Argument `{argument}` must give pairs (x, y) of numbers and a class, but gives {kinds}.")
    if values.is_complex() or len(values) != size or not 1 + in_time < values.ndim <= 4 + in_time or not values.numel():
        raise ShapeError(
            f"Argument `{argument}` must give x of real numbers of shape (features,), (rows, columns) or (channels, rows, "
            f"columns){', with time before it' if in_time else ''}, but gives a batch of {values.dtype} of shape "
            f"{tuple(values.shape)}."
        )
    if labels.shape != (size,):
        raise ShapeError(f"Argument `{argument}` must give one class per sample, but gives y of shape {tuple(labels.shape)}.")
    unit = 255.0 if values.dtype == torch.uint8 and not in_time else 1.0
    return values.to(torch.float32) / unit, labels
