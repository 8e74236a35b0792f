"""Currents over time, the same for every neuron until they are scaled: `(steps,)` tensors to multiply with."""

import torch
from torch import Tensor

from qlifq._validation import integer, real

__all__ = ["pulses", "ramp", "staircase"]


def ramp(steps: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """A current that rises or falls evenly.

    Args:
        steps: how many steps, at least 1.
        start: the current of the first step, dimensionless.
        end: that of the last.

    Returns:
        `(steps,)` float32.

    Raises:
        ArgumentError: if a number is out of range.
        DtypeError: if one is of another type.

    Example:
        >>> ramp(5, 0.0, 2.0).tolist()
        [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    return torch.linspace(real("start", start), real("end", end), integer("steps", steps, at_least=1))


def staircase(steps: int, levels: int, start: float = 0.0, end: float = 1.0) -> Tensor:
    """A current in even stairs.

    Args:
        steps: how many steps, at least 1.
        levels: how many stairs, at least 1; where the steps cannot be shared evenly, some are one step longer.
        start: the current of the first stair, dimensionless.
        end: that of the last.

    Returns:
        `(steps,)` float32.

    Raises:
        ArgumentError: if a number is out of range.
        DtypeError: if one is of another type.

    Example:
        >>> staircase(6, 3, 0.0, 1.0).tolist()
        [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    """
    stair = torch.arange(integer("steps", steps, at_least=1)) * integer("levels", levels, at_least=1) // steps
    return ramp(levels, start, end)[stair]


def pulses(steps: int, period: int, width: int, height: float = 1.0) -> Tensor:
    """A current that is on for `width` steps at the end of every `period`, and 0 before.

    Args:
        steps: how many steps, at least 1.
        period: steps from one pulse to the next, at least 1.
        width: steps of a pulse, from 1 to `period`.
        height: the current of a pulse, dimensionless.

    Returns:
        `(steps,)` float32.

    Raises:
        ArgumentError: if a number is out of range.
        DtypeError: if one is of another type.

    Example:
        >>> pulses(6, period=3, width=1, height=2.0).tolist()
        [0.0, 0.0, 2.0, 0.0, 0.0, 2.0]
    """
    integer("period", period, at_least=1)
    integer("width", width, at_least=1, at_most=period)
    off = period - width
    return real("height", height) * (torch.arange(integer("steps", steps, at_least=1)) % period >= off).to(torch.float32)
