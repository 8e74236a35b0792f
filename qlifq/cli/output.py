"""What a command prints: text line by line as it goes, or with `--json` one object when it has ended."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qlifq.reporting.report import Report

__all__ = ["Output", "aligned", "plain", "print_problems"]


class Output:
    """The summary of one command.

    Each line of text is given together with the numbers in it, so that both forms say the same. The object is printed by
    `end` alone: a command that fails half way leaves stdout empty rather than with half an answer.

    Args:
        as_json: whether the summary is one JSON object.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._facts: dict[str, object] = {}

    def say(self, text: object, **facts: object) -> None:
        """Print some lines, which hold these facts."""
        self._facts |= facts
        if not self.as_json:
            print(text)

    def row(self, label: str, text: object, **facts: object) -> None:
        """As `say`, for a line with a label."""
        self.say(f"{label:<12} {text}", **facts)

    def table(self, rows: Sequence[Sequence[str]], **facts: object) -> None:
        """As `say`, for a table."""
        self.say("\n".join(aligned(rows)), **facts)

    def report(self, report: "Report") -> None:
        """The findings of a report, without the signs of Markdown; as an object its tables too."""
        self._facts |= report.to_dict()
        # They are written for report.md.
        for sentence in report.findings if not self.as_json else ():
            print(sentence.replace("**", "").replace("`", ""))

    def end(self, **facts: object) -> None:
        """Print the object."""
        self._facts |= facts
        if self.as_json:
            print(json.dumps(plain(self._facts), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinity, which it lacks, are null, and a tensor or an array is a list."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Path):
        return str(value)
    # Tensors, arrays and the scalars of NumPy and pandas; asked by name, since neither library may be imported here.
    if callable(listed := getattr(value, "tolist", None)):
        return plain(listed())
    if isinstance(value, Iterable):
        return [plain(each) for each in value]
    return str(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, its columns aligned at the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def print_problems(problems: Iterable[str]) -> None:
    """One line on stderr for each."""
    for problem in problems:
        print(f"Warning: {problem}", file=sys.stderr)
