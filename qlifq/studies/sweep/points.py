"""The points of a sweep: every combination of the values of its axes, each with a folder of its own."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from qlifq.errors import ArgumentError

__all__ = ["Axes", "Point", "points_of"]

#: Values by the name of what is varied.
Axes = Mapping[str, Sequence[Any]]

#: Of the name of a folder, before its checksum.
_MOST_LETTERS = 60


@dataclass(frozen=True)
class Point:
    """One point.

    Args:
        values: what is varied, JSON values by name.
        folder: the name of its folder: the values in it, and a checksum of all that the point depends on, so that a folder that
            is there is of this point and no other.
    """

    values: Mapping[str, Any]
    folder: str

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.values.items())


def points_of(axes: Axes | Sequence[Axes], fixed: Mapping[str, object] = MappingProxyType({})) -> list[Point]:
    """Every combination of values, the last axis fastest.

    Args:
        axes: by name, a list of values, JSON values; or several such grids, whose points are put together.
        fixed: what else all points depend on, JSON values.

    Raises:
        ArgumentError: if there is no point, an axis is no list of values, or a point comes twice.

    Example:
        >>> [str(point) for point in points_of({"seed": [0, 1], "tau": [2.0]})]
        ['seed=0, tau=2.0', 'seed=1, tau=2.0']
    """
    grids = [axes] if isinstance(axes, Mapping) else list(axes)
    found = [Point(values, _folder(values, fixed)) for grid in grids for values in _combinations(grid)]
    if not found:
        raise ArgumentError("Argument `axes` must name at least one value to run, but names none.")
    seen = set()
    for point in found:
        if point.folder in seen:
            raise ArgumentError(f"Argument `axes` must have every point once, but has `{point}` twice.")
        seen.add(point.folder)
    return found


def _combinations(grid: Axes) -> Iterator[dict[str, Any]]:
    for name, values in grid.items():
        if isinstance(values, str | bytes) or not isinstance(values, Sequence) or not values:
            raise ArgumentError(f"Axis `{name}` must be a list of at least one value, but is {values!r}.")
    for values in product(*grid.values()) if grid else ():
        yield dict(zip(grid, values, strict=True))


def _folder(values: Mapping[str, Any], fixed: Mapping[str, object]) -> str:
    """Such as "seed=0,tau=2.0-1f0a39c2"."""
    try:
        text = json.dumps([values, dict(fixed)], sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Argument `axes` must hold text, numbers, lists and tables of these, but does not: {error}."
        ) from error
    readable = re.sub(r"[^\w.,=+-]+", "_", ",".join(f"{name}={value}" for name, value in values.items()))
    return f"{readable[:_MOST_LETTERS]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
