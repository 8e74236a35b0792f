"""Events in time: what they must be, and how they are counted in steps."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._arrays import map_npy
from qlifq.errors import ArgumentError, FileFormatError, QLIFError
from qlifq.training.data.array_samples import ArraySamples, checked_labels
from qlifq.training.data.cache import cached
from qlifq.training.data.interface import Dataset, Samples, split

__all__ = ["STEPS", "Recording", "Recordings", "bin_events", "binned"]

#: Into how many steps recordings are binned where the user does not say.
STEPS = 50


class Recording(NamedTuple):
    """One recording.

    Args:
        times: of its events, in their order, in any unit.
        neurons: which neuron each event goes to, from 0 on.
        name: what it is called in an error.
    """

    times: npt.NDArray[Any]
    neurons: npt.NDArray[Any]
    name: str


class Recordings(NamedTuple):
    """One part of a data set of events.

    Args:
        labels: one for each recording.
        read: reads them one by one, from the first on.
        digest: what tells them from others, such as the checksum of their file.
    """

    labels: npt.NDArray[Any]
    read: Callable[[], Iterator[Recording]]
    digest: str


def bin_events(times: object, neurons: object, *, steps: int, size: int, duration: float | None = None) -> Tensor:
    """Count the events of a recording in steps: `counts[k, n]` are those of neuron n with k ≤ steps t / T < k + 1.

    As the `transform` of a data set of another library it makes events that `from_torch(..., in_time=True)` takes.

    Args:
        times: T of every event, `(events,)`, from 0 on and in their order, in any unit.
        neurons: of every event, `(events,)`, whole numbers from 0 to `size` − 1.
        steps: how many steps, at least 1.
        size: how many neurons there are, at least 1.
        duration: T, in the unit of the times; events after it are left out. None for the time of the last event, which counts
            in the last step.

    Returns:
        `(steps, size)` float32.

    Raises:
        ArgumentError: if times or neurons are out of order or out of range, or an argument is.

    Example:
        >>> bin_events([0.0, 0.1, 0.6, 1.0], [0, 0, 1, 1], steps=2, size=2).tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """
    check.integer("steps", steps, at_least=1)
    check.integer("size", size, at_least=1)
    try:
        recording = Recording(np.asarray(times), np.asarray(neurons), "The recording")
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Argument `times` and `neurons` must be arrays of numbers, but cannot be made ones: {error}."
        ) from error
    last = _checked(recording, size, ArgumentError)
    if duration is not None:
        check.real("duration", duration, above=0)
        kept = recording.times.astype(np.float64) <= duration
        recording = recording._replace(times=recording.times[kept], neurons=recording.neurons[kept])
    counts = _counts(recording, steps, size, last if duration is None else duration)
    return torch.from_numpy(counts.astype(np.float32))


def binned(
    name: str, parts: Sequence[Recordings], picture: tuple[int, int], steps: int | None, source: str, labels: str
) -> Dataset:
    """A data set of recordings whose events are counted in steps, once for all trainings.

    The counts lie in the cache as bytes, or as larger integers where a count is above 255, and are read from there in batches.
    All recordings are binned alike, from 0 to the time of the last event of all.

    Args:
        name: what it is called.
        parts: that for training, and perhaps that for testing; else every fifth recording of a class is.
        picture: rows and columns of the sensor.
        steps: how many; None for `STEPS`.
        source: where it comes from.
        labels: what the labels are called in an error.

    Raises:
        QLIFError: if there are no recordings, or labels or events are not as they must be.
    """
    steps = STEPS if steps is None else steps
    size = math.prod(picture)
    numbers = checked_labels([part.labels for part in parts], labels)

    @functools.cache
    def duration() -> float:
        return max(_checked(each, size, FileFormatError) for part in parts for each in part.read())

    together = " ".join(part.digest for part in parts)
    samples: list[Samples] = []
    for number, (part, classes) in enumerate(zip(parts, numbers, strict=True)):
        key = f"events {together} {number} {size} {steps}"
        shape = (len(classes), steps, size)
        path = cached(key, lambda file, part=part, shape=shape: _write(file, part, shape, duration()))  # type: ignore[misc]
        samples.append(ArraySamples(map_npy(path, str(path)), classes, key))
    train, test = samples if len(samples) > 1 else split(samples[0])
    return Dataset(name, train, test, picture, f"{source}, events counted in {steps} steps")


def _checked(recording: Recording, size: int, error: type[QLIFError]) -> float:
    """The time of the last event of a recording that is as it must be; 0 of one without events."""
    times, neurons, name = recording
    if times.ndim != 1 or neurons.ndim != 1 or len(times) != len(neurons):
        raise error(f"{name} must have one time and one neuron per event, but has shapes {times.shape} and {neurons.shape}.")
    if not len(times):
        return 0.0
    if times.dtype.kind not in "fiu" or neurons.dtype.kind not in "iu":
        raise error(
            f"{name} must have times that are numbers and neurons that are whole numbers, but has {times.dtype} and "
            f"{neurons.dtype}."
        )
    exact = times.astype(np.float64)
    if not np.isfinite(exact).all():
        raise error(f"{name} must have finite times, but {int((~np.isfinite(exact)).sum())} of its {len(times)} are not.")
    if exact[0] < 0:
        raise error(f"{name} must have times from 0 on, but the first is {exact[0]:g}.")
    if (back := np.flatnonzero(np.diff(exact) < 0)).size:
        event = int(back[0]) + 1
        raise error(
            f"{name} must have events in the order of their times, but event {event} is at {exact[event]:g}, after one at "
            f"{exact[event - 1]:g}."
        )
    if (beyond := np.flatnonzero((neurons < 0) | (neurons >= size))).size:
        event = int(beyond[0])
        raise error(
            f"{name} must have events of neurons 0 to {size - 1}, but event {event} is of neuron {int(neurons[event])}."
        )
    return float(exact[-1])


def _counts(recording: Recording, steps: int, size: int, duration: float) -> npt.NDArray[np.int64]:
    """The events of each neuron in each step, `(steps, size)`."""
    share = recording.times.astype(np.float64) / duration if duration > 0 else np.zeros(len(recording.times))
    # The last event of all is at the end of the last step.
    step = np.minimum((share * steps).astype(np.int64), steps - 1)
    place = step * size + recording.neurons.astype(np.int64)
    return np.bincount(place, minlength=steps * size).reshape(steps, size)


def _write(file: BinaryIO, part: Recordings, shape: tuple[int, int, int], duration: float) -> None:
    """Write the counts of a part as an array of this shape, in the smallest integers that hold them."""
    for dtype in (np.uint8, np.uint16, np.uint32):
        file.seek(0)
        file.truncate()
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        if all(_write_counts(file, _counts(each, shape[1], shape[2], duration), dtype) for each in part.read()):
            return


def _write_counts(file: BinaryIO, counts: npt.NDArray[np.int64], dtype: type[np.unsignedinteger[Any]]) -> bool:
    """Write the counts of a recording; False where these integers do not hold them."""
    if counts.max() > np.iinfo(dtype).max:
        return False
    file.write(counts.astype(dtype).tobytes())
    return True
