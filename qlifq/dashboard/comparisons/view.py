"""The page of the comparisons: the folders of runs under the one that the user named, and what is in them."""

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from qlifq._files import read_bytes
from qlifq._text import printable
from qlifq.backends import describe_source
from qlifq.dashboard.charts import Chart, raster
from qlifq.errors import FileFormatError, QLIFError
from qlifq.reporting.reading import read_spikes, read_table, read_text
from qlifq.reporting.run_folder import FORMAT, MARKER, VERSION, read_marker

__all__ = ["RunFolder", "code", "find_runs", "open_run"]

_DEEPEST = 3
_MOST_RUNS = 500
_MOST_BYTES = 50_000_000
_MOST_BYTES_OF_FACTS = 1_000_000
_MOST_PIXELS = 40_000_000
_PICTURE = re.compile(r"^!\[[^\]]*\]\(([\w-]+)\.png\)$")

_TABLE = re.compile(r"\[([\w-]+\.csv)\]\(\1\)")


@dataclass(frozen=True)
class RunFolder:
    """What a run left.

    Args:
        path: the folder.
        summary: its facts.
        text: `report.md` in pieces: Markdown, or the name of a picture between them.
        tables: by name.
        pictures: PNG files by name, as they were read.
        spikes: of a simulation, `(time, batch, neurons)`; None for a study.
    """

    path: Path
    summary: dict[str, object]
    text: Sequence[tuple[str, str]] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    spikes: np.ndarray[Any, Any] | None = None

    @property
    def source(self) -> str:
        """What the numbers were computed on, as the run wrote it; for a run of an earlier version, what its summary holds."""
        for name in ("decided_by", "source"):
            if isinstance(self.summary.get(name), str):
                return printable(str(self.summary[name]))
        known = {name: self.summary[name] for name in ("device", "noise") if self.summary.get(name)}
        return printable(describe_source(str(self.summary.get("backend", "a backend that was not named")), known))

    @property
    def command(self) -> str:
        """The command that made it, without the bytes of a file's name that are no text."""
        return printable(str(self.summary.get("command", "")))


def find_runs(root: Path) -> list[str]:
    """The folders of runs under `root`, by their path from there; links that lead out of it are not followed."""
    found = []
    base = root.resolve()
    for folder, below, files in os.walk(base):
        path = Path(folder)
        depth = len(path.relative_to(base).parts)
        # In place, since `os.walk` follows what is left in this list.
        below[:] = sorted(name for name in below if not name.startswith(".") and _shown(name)) if depth < _DEEPEST else []
        if MARKER in files and _summary(path, base) is not None:
            found.append(str(path.relative_to(base)))
        if len(found) >= _MOST_RUNS:
            break
    return sorted(found)


def open_run(root: Path, name: str) -> RunFolder:
    """Read a run.

    Args:
        root: the folder that the user named.
        name: a path under it.

    Returns:
        A `RunFolder`.

    Raises:
        FileFormatError: if it leads out of the folder, or what is there is no run.
    """
    # Resolved before they are compared: `..` and links lead out where the names do not show it.
    base = root.resolve()
    try:
        path = (base / name).resolve()
        path.exists()
    except (OSError, ValueError) as error:
        raise FileFormatError(f"Folder {name!r} must be the name of a folder under {base}, but is none.") from error
    if not path.is_relative_to(base):
        raise FileFormatError(f"Folder {name} must be under {base}, but is not.")
    summary = _summary(path, base)
    if summary is None:
        raise FileFormatError(f"Folder {path} must hold the summary.json of a run, but does not.")
    inside = {item.name: item for item in sorted(path.iterdir()) if _shown(item.name) and item.resolve().is_relative_to(base)}
    pictures = {Path(file).stem: _picture(item) for file, item in inside.items() if file.endswith(".png")}
    tables = {Path(file).stem: read_table(item, at_most=_MOST_BYTES) for file, item in inside.items() if file.endswith(".csv")}
    text = _pieces(read_text(inside["report.md"], at_most=_MOST_BYTES), pictures) if "report.md" in inside else ()
    spikes = read_spikes(inside["spikes.npz"], at_most=_MOST_BYTES) if "spikes.npz" in inside else None
    return RunFolder(path, summary, text, tables, pictures, spikes)


def _shown(name: str) -> bool:
    """Whether a browser can show the name of a file: bytes that are no text in UTF-8 have no name there."""
    return name.isprintable()


def _summary(path: Path, base: Path) -> dict[str, object] | None:
    """The facts of a run, or None where there are none under `base` that this version reads."""
    file = path / MARKER
    try:
        if not file.resolve().is_relative_to(base):
            return None
        facts = read_marker(file, at_most=_MOST_BYTES_OF_FACTS)
    except (QLIFError, OSError):
        return None
    return facts if facts.get("format") == FORMAT and facts.get("format_version") == VERSION else None


def _picture(path: Path) -> bytes:
    content = read_bytes(path, at_most=_MOST_BYTES)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            pixels = picture.width * picture.height
            if pixels <= _MOST_PIXELS:
                picture.load()
    # A damaged file leads Pillow's readers of chunks to errors of any kind.
    except Exception as error:
        raise FileFormatError(f"File {path} must be a picture in PNG, but cannot be read as such.") from error
    if pixels > _MOST_PIXELS:
        raise FileFormatError(f"File {path} must have at most {_MOST_PIXELS:,} pixels to be shown, but has {pixels:,}.")
    return content


def _pieces(text: str, pictures: dict[str, bytes]) -> list[tuple[str, str]]:
    """Markdown and the pictures between it, in order: ("text", …) or ("picture", name)."""
    pieces: list[tuple[str, str]] = []
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            # The title of a report stands below that of the page.
            line = f"##{line}"  # noqa: PLW2901
        picture = _PICTURE.match(line)
        if picture and picture[1] in pictures:
            pieces += [("text", "\n".join(lines)), ("picture", picture[1])]
            lines = []
        else:
            # No other server is contacted for a file that somebody else may have written; the tables are chosen beside it.
            lines.append(_TABLE.sub(r"**\1**", re.sub(r"!+\[", "[", line)))
    return [*pieces, ("text", "\n".join(lines))]


def spikes_chart(run: RunFolder, sample: int) -> list[Chart]:
    """The spikes of one sample of a simulation; nothing for a study."""
    if run.spikes is None:
        return []
    spikes = run.spikes[:, sample].astype(np.float32)
    return [raster("spikes", f"Spikes of sample {sample}", spikes, height=260)]


def code(run: RunFolder) -> str:
    """How the run was made, and the lines that read it."""
    lines = [
        f"# made by: {' '.join(run.command.split())}",
        "import json",
        "from pathlib import Path",
        "",
    ]
    if run.spikes is not None or run.tables:
        lines.insert(1, "import numpy as np" if run.spikes is not None else "import pandas as pd")
    lines += [
        f"folder = Path({str(run.path)!r})",
        'summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))',
    ]
    if run.spikes is not None:
        lines += ['spikes = np.load(folder / "spikes.npz")["spikes"]', 'print("spikes per neuron and step", spikes.mean())']
    for name in run.tables:
        lines += [f'print(pd.read_csv(folder / "{name}.csv"))']
    return "\n".join([*lines, 'print(summary["command"])']) + "\n"
