"""The q_scale and q_bias that give the target response on a qubit as it is."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.calibration.closed_form import angle_derivatives, at_angle
from qlifq.calibration.models import ideal_response
from qlifq.circuits import RYSpike, SinusoidalResponse
from qlifq.neurons.mapping import MAPPINGS

__all__ = ["Correction", "Target", "at_a_point", "numbers_through", "over_a_range"]

#: Gaps at which the responses are compared over a range.
_POINTS = 33
_MOST_STEPS = 100


class Target(NamedTuple):
    """The target response: that of a qubit without errors with these numbers.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        q_scale: slope of the mapping, `(sites,)`.
        offset: q_bias less the quantum leak, same shape.
        theta_max: for `tanh`.
        ideal: the response of the circuit without errors, each `()`; default that of `RYSpike`.
    """

    mapping: str
    q_scale: Tensor
    offset: Tensor
    theta_max: float
    ideal: SinusoidalResponse = ideal_response(RYSpike())

    def probability(self, gaps: Tensor) -> Tensor:
        """P(1) at the gaps `(..., sites)`."""
        angle = MAPPINGS[self.mapping].angle(gaps, self.q_scale, self.offset, self.theta_max)
        return self.ideal.probability(angle)

    def at_threshold(self) -> tuple[Tensor, Tensor]:
        """P(1) and its slope at gap 0, `(sites,)`."""
        at = angle_derivatives(self.mapping, torch.zeros_like(self.q_scale), self.q_scale, self.offset, self.theta_max)
        return self.ideal.probability(at.angle), self.ideal.slope(at.angle) * at.gap


class Correction(NamedTuple):
    """What to program on every site, and what that leaves.

    Args:
        target: the target response.
        q_scale: `(sites,)`; NaN where the target is out of reach.
        q_bias: same shape.
        standard_error: of both, from the covariance of the measured response, `(sites, 2)`.
        floor: the least P(1) that the site reaches through the mapping, `(sites,)`: its readout floor.
        ceiling: the greatest, same shape.
        reachable: bool, whether the target's P(1) at gap 0 lies between them, `(sites,)`.
        rms_before: root mean square of response − target over the range with the target's own numbers; NaN without a range.
        rms_after: same shape, with the corrected ones.
        source: description of what was calibrated.
    """

    target: Target
    q_scale: Tensor
    q_bias: Tensor
    standard_error: Tensor
    floor: Tensor
    ceiling: Tensor
    reachable: Tensor
    rms_before: Tensor
    rms_after: Tensor
    source: str = ""

    def facts(self) -> dict[str, object]:
        """What `str` prints, as numbers and text, of every neuron; NaN for one that is out of reach."""
        return {
            "neurons": [
                {"q_scale": scale, "q_bias": bias, "floor": floor, "ceiling": ceiling}
                for scale, bias, floor, ceiling in zip(
                    *(each.tolist() for each in (self.q_scale, self.q_bias, self.floor, self.ceiling)), strict=True
                )
            ],
            "out_of_reach": int(self.q_scale.isnan().sum()),
        }

    def __str__(self) -> str:
        lost = int(self.q_scale.isnan().sum())
        numbers = ((name, value[~value.isnan()]) for name, value in (("q_scale", self.q_scale), ("q_bias", self.q_bias)))
        ranges = [f"{name} {float(value.min()):.4g} to {float(value.max()):.4g}" for name, value in numbers if len(value)]
        reach = f"P(1) from {float(self.floor.max()):.3f} to {float(self.ceiling.min()):.3f} in the reach of all"
        origin = [f"on {self.source}"] if self.source else []
        return " · ".join([f"correction of {len(self.q_scale)} neurons", *ranges, reach, f"{lost} out of reach", *origin])


torch.serialization.add_safe_globals([Correction, Target])


def numbers_through(
    mapping: str, response: SinusoidalResponse, p0: Tensor, slope: Tensor, theta_max: float
) -> tuple[Tensor, Tensor]:
    """The q_scale and offset with which a qubit has this P(1) and slope at gap 0.

    With P(1) = a − R cos(θ − φ) the angle is θ₀ = φ ± arccos((a − p₀)/R), on the branch that rises or falls as the slope
    does, and the rate is slope / (∂P/∂θ).
    """
    a, b, c = response
    # a + b cos θ + c sin θ = a − R cos(θ − φ) with R = √(b² + c²) and φ = atan2(−c, −b), the angle of the least P(1).
    swing, phase = torch.hypot(b, c), torch.atan2(-c, -b)
    branch = torch.where(slope < 0, -1.0, 1.0)
    angle = phase + branch * ((a - p0) / swing).acos()
    rate = slope / (branch * (swing.square() - (a - p0).square()).sqrt())
    return at_angle(mapping, angle, rate, theta_max=theta_max)


def at_a_point(target: Target, measured: SinusoidalResponse, covariance: Tensor, quantum_leak: float) -> Correction:
    """Baseline and slope at gap 0 as the target has them; the errors follow from the response's by the derivatives."""
    # Σ_q = J Σ Jᵀ with J = ∂(q_scale, offset)/∂(a, b, c): the rows of J by autograd, exact to rounding.
    p0, slope = target.at_threshold()
    leaves = [part.detach().clone().requires_grad_() for part in measured]
    with torch.enable_grad():
        q_scale, offset = numbers_through(target.mapping, SinusoidalResponse(*leaves), p0, slope, target.theta_max)
        rows = [torch.stack(torch.autograd.grad(value.sum(), leaves, retain_graph=True), dim=-1) for value in (q_scale, offset)]
    derivative = torch.stack(rows, dim=1)
    floor, ceiling = reach(target, measured)
    reachable = (p0 > floor) & (p0 < ceiling) & q_scale.isfinite() & offset.isfinite()
    nothing = torch.full_like(p0, math.nan)
    return Correction(
        target=target,
        q_scale=torch.where(reachable, q_scale.detach(), nothing),
        q_bias=torch.where(reachable, offset.detach() + quantum_leak, nothing),
        standard_error=torch.where(reachable[:, None], _errors(derivative, covariance), nothing[:, None]),
        floor=floor,
        ceiling=ceiling,
        reachable=reachable,
        rms_before=nothing,
        rms_after=nothing,
    )


