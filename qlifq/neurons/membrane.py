"""How the membrane potential follows its input within one step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qlifq._registry import Registry
from qlifq.errors import ArgumentError

if TYPE_CHECKING:
    from qlifq.neurons.dynamics import Dynamics
    from qlifq.neurons.parameters import Settings

__all__ = ["MEMBRANES", "Membrane"]


@dataclass(frozen=True, kw_only=True)
class Membrane:
    """All that is known of one membrane equation.

    A membrane of one's own is one row: `MEMBRANES.register("mine", Membrane(...))`.

    Args:
        formula: as people write it.
        follow: V, I_eff and the constants of the dynamics to V after one step without noise, each `(batch, num_neurons)`.
        rest: the potential at rest, from the settings.
        check: refuses settings that do not go together.
        parameters: the neuron's parameters that only membranes like this one use; V is cut off at `V_peak` where that is one.
    """

    formula: str
    follow: Callable[[Tensor, Tensor, "Dynamics"], Tensor]
    rest: Callable[["Settings"], float] = lambda settings: 0.0
    check: Callable[["Settings"], None] = lambda settings: None
    parameters: tuple[str, ...] = ()


def _leaky(voltage: Tensor, current: Tensor, dynamics: "Dynamics") -> Tensor:
    return torch.lerp(voltage, current, dynamics.step)


def _quadratic(voltage: Tensor, current: Tensor, dynamics: "Dynamics") -> Tensor:
    above_rest = voltage - dynamics.V_rest
    pull = dynamics.step * (dynamics.a0 * above_rest * (voltage - dynamics.V_c))
    # Below V_rest the pull reaches V_rest at most: a parabola followed by finite steps would otherwise throw a strongly
    # inhibited neuron across its threshold.
    pull = torch.minimum(pull, torch.where(above_rest < 0, -above_rest, math.inf))
    return voltage + pull + dynamics.step * dynamics.R * current


def _check_quadratic(settings: "Settings") -> None:
    """V_rest < V_c, V_rest < V_th < V_peak, whatever threshold the neuron can take."""
    if settings.V_c <= settings.V_rest:
        raise ArgumentError(f"Argument `V_c` must be above V_rest = {settings.V_rest:g}, but is {settings.V_c:g}.")
    if settings.V_rest >= settings.lowest_V_th:
        raise ArgumentError(f"Argument `V_th` must be above V_rest = {settings.V_rest:g}, but is {settings.lowest_V_th:g}.")
    name, highest = settings.highest_threshold
    if settings.V_peak <= highest:
        raise ArgumentError(f"Argument `{name}` must be below V_peak = {settings.V_peak:g}, but is {highest:g}.")


#: The membranes by name.
MEMBRANES: Registry[Membrane] = Registry(
    "membrane",
    {
        "leaky": Membrane(formula="V ← V + (dt/τ) (I_eff − V)", follow=_leaky),
        "quadratic": Membrane(
            formula="V ← V + (dt/τ) (a0 (V − V_rest)(V − V_c) + R I_eff)",
            follow=_quadratic,
            rest=lambda settings: settings.V_rest,
            check=_check_quadratic,
            parameters=("V_rest", "V_c", "a0", "R", "V_peak"),
        ),
    },
)
