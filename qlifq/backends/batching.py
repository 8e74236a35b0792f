"""The wanted evaluations of a call as plain NumPy rows, and their answers back in its shape."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._validation import finite
from qlifq.backends.interface import Outcome
from qlifq.errors import BackendError

__all__ = ["Batch", "Floats", "answer", "ask", "rounded_into_range", "shot_parts"]

Floats = npt.NDArray[np.float64]

#: How far rounding can lead a probability out of [0, 1].
_ROUNDING = 1e-12


class Batch(NamedTuple):
    """The evaluations that are wanted, in the order of (batch, site).

    Args:
        values: `(evaluations, num_angles)`, float64.
        sites: `(evaluations,)`, the site of each.
        places: `(evaluations,)`, where each stands in the flattened `(batch, sites)`.
    """

    values: Floats
    sites: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]


def ask(angles: Tensor, where: Tensor | None) -> Batch:
    """Flatten checked angles; on an accelerator this is where their values are looked at first."""
    batch, sites, slots = angles.shape
    host = angles.detach().cpu().to(torch.float64)
    if angles.device.type != "cpu":
        finite("angles", host)
    rows = host.numpy().reshape(batch * sites, slots)
    places = np.arange(batch * sites) if where is None else np.flatnonzero(where.cpu().numpy())
    return Batch(rows[places], places % max(sites, 1), places)


def answer(asked: Batch, values: npt.NDArray[np.generic], angles: Tensor, shots: int | None, **metadata: object) -> Outcome:
    """The outcome of probabilities, or with shots of the numbers of ones, one per wanted evaluation; 0 elsewhere."""
    batch, sites, _ = angles.shape
    every = np.zeros(batch * sites)
    every[asked.places] = values
    shaped = torch.from_numpy(every.reshape(batch, sites))
    if shots is None:
        return Outcome(shaped.to(angles), metadata=metadata)
    return Outcome((shaped / shots).to(angles), shaped.to(angles.device, torch.int64), shots, metadata)


def shot_parts(shots: int, most: int) -> list[int]:
    """The shots in parts of at most so many, for a vendor that holds all of one part in memory."""
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
