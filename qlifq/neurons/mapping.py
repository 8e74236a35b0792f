"""From the gap Δ = V − V_th to the angle θ that the qubit is turned by."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

__all__ = ["MAPPINGS", "THETA_MAX", "AngleMapping"]

#: The default span of the `tanh` mapping, radians: that of the seed project after its initialisation.
THETA_MAX = 1.5658

#: gap, q_scale, q_bias (with the leak already taken off), theta_max → θ, all broadcast.
AngleFunction = Callable[[Tensor, Tensor | float, Tensor, float], Tensor]


class AngleMapping(NamedTuple):
    """One way to turn a gap into an angle.

    Args:
        formula: as people write it.
        angle: the function, elementwise: gap, q_scale, q_bias − leak, theta_max → θ in radians.
        q_scale: its default.
        q_bias: its default.
        monotonic: whether P(1) rises with the gap everywhere.
    """

    formula: str
    angle: AngleFunction
    q_scale: float
    q_bias: float
    monotonic: bool


def _sigmoid(gap: Tensor, q_scale: Tensor | float, q_bias: Tensor, theta_max: float) -> Tensor:
    return math.pi * (gap * q_scale + q_bias).sigmoid()


def _linear(gap: Tensor, q_scale: Tensor | float, q_bias: Tensor, theta_max: float) -> Tensor:
    return gap * q_scale + q_bias


def _tanh(gap: Tensor, q_scale: Tensor | float, q_bias: Tensor, theta_max: float) -> Tensor:
    return q_bias + theta_max * (gap * q_scale).tanh()


#: The mappings by name. `sigmoid` and `linear` start at p₀ = ½ with slope π/2; `tanh` starts where the seed project does.
MAPPINGS: Mapping[str, AngleMapping] = MappingProxyType(
    {
        "sigmoid": AngleMapping("θ = π σ(q_scale Δ + q_bias − leak)", _sigmoid, 4.0, 0.0, True),
        "linear": AngleMapping("θ = q_scale Δ + q_bias − leak", _linear, math.pi, math.pi / 2, False),
        "tanh": AngleMapping("θ = q_bias − leak + theta_max tanh(q_scale Δ)", _tanh, 0.4562, 0.2838, False),
    }
)
