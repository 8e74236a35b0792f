"""Dropout over time."""

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.errors import DtypeError
from qlifq.neurons.temporal import TemporalModule

__all__ = ["DropoutState", "TimeDropout"]


class DropoutState(NamedTuple):
    """What is dropped in a sequence.

    Args:
        mask: 0 where a value is dropped, 1 / (1 − p) where it stays, `(batch, ...)`; None where nothing is.
    """

    mask: Tensor | None


torch.serialization.add_safe_globals([DropoutState])


@final
class TimeDropout(TemporalModule):
    """Dropout that drops the same values at every step of a sequence, as a neuron that is taken out stays out.

    `nn.Dropout` in a chain draws anew at every step, so that over time every input gets through. The mask is the state: a
    sequence cut in two and carried over drops the same in both. Draws from torch's generator, as `nn.Dropout` does.

    Args:
        p: probability of dropping a value, at least 0 and below 1.
        channels: whether whole channels, the first dimension after time and batch, are dropped, as in `nn.Dropout2d`.

    Raises:
        ArgumentError: for a probability out of range.

    Example:
        >>> dropped, _ = TimeDropout(0.5)(torch.ones(3, 4, 5))
        >>> bool((dropped[0] == dropped[2]).all())
        True
    """

    def __init__(self, p: float = 0.5, *, channels: bool = False) -> None:
        super().__init__()
        self.p = check.real("p", p, at_least=0.0, below=1.0)
        self.channels = check.flag("channels", channels)

    def forward(self, sequence: Tensor, state: DropoutState | None = None) -> tuple[Tensor, DropoutState]:
        """Drop values of a sequence, `(time, batch, ...)`; outside of training nothing is dropped.

        Raises:
            DtypeError: for a state of another kind.
            ShapeError: for a state of another shape.
        """
        if state is not None and not isinstance(state, DropoutState):
            raise DtypeError(f"Argument `state` must be a DropoutState or None, but is {type(state).__name__}.")
        if not self.training:
            return sequence, DropoutState(None)
        kept = sequence.shape[1:3] if self.channels else sequence.shape[1:]
        shape = (*kept, *(1 for _ in sequence.shape[1 + len(kept) :]))
        if state is None or state.mask is None:
            mask = nn.functional.dropout(torch.ones(shape, dtype=sequence.dtype, device=sequence.device), self.p)
        else:
            mask = check.shape_of("state.mask", state.mask, shape)
        return sequence * mask, DropoutState(mask)

    def extra_repr(self) -> str:
        """The settings."""
        return f"p={self.p:g}, channels={self.channels}"
