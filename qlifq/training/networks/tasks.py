"""What a network learns to do with a sample: its outputs, its loss, and what it predicts."""

import abc
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qlifq.training.networks.layers import Answer

if TYPE_CHECKING:
    from qlifq.training.networks.design import Design

__all__ = ["TASKS", "Task"]


class Task(abc.ABC):
    """One kind of task; which one a network has follows from its design.

    Args:
        name: of the task.
        goal: what a network learns, for a report.
        classifies: whether an answer is right or wrong.
    """

    name: str
    goal: str
    classifies: bool = False

    @abc.abstractmethod
    def outputs(self, design: "Design") -> int:
        """How many numbers the network puts out."""

    @abc.abstractmethod
    def losses(self, design: "Design", answer: Answer, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """The loss of each sample, `(batch,)`."""

    def predicted(self, scores: Tensor) -> Tensor:
        """What the outputs say, `(batch, ...)`: the outputs themselves."""
        return scores

    def correct(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Which answers are right, `(batch,)` bool; none where an answer is neither right nor wrong."""
        return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)


class Classification(Task):
    """Cross entropy, summed over the moments of the answer."""

    name, goal, classifies = "classification", "recognise what images show", True

    def outputs(self, design: "Design") -> int:
        """One for each class."""
        return design.classes

    def losses(self, design: "Design", answer: Answer, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """With that of the spike counts, if they have a weight.

        With a smoothing the class of the image has that much less than 1, and all classes share it.
        """
        moments, batch, _ = answer.trace.shape
        entropy = partial(nn.functional.cross_entropy, reduction="none", label_smoothing=smoothing)
        every = entropy(answer.trace.flatten(0, 1).float(), labels.repeat(moments))
        loss = every.reshape(moments, batch).sum(dim=0)
        if design.spike_loss:
            loss = torch.add(loss, entropy(answer.scores.float(), labels), alpha=design.spike_loss)
        return loss

    def predicted(self, scores: Tensor) -> Tensor:
        """The class of the largest output, `(batch,)`."""
        return scores.argmax(dim=1)

    def correct(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Whether that is the class."""
        return self.predicted(scores) == labels


class Reconstruction(Task):
    """Binary cross entropy of the input, averaged over the pixels."""

    name, goal = "reconstruction", "give images back"

    def outputs(self, design: "Design") -> int:
        """One for each pixel."""
        return design.pixels

    def losses(self, design: "Design", answer: Answer, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Of each image."""
        pixelwise = nn.functional.binary_cross_entropy_with_logits(answer.scores.float(), inputs, reduction="none")
        return pixelwise.mean(dim=1)

    def predicted(self, scores: Tensor) -> Tensor:
        """The brightest pixel, which stands for nothing."""
        return scores.argmax(dim=1)


class Regression(Task):
    """Squared error, averaged over the numbers to predict."""

    name, goal = "regression", "predict numbers"

    def outputs(self, design: "Design") -> int:
        """One for each number to predict."""
        return design.targets

    def losses(self, design: "Design", answer: Answer, inputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Of each sample."""
        return (answer.scores.float() - labels).square().mean(dim=1)


TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (Classification(), Reconstruction(), Regression())})
