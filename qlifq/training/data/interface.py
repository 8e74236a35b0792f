"""What a data set is: its two parts, which are read batch by batch, and the row by which it is found."""

import abc
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor

from qlifq._validation import integer, shape_of
from qlifq.errors import ArgumentError

__all__ = ["Dataset", "DatasetKind", "LabelledImages", "Samples", "split"]

#: Numbers that are read at once where a whole set is looked at.
_CHUNK = 1 << 19


class Samples(abc.ABC):
    """Samples and their labels: one part of a data set. The labels are in memory; what a sample holds is read in batches.

    Args:
        labels: `(samples,)` int64; for a regression the numbers to predict, `(samples, targets)` float32.
        features: numbers of a sample, or of one step of it where it is in time.
        steps: time steps of a sample; None where it is values without time.
        origin: what tells the samples from others, such as the checksum of their file; None where their numbers do.
    """

    def __init__(self, labels: Tensor, features: int, steps: int | None = None, origin: str | None = None) -> None:
        self.labels, self.features, self.steps, self.origin = labels, features, steps, origin

    @abc.abstractmethod
    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """The samples of each tensor of row numbers: `(batch, features)` float32, in time `(time, batch, features)`."""

    @final
    def content(self) -> Iterator[bytes]:
        """What tells these samples from others, for a fingerprint."""
        if self.origin is not None:
            yield self.origin.encode()
        else:
            yield str((len(self), self.features)).encode()
            for part in self.batches(self.chunks()):
                yield part.contiguous().numpy().tobytes()
        yield str(tuple(self.labels.shape)).encode()
        yield self.labels.numpy().tobytes()

    @final
    def __len__(self) -> int:
        return len(self.labels)

    @final
    def read(self, rows: Tensor | slice) -> Tensor:
        """Some of the samples, see `batches`."""
        return next(iter(self.batches([torch.arange(len(self))[rows] if isinstance(rows, slice) else rows])))

    @final
    def select(self, rows: Tensor) -> "Samples":
        """Only the samples of these row numbers; nothing is read."""
        # Of rows of rows the same rows of the whole: which samples there are does not depend on how they were chosen.
        return _Selected(self.samples, self.rows[rows]) if isinstance(self, _Selected) else _Selected(self, rows)

    @final
    def chunks(self) -> list[Tensor]:
        """Row numbers of all samples, in their order, some at a time."""
        together = max(1, _CHUNK // (self.features * (self.steps or 1)))
        return list(torch.split(torch.arange(len(self)), together)) if len(self) else []

    @functools.cached_property
    def limits(self) -> tuple[float, float]:
        """The least and the largest number that a sample holds."""
        bounds = torch.tensor([[float(part.min()), float(part.max())] for part in self.batches(self.chunks())])
        return float(bounds[:, 0].min()), float(bounds[:, 1].max())


@final
class LabelledImages(Samples):
    """Samples in memory, such as images and what they show.

    Args:
        images: `(samples, pixels)` float32, from 0 (background) to 1.
        labels: `(samples,)` int64; for a regression the numbers to predict, `(samples, targets)` float32.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        shape_of("images", images, ("samples", "pixels"))
        super().__init__(labels, images.shape[1])
        self.images = images

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.images, self.labels))

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """Rows of the tensor."""
        return (self.images[rows] for rows in order)


@final
class _Selected(Samples):
    """Some rows of other samples."""

    def __init__(self, samples: Samples, rows: Tensor) -> None:
        origin = None if samples.origin is None else f"{samples.origin} {hashlib.sha256(rows.numpy().tobytes()).hexdigest()}"
        super().__init__(samples.labels[rows], samples.features, samples.steps, origin)
        self.samples, self.rows = samples, rows

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        return self.samples.batches(self.rows[rows] for rows in order)


class Dataset(NamedTuple):
    """A data set in its two parts.

    Args:
        name: its name.
        train: what a network learns from.
        test: what it is tested on, and never sees before.
        picture: rows and columns of an image, or of what a sample has at one step.
        source: where it comes from.
        kind: the name in `DATASETS` that reads it again; None for one that was given in Python.
        path: the file or folder that it was read from; None for one that needs none.
    """

    name: str
    train: Samples
    test: Samples
    picture: tuple[int, int]
    source: str
    kind: str | None = None
    path: Path | None = None

    @property
    def targets(self) -> int:
        """How many numbers a sample is labelled with, for a regression; 0 where the labels are classes."""
        return self.train.labels.shape[1] if self.train.labels.is_floating_point() else 0

    @property
    def task(self) -> str:
        """What can be learned of it: "classification" or "regression"."""
        return "regression" if self.targets else "classification"

    @property
    def classes(self) -> int:
        """How many classes there are; 0 where the labels are numbers."""
        if self.targets:
            return 0
        return int(max(part.labels.max() for part in (self.train, self.test))) + 1

    @property
    def noun(self) -> str:
        """What its samples are called: "images", or "samples" where they are none."""
        return "images" if self.steps is None and self.picture[0] > 1 and not self.targets else "samples"

    @property
    def steps(self) -> int | None:
        """Time steps of a sample; None for values without time."""
        return self.train.steps

    def fingerprint(self) -> str:
        """A digest of all samples and labels in their order: two data sets with the same one are the same."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            for content in part.content():
                digest.update(content)
        return digest.hexdigest()[:16]

    def first(self, samples: int | None) -> "Dataset":
        """The same data set with only its first `samples` to learn from; None for all."""
        if samples is None or samples == len(self.train):
            return self
        integer("samples", samples, at_least=1, at_most=len(self.train))
        return self._replace(train=self.train.select(torch.arange(samples)))


class DatasetKind(abc.ABC):
    """All that is known of one data set.

    One of one's own is a class with `description` and `load`, and one row, `DATASETS.register("mine", Mine())`, or an entry
    point of the group `qlifq.datasets` in a package.
    """

    #: What it holds, in a few words.
    description: str
    #: The endings of the files that it reads; `load_dataset` finds it by them.
    suffixes: tuple[str, ...] = ()

    @abc.abstractmethod
    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """Read it.

        Args:
            path: the file or folder that the user gave, or None.
            steps: into how many time steps events are binned; a data set without events leaves it.

        Raises:
            QLIFError: if it cannot be read, or anything in it is not as it must be.
        """


def split(samples: Samples) -> tuple[Samples, Samples]:
    """Samples to learn from and samples to be tested on: every fifth of a class.

    Raises:
        ArgumentError: if a class has fewer than five, so that none of it is left to be tested on.
    """
    labels = samples.labels
    # The number of a sample among those of its class: a stable order by class, counted from where the class begins.
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    number = torch.empty_like(labels)
    number[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    tested = number % 5 == 4
    if not bool(tested.any()):
        raise ArgumentError(
            "A data set without a part for testing must have at least 5 samples of a class, "
            f"but has {int(counts.max())} at most."
        )
    train, test = (samples.select(rows.nonzero()[:, 0]) for rows in (~tested, tested))
    return train, test
