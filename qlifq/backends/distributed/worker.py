"""What runs on a worker. The scheduler reads tasks too: their content is bytes, and this module does not import torch."""

import pickle
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qlifq._version import __version__
from qlifq.errors import BackendError

if TYPE_CHECKING:
    from qlifq.backends.interface import Backend

__all__ = ["Work", "call", "run_all", "unpacked"]

Answer_co = TypeVar("Answer_co", covariant=True)


class Work(Protocol[Answer_co]):
    """One piece of work for a backend."""

    def run(self, inner: "Backend") -> Answer_co:
        """Do it."""


def unpacked(backend: bytes) -> "Backend":
    """A backend as the result of a task, which Dask runs again where the worker that held it died."""
    found: Backend = pickle.loads(backend)
    return found


def run_all(inner: "Backend", work: bytes, version: str) -> list[Any]:
    """Run pieces of work, one after another.

    Args:
        inner: the backend, which was sent once.
        work: what to run, a pickled list of `Work`.
        version: of qlifq where the work was cut.

    Raises:
        BackendError: if the version here is another, whose counts may differ.
    """
    _check_version(version)
    return [each.run(inner) for each in pickle.loads(work)]


def call(function: bytes, version: str) -> Any:
    """Call a pickled function that needs no arguments.

    Raises:
        BackendError: as `run_all` does.
    """
    _check_version(version)
    return pickle.loads(function)()


def _check_version(version: str) -> None:
    if version != __version__:
        raise BackendError(f"Every worker must have qlifq {version}, the version of the caller, but one has {__version__}.")
