"""What a module with a state over time looks like, and what belongs to states of any kind."""

import abc
from typing import Any, TypeVar

from torch import Tensor, nn

__all__ = ["TemporalModule", "detach"]

State = TypeVar("State")


class TemporalModule(nn.Module, abc.ABC):
    """A module that carries a state over time: `forward(sequence, state=None) -> (output, state)`.

    The sequence is `(time, batch, ...)`. The state is a value: tensors, or tuples, lists and dicts of them.
    A module of one's own that derives from this one stands in a `SpikingSequential` or a `Recurrent` like those of qlifq.
    """

    @property
    def keeps_time(self) -> bool:
        """Whether the output has the dimension of time; a readout gives one answer for the sequence."""
        return True

    @abc.abstractmethod
    def forward(self, sequence: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run a sequence from a state; None starts at rest."""


def detach(state: State) -> State:
    """The same state, cut from the graph that made it, for truncated backpropagation through time.

    Args:
        state: of a layer or a network: a tensor, or tuples, named tuples, lists and dicts of states, at any depth. What is no
            tensor stays as it is.

    Example:
        >>> import torch
        >>> from qlifq.neurons import QLIF, SpikingSequential, detach
        >>> network = SpikingSequential(nn.Linear(3, 4), QLIF(4, seed=0))
        >>> state = None
        >>> for chunk in torch.rand(4, 25, 2, 3):
        ...     spikes, state = network(chunk, state)
        ...     spikes.sum().backward()
        ...     state = detach(state)
    """
    return _detached(state)  # type: ignore[no-any-return]


def _detached(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach()
    if isinstance(state, dict):
        return {name: _detached(value) for name, value in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(_detached, state))
    return type(state)(map(_detached, state)) if isinstance(state, tuple | list) else state
