"""q_scale and q_bias from the target response, and back, for a qubit without errors.

The response of a neuron is described at the threshold, gap Δ = 0, by its baseline p₀ = p(0) and its slope p'(0). With
p = sin²(θ/2) the baseline fixes the angle, θ₀ = 2 arcsin √p₀, and the slope fixes how fast it turns:

    dp/dΔ = ½ sin θ₀ · dθ/dΔ

What remains is the mapping, which `at_angle` inverts: it serves any qubit, whatever its errors.
"""

import math
from typing import NamedTuple, overload

import torch
from torch import Tensor

from qlifq._validation import choice, finite, real, shape_of, tensor
from qlifq.circuits import excitation
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS, THETA_MAX

__all__ = ["AngleDerivatives", "angle_derivatives", "at_angle", "checked_settings", "response", "solve"]


@overload
def solve(
    mapping: str, p0: float, slope: float, *, quantum_leak: float = ..., theta_max: float = ...
) -> tuple[float, float]: ...


@overload
def solve(
    mapping: str, p0: Tensor, slope: Tensor | float, *, quantum_leak: float = ..., theta_max: float = ...
) -> tuple[Tensor, Tensor]: ...


def solve(
    mapping: str, p0: Tensor | float, slope: Tensor | float, *, quantum_leak: float = 0.0, theta_max: float = THETA_MAX
) -> tuple[Tensor, Tensor] | tuple[float, float]:
    """The q_scale and q_bias that give a baseline and a slope at gap 0.

    With θ₀ = arccos(1 − 2 p₀) and s = θ₀/π:

        sigmoid: q_bias = ln(s/(1 − s)) + quantum_leak    q_scale = slope / ((π/2) sin(π s) s (1 − s))
        linear:  q_bias = θ₀ + quantum_leak               q_scale = 2 slope / sin θ₀
        tanh:    q_bias = θ₀ + quantum_leak               q_scale = 2 slope / (theta_max sin θ₀)

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        p0: P(1) at gap 0, strictly between 0 and 1; a number or a tensor of any shape.
        slope: dP(1)/dΔ at gap 0, same shape; a number serves every element of a tensor `p0`.
        quantum_leak: the layer's `quantum_leak`, in the unit of q_bias.
        theta_max: the layer's `theta_max`, radians; for `tanh` alone.

    Returns:
        q_scale and q_bias, numbers from numbers, differentiable tensors from tensors, in their dtype.

    Raises:
        QLIFError: for an unknown mapping, a value out of range, or shapes that do not go together.

    Example:
        >>> q_scale, q_bias = solve("linear", 0.5, 1.0)
        >>> round(q_scale, 6), round(q_bias, 6)
        (2.0, 1.570796)
        >>> p0, slope = response("linear", q_scale, q_bias)
        >>> round(p0, 6), round(slope, 6)
        (0.5, 1.0)
    """
    quantum_leak, theta_max = checked_settings(mapping, quantum_leak, theta_max)
    baseline, rate, numbers_given = _pair("p0", p0, "slope", slope)
    outside = baseline.detach()[(baseline.detach() <= 0) | (baseline.detach() >= 1)]
    if outside.numel():
        raise ArgumentError(f"Argument `p0` must be above 0 and below 1, but is {float(outside[0]):g}.")
    root, rest = baseline.sqrt(), (1 - baseline).sqrt()
    angle = 2 * root.asin()
    # sin θ₀ = 2 √(p₀ (1 − p₀)), and π − θ₀ by itself, both without cancellation at either end.
    scale, bias = at_angle(mapping, angle, rate / (root * rest), theta_max=theta_max, remainder=2 * rest.asin())
    return (float(scale), float(bias) + quantum_leak) if numbers_given else (scale, bias + quantum_leak)


@overload
def response(
    mapping: str, q_scale: float, q_bias: float, *, quantum_leak: float = ..., theta_max: float = ...
) -> tuple[float, float]: ...


@overload
def response(
    mapping: str, q_scale: Tensor, q_bias: Tensor | float, *, quantum_leak: float = ..., theta_max: float = ...
) -> tuple[Tensor, Tensor]: ...


