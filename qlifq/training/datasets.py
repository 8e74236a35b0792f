"""Real input: the handwritten digits that scikit-learn bundles, and a user's own arrays."""

from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qlifq._files import PathLike, as_path
from qlifq._packages import load
from qlifq.errors import FileFormatError

__all__ = ["LabelledImages", "digits", "load_current", "read_current"]


class LabelledImages(NamedTuple):
    """Images and what they show.

    Args:
        images: `(samples, pixels)` float32, from 0 (background) to 1.
        labels: `(samples,)` int64.
    """

    images: Tensor
    labels: Tensor


def digits() -> LabelledImages:
    """The 1797 handwritten digits of 8 × 8 pixels that come with scikit-learn; nothing is downloaded.

    Returns:
        Images `(1797, 64)`, row by row from the top, and labels 0 to 9.

    Raises:
        QLIFError: if scikit-learn is missing.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).

    Example:
        >>> digits().images.shape, digits().labels[:4].tolist()
        (torch.Size([1797, 64]), [0, 1, 2, 3])
    """
    bundled = load("sklearn.datasets", package="sklearn", feature="The digits dataset", install="scikit-learn").load_digits()
    return LabelledImages(
        images=torch.from_numpy(bundled.data / 16).to(torch.float32),
        labels=torch.from_numpy(bundled.target.astype(np.int64)),
    )


def load_current(path: PathLike) -> Tensor:
    """Input currents from a `.npy` file; pickled objects are never unpickled.

    Args:
        path: a file that `numpy.save` wrote, an array of shape `(time, batch, neurons)` of finite real numbers.

    Returns:
        The array as float32.

    Raises:
        FileFormatError: if the file cannot be read, or holds anything else.
    """
    file = as_path("path", path)
    try:
        with file.open("rb") as stream:
            return read_current(stream, str(file))
    except OSError as error:
        raise FileFormatError(f"File {file} cannot be read: {(error.strerror or str(error)).lower()}.") from error


def read_current(stream: BinaryIO, file: str) -> Tensor:
    """Input currents from an open `.npy` file, as `load_current`.

    Args:
        stream: the file, at its beginning.
        file: what it is called in an error.

    Returns:
        `(time, batch, neurons)` float32.

    Raises:
        FileFormatError: if it holds anything else.
    """
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        rest = stream.read(1)
    except (ValueError, EOFError, MemoryError) as error:
        raise FileFormatError(
            f"File {file} must be a .npy file of plain numbers, but is not: {_first_sentence(error)}."
        ) from error
    if rest:
        raise FileFormatError(f"File {file} must be a .npy file of one array, but goes on after its end.")
    if array.dtype.kind not in "fiub":
        raise FileFormatError(f"File {file} must hold real numbers, but holds {array.dtype}.")
    if array.ndim != 3 or array.size == 0:
        raise FileFormatError(
            f"File {file} must hold an array of shape (time, batch, neurons) with at least one element, "
            f"but holds one of shape {array.shape}."
        )
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise FileFormatError(f"File {file} must hold finite float32 numbers, but {bad} of its {array.size} are not.")
    return torch.from_numpy(values)


def _first_sentence(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rstrip(".")
