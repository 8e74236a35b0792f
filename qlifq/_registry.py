"""Rows of choices by name: what belongs to one choice stands in one row, and a new row is one call."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from qlifq.errors import ArgumentError, DtypeError, MissingPackageError

__all__ = ["Registry"]

Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name, in the order in which they were registered.

    Args:
        kind: what a row is, for error messages, such as "mapping".
        rows: the rows to begin with.
        group: the entry-point group through which other packages add rows; None for none. The name of an entry point is the
            row's, and its object is the row, or a class whose instance is the row.
        of: what the row of another package must be an instance of.

    Example:
        >>> colours = Registry("colour", {"red": "#ff0000"})
        >>> colours.register("blue", "#0000ff")
        >>> list(colours), colours["blue"]
        (['red', 'blue'], '#0000ff')
    """

    def __init__(self, kind: str, rows: Mapping[str, Row], *, group: str | None = None, of: type[Row] | None = None) -> None:
        self._kind, self._group, self._of = kind, group, of
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
        return self._rows[name] if name in self._rows else self._of_another_package(name)

    def __iter__(self) -> Iterator[str]:
        yield from self._rows
        if self._group is not None:
            yield from sorted({point.name for point in entry_points(group=self._group)} - set(self._rows))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _of_another_package(self, name: str) -> Row:
        """The row that an entry point names."""
        points = [] if self._group is None else list(entry_points(group=self._group, name=name))
        if not points:
            raise KeyError(name)
        if len(points) > 1:
            owners = ", ".join(sorted(point.value for point in points))
            raise ArgumentError(f"The {self._kind} {name!r} is registered more than once, by {owners}.")
        try:
            found = points[0].load()
        except (ImportError, AttributeError) as error:
            raise MissingPackageError(
                f"The {self._kind} {name!r}, registered as {points[0].value}, cannot be imported: {error}"
            ) from error
        row = found() if isinstance(found, type) else found
        if self._of is not None and not isinstance(row, self._of):
            raise DtypeError(f"The {self._kind} {name!r} must be a {self._of.__name__}, but {points[0].value} is {found!r}.")
        return row  # type: ignore[no-any-return]
