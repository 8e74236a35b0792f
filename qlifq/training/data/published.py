"""MNIST and its relatives, from their official files or from OpenML."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from qlifq._files import PathLike, as_path
from qlifq._packages import load
from qlifq.errors import FileFormatError
from qlifq.training.data.array_samples import ArraySamples
from qlifq.training.data.idx import read_idx
from qlifq.training.data.interface import Dataset, DatasetKind

__all__ = ["Published", "load_idx"]

#: The first rows of each of OpenML's tables are the official training part.
_OFFICIAL_TRAINING = 60_000


class Published(DatasetKind):
    """A data set of official files: from a folder of them, or from OpenML, which keeps it under a number.

    Args:
        name: its name.
        number: OpenML's.
        description: what it holds.
    """

    def __init__(self, name: str, number: int, description: str) -> None:
        self.name, self.number, self.description = name, number, description

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """The training and the test part as they are published."""
        return _from_openml(self.name, self.number) if path is None else load_idx(self.name, path)


def load_idx(name: str, folder: PathLike) -> Dataset:
    """A data set from its four official files, such as `train-images-idx3-ubyte`, gzipped (`.gz`) or not.

    Args:
        name: what it is called; any data set that comes as such files can be read.
        folder: where they lie.

    Returns:
        The training and the test part as they are published.

    Raises:
        FileFormatError: if a file is missing, damaged, or does not go with the others.
    """
    place = as_path("data", folder)
    if not place.is_dir():
        raise FileFormatError(f"Argument `data` must be a folder of IDX files, but {place} is none.")
    parts = []
    for prefix in ("train", "t10k"):
        places = _either(place, f"{prefix}-images-idx3-ubyte"), _either(place, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(places[0], 3), read_idx(places[1], 1)
        if len(images) != len(labels):
            raise FileFormatError(
                f"File {places[1]} must hold {len(images):,} labels, one per image, but holds {len(labels):,}."
            )
        parts.append((images, labels))
    train, test = parts
    if train[0].shape[1:] != test[0].shape[1:]:
        raise FileFormatError(
            f"Folder {place} must hold images of one size, but those for training are {train[0].shape[1:]} "
            f"and those for testing {test[0].shape[1:]}."
        )
    rows, columns = train[0].shape[1:]
    return Dataset(name, _part(*train), _part(*test), (rows, columns), f"the files of {place.name}")


def _either(folder: Path, name: str) -> Path:
    """A file of this name, gzipped or not."""
    for found in (folder / name, folder / f"{name}.gz"):
        if found.is_file():
            return found
    raise FileFormatError(f"Folder {folder} must hold the file {name} or {name}.gz, but holds neither.")


def _part(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> ArraySamples:
    """Images, which stay bytes until they are used."""
    pixels = images.reshape(len(images), -1)
    return ArraySamples(pixels, torch.from_numpy(labels.astype(np.int64)))


def _from_openml(name: str, number: int) -> Dataset:
    """A data set through scikit-learn's loader, from its cache or the network."""
    loader = load("sklearn.datasets", package="sklearn", feature=f"Data set {name}", install="scikit-learn")
    try:
        with warnings.catch_warnings():
            # The loader warns before each new attempt; the error below says what it comes to.
            warnings.simplefilter("ignore")
            found = loader.fetch_openml(data_id=number, as_frame=False, parser="liac-arff")
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"Data set {name} is neither in scikit-learn's cache nor available from OpenML ({_first_sentence(error)}): "
            "give the folder of its IDX files as `data`."
        ) from error
    pixels, labels = np.asarray(found.data), np.asarray(found.target).astype(np.uint8)
    if pixels.shape != (70_000, 784) or pixels.min() < 0 or pixels.max() > 255:
        raise FileFormatError(f"Data set {name} must have 70,000 images of 784 bytes, but OpenML gave {pixels.shape}.")
    parts = (slice(None, _OFFICIAL_TRAINING), slice(_OFFICIAL_TRAINING, None))
    train, test = (_part(pixels[part].astype(np.uint8), labels[part]) for part in parts)
    return Dataset(name, train, test, (28, 28), f"OpenML, data set {number}")


def _first_sentence(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rstrip(".")
