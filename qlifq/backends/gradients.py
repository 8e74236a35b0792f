"""Derivatives of a backend's probability with respect to the angles, whatever the backend."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from qlifq._transforms import transformed, uncompiled
from qlifq._validation import choice, optional_integer
from qlifq.backends.interface import MAX_SHOTS, Backend, Outcome
from qlifq.backends.sampling import masked, straight_through
from qlifq.circuits import SpikeCircuit
from qlifq.errors import UnsupportedError
from qlifq.random import MAX_SEED

__all__ = ["GRADIENTS", "check_gradient", "evaluate", "parameter_shift", "with_derivative"]

GRADIENTS = ("auto", "analytic", "parameter-shift", "none")


@uncompiled
def evaluate(
    backend: Backend,
    circuit: SpikeCircuit,
    angles: Tensor,
    *,
    shots: int | None,
    seed: int | None,
    where: Tensor | None = None,
    gradient: str = "auto",
    gradient_shots: int | None = None,
    gradient_seed: int | None = None,
) -> Outcome:
    """Run a backend so that its probability carries a gradient to the angles.

    Args:
        backend: where to run.
        circuit: what to run.
        angles: `(batch, sites, num_angles)`, as for `Backend.run`.
        shots: as for `Backend.run`.
        seed: as for `Backend.run`.
        where: as for `Backend.run`.
        gradient: "auto": autograd where the backend has it, else "parameter-shift". "analytic": the closed form without
            noise at the same angles, cheap, biased where the backend has noise. "parameter-shift": two further
            evaluations per angle on the same backend, see `parameter_shift`. "none": no gradient.
        gradient_shots: shots of the shifted evaluations; None for as many as `shots`.
        gradient_seed: seed of the shifted evaluations.

    Returns:
        The outcome of `backend.run`, its `probability` part of the autograd graph unless the gradient is "none".

    Raises:
        QLIFError: for an unknown gradient, or one that this circuit or backend cannot have.
    """
    check_gradient(backend, circuit, gradient, gradient_shots)
    optional_integer("gradient_seed", gradient_seed, at_least=0, at_most=MAX_SEED)
    carried = transformed(angles)
    if not (carried or (torch.is_grad_enabled() and angles.requires_grad)) or gradient == "none":
        return backend.run(circuit, angles.detach(), shots=shots, seed=seed, where=where)
    if gradient == "auto" and backend.capabilities.differentiable:
        return backend.run(circuit, angles, shots=shots, seed=seed, where=where)
    if carried and gradient != "analytic":
        raise UnsupportedError(
            f"Argument `gradient` must not be {gradient!r} on backend {backend.name} under forward-mode differentiation or "
            "torch.func, since a shifted derivative goes backward alone: call `backward` or `torch.autograd.grad`, or take "
            "gradient='analytic'."
        )
    outcome = backend.run(circuit, angles.detach(), shots=shots, seed=seed, where=where)
    if gradient == "analytic":
        closed_form = masked(circuit.probability(angles), where)
        return replace(outcome, probability=straight_through(outcome.probability, closed_form))

    def derivative(at: Tensor) -> Tensor:
        return parameter_shift(
            backend,
            circuit,
            at,
            shots=shots if gradient_shots is None else gradient_shots,
            seed=gradient_seed,
            where=where,
        )

    return replace(outcome, probability=with_derivative(angles, outcome.probability, derivative))


def with_derivative(angles: Tensor, probability: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """A probability that was measured outside autograd, part of the graph of its angles.

    Args:
        angles: `(batch, sites, num_angles)`.
        probability: `(batch, sites)`.
        derivative: from the angles, without a graph, to ∂P(1)/∂angle in their shape; called when it is needed.
    """
    return cast(Tensor, _WithDerivative.apply(angles, probability, derivative))  # type: ignore[no-untyped-call]


def check_gradient(backend: Backend, circuit: SpikeCircuit, gradient: str, gradient_shots: int | None) -> None:
    """Refuse a gradient that this circuit or backend cannot have, or an option that it would ignore."""
    choice("gradient", gradient, GRADIENTS)
    shifting = gradient == "parameter-shift" or (gradient == "auto" and not backend.capabilities.differentiable)
    if shifting and not circuit.shiftable:
        raise UnsupportedError(
            f"Argument `gradient` must not be {gradient!r} for circuit {circuit.name} on backend {backend.name}: "
            "parameter shift needs every slot in one rotation and in no delay."
        )
    optional_integer("gradient_shots", gradient_shots, at_least=1, at_most=backend.capabilities.max_shots)
    optional_integer("gradient_shots", gradient_shots, at_most=MAX_SHOTS)
    if gradient_shots is not None and not shifting:
        raise UnsupportedError(
            f"Argument `gradient_shots` would be ignored: gradient {gradient!r} on backend {backend.name} shifts no parameter."
        )
    if gradient_shots is not None and not backend.capabilities.shots:
        raise UnsupportedError(f"Argument `gradient_shots` must be None for backend {backend.name}, which draws none.")


@uncompiled
def parameter_shift(
    backend: Backend,
    circuit: SpikeCircuit,
    angles: Tensor,
    *,
    shots: int | None,
    seed: int | None,
    where: Tensor | None = None,
) -> Tensor:
    """∂P(1)/∂angle by the parameter-shift rule, all shifted evaluations in one submission.

        ∂p/∂θ_j = ½ [p(θ + π/2 e_j) − p(θ − π/2 e_j)]

    exact for every rotation angle that enters once, with any noise that does not depend on it. The rule holds for
    probabilities; a loss or a logarithm of one must be differentiated from here by the chain rule.

    Args:
        backend: where to run.
        circuit: what to run, each slot in one rotation.
        angles: `(batch, sites, num_angles)`, radians.
        shots: shots of each shifted evaluation, or None for exact ones.
        seed: as for `Backend.run`.
        where: as for `Backend.run`; the derivative of the others is 0.

    Returns:
        `(batch, sites, num_angles)`.

    Raises:
        UnsupportedError: if the rule does not hold for the circuit.

    Reference:
        Mitarai et al., Quantum circuit learning, Phys. Rev. A 98, 032309 (2018).
    """
    if not circuit.shiftable:
        raise UnsupportedError(
            f"Argument `circuit` must have every slot in one rotation for parameter shift, but is {circuit.draw()}."
        )
    batch, sites, slots = angles.shape
    steps = torch.eye(slots, dtype=angles.dtype, device=angles.device) * (math.pi / 2)
    shifted = angles + torch.stack((steps, -steps))[:, :, None, None, :]
    outcome = backend.run(
        circuit,
        shifted.reshape(2 * slots * batch, sites, slots),
        shots=shots,
        seed=seed,
        where=None if where is None else where.repeat(2 * slots, 1),
    )
    probability = outcome.probability.reshape(2, slots, batch, sites)
    return ((probability[0] - probability[1]) / 2).movedim(0, -1)


class _WithDerivative(torch.autograd.Function):
    """A probability that was measured outside autograd, with its derivative computed when it is needed."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        angles: Tensor,
        probability: Tensor,
        derivative: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(angles)
        ctx.derivative = derivative  # type: ignore[attr-defined]
        return probability.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "A shifted derivative has no further one: call `backward` or `torch.autograd.grad` without `create_graph`, or "
                "take gradient='analytic' or a backend with autograd, such as analytic or twin."
            )
        (angles,) = ctx.saved_tensors  # type: ignore[attr-defined]
        derivative = cast(Tensor, ctx.derivative(angles.detach()))  # type: ignore[attr-defined]
        return grads[0].unsqueeze(-1) * derivative, None, None
