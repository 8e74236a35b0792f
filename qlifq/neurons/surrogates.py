"""Surrogate gradients of the deterministic spike."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, cast

import torch
from torch import Tensor

from qlifq._transforms import transformed
from qlifq.backends.sampling import straight_through

__all__ = ["SURROGATES", "Surrogate", "heaviside_spike"]


class Surrogate(NamedTuple):
    """A smooth function that stands for the step in the backward pass; α sharpens it, and its slope at 0 is 1.

    Args:
        formula: the derivative as people write it.
        smooth: the function itself, of the gap and α.
        derivative: its derivative, written out.
    """

    formula: str
    smooth: Callable[[Tensor, Tensor | float], Tensor]
    derivative: Callable[[Tensor, float], Tensor]


def _heaviside_smooth(x: Tensor, alpha: Tensor | float) -> Tensor:
    bound = 1 / alpha
    inside = x.maximum(-bound).minimum(bound) if isinstance(bound, Tensor) else x.clamp(-bound, bound)
    return inside - alpha * inside * inside.abs() / 2


def _heaviside_derivative(x: Tensor, alpha: float) -> Tensor:
    return (1 - alpha * x.abs()).clamp(min=0)


def _fast_sigmoid_smooth(x: Tensor, alpha: Tensor | float) -> Tensor:
    return x / (1 + alpha * x.abs())


def _fast_sigmoid_derivative(x: Tensor, alpha: float) -> Tensor:
    return (1 + alpha * x.abs()).square().reciprocal()


def _gaussian_smooth(x: Tensor, alpha: Tensor | float) -> Tensor:
    return math.sqrt(math.pi / 2) / alpha * (alpha / math.sqrt(2) * x).erf()


def _gaussian_derivative(x: Tensor, alpha: float) -> Tensor:
    return (-(alpha * x).square() / 2).exp()


def _arctan_smooth(x: Tensor, alpha: Tensor | float) -> Tensor:
    return (alpha * x).atan() / alpha


def _arctan_derivative(x: Tensor, alpha: float) -> Tensor:
    return (1 + (alpha * x).square()).reciprocal()


#: The surrogates by the names of the seed project.
SURROGATES: Mapping[str, Surrogate] = MappingProxyType(
    {
        "heaviside": Surrogate("max(0, 1 − α|Δ|)", _heaviside_smooth, _heaviside_derivative),
        "fast_sigmoid": Surrogate("1 / (1 + α|Δ|)²", _fast_sigmoid_smooth, _fast_sigmoid_derivative),
        "gaussian": Surrogate("exp(−(αΔ)²/2)", _gaussian_smooth, _gaussian_derivative),
        "arctan": Surrogate("1 / (1 + (αΔ)²)", _arctan_smooth, _arctan_derivative),
    }
)


def heaviside_spike(gap: Tensor, surrogate: str, alpha: float) -> Tensor:
    """1 where the gap is above 0 and 0 otherwise, with the derivative of a smooth function.

    Args:
        gap: V − V_th, any shape.
        surrogate: a name in `SURROGATES`.
        alpha: its sharpness, above 0.

    Returns:
        The spikes, in the shape and dtype of `gap`.

    Reference:
        Neftci, Mostafa and Zenke, Surrogate gradient learning in spiking neural networks, IEEE SPM 36 (2019).
    """
    chosen = SURROGATES[surrogate]
    if transformed(gap):
        return straight_through(_step(gap.detach()), chosen.smooth(gap, alpha))
    return cast(Tensor, _Step.apply(gap, chosen.derivative, alpha))  # type: ignore[no-untyped-call]


def _step(gap: Tensor) -> Tensor:
    return (gap > 0).to(gap.dtype)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, gap: Tensor, derivative: Callable[[Tensor, float], Tensor], alpha: float
    ) -> Tensor:
        ctx.save_for_backward(gap)
        ctx.derivative, ctx.alpha = derivative, alpha  # type: ignore[attr-defined]
        return _step(gap)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gap,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * ctx.derivative(gap, ctx.alpha), None, None  # type: ignore[attr-defined]
