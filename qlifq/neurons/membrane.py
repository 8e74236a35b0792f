"""How the membrane potential follows its input within one step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qlifq._registry import Registry
from qlifq.neurons.rules import Rule

if TYPE_CHECKING:
    from qlifq.neurons.dynamics import Dynamics

__all__ = ["MEMBRANES", "Membrane"]


@dataclass(frozen=True, kw_only=True)
class Membrane:
    """All that is known of one membrane equation.

    A membrane of one's own is one row: `MEMBRANES.register("mine", Membrane(...))`.

    With `decay_input=False` the step runs without input, and the input is added as it is, times R where there is one.

    Args:
        formula: as people write it.
        follow: V, I_eff and the constants of the dynamics to V after one step without noise, each `(batch, num_neurons)`.
        rest: the parameter that is the potential at rest; None for 0.
        rules: what its parameters must be to others.
        parameters: the neuron's parameters that only membranes like this one use; V is cut off at `V_peak` where that is one.
        neutral: those of them that are left out of the constants, and are None there, at a value that has no effect.
        undecayed: the formula with `decay_input=False`.
    """

    formula: str
    follow: Callable[[Tensor, Tensor, "Dynamics"], Tensor]
    rest: str | None = None
    rules: tuple[Rule, ...] = ()
    parameters: tuple[str, ...] = ()
    neutral: Mapping[str, float] = field(default_factory=dict, hash=False)
    undecayed: str = "V ← (V after a step without input) + I_eff"


def _leaky(voltage: Tensor, current: Tensor, dynamics: "Dynamics") -> Tensor:
    if dynamics.R is not None:
        current = dynamics.R * current
    if dynamics.V_rest is not None:
        current = dynamics.V_rest + current
    return torch.lerp(voltage, current, dynamics.step)


def _quadratic(voltage: Tensor, current: Tensor, dynamics: "Dynamics") -> Tensor:
    above_rest = voltage - dynamics.V_rest
    pull = dynamics.step * (dynamics.a0 * above_rest * (voltage - dynamics.V_c))
    # Below V_rest the pull reaches V_rest at most: a parabola followed by finite steps would otherwise throw a strongly
    # inhibited neuron across its threshold.
    pull = torch.minimum(pull, torch.where(above_rest < 0, -above_rest, math.inf))
    return voltage + pull + dynamics.step * dynamics.R * current


#: The membranes by name.
MEMBRANES: Registry[Membrane] = Registry(
    "membrane",
    {
        "leaky": Membrane(
            formula="V ← V + (dt/τ) (V_rest − V + R I_eff)",
            follow=_leaky,
            rest="V_rest",
            parameters=("V_rest", "R"),
            neutral={"V_rest": 0.0, "R": 1.0},
            undecayed="V ← V + (dt/τ) (V_rest − V) + R I_eff",
        ),
        "quadratic": Membrane(
            formula="V ← V + (dt/τ) (a0 (V − V_rest)(V − V_c) + R I_eff)",
            follow=_quadratic,
            rest="V_rest",
            rules=(
                Rule("V_c", "above", "V_rest"),
                Rule("V_th", "above", "V_rest"),
                Rule("V_min", "below", "V_rest"),
                Rule("max_threshold", "below", "V_peak"),
                Rule("V_th", "below", "V_peak"),
            ),
            parameters=("V_rest", "V_c", "a0", "R", "V_peak"),
            undecayed="V ← V + (dt/τ) a0 (V − V_rest)(V − V_c) + R I_eff",
        ),
    },
)
