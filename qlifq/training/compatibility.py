"""Whether a design and a data set go together, before anything runs."""

from qlifq.errors import ArgumentError, ShapeError, UnsupportedError
from qlifq.training.data.encoders import ENCODINGS
from qlifq.training.data.interface import Dataset, Samples
from qlifq.training.networks import Design

__all__ = ["check_data", "check_samples"]


def check_data(design: Design, data: Dataset) -> None:
    """Refuse a data set that a network of this design cannot learn or be tested on.

    Raises:
        QLIFError: if its samples or its classes do not go with the design.
    """
    for part in (data.train, data.test):
        check_samples(design, part)
    if data.targets != design.targets:
        raise ArgumentError(f"Argument `targets` must be {data.targets}, as many as the data have, but is {design.targets}.")
    if data.classes > design.classes:
        raise ArgumentError(
            f"Argument `classes` must be at least {data.classes}, as many as the data have, but is {design.classes}."
        )


def check_samples(design: Design, samples: Samples) -> None:
    """Refuse samples that a network of this design cannot take.

    Raises:
        QLIFError: if their size, their time steps or their numbers do not go with the design.
    """
    encoding = ENCODINGS[design.encoding]
    if samples.features != design.pixels:
        raise ShapeError(f"Argument `data` must hold samples of {design.pixels} numbers, but they have {samples.features}.")
    if samples.steps is not None:
        if samples.steps != design.steps:
            raise ShapeError(f"Argument `steps` must be {samples.steps}, as many as the data have, but is {design.steps}.")
        if not encoding.in_time:
            users = ", ".join(name for name, row in ENCODINGS.items() if row.in_time)
            raise UnsupportedError(f"Argument `encoding` must be one of {users} for data in time, but is {design.encoding!r}.")
        if design.reconstructs:
            raise UnsupportedError(
                f"Argument `network` must not be {design.network!r} for data in time, which it cannot give back."
            )
    if (encoding.unit_range or design.reconstructs) and len(samples):
        low, high = samples.limits
        if low < 0 or high > 1:
            purpose = f"encoding {design.encoding}" if encoding.unit_range else f"network {design.network}"
            raise ArgumentError(
                f"Argument `data` must hold numbers from 0 to 1 for {purpose}, but they go from {low:g} to {high:g}."
            )
