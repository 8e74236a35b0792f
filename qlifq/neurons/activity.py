"""A warning, once, of a layer that has nothing to learn from: that stays silent, or fires without pause."""

import warnings
from collections.abc import Callable

from torch import Tensor

from qlifq._transforms import transformed

__all__ = ["ActivityMonitor"]

#: Fewer spikes per decision than this are silence, and more than 1 less this are firing without pause.
_SILENT = 0.002
#: With fewer decisions a rate says little.
_DECISIONS = 5000


class ActivityMonitor:
    """Looks at the spikes of the training batches 1, 2, 4, 8, ... of a layer, so that it costs nothing in the long run."""

    def __init__(self) -> None:
        self.batches = 0
        self.warned = False

    def check(self, spikes: Tensor, advice: Callable[[], str]) -> None:
        """Warn, once, of a training batch that is silent or fires without pause.

        Args:
            spikes: of the whole batch, 0 or 1, `(time, batch, num_neurons)`.
            advice: says what to change in a silent layer.
        """
        self.batches += 1
        if self.warned or self.batches & (self.batches - 1) or spikes.numel() < _DECISIONS or transformed(spikes):
            return
        rate = float(spikes.detach().mean())
        if _SILENT < rate < 1 - _SILENT:
            return
        self.warned = True
        what, change = (
            ("stayed silent", advice())
            if rate <= _SILENT
            else ("fired without pause", "use smaller weights or a negative bias, or a higher V_th")
        )
        warnings.warn(
            f"A layer of {spikes[0, 0].numel()} neurons {what} over a whole training batch ({rate:.2%} of its decisions were "
            f"spikes), so that it has little to learn from: {change}.",
            RuntimeWarning,
            stacklevel=2,
        )
