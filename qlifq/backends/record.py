"""The calibration record as a backend reads it: the envelope of the file, and the law of every site.

`qlifq.calibration` writes these files and reads the rest of them; what stands here is what a model of the device needs.
"""

import math

import torch

from qlifq._files import PathLike, as_path, read_json
from qlifq.circuits import CIRCUITS, Law, SpikeCircuit
from qlifq.errors import FileFormatError

__all__ = ["FORMAT", "VERSION", "read_circuit", "read_laws", "read_record"]

FORMAT = "qlifq.calibration"
VERSION = 1


def read_record(path: PathLike) -> dict[str, object]:
    """The content of a calibration record, its format and version checked.

    Raises:
        QLIFError: if the file cannot be read, is no calibration record, or is one of another version.
    """
    file, content = as_path("record", path), read_json(path)
    found = content.get("format")
    if found != FORMAT:
        raise FileFormatError(f"File {file} must be a calibration record, format {FORMAT!r}, but its format is {found!r}.")
    version = content.get("format_version")
    if isinstance(version, int) and version > VERSION:
        raise FileFormatError(
            f"File {file} is a calibration record of version {version}, written by a later qlifq than this one, "
            f"which reads version {VERSION}."
        )
    if version != VERSION or isinstance(version, bool):
        raise FileFormatError(f"File {file} must be a calibration record of version {VERSION}, but its version is {version!r}.")
    return content


def read_circuit(path: PathLike, content: dict[str, object]) -> SpikeCircuit:
    """The circuit that was calibrated."""
    name = content.get("circuit")
    circuit = CIRCUITS[name].build() if isinstance(name, str) and name in CIRCUITS else None
    if circuit is None or not circuit.has_law:
        raise FileFormatError(f"File {path} must name a circuit with one angle as `circuit`, but names {name!r}.")
    return circuit


def read_laws(path: PathLike, content: dict[str, object]) -> Law:
    """The law P(1) = a + b cos θ + c sin θ of every site, float64, `(sites,)`; NaN where it was not identified."""
    laws = content.get("laws")
    if not isinstance(laws, dict) or set(laws) != {"a", "b", "c"}:
        raise FileFormatError(f"File {path} must hold `laws` with the lists a, b and c, but holds {_shown(laws)}.")
    columns = []
    for name in ("a", "b", "c"):
        column = laws[name]
        numbers = isinstance(column, list) and all(
            item is None or (isinstance(item, int | float) and not isinstance(item, bool) and abs(item) <= 2) for item in column
        )
        if not numbers or not column or len(column) != len(laws["a"]):
            raise FileFormatError(
                f"File {path} must hold in `laws.{name}` a number from -2 to 2 or null per site, but holds {_shown(column)}."
            )
        columns.append(torch.tensor([math.nan if item is None else item for item in column], dtype=torch.float64))
    return Law(*columns)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
