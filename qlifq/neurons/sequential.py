"""Layers in a chain, with their states carried along."""

from typing import cast

from torch import Tensor, nn

from qlifq.errors import ArgumentError, DtypeError, ShapeError
from qlifq.neurons.qlif import QLIF

__all__ = ["SpikingSequential"]


class SpikingSequential(nn.Module):
    """A chain of spiking layers and ordinary modules.

    An ordinary module, such as `nn.Linear` or `nn.Conv2d`, sees time and batch as one batch dimension; a `QLIF` or another
    `SpikingSequential` sees the sequence and its own state.

    Args:
        *modules: the chain, in order.

    Raises:
        QLIFError: if there is no module, or an item is none.

    Example:
        >>> import torch
        >>> network = SpikingSequential(nn.Linear(4, 8), QLIF(8, seed=0), nn.Linear(8, 2))
        >>> output, states = network(torch.rand(10, 3, 4))
        >>> output.shape, len(states)
        (torch.Size([10, 3, 2]), 1)
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        if not modules:
            raise ArgumentError("Argument `modules` must hold at least one module, but is empty.")
        for module in modules:
            if not isinstance(module, nn.Module):
                raise DtypeError(f"Argument `modules` must hold torch modules, but holds {type(module).__name__}.")
        self.chain = nn.ModuleList(modules)

    def forward(self, sequence: Tensor, states: tuple[object, ...] | None = None) -> tuple[Tensor, tuple[object, ...]]:
        """Run a sequence through the chain.

        Args:
            sequence: `(time, batch, ...)`.
            states: one state for each spiking module, in order, as returned before; None starts at rest.

        Returns:
            What the last module returns, `(time, batch, ...)`, and the states after it.

        Raises:
            QLIFError: if there are more or fewer states than spiking modules.
        """
        spiking = sum(isinstance(module, QLIF | SpikingSequential) for module in self.chain)
        if not isinstance(sequence, Tensor) or sequence.ndim < 2:
            found = tuple(sequence.shape) if isinstance(sequence, Tensor) else type(sequence).__name__
            raise ShapeError(f"Argument `sequence` must have shape (time, batch, ...), but is {found}.")
        if states is None:
            states = (None,) * spiking
        if not isinstance(states, tuple | list):
            raise DtypeError(f"Argument `states` must be a tuple of states or None, but is {type(states).__name__}.")
        if len(states) != spiking:
            raise ShapeError(f"Argument `states` must hold {spiking} states, one per spiking module, but holds {len(states)}.")
        before, after = iter(states), []
        for module in self.chain:
            if isinstance(module, QLIF | SpikingSequential):
                sequence, state = module(sequence, next(before))
                after.append(state)
            else:
                time, batch = sequence.shape[:2]
                merged = cast(Tensor, module(sequence.flatten(0, 1)))
                sequence = merged.reshape(time, batch, *merged.shape[1:])
        return sequence, tuple(after)
