"""The response of a circuit with one angle: P(1) = a + b cos θ + c sin θ."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SinusoidalResponse", "excitation", "excitation_at"]


def excitation(theta: Tensor) -> Tensor:
    """P(1) = sin²(θ/2) of a perfect qubit that a rotation took from |0⟩, elementwise."""
    return (theta / 2).sin().square()


def excitation_at(theta: float) -> float:
    """`excitation` of one number."""
    return math.sin(theta / 2) ** 2


class SinusoidalResponse(NamedTuple):
    """The three numbers that determine P(1) at every angle.

    Gates, noise channels and readout errors are affine maps of the Bloch vector, and one rotation by θ enters them through
    cos θ and sin θ alone. So for any noise that does not depend on θ

        P(1) = a + b cos θ + c sin θ

    exactly; the ideal RY has a = ½, b = −½, c = 0.

    Args:
        a: the mean over a full turn, shape `()` or `(sites,)`.
        b: the cosine part, same shape.
        c: the sine part, same shape.
    """

    a: Tensor
    b: Tensor
    c: Tensor

    @classmethod
    def through(cls, at_zero: Tensor, at_quarter: Tensor, at_half: Tensor) -> "SinusoidalResponse":
        """The law through the probabilities at θ = 0, π/2 and π, each `()` or `(sites,)`."""
        a = (at_zero + at_half) / 2
        return cls(a, (at_zero - at_half) / 2, at_quarter - a)

    def probability(self, theta: Tensor) -> Tensor:
        """P(1) at the angles `theta`, radians, shape `(..., sites)`; returns the same shape, within [0, 1].

        Written as (a + b) − 2b sin²(θ/2) + c sin θ, which keeps its relative precision where p is small
        and a + b cos θ would cancel.
        """
        floor = (self.a + self.b).to(theta)
        span = (-2 * self.b).to(theta)
        skew = self.c.to(theta)
        population = floor + span * excitation(theta) + skew * theta.sin()
        # Rounding can leave [0, 1] by an ulp; the derivative vanishes there, so the clamp takes nothing from the gradient.
        return population.clamp(0.0, 1.0)

    def slope(self, theta: Tensor) -> Tensor:
        """dP(1)/dθ = c cos θ − b sin θ at the angles `theta`, radians, shape `(..., sites)`; returns the same shape."""
        return self.c.to(theta) * theta.cos() - self.b.to(theta) * theta.sin()

    def extremes(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest P(1) that any angle reaches, each shaped as `a`."""
        swing = torch.hypot(self.b, self.c)
        return self.a - swing, self.a + swing


torch.serialization.add_safe_globals([SinusoidalResponse])

#: The three angles at which `SinusoidalResponse.through` takes a probability, radians.
RESPONSE_ANGLES = (0.0, math.pi / 2, math.pi)
