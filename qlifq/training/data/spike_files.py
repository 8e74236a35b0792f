"""Spike trains in HDF5 files, as those of the Heidelberg Digits."""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

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

#: The head of a heap: its name and version 1.
_HEAP = b"GCOL\x01\0\0\0"

#: How a dataset refers to a recording in a heap.
_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])


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
    _refuse_endless(path)
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
    for name, rows in (("spikes/times", times), ("spikes/units", units)):
        kind = h5py.check_vlen_dtype(rows.dtype)
        if any(
            (part["length"].astype(np.int64) * kind.itemsize > path.stat().st_size).any() for part in _references(rows, path)
        ):
            raise FileFormatError(f"File {path} must hold what it says, but a recording of `{name}` is longer than the file.")
    return labels, times, units


def _references(rows: Any, path: Path) -> Iterator[npt.NDArray[Any]]:
    """The lengths and places of the recordings as they stand in the file, where they are not compressed.

    The library reserves memory for a length before it looks whether there is as much: a damaged one could take all there is.
    """
    if rows.chunks is None and rows.id.get_offset() is not None:
        with open(path, "rb") as file:
            file.seek(rows.id.get_offset())
            stored = [file.read(_REFERENCE.itemsize * len(rows))]
    elif rows.chunks is not None and not rows.id.get_create_plist().get_nfilters():
        places = [rows.id.get_chunk_info(number).chunk_offset for number in range(rows.id.get_num_chunks())]
        stored = [rows.id.read_direct_chunk(place)[1] for place in places]
    else:
        stored = []
    for content in stored:
        yield np.frombuffer(content[: len(content) // _REFERENCE.itemsize * _REFERENCE.itemsize], dtype=_REFERENCE)


def _refuse_endless(path: Path) -> None:
    """Refuse a file in which the HDF5 library would go round for ever.

    The recordings lie in heaps: a head with the size of the heap, then objects, each with its number (0 for what is free), its
    uses and its size. The library goes on from one object to the next by their sizes, and does not end at free space of size 0.
    """
    if not path.stat().st_size:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_HEAP)
        while start >= 0:
            place, end = start + 16, min(len(content), start + int.from_bytes(content[start + 8 : start + 16], "little"))
            while place + 16 <= end:
                number, _, _, size = struct.unpack("<HHIQ", content[place : place + 16])
                if not number and not size:
                    raise FileFormatError(f"File {path} must be an HDF5 file with {SPIKES}, but is damaged at byte {place}.")
                # The object's own head of 16 bytes is part of free space alone.
                place += 16 + (size + 7) // 8 * 8 if number else size
            start = content.find(_HEAP, start + 1)