def response(
    mapping: str, q_scale: Tensor | float, q_bias: Tensor | float, *, quantum_leak: float = 0.0, theta_max: float = THETA_MAX
) -> tuple[Tensor, Tensor] | tuple[float, float]:
    """The baseline and the slope at gap 0 that q_scale and q_bias give: the inverse of `solve`.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        q_scale: the slope of the mapping, a number or a tensor of any shape.
        q_bias: its offset, same shape; a number serves every element of a tensor `q_scale`.
        quantum_leak: as for `solve`.
        theta_max: as for `solve`.

    Returns:
        (p0, slope): numbers from numbers, tensors from tensors, in their dtype.

    Raises:
        QLIFError: as `solve`.
    """
    quantum_leak, theta_max = checked_settings(mapping, quantum_leak, theta_max)
    scale, bias, numbers_given = _pair("q_scale", q_scale, "q_bias", q_bias)
    at = angle_derivatives(mapping, torch.zeros_like(scale), scale, bias - quantum_leak, theta_max)
    p0, slope = excitation(at.angle), at.angle.sin() / 2 * at.gap
    return (float(p0), float(slope)) if numbers_given else (p0, slope)


class AngleDerivatives(NamedTuple):
    """An angle and its derivatives.

    Args:
        angle: θ, radians.
        gap: ∂θ/∂Δ, shaped as θ.
        q_scale: ∂θ/∂q_scale, same shape.
        q_bias: ∂θ/∂q_bias, same shape.
    """

    angle: Tensor
    gap: Tensor
    q_scale: Tensor
    q_bias: Tensor


def angle_derivatives(
    mapping: str, gap: Tensor, q_scale: Tensor, offset: Tensor, theta_max: float = THETA_MAX
) -> AngleDerivatives:
    """The angle of a mapping with its derivatives, by autograd through the mapping that the neurons use.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        gap: Δ.
        q_scale: slope of the mapping, broadcastable with `gap`.
        offset: q_bias less the quantum leak, same shape.
        theta_max: for `tanh`.

    Returns:
        A `AngleDerivatives`, differentiable where the arguments are.
    """
    shape = (gap + q_scale + offset).shape
    # The derivatives are part of the graph where an argument is; otherwise a graph is made here and dropped.
    differentiable = torch.is_grad_enabled() and any(value.requires_grad for value in (gap, q_scale, offset))
    # A copy, since a tensor of inference mode has no derivative, and so outside of it.
    with torch.inference_mode(False), torch.enable_grad():
        at, scale, shift = (
            value.expand(shape) if value.requires_grad else value.detach().expand(shape).clone().requires_grad_()
            for value in (gap, q_scale, offset)
        )
        angle = MAPPINGS[mapping].angle(at, scale, shift, theta_max)
        derivatives = torch.autograd.grad(angle.sum(), (at, scale, shift), create_graph=differentiable)
    return AngleDerivatives(angle if differentiable else angle.detach(), *derivatives)


def at_angle(
    mapping: str, angle: Tensor, rate: Tensor, *, theta_max: float = THETA_MAX, remainder: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The q_scale and offset with which a mapping passes through an angle at gap 0, turning at a rate.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        angle: θ(0), radians; within (0, π) for `sigmoid`, which reaches no other.
        rate: dθ/dΔ at gap 0, radians.
        theta_max: for `tanh`.
        remainder: π − θ(0), where the caller knows it without cancellation.

    Returns:
        q_scale, and the offset, which is q_bias less the quantum leak.
    """
    return MAPPINGS[mapping].inverse(angle, math.pi - angle if remainder is None else remainder, rate, theta_max)


def checked_settings(mapping: str, quantum_leak: float, theta_max: float) -> tuple[float, float]:
    """The quantum leak and theta_max of a mapping, or the reason why they cannot be used."""
    choice("mapping", mapping, MAPPINGS)
    theta_max = real("theta_max", theta_max, above=0.0)
    if theta_max != THETA_MAX and "theta_max" not in MAPPINGS[mapping].parameters:
        users = " or ".join(f"mapping={name!r}" for name, row in MAPPINGS.items() if "theta_max" in row.parameters)
        raise UnsupportedError(f"Argument `theta_max` would be ignored: it needs {users}, but that is {mapping!r}.")
    return real("quantum_leak", quantum_leak), theta_max


def _pair(first_name: str, first: object, second_name: str, second: object) -> tuple[Tensor, Tensor, bool]:
    """Two finite tensors of one shape, and whether both were given as numbers."""
    if not isinstance(first, Tensor):
        if isinstance(second, Tensor):
            raise DtypeError(f"Argument `{first_name}` must be a torch tensor like `{second_name}`, but is {first!r}.")
        numbers = [real(first_name, first), real(second_name, second)]
        one, other = torch.tensor(numbers, dtype=torch.float64)
        return one, other, True
    one = finite(first_name, tensor(first_name, first))
    if not isinstance(second, Tensor):
        return one, torch.full_like(one, real(second_name, second)), False
    other = shape_of(second_name, finite(second_name, tensor(second_name, second, dtypes=(one.dtype,))), tuple(one.shape))
    return one, other, False
