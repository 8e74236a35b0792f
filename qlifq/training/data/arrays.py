"""A user's own arrays: `.npz` files of samples and labels, and `.npy` files of currents."""

import shutil
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._arrays import map_npy, parse_npy
from qlifq._files import PathLike, as_path, read_bytes
from qlifq.errors import ArgumentError, FileError, FileFormatError
from qlifq.training.data.array_samples import ArraySamples, check_finite, checked_labels
from qlifq.training.data.cache import cached, digest_of
from qlifq.training.data.interface import Dataset, DatasetKind, Samples, split

__all__ = ["ARRAYS", "ArrayFile", "load_current", "parse_current"]

#: What the arrays of a `.npz` file must be.
ARRAYS = (
    "`y`, the class of each sample as a whole number from 0 on, and either `x`, finite numbers of shape (samples, features) or "
    "(samples, rows, columns), or `current`, those of shape (time, samples, neurons); `x_test` or `current_test` with `y_test` "
    "are for testing, else every fifth sample of a class is"
)


class ArrayFile(DatasetKind):
    """Samples and labels in a `.npz` file, unpacked once to the cache and read from there in batches."""

    description = "samples and labels in a .npz file"
    suffixes = (".npz",)

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """What the arrays must be says `ARRAYS`."""
        if path is None:
            raise ArgumentError("Argument `data` must be a .npz file to read, but is None.")
        digest = digest_of(path)
        kind, endings = _layout(path)
        values = [_samples_first(_unpacked(path, digest, f"{kind}{ending}"), kind, path) for ending in endings]
        labels = checked_labels([_unpacked(path, digest, f"y{ending}") for ending in endings], f"File {path}, array `y`,")
        picture = _picture(values[0], kind)
        if len({each.shape[1:] for each in values}) > 1:
            raise FileFormatError(
                f"File {path} must hold samples of one shape, but those of `{kind}` have {values[0].shape[1:]} and those of "
                f"`{kind}_test` {values[1].shape[1:]}."
            )
        parts: list[Samples] = []
        for ending, each, numbers in zip(endings, values, labels, strict=True):
            if len(each) != len(numbers):
                raise FileFormatError(
                    f"File {path} must hold one label per sample, but `y{ending}` holds {len(numbers):,} "
                    f"for {len(each):,} samples."
                )
            flat = each if kind == "current" else each.reshape(len(each), -1)
            part = ArraySamples(flat, numbers, f"{digest} {kind}{ending}")
            check_finite(part, f"File {path}, array `{kind}{ending}`,")
            parts.append(part)
        train, test = parts if len(parts) > 1 else split(parts[0])
        source = f"the file {path.name}" + ("" if len(parts) > 1 else ", every fifth sample of a class for testing")
        return Dataset(path.stem, train, test, picture, source)


def _layout(path: Path) -> tuple[str, tuple[str, ...]]:
    """What the samples of a `.npz` file are called, and the endings of its parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    # What is no archive leads its reader to errors of any kind.
    except Exception as error:
        raise FileFormatError(f"File {path} must be a .npz file, but cannot be read as one.") from error
    for kind in ("x", "current"):
        for endings in (("",), ("", "_test")):
            if sorted(names) == sorted(f"{name}{ending}" for name in (kind, "y") for ending in endings):
                return kind, endings
    held = ", ".join(ascii(name) for name in names) or "nothing"
    raise FileFormatError(f"File {path} must hold {ARRAYS}; but it holds {held}.")


def _unpacked(path: Path, digest: str, name: str) -> npt.NDArray[Any]:
    """An array of a `.npz` file, from the cache."""
    described = f"{path}, array `{name}`,"

    def unpack(file: BinaryIO) -> None:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
                # At its end the reader compares the checksum of what it read.
                shutil.copyfileobj(member, file)
        except FileError:
            raise
        # A damaged archive leads the readers of its parts and of its compression to errors of any kind.
        except Exception as error:
            raise FileFormatError(f"File {path} must hold the array `{name}`, but it is damaged.") from error

    return map_npy(cached(f"{digest} {name}", unpack), described)


def _samples_first(values: npt.NDArray[Any], kind: str, path: Path) -> npt.NDArray[Any]:
    """The samples along the first dimension, which are a view."""
    if kind == "x" and values.ndim in {2, 3}:
        return values
    if kind == "current" and values.ndim == 3:
        return np.moveaxis(values, 1, 0)
    raise FileFormatError(f"File {path} must hold {ARRAYS}; but `{kind}` has shape {values.shape}.")


def _picture(values: npt.NDArray[Any], kind: str) -> tuple[int, int]:
    """Rows and columns of a sample, or of what it has at one step."""
    return (values.shape[1], values.shape[2]) if kind == "x" and values.ndim == 3 else (1, values.shape[-1])


def load_current(path: PathLike) -> Tensor:
    """Input currents from a `.npy` file; pickled objects are never unpickled.

    Args:
        path: a file that `numpy.save` wrote, an array of shape `(time, batch, neurons)` of finite real numbers.

    Returns:
        The array as float32.

    Raises:
        FileFormatError: if the file cannot be read, or holds anything else.
    """
    return parse_current(read_bytes(path), str(as_path("path", path)))


def parse_current(content: bytes, file: str) -> Tensor:
    """Input currents from the bytes of a `.npy` file, as `load_current`.

    Args:
        content: of the file.
        file: what it is called in an error.

    Returns:
        `(time, batch, neurons)` float32.

    Raises:
        FileFormatError: if it holds anything else.
    """
    array = parse_npy(content, file)
    if array.ndim != 3:
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
