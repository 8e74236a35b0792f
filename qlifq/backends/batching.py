"""The evaluations of a call that `where` selects, as NumPy rows, and their answers back in its shape."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from qlifq._validation import finite
from qlifq.backends.interface import Call, Outcome
from qlifq.errors import BackendError

__all__ = [
    "Batch",
    "Floats",
    "Indices",
    "Spread",
    "in_turn",
    "on_host",
    "rounded_into_range",
    "same_rows",
    "shot_parts",
    "spread",
]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

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
    sites: Indices
    places: Indices


class Spread(NamedTuple):
    """The selected evaluations side by side on the wires of circuits, which are filled with angles of 0.

    Args:
        values: `(circuits, width, num_angles)`.
        rows: `(evaluations,)`, the circuit of each evaluation.
        wires: `(evaluations,)`, its wire there, from 0.
        turns: `(circuits,)`, which of the groups of `width` sites a circuit runs; 0 where any evaluation goes on any wire.
    """

    values: Floats
    rows: Indices
    wires: Indices
    turns: Indices


def spread(batch: Batch, wires: int, sites: int | None) -> Spread:
    """Lay evaluations on circuits of at most this many wires.

    Args:
        batch: the evaluations.
        wires: the most of one circuit.
        sites: how many sites the call has, where each has its own wire: site s is on wire s mod width in turn ⌊s / width⌋.
            None where all wires are equal: then the evaluations fill the circuits one after another.
    """
    count = len(batch.values)
    if sites is None:
        width = min(wires, count)
        rows, places = np.divmod(np.arange(count), width)
        turns = np.zeros(-(-count // width), dtype=np.intp)
    else:
        width = min(wires, sites)
        groups = -(-sites // width)
        circuit, rows = np.unique(batch.places // sites * groups + batch.sites // width, return_inverse=True)
        places, turns = batch.sites % width, circuit % groups
    values = np.zeros((len(turns), width, batch.values.shape[1]))
    values[rows, places] = batch.values
    return Spread(values, rows, places, turns)


def same_rows(keys: Floats) -> list[Indices]:
    """The rows of a table in groups of equal ones, each by its indices in rising order; one group where it has no columns."""
    if not keys.shape[1]:
        return [np.arange(len(keys))]
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])


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
