"""What every study shares while it runs: its checked arguments, its seeds, its resampling and its progress."""

from collections.abc import Callable, Sequence

import numpy as np

from qlifq._validation import integer
from qlifq.backends import Backend
from qlifq.random import MAX_SEED, SeedStream
from qlifq.studies.checks import local_backend, rising_shots

__all__ = ["Progress", "StudyRun"]

Progress = Callable[[int, int], None]


class StudyRun:
    """One run of a study; building it checks what all studies are given.

    Args:
        backend: where the shots are drawn, a name or a `Backend`.
        seed: the root of all randomness; what is drawn depends on the order in which the parts are run.
        shots: at least three numbers of shots, rising.
        progress: called as `progress(done, total)`.

    Attributes:
        seeds: of calls and layers.
        rng: of resampling and of input.
        total: parts of the whole run, which the study sets.

    Raises:
        QLIFError: if the backend draws no shots or is remote, or a number is out of range.
    """

    def __init__(self, backend: str | Backend, *, seed: int, shots: Sequence[int], progress: Progress | None = None) -> None:
        self.backend = local_backend(backend)
        self.seed = integer("seed", seed, at_least=0, at_most=MAX_SEED)
        self.shots = rising_shots(shots, self.backend)
        self.seeds = SeedStream(seed)
        self.rng = np.random.default_rng(seed)
        self.progress = progress
        self.done = self.total = 0

    def tick(self) -> None:
        """One part is done."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
