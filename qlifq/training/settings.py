"""How a network is trained."""

import math
from dataclasses import dataclass

import torch

from qlifq import _validation as check
from qlifq.errors import UnsupportedError
from qlifq.random import MAX_SEED

__all__ = ["PRECISIONS", "SCHEDULES", "TrainingSettings"]

SCHEDULES = ("constant", "cosine", "one-cycle")
#: The part of a cycle in which the rate rises, and what it begins with, of its highest.
_RISE, _BEGIN = 0.3, 0.04
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a network is trained, with Adam.

    Args:
        epochs: how often every image is seen.
        batch: images per step of the optimiser, over all processes.
        learning_rate: of Adam, the highest of a schedule.
        schedule: "constant"; "cosine": from the learning rate down to 0 over all steps; "one-cycle": up to it from a twenty-
            fifth in the first 30 % of the steps, and then down to 0.
        weight_decay: decoupled, as in AdamW; a trained constant above a bound (τ, eta, q_scale) decays to its bound + 1.
        smoothing: of the labels, from 0: how much of each is shared by all classes in the loss that is trained on.
        validation: the fraction of the training images that are not learned but evaluated after every epoch.
        patience: epochs without a lower validation loss after which the training stops, and the best weights are kept; None
            trains for all epochs and keeps the last.
        precision: "float32", or mixed precision by `torch.autocast`: "bfloat16", or on a GPU "float16" with a scaled loss.
        seed: of the initial weights, the order of the images and all spikes.

    Raises:
        QLIFError: for a value that cannot be used, or would be ignored.
    """

    epochs: int
    batch: int
    learning_rate: float
    schedule: str = "constant"
    weight_decay: float = 0.0
    smoothing: float = 0.0
    validation: float = 0.0
    patience: int | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        check.integer("epochs", self.epochs, at_least=1)
        check.integer("batch", self.batch, at_least=1)
        check.real("learning_rate", self.learning_rate, above=0)
        check.choice("schedule", self.schedule, SCHEDULES)
        check.real("weight_decay", self.weight_decay, at_least=0)
        check.real("smoothing", self.smoothing, at_least=0, below=1)
        check.real("validation", self.validation, at_least=0, at_most=0.5)
        check.optional_integer("patience", self.patience, at_least=1)
        check.choice("precision", self.precision, PRECISIONS)
        check.integer("seed", self.seed, at_least=0, at_most=MAX_SEED)
        if self.patience is not None and self.validation == 0:
            raise UnsupportedError(
                f"Argument `patience` would be ignored: it needs validation above 0, but is {self.patience}."
            )

    def check_device(self, device: torch.device) -> None:
        """Refuse a precision that the device does not have."""
        if self.precision == "float16" and device.type == "cpu":
            raise UnsupportedError("Argument `precision` must be float32 or bfloat16 on cpu, but is 'float16'.")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of one of the optimiser's `steps`, counted from 0."""
        if self.schedule == "constant":
            return self.learning_rate
        rise = _RISE * steps if self.schedule == "one-cycle" else 0.0
        if step < rise:
            # η(t) = η_max (b + (1 − b) (1 − cos π t/T_rise) / 2): half a cosine from b η_max up to η_max.
            return self.learning_rate * (_BEGIN + (1 - _BEGIN) * (1 - math.cos(math.pi * step / rise)) / 2)
        # η(t) = η_max (1 + cos π (t − T_rise)/(T − T_rise)) / 2: half a cosine from there down to 0.
        return self.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
