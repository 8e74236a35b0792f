"""What the parts of the shot-noise study share: the backend, the seeds, the resampling and the progress."""

from collections.abc import Callable

import numpy as np

from qlifq.backends import Backend, get
from qlifq.random import SeedStream
from qlifq.reporting.intervals import Floats, Interval, percentile

__all__ = ["Progress", "Run"]

Progress = Callable[[int, int], None]


class Run:
    """One run of the study.

    Args:
        backend: where the decisions run.
        shots: the numbers of shots.
        seed: the root of all noise; what is drawn depends on the order in which the parts are run.
        total: steps of the whole run.
        progress: called as `progress(done, total)`.
    """

    def __init__(self, backend: Backend, shots: tuple[int, ...], seed: int, *, total: int, progress: Progress | None) -> None:
        self.backend, self.shots, self.seed = backend, shots, seed
        self.ideal = get("analytic")
        self.seeds = SeedStream(seed)
        self.rng = np.random.default_rng(seed)
        self.progress = progress
        self.done, self.total = 0, total
        self.changes: list[dict[str, object]] = []

    def tick(self) -> None:
        """One step is done."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    def changed(self, decision: str, quantity: str, fewest: tuple[Interval, Floats], most: tuple[Interval, Floats]) -> None:
        """Keep how a quantity changes from the fewest to the most shots."""
        difference = percentile(most[0].value - fewest[0].value, most[1] - fewest[1])
        self.changes.append(
            {
                "decision": decision,
                "quantity": quantity,
                "at_fewest": fewest[0].value,
                "at_most": most[0].value,
                **difference.columns("change"),
            }
        )
