"""The evaluations of a call that `where` selects, as NumPy rows, and their answers back in its shape."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from qlifq._validation import finite
from qlifq.backends.interface import Call, Outcome
from qlifq.errors import BackendError

__all__ = ["Batch", "Floats", "in_turn", "on_host", "rounded_into_range", "shot_parts"]

Floats = npt.NDArray[np.float64]

T = TypeVar("T")

#: How far rounding can lead a probability out of [0, 1].
_ROUNDING = 1e-12


class Batch(NamedTuple):
    """The selected evaluations, in the order of (batch, site).

    Args:
        values: `(evaluations, num_angles)`, float64.
        sites: `(evaluations,)`, the site of each.
        places: `(evaluations,)`, where each stands in the flattened `(batch, sites)`.
    """

    values: Floats
    sites: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]


def on_host(call: Call, evaluate: Callable[[Batch], npt.NDArray[np.generic]]) -> Outcome:
    """The outcome of a call that is evaluated outside torch, back on the device and in the dtype of the angles.

    Args:
        call: what `Backend._execute` gets; on an accelerator this is where the values of its angles are looked at first.
        evaluate: gives the probabilities, or with shots the numbers of ones, one per selected evaluation. It is not called
            where none is selected.
    """
    batch, sites, slots = call.angles.shape
    host = call.angles.cpu().to(torch.float64)
    if call.angles.device.type != "cpu":
        finite("angles", host)
    rows = host.numpy().reshape(batch * sites, slots)
    places = np.arange(batch * sites) if call.where is None else np.flatnonzero(call.where.cpu().numpy())
    every = np.zeros(batch * sites)
    if len(places):
        every[places] = evaluate(Batch(rows[places], places % sites, places))
    shaped = torch.from_numpy(every.reshape(batch, sites))
    if call.shots is None:
        return Outcome(shaped.to(call.angles))
    ones = shaped.to(call.angles.device, torch.int64)
    return Outcome((shaped / call.shots).to(call.angles), ones, call.shots)


def in_turn(items: tuple[T, ...], sites: int) -> tuple[T, ...]:
    """One item per site, from the first again when they run out."""
    return (items * -(-sites // len(items)))[:sites]


def shot_parts(shots: int, most: int) -> list[int]:
    """The shots in parts of at most this many, for a vendor that holds all of one part in memory."""
    whole, rest = divmod(shots, most)
    return [most] * whole + [rest] * (rest > 0)


def rounded_into_range(probability: Floats) -> Floats:
    """Probabilities, put back where rounding led out of [0, 1]: an arcsine of a root, or a draw, would fail there.

    Raises:
        BackendError: for what is further out than rounding leads, or NaN.
    """
    inside = np.clip(probability, 0.0, 1.0)
    wrong = ~(np.abs(probability - inside) <= _ROUNDING)
    if wrong.any():
        raise BackendError(f"A probability must be within [0, 1] but for rounding, but is {probability[wrong].flat[0]:g}.")
    return np.asarray(inside)
