"""Measurements of a laboratory as a table: one row per site and angle, refused by the number of its line."""

import csv
import io
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import torch
from torch import Tensor

from qlifq._files import PathLike, as_path, read_bytes
from qlifq._text import one_line
from qlifq.backends.interface import MAX_SHOTS
from qlifq.errors import FileFormatError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COUNTS", "LEAST_ERROR", "PROBABILITIES", "Table", "is_table", "parse_table", "read_table"]

#: No table of this kind is larger: a million rows have about 30 MB.
_MOST_BYTES = 256 << 20
#: A smaller error of a probability no number of shots gives, and its weight would overflow.
LEAST_ERROR = 1e-9
_WHOLE = re.compile(r"([0-9]{1,15})(?:\.0*)?", re.ASCII)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


class Column(NamedTuple):
    """A column of numbers.

    Args:
        must: what each number must be, for errors.
        read: the number from its text, or None where it is none of these.
    """

    must: str
    read: Callable[[str], float | None]


def _whole(least: int, most: int) -> Column:
    def read(text: str) -> float | None:
        found = _WHOLE.fullmatch(text)
        value = None if found is None else int(found[1])
        return value if value is not None and least <= value <= most else None

    return Column(f"a whole number from {least:,} to {most:,}", read)


def _real(must: str, within: Callable[[float], bool]) -> Column:
    def read(text: str) -> float | None:
        value = float(text) if _REAL.fullmatch(text) else math.nan
        return value if math.isfinite(value) and within(value) else None

    return Column(must, read)


_PLACES = {
    "site": _whole(0, 10**9),
    "angle": _real("a number of radians of at most a million", lambda value: abs(value) <= 1e6),
    "gap": _real("a number of at most a million", lambda value: abs(value) <= 1e6),
    "round": _whole(0, 10**9),
}
#: What is measured in each row, by what the table is of.
COUNTS: Mapping[str, Column] = {"shots": _whole(1, MAX_SHOTS), "ones": _whole(0, MAX_SHOTS)}
PROBABILITIES: Mapping[str, Column] = {
    "probability": _real("a number from -1 to 2", lambda value: -1 <= value <= 2),
    "standard_error": _real(f"a number from {LEAST_ERROR:g} to 1", lambda value: LEAST_ERROR <= value <= 1),
}


class Table(NamedTuple):
    """A table site by site; a site with fewer angles than others has cells in which everything is 0.

    Args:
        angles: those that were set directly, in the order of their rows, `(angles, sites)`.
        gaps: Δ, same order, `(points, sites)`.
        values: what was measured, by column, each `(rounds, angles + points, sites)`, float64.
    """

    angles: Tensor
    gaps: Tensor
    values: Mapping[str, Tensor]


def _is_frame(value: object) -> "TypeGuard[DataFrame]":
    """Whether something is a DataFrame of pandas, which is not imported for this."""
    if "pandas" not in sys.modules:
        return False
    from pandas import DataFrame

    return isinstance(value, DataFrame)


def is_table(value: object) -> "TypeGuard[PathLike | DataFrame]":
    """Whether something is a path or a DataFrame."""
    return isinstance(value, str | os.PathLike) or _is_frame(value)


def read_table(source: "PathLike | DataFrame", columns: Mapping[str, Column]) -> Table:
    """A table from a CSV file or a DataFrame, whose line 1 is the header.

    Args:
        source: the path of a file, or a DataFrame.
        columns: `COUNTS` or `PROBABILITIES`.

    Raises:
        FileFormatError: if it cannot be read, or a line is not as it must be; the message has its number.
    """
    if not isinstance(source, str | os.PathLike):
        return parse_table(source.to_csv(index=False).encode(), "The table", columns)
    return parse_table(read_bytes(source, at_most=_MOST_BYTES), f"File {as_path('angles', source)}", columns)


class _Row(NamedTuple):
    """A row with the number of its line; `kind` is "angle" or "gap" and `place` its value."""

    line: int
    turn: int
    site: int
    kind: str
    place: float
    values: tuple[float, ...]


