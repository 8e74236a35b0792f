"""Recordings of an event camera, one file each in a folder for each class, as those of N-MNIST."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qlifq._arrays import parse_npy
from qlifq._files import read_bytes
from qlifq.errors import ArgumentError, FileFormatError
from qlifq.training.data.events import Recording, Recordings, binned
from qlifq.training.data.interface import Dataset, DatasetKind

__all__ = ["READERS", "SensorFolders"]

#: Columns of an event: x, y, polarity, time.
Events = npt.NDArray[np.int64]


class SensorFolders(DatasetKind):
    """Files of events, in a folder for each class; those folders lie in `Train` and `Test`, or else all in one.

    Args:
        columns: of the sensor.
        rows: of the sensor.

    Reference:
        Orchard, Jayawant, Cohen and Thakor, Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades,
        Frontiers in Neuroscience 9 (2015).
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.description = f"events of a sensor of {columns} × {rows} pixels, files ending with {', '.join(READERS)}"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """The events counted in steps, once to the cache; one neuron per polarity and pixel, those of polarity 0 first."""
        if path is None or not path.is_dir():
            raise ArgumentError(f"Argument `data` must be a folder with a folder of recordings for each class, but is {path}.")
        halves = [folder for name in ("train", "test") for folder in _folders(path) if folder.name.lower() == name]
        parts = [self._recordings(folder) for folder in (halves if len(halves) == 2 else [path])]
        return binned(
            path.name, parts, (2 * self.rows, self.columns), steps, f"the recordings of {path.name}", f"Folder {path}"
        )

    def _recordings(self, folder: Path) -> Recordings:
        """The recordings of a folder of classes, which are numbered in the order of their names."""
        found = [
            (label, file)
            for label, of_class in enumerate(_folders(folder))
            for file in sorted(of_class.iterdir())
            if file.suffix.lower() in READERS
        ]
        if not found:
            raise FileFormatError(
                f"Folder {folder} must hold a folder for each class with {' or '.join(READERS)} files, but holds none."
            )

        def read() -> Iterator[Recording]:
            return (self._recording(file) for _, file in found)

        digest = hashlib.sha256()
        for label, file in found:
            digest.update(f"{label} {file.name} ".encode(errors="surrogateescape"))
            digest.update(hashlib.sha256(read_bytes(file)).digest())
        return Recordings(np.array([label for label, _ in found]), read, digest.hexdigest())

    def _recording(self, file: Path) -> Recording:
        """One file, its times counted from its first event."""
        x, y, polarity, times = READERS[file.suffix.lower()](file).T
        beyond = (x < 0) | (x >= self.columns) | (y < 0) | (y >= self.rows) | (polarity < 0) | (polarity > 1)
        if beyond.any():
            event = int(np.flatnonzero(beyond)[0])
            raise FileFormatError(
                f"File {file} must hold events of {self.columns} × {self.rows} pixels and polarity 0 or 1, but event {event} "
                f"is at x {x[event]}, y {y[event]} and of polarity {polarity[event]}."
            )
        place = (polarity * self.rows + y) * self.columns + x
        return Recording(times - times[0] if len(times) else times, place, f"File {file}")


def _folders(path: Path) -> list[Path]:
    """The folders in a folder by name, numbers by their value."""
    found = [each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return sorted(found, key=lambda each: (int(each.name) if each.name.isdecimal() else -1, each.name))


def _read_bin(file: Path) -> Events:
    """Five bytes for each event, as N-MNIST has them: x, y, one bit of polarity, 23 of time in microseconds.

    An event of row 240 is none: the times after it go on 2¹³ later.
    """
    content = read_bytes(file)
    if len(content) % 5:
        raise FileFormatError(f"File {file} must hold events of 5 bytes, but ends {len(content) % 5} bytes after one.")
    x, y, *rest = np.frombuffer(content, dtype=np.uint8).reshape(-1, 5).astype(np.int64).T
    times = (rest[0] & 127) << 16 | rest[1] << 8 | rest[2]
    later = (y == 240).cumsum() << 13
    events: Events = np.stack((x, y, rest[0] >> 7, times + later), axis=1)[y != 240]
    return events


def _read_columns(file: Path) -> Events:
    """An array of whole numbers `(events, 4)`: x, y, polarity and time of each event."""
    values = parse_npy(read_bytes(file), str(file), kinds="iub")
    if values.ndim != 2 or values.shape[1] != 4:
        raise FileFormatError(
            f"File {file} must hold an array (events, 4) of x, y, polarity and time, but holds one of shape {values.shape}."
        )
    if values.dtype == np.uint64 and values.max() > np.iinfo(np.int64).max:
        raise FileFormatError(f"File {file} must hold numbers below 2^63, but holds {values.max()}.")
    return values.astype(np.int64)


#: What reads a file, by its ending.
READERS: dict[str, Callable[[Path], Events]] = {".bin": _read_bin, ".npy": _read_columns}
