"""The wanted evaluations of a call as plain NumPy rows, and their answers back in its shape."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq._validation import finite
from qlifq.backends.interface import Outcome

__all__ = ["Asked", "Floats", "answer", "ask"]

Floats = npt.NDArray[np.float64]


class Asked(NamedTuple):
    """The evaluations that are wanted, in the order of (batch, site).

    Args:
        values: `(evaluations, num_angles)`, float64.
        sites: `(evaluations,)`, the site of each.
        places: `(evaluations,)`, where each stands in the flattened `(batch, sites)`.
    """

    values: Floats
    sites: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]


def ask(angles: Tensor, where: Tensor | None) -> Asked:
    """Flatten checked angles; on an accelerator this is where their values are looked at first."""
    batch, sites, slots = angles.shape
    host = angles.detach().cpu().to(torch.float64)
    if angles.device.type != "cpu":
        finite("angles", host)
    rows = host.numpy().reshape(batch * sites, slots)
    places = np.arange(batch * sites) if where is None else np.flatnonzero(where.cpu().numpy())
    return Asked(rows[places], places % max(sites, 1), places)


def answer(asked: Asked, values: npt.NDArray[np.generic], angles: Tensor, shots: int | None, **metadata: object) -> Outcome:
    """The outcome of probabilities, or with shots of the numbers of ones, one per wanted evaluation; 0 elsewhere."""
    batch, sites, _ = angles.shape
    every = np.zeros(batch * sites)
    every[asked.places] = values
    shaped = torch.from_numpy(every.reshape(batch, sites))
    if shots is None:
        return Outcome(shaped.to(angles), metadata=metadata)
    return Outcome((shaped / shots).to(angles), shaped.to(angles.device, torch.int64), shots, metadata)
