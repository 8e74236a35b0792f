"""Spike trains in HDF5 files, as those of the Heidelberg Digits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from qlifq._packages import load
from qlifq.errors import ArgumentError, FileFormatError, QLIFError
from qlifq.training.data.cache import digest_of
from qlifq.training.data.events import Recording, Recordings, binned
from qlifq.training.data.interface import Dataset, DatasetKind

__all__ = ["SPIKES", "SpikeFiles"]

#: What such a file must hold.
SPIKES = (
    "`labels`, the class of each recording, and `spikes/times` and `spikes/units`, for each recording the times of its events, "
    "in order, and the neuron of each"
)


class SpikeFiles(DatasetKind):
    """Spike trains in one HDF5 file, or in a folder with one for training and one for testing.

    Args:
        neurons: how many there are.

    Reference:
        Cramer, Stradmann, Schemmel and Zenke, The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural
        Networks, IEEE Transactions on Neural Networks and Learning Systems 33 (2022).
    """

    suffixes = (".h5", ".hdf5")

    def __init__(self, neurons: int = 700) -> None:
        self.neurons = neurons
        self.description = f"spike trains of {neurons} neurons in HDF5 files, as those of the Heidelberg Digits"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """The events counted in steps, once to the cache."""
        if path is None:
            raise ArgumentError("Argument `data` must be an HDF5 file of spike trains or a folder of two, but is None.")
        files = _of_folder(path) if path.is_dir() else [path]
        parts = [_recordings(file) for file in files]
        source = " and ".join(file.name for file in files)
        return binned(
            path.stem, parts, (1, self.neurons), steps, f"the spike trains of {source}", f"File {files[0]}, `labels`,"
        )


def _of_folder(folder: Path) -> list[Path]:
    """The file for training and the file for testing."""
    found = []
    for part in ("train", "test"):
        named = sorted(
            file for file in folder.iterdir() if part in file.stem.lower() and file.suffix.lower() in SpikeFiles.suffixes
        )
        if len(named) != 1:
            raise FileFormatError(
                f"Folder {folder} must hold one HDF5 file with {part!r} in its name, but holds {len(named)} of them."
            )
        found.append(named[0])
    return found


def _recordings(path: Path) -> Recordings:
    """The spike trains of a file."""
    digest = digest_of(path)
    with _opened(path) as (labels, _, _):
        classes = np.asarray(labels)

    def read() -> Iterator[Recording]:
        with _opened(path) as (_, times, units):
            for number in range(len(times)):
                yield Recording(np.asarray(times[number]), np.asarray(units[number]), f"File {path}, recording {number},")

    return Recordings(classes, read, digest)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """The labels, times and units of a file; whatever the reader raises becomes one sentence."""
    h5py = load("h5py", package="h5py", feature="A file of spike trains", install="'qlifq[events]'")
    try:
        with h5py.File(path, "r") as file:
            yield _checked_file(file, path, h5py)
    except QLIFError:
        raise
    # A damaged file leads its reader to errors of any kind.
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0].strip("'\"").rstrip(".")
        raise FileFormatError(f"File {path} must be an HDF5 file with {SPIKES}, but cannot be read as one: {said}.") from error


def _checked_file(file: Any, path: Path, h5py: ModuleType) -> tuple[Any, Any, Any]:
    """The three arrays of a file, as many in one as in the others."""
    found = [file.get(name) for name in ("labels", "spikes/times", "spikes/units")]
    if not all(isinstance(each, h5py.Dataset) for each in found):
        raise FileFormatError(f"File {path} must hold {SPIKES}, but holds {', '.join(map(ascii, file)) or 'nothing'}.")
    labels, times, units = found
    if any(h5py.check_vlen_dtype(each.dtype) is None or each.ndim != 1 for each in (times, units)):
        raise FileFormatError(
            f"File {path} must hold one array per recording in `spikes/times` and `spikes/units`, but holds {times.dtype} of "
            f"shape {times.shape} and {units.dtype} of shape {units.shape}."
        )
    # A recording takes more than a byte: what claims to hold more of them is damaged.
    if len({each.shape for each in found}) > 1 or not 0 < len(labels) <= path.stat().st_size:
        raise FileFormatError(
            f"File {path} must hold as many labels as recordings, at least 1, but `labels` has shape {labels.shape}, "
            f"`spikes/times` {times.shape} and `spikes/units` {units.shape}."
        )
    return labels, times, units
