"""A small training that takes a second."""

from typing import Any

import pytest
import torch

from qlifq.training import Dataset, Design, TrainingSettings, load_dataset


@pytest.fixture(scope="session")
def data() -> Dataset:
    """The first 300 digits to learn and 100 to be tested on."""
    whole = load_dataset("digits").first(300)
    return whole._replace(test=whole.test.select(torch.arange(100)))


@pytest.fixture(scope="session")
def design() -> Design:
    return Design(network="mlp", picture=(8, 8), classes=10, hidden=(24,), steps=5, gain=2.0, parameters={"tau": 1.5})


@pytest.fixture(scope="session")
def settings() -> TrainingSettings:
    return TrainingSettings(**SETTINGS)


SETTINGS: dict[str, Any] = {"epochs": 3, "batch": 64, "learning_rate": 1e-2, "schedule": "cosine", "seed": 7}
