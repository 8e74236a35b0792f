"""A study as a folder that can be read without the code: report.md, its tables as CSV, its figures as PNG and PDF."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qlifq._files import PathLike, stamp, write_bytes
from qlifq.reporting.figures import figure_writers, put_heading
from qlifq.reporting.intervals import Interval
from qlifq.reporting.run_folder import Contents, run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = [
    "Picture",
    "Report",
    "Section",
    "markdown_table",
    "records",
    "report_contents",
    "write_report",
]

#: A longer table stands in its file alone.
MOST_ROWS = 24


@dataclass(frozen=True)
class Picture:
    """A figure, which is drawn when all results are written, and what it shows, in one or two sentences.

    Args:
        draw: makes the figure.
        caption: the sentences.
        source: the backend, device and noise of its numbers; None for the source of the whole report.
    """

    draw: Callable[[], "Figure"]
    caption: str
    source: str | None = None


@dataclass(frozen=True)
class Section:
    """One question of a report.

    Args:
        title: its heading.
        question: the question and how it is answered.
        findings: sentences made from the tables.
        pictures: figures by file name without ending.
        tables: tables by file name without ending.
        columns: what the columns of the tables mean, for those that do not say it themselves.
    """

    title: str
    question: str
    findings: Sequence[str]
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    tables: Mapping[str, "DataFrame"] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What a study leaves behind.

    Args:
        title: heading.
        question: the question of the study, in a few sentences.
        findings: the answers, one sentence or two each.
        uncertainty: how certain the numbers are, and what no interval covers.
        setup: what was run, as names with numbers or text.
        sections: the questions one by one.
        source: what the numbers come from: the backend, the device or snapshot, the noise and the shots; it stands under
            the title and over every figure.
        results: the figures that the run is judged by, the first of them above all; `qlifq.studies.compare_runs` sets those of
            the same name beside each other.
    """

    title: str
    question: str
    findings: Sequence[str]
    uncertainty: str
    setup: Mapping[str, object]
    sections: Sequence[Section]
    source: str
    results: Mapping[str, Interval] = field(default_factory=dict)

    def tables(self) -> dict[str, "DataFrame"]:
        """Every table by name."""
        return {name: table for section in self.sections for name, table in section.tables.items()}

    def to_dict(self) -> dict[str, object]:
        """The findings, the settings and the rows of every table, as numbers and text."""
        return {
            "title": self.title,
            "source": self.source,
            "setup": dict(self.setup),
            # As the marker of a run's folder names them.
            "found": list(self.findings),
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "tables": {name: records(table) for name, table in self.tables().items()},
        }

    def markdown(self, command: str) -> str:
        """The text of report.md."""
        lines = [f"# {self.title}", "", f"Numbers of: {self.source}.", ""]
        lines += ["## Question", "", self.question, "", "## Findings", ""]
        lines += [f"- {sentence}" for sentence in self.findings]
        lines += ["", "## Uncertainty", "", self.uncertainty, "", "## How it was made", "", "```", command, "```", ""]
        lines += ["| setting | value |", "| --- | --- |"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in {**self.setup, **stamp()}.items()]
        for section in self.sections:
            lines += ["", f"## {section.title}", "", section.question, ""]
            lines += [f"- {sentence}" for sentence in section.findings]
            for name, picture in section.pictures.items():
                lines += ["", f"![{picture.caption}]({name}.png)", "", f"*{picture.caption}* ([{name}.pdf]({name}.pdf))"]
            for name, table in section.tables.items():
                lines += ["", *_table_lines(name, table)]
            if section.columns:
                lines += ["", "Columns: " + "; ".join(f"`{name}`: {text}" for name, text in section.columns.items()) + "."]
        return "\n".join(lines) + "\n"


def report_contents(report: Report, command: str) -> Contents:
    """What a report leaves: every table as CSV, every figure as PNG and PDF, `report.md` and its facts.

    Args:
        report: the report.
        command: the command line that made it.
    """
    texts = {f"{name}.csv": table.to_csv(index=False, lineterminator="\n") for name, table in report.tables().items()}
    pictures = {
        file: write
        for section in report.sections
        for name, picture in section.pictures.items()
        for file, write in figure_writers(name, partial(_with_heading, picture, picture.source or report.source)).items()
    }
    return Contents(
        facts={name: value for name, value in report.to_dict().items() if name != "tables"},
        results={
            name: partial(_write_text, text=text) for name, text in {**texts, "report.md": report.markdown(command)}.items()
        },
        pictures=pictures,
    )


def _with_heading(picture: Picture, source: str) -> "Figure":
    figure = picture.draw()
    put_heading(figure, source)
    return figure


def write_report(folder: PathLike, report: Report, *, command: str, force: bool = False) -> Path:
    """Write every table as CSV, `report.md`, every figure as PNG, and `summary.json`, each atomically.

    `summary.json` comes first and says that the run is not finished, the figures come after the results, and then the summary
    says that it is. A figure that cannot be drawn is a warning.

    Args:
        folder: where; made if it is not there.
        report: the report.
        command: the command line that made it.
        force: whether an earlier run in the folder is overwritten.

    Returns:
        The folder.

    Raises:
        QLIFError: if the folder cannot be written.
    """
    contents = report_contents(report, command)
    with run_folder(folder, command=command, files=[*contents.results, *contents.pictures], force=force) as place:
        for problem in place.write(contents):
            warnings.warn(problem, stacklevel=2)
    return place.path


def _write_text(path: Path, text: str) -> None:
    # A file name of bytes that are no text has lone surrogates, which UTF-8 lacks.
    write_bytes(path, text.encode(errors="backslashreplace"))


def records(table: "DataFrame") -> list[dict[str, Any]]:
    """The rows of a table, each value in its own type."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def markdown_table(table: "DataFrame") -> list[str]:
    """A table as lines of Markdown, a number and its bounds in one cell."""
    bounds = {f"{name}_{side}" for name in table.columns for side in ("low", "high") if f"{name}_low" in table}
    shown = [name for name in table.columns if name not in bounds]
    lines = ["| " + " | ".join(shown) + " |", "| " + " | ".join("---" for _ in shown) + " |"]
    for row in records(table):
        cells = (str(Interval.of(row, name)) if f"{name}_low" in bounds else _cell(row[name]) for name in shown)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _table_lines(name: str, table: "DataFrame") -> list[str]:
    """A table, or where it is long, where to find it."""
    if len(table) > MOST_ROWS:
        return [f"The {len(table)} rows of this table are in [{name}.csv]({name}.csv)."]
    return [f"[{name}.csv]({name}.csv)", "", *markdown_table(table)]


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "none" if np.isnan(value) else f"{value:.4g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|")
