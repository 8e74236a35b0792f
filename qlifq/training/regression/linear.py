"""The linear model that a regression is compared with."""

import time

import torch
from torch import Tensor

from qlifq._packages import load
from qlifq.training.data.interface import Samples
from qlifq.training.evaluation import Evaluation

__all__ = ["linear_model"]


def linear_model(learned: Samples, test: Samples) -> tuple[Evaluation, int]:
    """Least squares on the same numbers that the networks see, by scikit-learn.

    Args:
        learned: what it is fitted to.
        test: what it predicts.

    Returns:
        Its answers, and how many numbers it is made of.

    Raises:
        MissingPackageError: if scikit-learn is missing.
    """
    models = load("sklearn.linear_model", package="sklearn", feature="The linear model", install="scikit-learn")
    begun = time.perf_counter()
    fitted = models.LinearRegression().fit(_inputs(learned), learned.labels.double().numpy())
    predicted = torch.from_numpy(fitted.predict(_inputs(test))).reshape(test.labels.shape)
    losses = (predicted - test.labels.double()).square().mean(dim=1)
    tested = Evaluation(test.labels, predicted, losses, (), time.perf_counter() - begun)
    return tested, fitted.coef_.size + predicted.shape[1]


def _inputs(samples: Samples) -> Tensor:
    """One row per sample; of samples in time every step in it."""
    values = samples.read(slice(None)).double()
    return values if samples.steps is None else values.transpose(0, 1).flatten(1)
