"""What the parts of the shot-noise study share beyond any study: the model, and the changes that they find."""

from collections.abc import Sequence

from qlifq.backends import Backend, get
from qlifq.reporting.intervals import Floats, Interval, percentile
from qlifq.studies.run import Progress, StudyRun

__all__ = ["Run"]


class Run(StudyRun):
    """One run of the study; arguments as for `StudyRun`."""

    def __init__(self, backend: str | Backend, *, seed: int, shots: Sequence[int], progress: Progress | None = None) -> None:
        super().__init__(backend, seed=seed, shots=shots, progress=progress)
        self.ideal = get("analytic")
        self.changes: list[dict[str, object]] = []

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
