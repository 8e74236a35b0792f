"""What a network is judged by on test samples, for each task, with intervals and in sentences."""

import abc
import math
from collections.abc import Mapping
from types import MappingProxyType

from qlifq.reporting.intervals import Interval, blocked_mean, large_sample_mean, paired_difference, proportion
from qlifq.training.evaluation import Evaluation

__all__ = ["JUDGES", "Judge", "percent"]


class Judge(abc.ABC):
    """The figure of one task.

    Args:
        column: its name in a table.
        lower_is_better: whether a network with less is ahead.
        on: what it is about, in a sentence.
    """

    column: str
    lower_is_better: bool = True
    on: str = "these samples"

    @abc.abstractmethod
    def measured(self, tested: Evaluation) -> Interval:
        """The figure of one network."""

    @abc.abstractmethod
    def difference(self, tested: Evaluation, others: Evaluation) -> Interval:
        """One network less another, on the same samples."""

    @abc.abstractmethod
    def words(self, judged: Interval) -> str:
        """The figure in a sentence."""

    @abc.abstractmethod
    def difference_words(self, difference: Interval) -> str:
        """A difference in a sentence."""

    def compared(self, name: str, tested: Evaluation, other: str, others: Evaluation) -> str:
        """What two networks' answers to the same samples say about which is ahead, and no more."""
        difference = self.difference(tested, others)
        less, more = difference.high < 0, difference.low > 0
        words = self.difference_words(difference)
        if not less and not more:
            return f"Between {name} and {other} {self.on} show no difference: {words}."
        ahead = less if self.lower_is_better else more
        return f"{name} is {'ahead of' if ahead else 'behind'} {other} on {self.on}: {words}."


class Accuracy(Judge):
    """The share of samples that is recognised."""

    column, lower_is_better = "accuracy", False

    def measured(self, tested: Evaluation) -> Interval:
        """With the exact interval of a proportion."""
        return proportion(tested.correct.numpy())

    def difference(self, tested: Evaluation, others: Evaluation) -> Interval:
        """Paired by sample."""
        return paired_difference(tested.correct.numpy(), others.correct.numpy())

    def words(self, judged: Interval) -> str:
        """In percent."""
        return percent(judged)

    def difference_words(self, difference: Interval) -> str:
        """In points of percent."""
        return f"{100 * difference.value:+.2f} points ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"


class ReconstructionLoss(Judge):
    """The binary cross entropy of what is given back."""

    column = "loss"

    def measured(self, tested: Evaluation) -> Interval:
        """Of many independent images."""
        return large_sample_mean(tested.losses.numpy())

    def difference(self, tested: Evaluation, others: Evaluation) -> Interval:
        """Paired by image."""
        return large_sample_mean((tested.losses - others.losses).numpy())

    def words(self, judged: Interval) -> str:
        """By its name."""
        return f"a binary cross entropy of {judged}"

    def difference_words(self, difference: Interval) -> str:
        """By its name."""
        return f"{difference.value:+.4f} in loss ({difference.low:+.4f} to {difference.high:+.4f})"


class ForecastError(Judge):
    """The normalised root mean squared error, NRMSE, of numbers that are predicted.

    Neighbours in a series have errors that go together, so the intervals are over blocks of it.
    """

    column, on = "nrmse", "this series"

    def measured(self, tested: Evaluation) -> Interval:
        """The root of the mean squared error and of its bounds; an error is not below 0."""
        return Interval(*(math.sqrt(max(bound, 0.0)) for bound in blocked_mean(tested.losses.numpy())))

    def difference(self, tested: Evaluation, others: Evaluation) -> Interval:
        """Of the mean squared errors, paired by sample."""
        return blocked_mean((tested.losses - others.losses).numpy())

    def words(self, judged: Interval) -> str:
        """By its name."""
        return f"an NRMSE of {judged}"

    def difference_words(self, difference: Interval) -> str:
        """By its name."""
        return f"{difference.value:+.3g} in mean squared error ({difference.low:+.3g} to {difference.high:+.3g})"


JUDGES: Mapping[str, Judge] = MappingProxyType(
    {"classification": Accuracy(), "reconstruction": ReconstructionLoss(), "regression": ForecastError()}
)


def percent(interval: Interval) -> str:
    """A proportion in percent with its interval."""
    return f"{100 * interval.value:.2f} % ({100 * interval.low:.2f} to {100 * interval.high:.2f})"
