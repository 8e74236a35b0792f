"""A constant of the neuron with one value for each neuron, trained or not."""

from typing import cast

import torch
from torch import Tensor, nn

from qlifq.errors import ArgumentError, ShapeError
from qlifq.neurons.parameters import PerNeuron

__all__ = ["PerNeuronValue"]


class PerNeuronValue(nn.Module):
    """`(num_neurons,)` values: a buffer, or a trained parameter that keeps above its bound.

    A trained value x above a bound b is held as ln(x − b), so no optimiser step can carry it across.

    Args:
        name: for error messages.
        value: one number, or one per neuron.
        num_neurons: how many neurons there are.
        learnable: whether it is an `nn.Parameter`.
        above: bound of a trained value, None for none.

    Raises:
        QLIFError: if `value` has another length than `num_neurons`.
    """

    def __init__(self, name: str, value: PerNeuron, num_neurons: int, *, learnable: bool, above: float | None) -> None:
        super().__init__()
        self.name = name
        self.above = above if learnable else None
        self.learnable = learnable
        if isinstance(value, tuple) and len(value) != num_neurons:
            raise ShapeError(f"Argument `{name}` must be one number or {num_neurons}, one per neuron, but has {len(value)}.")
        values = torch.tensor(value if isinstance(value, tuple) else [value] * num_neurons, dtype=torch.get_default_dtype())
        if learnable:
            self.register_parameter(self._stored, nn.Parameter(self._to_stored(values)))
        else:
            self.register_buffer(self._stored, values)

    def forward(self) -> Tensor:
        """The values, `(num_neurons,)`."""
        stored = cast(Tensor, getattr(self, self._stored))
        return stored if self.above is None else self.above + stored.exp()

    @torch.no_grad()
    def assign(self, values: Tensor) -> None:
        """Set the values in place, `(num_neurons,)`, finite."""
        if self.above is not None and bool((values <= self.above).any()):
            raise ArgumentError(f"Argument `{self.name}` must be above {self.above:g}, but is {float(values.min()):g}.")
        stored = cast(Tensor, getattr(self, self._stored))
        stored.copy_(self._to_stored(values.to(stored)))

    @property
    def _stored(self) -> str:
        # Two names for two meanings: a checkpoint of a trained value cannot slip into a fixed one.
        return "value" if self.above is None else "log_excess"

    def _to_stored(self, values: Tensor) -> Tensor:
        return values if self.above is None else (values - self.above).log()
