"""A loopback service, and backends that reach it by the real client."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qlifq.backends.ibm.backend import IBMBackend
from tests.backends.ibm.loopback import DEVICE, Loopback, connected

Build = Callable[..., IBMBackend]


@pytest.fixture
def service() -> Iterator[Loopback]:
    """The service, with nothing going wrong."""
    with Loopback() as found, connected(found.url):
        yield found


@pytest.fixture
def build(tmp_path: Path, service: Loopback) -> Build:
    """A backend on the service's device, with a journal in the test's own folder and little patience."""

    def make(**options: object) -> IBMBackend:
        quick = {"poll_seconds": 0.02, "grace_seconds": 0.2, "wait_seconds": 20.0, "journal": tmp_path / "jobs.sqlite"}
        return IBMBackend(**({"device": DEVICE, "run": "a run"} | quick | options))  # type: ignore[arg-type]

    return make
