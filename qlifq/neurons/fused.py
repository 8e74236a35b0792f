"""The elementwise parts of a step, as they are or compiled into one kernel each."""

import functools
import shutil
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.errors import MissingPackageError
from qlifq.neurons.dynamics import integrate, settle
from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = ["Pieces", "pieces", "slope", "to_angle"]


class Pieces(NamedTuple):
    """The three functions that a step consists of around its backend call."""

    integrate: Callable[..., tuple[QLIFState, Tensor]]
    to_angle: Callable[..., Tensor]
    settle: Callable[..., QLIFState]


def slope(base: Tensor | float, settings: Settings, dynamic: Tensor, modulation: Tensor | None) -> Tensor | float:
    """The slope of the decision as recent spikes and modulation leave it: base / (1 + D), × (1 + k m)."""
    if settings.allow_dynamic_spike_probability:
        base = base / (1 + dynamic)
    if modulation is not None and settings.neuromod_mode == "prob_slope":
        base = base * (1 + settings.neuromod_strength * modulation)
    return base


def to_angle(
    gap: Tensor, q_scale: Tensor, offset: Tensor, settings: Settings, dynamic: Tensor, modulation: Tensor | None
) -> Tensor:
    """The angle θ of each neuron, radians, `(batch, num_neurons)`.

    Args:
        gap: Δ, `(batch, num_neurons)`.
        q_scale: `(num_neurons,)`.
        offset: q_bias less the leak, `(num_neurons,)`.
        settings: the neuron's parameters.
        dynamic: D, `(batch, num_neurons)`.
        modulation: transformed modulation, broadcastable with `gap`, or None.
    """
    scale = slope(q_scale, settings, dynamic, modulation)
    return MAPPINGS[settings.mapping].angle(gap, scale, offset, settings.theta_max)


def pieces(*, compiled: bool) -> Pieces:
    """The functions of a step; compiled ones agree with the others to rounding.

    Raises:
        QLIFError: if they are to be compiled and there is no C++ compiler.
    """
    return _compiled() if compiled else Pieces(integrate, to_angle, settle)


@functools.cache
def _compiled() -> Pieces:
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        raise MissingPackageError(
            "Argument `compile` must be False here: torch.compile needs a C++ compiler, and c++, g++ and clang++ are not found."
        )
    return Pieces(torch.compile(integrate), torch.compile(to_angle), torch.compile(settle))
