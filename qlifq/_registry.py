"""Rows of choices by name: what belongs to one choice stands in one row, and a new row is one call."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from qlifq.errors import ArgumentError, DtypeError

__all__ = ["Registry"]

Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, in the order in which they were registered.

    Args:
        kind: what a row is, for error messages, such as "mapping".
        rows: the rows to begin with.

    Example:
        >>> colours = Registry("colour", {"red": "#ff0000"})
        >>> colours.register("blue", "#0000ff")
        >>> list(colours), colours["blue"]
        (['red', 'blue'], '#0000ff')
    """

    def __init__(self, kind: str, rows: Mapping[str, Row]) -> None:
        self._kind = kind
        self._rows = dict(rows)

    def register(self, name: str, row: Row) -> None:
        """Add a row.

        Args:
            name: what users call it; a Python identifier, apart from hyphens.
            row: what belongs to it.

        Raises:
            ArgumentError: if the name is taken or is no name.
        """
        if not isinstance(name, str):
            raise DtypeError(f"Argument `name` must be a string, but is {name!r}.")
        if not name.replace("-", "_").isidentifier():
            raise ArgumentError(f"Argument `name` must be the name of a {self._kind}, but is {name!r}.")
        if name in self._rows:
            raise ArgumentError(f"Argument `name` must be new, but there is a {self._kind} {name!r} already.")
        self._rows[name] = row

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
