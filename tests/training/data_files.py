"""Small files of the user's formats, generated."""

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def write_spikes(path: Path, recordings: int, *, neurons: int = 700, classes: int = 4, seed: int = 0, **changes: Any) -> Path:
    """An HDF5 file as those of the Heidelberg Digits: events near a neuron that stands for the class.

    Args:
        path: where.
        recordings: how many.
        neurons: of the sensor.
        classes: of the recordings.
        seed: of the events.
        changes: what is written in place of the file's own `labels`, `times` or `units`.
    """
    import h5py

    rng = np.random.default_rng(seed)
    labels = np.arange(recordings) % classes
    times = [np.sort(rng.random(40)).astype(np.float16) for _ in labels]
    units = [(label * (neurons // classes) + rng.integers(0, neurons // classes, 40)).astype(np.uint16) for label in labels]
    times, units, labels = (changes.get(name, own) for name, own in (("times", times), ("units", units), ("labels", labels)))
    with h5py.File(path, "w") as file:
        for name, rows in (("times", times), ("units", units)):
            kind = h5py.vlen_dtype(rows[0].dtype)
            made = file.create_dataset(f"spikes/{name}", (len(rows),), dtype=kind)
            for number, row in enumerate(rows):
                made[number] = row
        file["labels"] = np.asarray(labels)
        file["extra/speaker"] = np.zeros(len(times), dtype=np.uint16)
    return path


def nmnist(events: Array) -> bytes:
    """Events `(events, 4)` of x, y, polarity and time below 2²³, as N-MNIST has them: five bytes each."""
    x, y, polarity, time = events.T.astype(np.uint64)
    packed = x << 32 | y << 24 | polarity << 23 | time
    return b"".join(int(each).to_bytes(5, "big") for each in packed)


def write_sensor(folder: Path, ending: str, *, recordings: int = 5, seed: int = 0) -> Path:
    """A folder of recordings of a sensor of 34 × 34 pixels, two classes that differ in where their events are."""
    rng = np.random.default_rng(seed)
    for part in ("Train", "Test"):
        for label in range(2):
            place = folder / part / str(label)
            place.mkdir(parents=True)
            for number in range(recordings):
                x, y = 17 * label + rng.integers(0, 17, 60), rng.integers(0, 34, 60)
                events = np.stack((x, y, rng.integers(0, 2, 60), np.sort(rng.integers(0, 300_000, 60))), axis=1)
                if ending == ".bin":
                    (place / f"{number:05}.bin").write_bytes(nmnist(events))
                else:
                    np.save(place / f"{number}.npy", events)
    return folder