def parse_table(content: bytes, name: str, columns: Mapping[str, Column]) -> Table:
    """A table from the bytes of a CSV file; `name` is how an error begins. Otherwise as `read_table`."""
    rows = _rows(content, name, columns)
    sites = {row.site for row in rows}
    missing = next(site for site in range(len(sites) + 1) if site not in sites)
    if missing != len(sites):
        raise FileFormatError(f"{name} must have rows of every site from 0 to {max(sites)}, but has none of site {missing}.")
    turns = {turn: number for number, turn in enumerate(sorted({row.turn for row in rows}))}
    #: Of every site and kind, the cell of each value, in the order of the rows.
    cells: dict[tuple[int, str], dict[float, int]] = {(site, kind): {} for site in sites for kind in ("angle", "gap")}
    lines: dict[tuple[int, int, str, float], int] = {}
    for row in rows:
        own = cells[row.site, row.kind]
        own.setdefault(row.place, len(own))
        earlier = lines.setdefault((row.turn, row.site, row.kind, row.place), row.line)
        if earlier != row.line:
            raise FileFormatError(
                f"{name}, line {row.line}: it repeats line {earlier}, site {row.site} at {row.kind} {row.place:g}."
            )
    counted = {kind: max(len(cells[site, kind]) for site in sites) for kind in ("angle", "gap")}
    places = {kind: torch.zeros(number, len(sites), dtype=torch.float64) for kind, number in counted.items()}
    shape = (len(turns), sum(counted.values()), len(sites))
    values = {column: torch.zeros(shape, dtype=torch.float64) for column in columns}
    for row in rows:
        cell = cells[row.site, row.kind][row.place]
        places[row.kind][cell, row.site] = row.place
        first = 0 if row.kind == "angle" else counted["angle"]
        for column, value in zip(columns, row.values, strict=True):
            values[column][turns[row.turn], first + cell, row.site] = value
    return Table(places["angle"], places["gap"], values)


def _rows(content: bytes, name: str, columns: Mapping[str, Column]) -> list[_Row]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{name} must be text in UTF-8, but is not.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, header = [], None
    try:
        for fields in reader:
            if header is None:
                header = _header(fields, name, columns)
            elif fields:
                rows.append(_row(fields, header, f"{name}, line {reader.line_num}", reader.line_num, columns))
    except csv.Error as error:
        raise FileFormatError(f"{name}, line {reader.line_num}: it must be CSV, but is not: {error}.") from error
    if not rows:
        raise FileFormatError(f"{name} must have a header and rows, but has {'no row' if header else 'nothing'}.")
    return rows


def _header(fields: list[str], name: str, columns: Mapping[str, Column]) -> list[str]:
    header = [field.strip() for field in fields]
    needed, allowed = {"site", *columns}, {*_PLACES, *columns}
    found = ", ".join(one_line(field, 30) for field in header) or "nothing"
    if len(set(header)) < len(header) or not needed <= set(header) <= allowed or not {"angle", "gap"} & set(header):
        raise FileFormatError(
            f"{name}, line 1: the columns must be site, angle or gap or both, {', '.join(columns)}, and if there are several "
            f"rounds, round; but they are {found}."
        )
    return header


def _row(fields: list[str], header: list[str], where: str, line: int, columns: Mapping[str, Column]) -> _Row:
    if len(fields) != len(header):
        raise FileFormatError(f"{where}: it must have {len(header)} columns as line 1, but has {len(fields)}.")
    texts = {column: field.strip() for column, field in zip(header, fields, strict=True)}
    given = [kind for kind in ("angle", "gap") if texts.get(kind)]
    if len(given) != 1:
        raise FileFormatError(f"{where}: it must have an angle or a gap, but has {'both' if given else 'neither'}.")
    numbers: dict[str, float] = {}
    for column, text in texts.items():
        if column in {"angle", "gap"} and not text:
            continue
        value = (columns.get(column) or _PLACES[column]).read(text)
        if value is None:
            must = (columns.get(column) or _PLACES[column]).must
            raise FileFormatError(f"{where}: `{column}` must be {must}, but is {one_line(text, 30)!r}.")
        numbers[column] = value
    if numbers.get("ones", 0) > numbers.get("shots", math.inf):
        raise FileFormatError(
            f"{where}: `ones` must be at most its {int(numbers['shots']):,} shots, but is {int(numbers['ones']):,}."
        )
    (kind,) = given
    # Adding 0 makes −0 the same place as 0.
    place = numbers[kind] + 0.0
    return _Row(line, int(numbers.get("round", 0)), int(numbers["site"]), kind, place, tuple(numbers[c] for c in columns))
