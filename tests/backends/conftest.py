"""Exact tests of counts against probabilities."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom
from torch import Tensor

from qlifq.backends import Outcome

FALSE_FAIL = 1e-9


def improbable(outcome: Outcome, expected: Tensor) -> bool:
    """Whether counts are further out than a two-sided exact binomial test allows, 1e-9 over all evaluations together."""
    assert outcome.ones is not None
    assert outcome.shots is not None
    ones, p = outcome.ones.numpy(), expected.detach().double().numpy().clip(0, 1)
    tail = np.minimum(binom.cdf(ones, outcome.shots, p), binom.sf(ones - 1, outcome.shots, p))
    return bool((tail < FALSE_FAIL / 2 / max(tail.size, 1)).any())


@pytest.fixture
def follows() -> Callable[[Outcome, Tensor], bool]:
    """Whether counts may follow these probabilities; false-fail rate 1e-9.

    With 400,000 shots a bias of 0.01 is at least 12 standard deviations, and is seen but for one time in a million.
    """
    return lambda outcome, expected: not improbable(outcome, expected)
