"""The elementwise parts of a step, as they are or compiled into one kernel each."""

import functools
import shutil
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.errors import MissingPackageError
from qlifq.neurons.dynamics import Dynamics, integrate, settle
from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = ["MappingParameters", "PreSpike", "StepFunctions", "pre_spike", "slope", "step_functions"]


class MappingParameters(NamedTuple):
    """What turns a gap into an angle.

    Args:
        q_scale: slope of the mapping, `(num_neurons,)`.
        offset: q_bias less the leak, `(num_neurons,)`.
    """

    q_scale: Tensor
    offset: Tensor


class PreSpike(NamedTuple):
    """A step up to its decision.

    Args:
        state: the state with its new voltage.
        gap: Δ, `(batch, num_neurons)`.
        angle: θ, radians, same shape; None without a mapping_parameters.
    """

    state: QLIFState
    gap: Tensor
    angle: Tensor | None


class StepFunctions(NamedTuple):
    """The two functions that a step consists of around its decision."""

    pre_spike: Callable[..., PreSpike]
    settle: Callable[..., QLIFState]


def slope(base: Tensor | float, settings: Settings, dynamic: Tensor, modulation: Tensor | None) -> Tensor | float:
    """The slope of the decision as recent spikes and modulation leave it: base / (1 + D), × (1 + k m)."""
    if settings.allow_dynamic_spike_probability:
        base = base / (1 + dynamic)
    if modulation is not None and settings.neuromod_mode == "prob_slope":
        base = base * (1 + settings.neuromod_strength * modulation)
    return base


def pre_spike(
    state: QLIFState,
    current: Tensor,
    dynamics: Dynamics,
    mapping_parameters: MappingParameters | None,
    *,
    modulation: Tensor | None,
    noise: Tensor | None,
) -> PreSpike:
    """Integrate, and map the gap to an angle; arguments as for `integrate`, with a mapping_parameters where a qubit decides."""
    settings = dynamics.settings
    state, gap = integrate(state, current, dynamics, modulation=modulation, noise=noise)
    angle = None
    if mapping_parameters is not None:
        scale = slope(mapping_parameters.q_scale, settings, state.dynamic, modulation)
        angle = MAPPINGS[settings.mapping].angle(gap, scale, mapping_parameters.offset, settings.theta_max)
    return PreSpike(state, gap, angle)


def step_functions(*, compiled: bool) -> StepFunctions:
    """The functions of a step; compiled ones agree with the others to rounding.

    Raises:
        QLIFError: if they are to be compiled and there is no C++ compiler.
    """
    return _compiled() if compiled else StepFunctions(pre_spike, settle)


@functools.cache
def _compiled() -> StepFunctions:
    if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
        raise MissingPackageError(
            "Argument `compile` must be False here: torch.compile needs a C++ compiler, and c++, g++ and clang++ are not found."
        )
    return StepFunctions(torch.compile(pre_spike), torch.compile(settle))
