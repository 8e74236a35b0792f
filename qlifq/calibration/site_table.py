"""What was found of every site of a calibration, as numbers for a file and as a table to read."""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from qlifq.calibration.analysis import Analysis
from qlifq.calibration.models import NEURON

__all__ = ["aligned", "least_p_value", "p_text", "sites_as_csv", "sites_of", "table_of"]

#: More sites than this are summed up on the screen; the file has them all.
_MOST_ROWS = 24
_TESTS = {"p fit": "p_value", "p drift": "drift_p_value", "p crosstalk": "crosstalk_p_value"}
_HEADER = ("site", *NEURON, *_TESTS)


def sites_of(analysis: Analysis) -> list[dict[str, float]]:
    """One row per site: the neuron's four numbers, each with its standard error, and three p-values; NaN for what is not known.

    Args:
        analysis: of a calibration.
    """
    columns: dict[str, Sequence[float]] = {"site": range(len(analysis.p_value))}
    for place, name in enumerate(NEURON):
        columns[name] = analysis.neuron.value[:, place].tolist()
        columns[f"{name}_error"] = analysis.neuron.standard_error[:, place].tolist()
    columns |= {name.replace(" ", "_"): getattr(analysis, test).tolist() for name, test in _TESTS.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def sites_as_csv(rows: Sequence[Mapping[str, float]]) -> str:
    """The rows of `sites_of` as a file, with an empty cell for what is not known."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if math.isnan(value) else value for name, value in row.items()} for row in rows)
    return text.getvalue()


def table_of(analysis: Analysis) -> list[tuple[str, ...]]:
    """A header and one row per site, or where there are too many sites to read the least, the median and the most."""
    if len(analysis.p_value) <= _MOST_ROWS:
        rows = sites_of(analysis)
        tests = [name.replace(" ", "_") for name in _TESTS]
        return [
            _HEADER,
            *(
                (
                    str(row["site"]),
                    *(_with_error(row[name], row[f"{name}_error"]) for name in NEURON),
                    *(p_text(row[name]) for name in tests),
                )
                for row in rows
            ),
        ]
    summed: list[tuple[str, ...]] = [_HEADER]
    for label, part in (("least", 0.0), ("median", 0.5), ("most", 1.0)):
        values = (_number(_quantile(analysis.neuron.value[:, place], part)) for place in range(len(NEURON)))
        summed.append((label, *values, *(p_text(_quantile(getattr(analysis, test), part)) for test in _TESTS.values())))
    return summed


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, its columns aligned at the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def p_text(value: float) -> str:
    """A p-value as text."""
    return "none" if math.isnan(value) else f"{value:.2g}"


def least_p_value(p_values: Tensor) -> float:
    """The least of all sites, by Bonferroni."""
    known = [value for value in p_values.tolist() if not math.isnan(value)]
    return min(1.0, min(known) * len(known)) if known else math.nan


def _with_error(value: float, error: float) -> str:
    return "unidentified" if math.isnan(value) else f"{_number(value)} ± {error:.1g}"


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.4f}"


def _quantile(values: Tensor, part: float) -> float:
    return float(values.nanquantile(part))
