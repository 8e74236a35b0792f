"""Layers whose neurons stand in a shape, such as maps: users see the shape, and what calculates sees a row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import DtypeError, ShapeError
from qlifq.neurons.parameters import is_per_neuron
from qlifq.neurons.state import QLIFState

__all__ = ["NeuronShape", "given_per_neuron", "reduced", "shape_of_layer"]


@dataclass(frozen=True)
class NeuronShape:
    """The shape of a layer's neurons; one dimension is left as it is, to the very tensors.

    Args:
        sizes: such as `(32, 14, 14)`.
    """

    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many neurons."""
        return math.prod(self.sizes)

    def flat(self, value: Tensor) -> Tensor:
        """`(..., *sizes)` to `(..., count)`."""
        return value if len(self.sizes) == 1 else value.flatten(-len(self.sizes))

    def shaped(self, value: Tensor) -> Tensor:
        """`(..., count)` to `(..., *sizes)`."""
        return value if len(self.sizes) == 1 else value.reshape(*value.shape[:-1], *self.sizes)

    def flat_constant(self, value: Tensor) -> Tensor:
        """What broadcasts with `sizes`, to `(count,)`."""
        return value if len(self.sizes) == 1 else value.expand(self.sizes).flatten()

    def flat_modulation(self, value: Tensor) -> Tensor:
        """`(..., *sizes)`, or 1 for any of them, to `(..., count)` or `(..., 1)`."""
        if len(self.sizes) == 1:
            return value
        own = value.shape[-len(self.sizes) :]
        if math.prod(own) == 1:
            return value.flatten(-len(own))
        return value.expand(*value.shape[: -len(own)], *self.sizes).flatten(-len(own))

    def flat_state(self, state: QLIFState) -> QLIFState:
        """Every part as by `flat`."""
        return state if len(self.sizes) == 1 else type(state)(*map(self.flat, state))

    def shaped_state(self, state: QLIFState) -> QLIFState:
        """Every part as by `shaped`."""
        return state if len(self.sizes) == 1 else type(state)(*map(self.shaped, state))


def shape_of_layer(num_neurons: object) -> NeuronShape:
    """The shape that `num_neurons` stands for: a number, or a tuple of numbers, each at least 1."""
    if not isinstance(num_neurons, tuple | list):
        return NeuronShape((check.integer("num_neurons", num_neurons, at_least=1),))
    if not num_neurons:
        raise ShapeError("Argument `num_neurons` must have at least one dimension, but is ().")
    return NeuronShape(tuple(check.integer("num_neurons", size, at_least=1) for size in num_neurons))


def given_per_neuron(
    parameters: Mapping[str, object], shape: NeuronShape
) -> tuple[dict[str, object], dict[str, tuple[int, ...]]]:
    """The parameters with one number for each neuron in a row, and the shapes in which they were given.

    In a layer of one dimension they stay as they are. Else each must broadcast with the shape: one per channel of maps is
    `(channels, 1, 1)`.

    Raises:
        ShapeError: for a parameter that does not broadcast with the shape.
        DtypeError: for one that holds no numbers.
    """
    laid_out, given = dict(parameters), {}
    for name, value in parameters.items() if len(shape.sizes) > 1 else ():
        if not is_per_neuron(name) or value is None or isinstance(value, int | float | str):
            continue
        try:
            numbers = (
                value.detach().to(torch.float64) if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            )
        except (TypeError, ValueError) as error:
            raise DtypeError(f"Argument `{name}` must hold numbers, but is {value!r}.") from error
        if not numbers.ndim:
            laid_out[name] = float(numbers)
            continue
        try:
            every = numbers.expand(shape.sizes)
        except RuntimeError as error:
            raise ShapeError(
                f"Argument `{name}` must be one number or broadcast with {shape.sizes}, but has shape {tuple(numbers.shape)}."
            ) from error
        laid_out[name] = tuple(every.flatten().tolist())
        given[name] = (1,) * (len(shape.sizes) - numbers.ndim) + tuple(numbers.shape)
    return laid_out, given


def reduced(values: tuple[float, ...], shape: NeuronShape, given: tuple[int, ...]) -> tuple[float, ...]:
    """The numbers that were given in a shape, from the one for each neuron that `given_per_neuron` made of them."""
    every = torch.tensor(values, dtype=torch.float64).reshape(shape.sizes)
    return tuple(every[tuple(slice(size) for size in given)].flatten().tolist())
