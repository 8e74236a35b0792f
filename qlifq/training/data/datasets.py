"""Real input: the handwritten digits that scikit-learn bundles, MNIST and its relatives, and a user's own arrays."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._arrays import parse_npy
from qlifq._files import PathLike, as_path, read_bytes
from qlifq._packages import load
from qlifq._registry import Registry
from qlifq._validation import choice, integer
from qlifq.errors import FileFormatError, UnsupportedError
from qlifq.training.data.idx import read_idx

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetKind",
    "LabelledImages",
    "digits",
    "load_current",
    "load_dataset",
    "load_idx",
    "parse_current",
]


#: The first rows of each of OpenML's tables are the official training part.
_OFFICIAL_TRAINING = 60_000


class LabelledImages(NamedTuple):
    """Images and what they show.

    Args:
        images: `(samples, pixels)` float32, from 0 (background) to 1.
        labels: `(samples,)` int64.
    """

    images: Tensor
    labels: Tensor


class Dataset(NamedTuple):
    """A data set in its two parts.

    Args:
        name: its name.
        train: what a network learns from.
        test: what it is tested on, and never sees before.
        picture: rows and columns of an image.
        source: where it comes from.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    picture: tuple[int, int]
    source: str

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(max(part.labels.max() for part in (self.train, self.test))) + 1

    def fingerprint(self) -> str:
        """A digest of all images and labels in their order: two data sets with the same one are the same."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            for values in part:
                digest.update(str(tuple(values.shape)).encode())
                digest.update(values.numpy().tobytes())
        return digest.hexdigest()[:16]

    def first(self, samples: int | None) -> "Dataset":
        """The same data set with only its first `samples` training images; None for all."""
        if samples is None:
            return self
        integer("samples", samples, at_least=1, at_most=len(self.train.images))
        return self._replace(train=LabelledImages(*(values[:samples] for values in self.train)))


@dataclass(frozen=True)
class DatasetKind:
    """All that is known of one data set; one of one's own is one row, `DATASETS.register("mine", DatasetKind(...))`.

    Args:
        description: what it holds, in a few words.
        load: makes it from the `data_dir` that the user gave, or None.
    """

    description: str
    load: Callable[[PathLike | None], Dataset]


def load_dataset(name: str, data_dir: PathLike | None = None) -> Dataset:
    """A data set by name.

    "digits" is bundled, and every fifth image of a class is for testing. The others come from a folder of IDX files, or
    else from OpenML through scikit-learn, which keeps a copy in its own cache.

    Args:
        name: a name in `DATASETS`: "digits", "mnist", "fashion-mnist", "kmnist", or one that was registered.
        data_dir: a folder with the official files, such as `train-images-idx3-ubyte`, gzipped (`.gz`) or not.

    Returns:
        The training and the test part as they are published.

    Raises:
        QLIFError: if neither the folder nor OpenML has it, or a file is damaged.

    Example:
        >>> data = load_dataset("digits")
        >>> len(data.train.images), len(data.test.images), data.picture, data.classes
        (1442, 355, (8, 8), 10)
    """
    return DATASETS[choice("dataset", name, DATASETS)].load(data_dir)


def _split_digits(data_dir: PathLike | None) -> Dataset:
    """The bundled digits in two parts."""
    if data_dir is not None:
        raise UnsupportedError(f"Argument `data_dir` would be ignored: the digits are bundled, but it is {data_dir!r}.")
    images, labels = digits()
    # How many images of its class come before each image.
    before = torch.nn.functional.one_hot(labels).cumsum(dim=0).gather(1, labels[:, None])[:, 0] - 1
    test = before % 5 == 4
    train, tested = (LabelledImages(images[part], labels[part]) for part in (~test, test))
    return Dataset("digits", train, tested, (8, 8), "bundled with scikit-learn, every fifth image of a class for testing")


def load_idx(name: str, data_dir: PathLike) -> Dataset:
    """A data set from its four official files, see `load_dataset`; any that comes as such files can be read."""
    folder = as_path("data_dir", data_dir)
    if not folder.is_dir():
        raise FileFormatError(f"Argument `data_dir` must be a folder of IDX files, but {folder} is none.")
    parts = []
    for prefix in ("train", "t10k"):
        places = _either(folder, f"{prefix}-images-idx3-ubyte"), _either(folder, f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(places[0], 3), read_idx(places[1], 1)
        if len(images) != len(labels):
            raise FileFormatError(
                f"File {places[1]} must hold {len(images):,} labels, one per image, but holds {len(labels):,}."
            )
        parts.append((images, labels))
    train, test = parts
    if train[0].shape[1:] != test[0].shape[1:]:
        raise FileFormatError(
            f"Folder {folder} must hold images of one size, but those for training are {train[0].shape[1:]} "
            f"and those for testing {test[0].shape[1:]}."
        )
    rows, columns = train[0].shape[1:]
    return Dataset(name, _scaled(*train), _scaled(*test), (rows, columns), f"the files of {folder.name}")


def _either(folder: Path, name: str) -> Path:
    """A file of this name, gzipped or not."""
    for found in (folder / name, folder / f"{name}.gz"):
        if found.is_file():
            return found
    raise FileFormatError(f"Folder {folder} must hold the file {name} or {name}.gz, but holds neither.")


def _scaled(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> LabelledImages:
    """Bytes as numbers from 0 to 1, one row per image."""
    pixels = torch.from_numpy(images.reshape(len(images), -1)).to(torch.float32) / 255
    return LabelledImages(pixels, torch.from_numpy(labels.astype(np.int64)))


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
            "give the folder of its IDX files as `data_dir`."
        ) from error
    pixels, labels = np.asarray(found.data), np.asarray(found.target).astype(np.uint8)
    if pixels.shape != (70_000, 784) or pixels.min() < 0 or pixels.max() > 255:
        raise FileFormatError(f"Data set {name} must have 70,000 images of 784 bytes, but OpenML gave {pixels.shape}.")
    parts = (slice(None, _OFFICIAL_TRAINING), slice(_OFFICIAL_TRAINING, None))
    train, test = (_scaled(pixels[part].astype(np.uint8), labels[part]) for part in parts)
    return Dataset(name, train, test, (28, 28), f"OpenML, data set {number}")


def digits() -> LabelledImages:
    """The 1797 handwritten digits of 8 × 8 pixels that come with scikit-learn; nothing is downloaded.

    Returns:
        Images `(1797, 64)`, row by row from the top, and labels 0 to 9.

    Raises:
        MissingPackageError: if scikit-learn is missing.

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


def _first_sentence(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rstrip(".")


def _published(name: str, number: int, data_dir: PathLike | None) -> Dataset:
    """A data set of official files: from a folder of them, or from OpenML, which keeps it under a number."""
    return _from_openml(name, number) if data_dir is None else load_idx(name, data_dir)


DATASETS: Registry[DatasetKind] = Registry(
    "data set",
    {
        "digits": DatasetKind("1,797 handwritten digits of 8 × 8 pixels, bundled with scikit-learn", _split_digits),
        "mnist": DatasetKind("70,000 handwritten digits of 28 × 28 pixels", partial(_published, "mnist", 554)),
        "fashion-mnist": DatasetKind("70,000 clothes of 28 × 28 pixels", partial(_published, "fashion-mnist", 40996)),
        "kmnist": DatasetKind("70,000 cursive kana of 28 × 28 pixels", partial(_published, "kmnist", 41982)),
    },
)