def over_a_range(
    target: Target, measured: SinusoidalResponse, covariance: Tensor, quantum_leak: float, span: tuple[float, float]
) -> Correction:
    """The response closest to the target in the mean square over a range of gaps, by Newton's method on all sites.

    The errors follow from the response's by the implicit function theorem: at the optimum the gradient vanishes, whatever
    the response.
    """
    gaps = torch.linspace(*span, _POINTS, dtype=torch.float64)[:, None]
    goal = target.probability(gaps)
    # One unit of either number moves the argument of the mapping by about 1 over the range, so that one damping fits both.
    unit = torch.stack((1 / gaps.square().mean().sqrt().expand_as(measured.a), torch.ones_like(measured.a)), dim=-1)
    start = torch.stack((target.q_scale, target.offset), dim=-1)
    leaves = [part.detach().clone().requires_grad_() for part in measured]

    def distance(turned: Tensor) -> Tensor:
        """The mean square of response − target, `(sites,)`, with the numbers moved by `turned`, in units."""
        q_scale, offset = (start + turned * unit).unbind(-1)
        angle = MAPPINGS[target.mapping].angle(gaps, q_scale, offset, target.theta_max)
        return (SinusoidalResponse(*leaves).probability(angle) - goal).square().mean(0)

    turned = torch.zeros_like(start)
    damping = torch.full_like(measured.a, 1e-3)
    reached = before = distance(turned).detach()
    for _ in range(_MOST_STEPS):
        gradient, curvature, _ = _second_order(distance, turned, leaves)
        values, vectors = torch.linalg.eigh(curvature)
        # |λ| goes downhill where the surface is a saddle.
        stiffness = values.abs() + damping[:, None] * values.abs().amax(-1, keepdim=True) + 1e-12
        step = -(vectors @ ((vectors.transpose(-1, -2) @ gradient[..., None]) / stiffness[..., None])).squeeze(-1)
        if bool((step.abs() < 1e-10).all()):
            break
        trial = distance(turned + step).detach()
        better = trial < reached
        turned = torch.where(better[:, None], turned + step, turned)
        reached = torch.where(better, trial, reached)
        damping = torch.where(better, damping / 10, damping * 10).clamp(1e-12, 1e12)
    _, curvature, mixed = _second_order(distance, turned, leaves)
    # Implicit function theorem: ∇f(x*(m), m) = 0 for every m gives dx*/dm = −(∂²f/∂x²)⁻¹ ∂²f/∂x∂m.
    derivative = -torch.linalg.pinv(curvature, hermitian=True) @ mixed * unit[:, :, None]
    floor, ceiling = reach(target, measured)
    middle = target.probability(torch.zeros_like(measured.a))
    q_scale, offset = (start + turned * unit).unbind(-1)
    return Correction(
        target=target,
        q_scale=q_scale,
        q_bias=offset + quantum_leak,
        standard_error=_errors(derivative, covariance),
        floor=floor,
        ceiling=ceiling,
        reachable=(middle > floor) & (middle < ceiling),
        rms_before=before.sqrt(),
        rms_after=reached.sqrt(),
    )


def _second_order(distance: Callable[[Tensor], Tensor], at: Tensor, leaves: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient `(sites, 2)`, curvature `(sites, 2, 2)`, and the gradient's derivative by the response, `(sites, 2, 3)`."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(distance(at).sum(), at, create_graph=True)
        rows = [torch.autograd.grad(part.sum(), [at, *leaves], retain_graph=True) for part in gradient.unbind(-1)]
    curvature = torch.stack([row[0] for row in rows], dim=1)
    return gradient.detach(), curvature, torch.stack([torch.stack(row[1:], dim=-1) for row in rows], dim=1)


def reach(target: Target, measured: SinusoidalResponse) -> tuple[Tensor, Tensor]:
    """The least and the greatest P(1) of a site over the angles that the mapping reaches."""
    floor, ceiling = measured.extremes()
    angles = MAPPINGS[target.mapping].reach
    if angles is None:
        return floor, ceiling
    first, last = angles
    # The angle of the least P(1), and that of the greatest, each as a turn on from the first angle that is reached.
    lowest = (torch.atan2(-measured.c, -measured.b) - first).remainder(2 * math.pi)
    highest = (lowest + math.pi).remainder(2 * math.pi)
    ends = torch.stack([measured.a + measured.b * math.cos(end) + measured.c * math.sin(end) for end in angles])
    turn = last - first
    return torch.where(lowest <= turn, floor, ends.amin(0)), torch.where(highest <= turn, ceiling, ends.amax(0))


def _errors(derivative: Tensor, covariance: Tensor) -> Tensor:
    """`(sites, 2)` from the derivatives by a, b and c, `(sites, 2, 3)`, and the response's covariance."""
    return (derivative @ covariance @ derivative.transpose(-1, -2)).diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
