"""A constant of the neuron with one value for each neuron, trained or not."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.errors import ArgumentError, ShapeError
from qlifq.neurons.precision import widened
from qlifq.neurons.rules import PerNeuron

__all__ = ["PerNeuronValue", "value_gradients"]

# Numbers of the host, which an operation on an accelerator is handed without a copy to it.
_ONE, _TWO = torch.tensor(1.0, device="cpu"), torch.tensor(2.0, device="cpu")


class PerNeuronValue(nn.Module):
    """Values per neuron: a buffer, or a trained parameter that keeps within its bounds.

    A trained value is stored as a number u that no bound limits, so no optimiser step can carry the value across one:

        value = low + (u + √(u² + 4)) / 2                        above `low` (a squareplus)
        value = low + (high − low) (1 + u / √(1 + u²)) / 2       between both

    The tails are algebraic: unlike an exponential they neither overflow under a large step nor underflow to where no gradient
    is left.

    Args:
        name: for error messages.
        value: one number, or one per value of `shape`.
        shape: of what is kept, `(num_neurons,)`, or what broadcasts with the shape of a layer's neurons.
        learnable: whether it is an `nn.Parameter`.
        low: what a trained value keeps above, None for no bound.
        high: what a trained value keeps below, None for no bound.

    Raises:
        ShapeError: if `value` has another length than `shape` has values.
        ArgumentError: if it is not within its bounds in the default dtype.

    Reference:
        Barron, Squareplus: a softplus-like algebraic rectifier, arXiv 2112.11687.
    """

    def __init__(
        self,
        name: str,
        value: PerNeuron,
        shape: tuple[int, ...],
        *,
        learnable: bool,
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.low, self.high = (low, high) if learnable else (None, None)
        self.learnable = learnable
        # Two names for two meanings: a checkpoint of a trained value cannot slip into a fixed one.
        self._stored = "value" if self.low is None else "unbounded"
        count = math.prod(shape)
        if isinstance(value, tuple) and len(value) != count:
            raise ShapeError(f"Argument `{name}` must be one number or {count}, one per neuron, but has {len(value)}.")
        numbers = value if isinstance(value, tuple) else (value,)
        check.within(name, numbers, torch.get_default_dtype())
        given = torch.tensor(numbers, dtype=torch.get_default_dtype(), device="cpu").expand(count).reshape(shape)
        values = self._to_stored(given).to(torch.get_default_device()).contiguous()
        if learnable:
            self.register_parameter(self._stored, nn.Parameter(values))
        else:
            self.register_buffer(self._stored, values)

    def forward(self) -> Tensor:
        """The values as a layer computes with them, in float32 at least, in the shape that is kept."""
        stored = widened(self.stored)
        if self.low is None:
            return stored
        if self.high is None:
            return self.low + _squareplus(stored)
        return self.low + (self.high - self.low) * _fraction(stored)

    def stored_from(self, values: Tensor) -> Tensor:
        """What `assign` would store, `(num_neurons,)`.

        Refuses values that overflow or vanish in the stored dtype, or are not within the bounds there.
        """
        check.within(self.name, values.flatten().tolist(), self.stored.dtype)
        # Rounded once: a value in half precision could be rounded to its bound.
        return self._to_stored(values.detach().to(widened(self.stored))).to(self.stored.dtype)

    @torch.no_grad()
    def assign(self, stored: Tensor) -> None:
        """Set the values in place to what `stored_from` gave."""
        self.stored.copy_(stored)

    def value_gradient(self) -> Tensor | None:
        """What `backward` left, by the values themselves and not by what is stored, `(num_neurons,)`; None where it left none.

        above a bound    du/dvalue = 1 + 1/p²,                 p = value − low
        between two      du/dvalue = (p + q)² / (4 (p q)^1.5)   q = high − value
        """
        gradient = self.stored.grad
        if gradient is None or self.low is None:
            return gradient
        u, gradient = widened(self.stored.detach()), widened(gradient)
        if self.high is None:
            return gradient * (1 + _squareplus(u).square().reciprocal())
        return gradient / (4 * (self.high - self.low) * (_fraction(u) * _fraction(-u)).pow(1.5))

    @property
    def stored(self) -> Tensor:
        """The buffer or parameter itself, `(num_neurons,)`."""
        return cast(Tensor, getattr(self, self._stored))

    def _to_stored(self, values: Tensor) -> Tensor:
        if self.low is None:
            return values
        over = values - self.low
        if bool((over <= 0).any()):
            raise ArgumentError(f"Argument `{self.name}` must be above {self.low:g}, but is {float(values.min()):g}.")
        if self.high is None:
            return over - 1 / over
        under = self.high - values
        if bool((under <= 0).any()):
            raise ArgumentError(f"Argument `{self.name}` must be below {self.high:g}, but is {float(values.max()):g}.")
        return (over - under) / (2 * (over * under).sqrt())


def value_gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradients of trained neuron constants by their own values, after a `backward`.

    A constant with bounds, such as τ, is stored such that no optimiser step can carry it across them. `parameter.grad` is the
    derivative by what is stored, which an optimiser needs; this is the derivative by τ itself.

    Args:
        module: a layer, or a network with layers in it.

    Returns:
        `(num_neurons,)` tensors by name, such as "tau" of a layer and "chain.1.tau" of a chain; 0 where the loss does not
        depend on a constant.

    Example:
        >>> from qlifq.neurons import QLIF, value_gradients
        >>> layer = QLIF(1, tau=5.0, decision="expectation", learnable_tau=True)
        >>> layer(torch.full((20, 1, 1), 1.5))[0].mean().backward()
        >>> {name: round(float(value), 4) for name, value in value_gradients(layer).items()}
        {'tau': -0.0374}
    """
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, PerNeuronValue) and part.learnable:
            gradient = part.value_gradient()
            # A layer keeps its constants in a module of that name.
            owner, _, constant = name.rpartition("constants.")
            found[owner + constant] = torch.zeros_like(part()) if gradient is None else gradient
    return found


class _Squareplus(torch.autograd.Function):
    """(u + √(u² + 4)) / 2 without cancellation: its values p at u and −u are each other's inverse; dp/du = p / (p + 1/p).

    One operation with a written-out derivative: on an accelerator the number of operations decides what a constant costs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        size = u.abs()
        large = (size + torch.hypot(size, _TWO)) / 2
        return torch.where(u >= 0, large, 1 / large)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        p: Tensor = ctx.saved_tensors[0]
        return grads[0] * (p / (p + 1 / p))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _Squareplus.backward(ctx, *tangents)


class _Fraction(torch.autograd.Function):
    """(1 + u / √(1 + u²)) / 2 without cancellation: its values at u and −u add up to 1; the derivative is (1 + u²)^−1.5 / 2."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        size = u.abs()
        root = torch.hypot(size, _ONE)
        small = 1 / (2 * root * (root + size))
        return torch.where(u >= 0, 1 - small, small)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        u: Tensor = ctx.saved_tensors[0]
        return grads[0] * ((1 + u.square()).pow(-1.5) / 2)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return _Fraction.backward(ctx, *tangents)


def _squareplus(u: Tensor) -> Tensor:
    return cast(Tensor, _Squareplus.apply(u))  # type: ignore[no-untyped-call]


def _fraction(u: Tensor) -> Tensor:
    return cast(Tensor, _Fraction.apply(u))  # type: ignore[no-untyped-call]
