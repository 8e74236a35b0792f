"""From the gap Δ = V − V_th to the angle θ that the qubit is turned by."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qlifq._registry import Registry

__all__ = ["MAPPINGS", "THETA_MAX", "AngleMapping"]

#: The default span of the `tanh` mapping, radians: that of the seed project after its initialisation.
THETA_MAX = 1.5658

#: gap, q_scale, offset (q_bias with the leak already taken off), theta_max → θ, all broadcast.
AngleFunction = Callable[[Tensor, Tensor | float, Tensor, Any], Tensor]
#: θ(0), π − θ(0), dθ/dΔ at gap 0, theta_max → q_scale and offset.
Inverse = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
#: Fractions of what the mapping reaches, strictly between 0 and 1, q_scale, offset → gaps.
Gaps = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class AngleMapping:
    """All that is known of one way to turn a gap into an angle.

    A mapping of one's own is one row: `MAPPINGS.register("mine", AngleMapping(...))`.

    Args:
        formula: as people write it.
        angle: the function, elementwise: gap, q_scale, q_bias − leak, theta_max → θ in radians.
        inverse: θ(0), π − θ(0) (given by itself, so that nothing cancels near π), dθ/dΔ at gap 0, theta_max → the q_scale and
            q_bias − leak with which the mapping passes through that angle at that rate.
        gaps: fractions within (0, 1), q_scale, q_bias − leak → the gaps whose angles lie at these fractions of what the
            mapping reaches, up to one full turn: what a calibration measures by default.
        q_scale: its default.
        q_bias: its default.
        monotonic: whether P(1) rises with the gap everywhere.
        reach: the least and the greatest angle that any q_scale, q_bias and gap give, radians; None where every angle is
            reached.
        parameters: the neuron's further parameters that it uses.
    """

    formula: str
    angle: AngleFunction
    inverse: Inverse
    gaps: Gaps
    q_scale: float
    q_bias: float
    monotonic: bool = False
    reach: tuple[float, float] | None = None
    parameters: tuple[str, ...] = ()

    def own(self, values: object) -> dict[str, Any]:
        """Those attributes of `values`, such as a neuron's settings, that only mappings like this one use."""
        return {name: getattr(values, name) for name in self.parameters}


def _sigmoid(gap: Tensor, q_scale: Tensor | float, offset: Tensor, theta_max: float) -> Tensor:
    return math.pi * (gap * q_scale + offset).sigmoid()


def _sigmoid_inverse(angle: Tensor, remainder: Tensor, rate: Tensor, theta_max: float) -> tuple[Tensor, Tensor]:
    return math.pi * rate / (angle * remainder), (angle / remainder).log()


def _linear(gap: Tensor, q_scale: Tensor | float, offset: Tensor, theta_max: float) -> Tensor:
    return gap * q_scale + offset


def _tanh(gap: Tensor, q_scale: Tensor | float, offset: Tensor, theta_max: float) -> Tensor:
    return offset + theta_max * (gap * q_scale).tanh()


#: The mappings by name. `sigmoid` and `linear` start at p₀ = ½ with slope π/2; `tanh` starts where the seed project does.
MAPPINGS: Registry[AngleMapping] = Registry(
    "mapping",
    {
        "sigmoid": AngleMapping(
            formula="θ = π σ(q_scale Δ + q_bias − leak)",
            angle=_sigmoid,
            inverse=_sigmoid_inverse,
            gaps=lambda fraction, q_scale, offset: (fraction.logit() - offset) / q_scale,
            q_scale=4.0,
            q_bias=0.0,
            monotonic=True,
            reach=(0.0, math.pi),
        ),
        "linear": AngleMapping(
            formula="θ = q_scale Δ + q_bias − leak",
            angle=_linear,
            inverse=lambda angle, remainder, rate, theta_max: (rate, angle),
            # One full turn, from −π/2 to 3π/2.
            gaps=lambda fraction, q_scale, offset: ((2 * fraction - 0.5) * math.pi - offset) / q_scale,
            q_scale=math.pi,
            q_bias=math.pi / 2,
        ),
        "tanh": AngleMapping(
            formula="θ = q_bias − leak + theta_max tanh(q_scale Δ)",
            angle=_tanh,
            inverse=lambda angle, remainder, rate, theta_max: (rate / theta_max, angle),
            gaps=lambda fraction, q_scale, offset: (2 * fraction - 1).atanh() / q_scale + torch.zeros_like(offset),
            q_scale=0.4562,
            q_bias=0.2838,
            parameters=("theta_max",),
        ),
    },
)
