"""A loopback service, and backends that reach it by the real client."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from qlifq.backends.ibm.backend import IBMBackend
from qlifq.circuits import RYSpike
from qlifq.errors import QLIFError
from tests.backends.ibm.loopback import DEVICE, Loopback, connected

Build = Callable[..., IBMBackend]

RY = RYSpike()


def angles(batch: int, sites: int, slots: int = 1) -> Tensor:
    """Angles from 0 to π, the same each time."""
    return torch.rand(batch, sites, slots, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * math.pi


@pytest.fixture
def service() -> Iterator[Loopback]:
    """The service, with nothing going wrong."""
    with Loopback() as found, connected(found.url):
        yield found


@pytest.fixture
def build(tmp_path: Path, service: Loopback) -> Iterator[Build]:
    """A backend on the service's device, with a journal in the test's own folder and little patience."""
    made: list[IBMBackend] = []

    def make(**options: object) -> IBMBackend:
        quick = {"poll_seconds": 0.02, "grace_seconds": 0.2, "wait_seconds": 20.0, "journal": tmp_path / "jobs.sqlite"}
        made.append(IBMBackend(**({"device": DEVICE, "run": "a run"} | quick | options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for backend in made:
        with suppress(QLIFError):
            backend.close()
