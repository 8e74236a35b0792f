"""Samples in arrays, of which only what is used is read and made a float, and the checks of what a user's arrays hold."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._validation import not_finite
from qlifq.errors import FileFormatError, QLIFError
from qlifq.training.data.interface import Samples

__all__ = ["ArraySamples", "check_finite", "checked_labels"]


@final
class ArraySamples(Samples):
    """Samples in an array, perhaps one that lies in a file.

    Args:
        values: `(samples, features)`, or in time `(samples, time, features)`; real numbers. Bytes stand for 0 to 1.
        labels: `(samples,)` int64.
        origin: as for `Samples`.
    """

    def __init__(self, values: npt.NDArray[Any], labels: Tensor, origin: str | None = None) -> None:
        super().__init__(labels, values.shape[-1], values.shape[1] if values.ndim == 3 else None, origin)
        self.values = values
        self.unit = 255.0 if values.dtype == np.uint8 and values.ndim == 2 else 1.0

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """Rows of the array, as floats; those in time with time first."""
        for rows in order:
            with np.errstate(over="ignore"):
                part = torch.from_numpy(np.array(self.values[rows.numpy()], dtype=np.float32)).div_(self.unit)
            yield part if self.steps is None else part.transpose(0, 1)


def check_finite(samples: Samples, name: str) -> None:
    """Refuse NaN and infinity, also where only float32 cannot hold a number; reads everything once, some at a time.

    Raises:
        FileFormatError: that names `name`.
    """
    bad, number, first = 0, 0, -1
    for rows, part in zip(samples.chunks(), samples.batches(samples.chunks()), strict=True):
        number += part.numel()
        if found := not_finite(part):
            if not bad:
                by_sample = part if samples.steps is None else part.transpose(0, 1)
                first = int(rows[(~by_sample.isfinite()).flatten(1).any(dim=1)][0])
            bad += found
    if bad:
        raise FileFormatError(
            f"{name} must hold finite float32 numbers, but {bad} of its {number} are not, the first in sample {first}."
        )


def checked_labels(parts: Sequence[npt.NDArray[Any]], name: str, error: type[QLIFError] = FileFormatError) -> list[Tensor]:
    """Labels as int64: whole numbers from 0 on, every class in the training part.

    Args:
        parts: those of the training part, and perhaps those of the part for testing.
        name: what they are called in an error, such as "File a.npz, array `y`,".
        error: the class of the error for anything else.

    Raises:
        QLIFError: of that class.
    """
    for labels in parts:
        if labels.ndim != 1 or labels.dtype.kind not in "iub":
            raise error(
                f"{name} must hold one class per sample, a whole number, but holds {labels.dtype} of shape {labels.shape}."
            )
    found = np.unique(parts[0])
    classes = len(found)
    if classes < 2 or found[0] != 0 or found[-1] != classes - 1:
        raise error(
            f"{name} must number at least 2 classes from 0 on without gaps, but there are {classes} different numbers from "
            f"{int(found[0])} to {int(found[-1])}."
        )
    for labels in parts[1:]:
        if outside := [int(label) for label in np.unique(labels) if not 0 <= label < classes]:
            raise error(f"{name} must number classes from 0 to {classes - 1} for testing too, but there is {outside[0]}.")
    return [torch.from_numpy(labels.astype(np.int64)) for labels in parts]
