"""What a layer fills while it is recorded inside a network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Recorder"]


class Recorder:
    """Keeps what a layer gives, call by call.

    A call that starts from the state that the last one returned goes on with its recording; any other begins a new one.

    Args:
        outputs: what the layer is to keep of every step beside its spikes.
    """

    def __init__(self, outputs: tuple[str, ...]) -> None:
        self.outputs = outputs
        self.before: Any = None
        self.after: Any = None
        self._calls: list[Mapping[str, Tensor]] = []

    def keep(self, outputs: Mapping[str, Tensor], before: Any, after: Any) -> None:
        """Add what a call gave.

        Args:
            outputs: the spikes and what was to be kept, `(time, batch, ...)` each, by name.
            before: the state that it was given, or None.
            after: the state that it returned.
        """
        # A detached state shares its memory with what it was detached from; the last one is kept alive, and its place with it.
        if before is None or self.after is None or before[0].data_ptr() != self.after[0].data_ptr():
            self._calls, self.before = [], before
        self._calls.append(outputs)
        self.after = after

    @property
    def has_run(self) -> bool:
        """Whether anything was kept."""
        return bool(self._calls)

    def kept(self) -> dict[str, Tensor]:
        """Everything of the last sequence, by name."""
        return {name: torch.cat([call[name] for call in self._calls]) for name in self._calls[-1]}
