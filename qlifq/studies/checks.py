"""Checks that studies share, before anything runs."""

from collections.abc import Sequence

from qlifq._validation import integer
from qlifq.backends import Backend, get
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError

__all__ = ["local_backend", "rising_shots"]


def local_backend(backend: str | Backend) -> Backend:
    """A backend by name or as it is; one that is remote is refused, since a study runs it thousands of times."""
    resolved = backend if isinstance(backend, Backend) else get(backend)
    if resolved.capabilities.remote:
        raise UnsupportedError(f"Argument `backend` must be a simulator for a study, but {resolved.name} is remote.")
    resolved.check_bounded("a study")
    return resolved


def rising_shots(shots: Sequence[int], backend: Backend) -> tuple[int, ...]:
    """At least three rising numbers of shots that the backend can draw."""
    if isinstance(shots, str) or not isinstance(shots, Sequence):
        raise DtypeError(f"Argument `shots` must be a list of integers, but is {shots!r}.")
    counts = tuple(integer("shots", count, at_least=1) for count in shots)
    if len(counts) < 3 or sorted(set(counts)) != list(counts):
        raise ArgumentError(f"Argument `shots` must hold at least 3 rising numbers, but is {list(counts)}.")
    for count in counts:
        backend.check_size(1, 1, count)
    return counts
