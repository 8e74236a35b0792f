"""The calibration as a file: versioned JSON, written atomically, checked when it is read.

It holds the data, and beside them what follows from them, for people and for the backend `twin`. Reading it fits the data
again and refuses a file whose numbers do not follow from them.
"""

import math
from datetime import datetime

import torch
from torch import Tensor

from qlifq._files import PathLike, as_path, parse_json, read_bytes, write_json
from qlifq.calibration.calibration import Calibration
from qlifq.calibration.data import Counts, Probabilities
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.measurement import Measurement
from qlifq.calibration.models import NEURON, RESPONSE
from qlifq.circuits import Gate, RYSpike, Slot, SpikeCircuit
from qlifq.errors import DtypeError, FileFormatError, QLIFError
from qlifq.random import MAX_SEED

__all__ = ["FORMAT", "VERSION", "load", "parse", "read_record", "save"]

FORMAT = "qlifq.calibration"
VERSION = 2
#: What version 1 called the fields that are read.
_RENAMED = {"leak": "quantum_leak", "laws": "responses"}
#: The responses of a file may differ from a new fit by the rounding of another machine, and by no more.
_ROUNDING = 1e-6
#: Above this a float64 no longer holds every whole number, and nothing in a record comes near it.
_GREATEST = 2**53


def save(calibration: Calibration, path: PathLike) -> None:
    """Write a calibration record; a crash leaves the old file or the new one.

    Args:
        calibration: what `fit` returned.
        path: where to write; its folder must exist.

    Raises:
        QLIFError: if `calibration` is none, or the file cannot be written.
    """
    if not isinstance(calibration, Calibration):
        raise DtypeError(f"Argument `calibration` must be a Calibration, but is {type(calibration).__name__}.")
    measured, analysis = calibration.measurement, calibration.analysis
    design = measured.design
    content: dict[str, object] = {
        "format": FORMAT,
        "format_version": VERSION,
        "time_utc": measured.time_utc,
        "versions": dict(measured.versions),
        "backend": measured.backend,
        "details": dict(measured.details),
        "circuit": _circuit_content(calibration.circuit),
        "mapping": design.mapping,
        "quantum_leak": design.quantum_leak,
        "theta_max": design.theta_max,
        "q_scale": design.q_scale.tolist(),
        "q_bias": design.q_bias.tolist(),
        "set_angles": design.set_angles.tolist(),
        "gaps": design.gaps.tolist(),
        "seed": measured.seed,
        "responses": {name: _listed(analysis.response.value[:, place]) for place, name in enumerate(RESPONSE)},
        "responses_covariance": [[_listed(row) for row in site] for site in analysis.response.covariance],
        "neurons": {name: _listed(analysis.neuron.value[:, place]) for place, name in enumerate(NEURON)},
        "neurons_standard_error": {
            name: _listed(analysis.neuron.standard_error[:, place]) for place, name in enumerate(NEURON)
        },
        "p_values": {
            "fit": _listed(analysis.p_value),
            "neuron": _listed(analysis.neuron_p_value),
            "drift": _listed(analysis.drift_p_value),
            "crosstalk": _listed(analysis.crosstalk_p_value),
        },
        **_data_content(measured.data),
    }
    write_json(path, content)


def _circuit_content(circuit: SpikeCircuit) -> object:
    if circuit == RYSpike():
        return circuit.name
    gates = [[gate.name, None if isinstance(gate.angle, Slot) else gate.angle] for gate in circuit.gates]
    return {"name": circuit.name, "gates": gates}


def _data_content(data: Counts | Probabilities) -> dict[str, object]:
    if isinstance(data, Probabilities):
        return {"probability": data.probability.tolist(), "standard_error": data.standard_error.tolist()}
    per_round = data.shots[:, :1, :1]
    equal = bool((data.shots == per_round).all())
    return {
        "shots": per_round.flatten().tolist() if equal else data.shots.tolist(),
        "ones": data.ones.tolist(),
        "order": None if data.order is None else data.order.tolist(),
    }


def load(path: PathLike) -> Calibration:
    """Read a calibration record.

    Args:
        path: a file that `save` wrote.

    Returns:
        The calibration, fitted anew from its counts.

    Raises:
        QLIFError: if the file cannot be read, is of a later version, lacks something, holds a value that cannot be, or its
            responses do not follow from its counts. The message says which.
    """
    return parse(read_bytes(path), str(as_path("path", path)))


def read_record(path: PathLike) -> dict[str, object]:
    """The content of a calibration record, its format and version checked and nothing else.

    Raises:
        QLIFError: if the file cannot be read, is no calibration record, or is one of another version.
    """
    return _envelope(read_bytes(path), str(as_path("path", path)))


def _envelope(data: bytes, name: str) -> dict[str, object]:
    content = parse_json(data, name)
    found, version = content.get("format"), content.get("format_version")
    if found != FORMAT:
        raise FileFormatError(
            f"File {name} must be a calibration record, format {FORMAT!r}, but its format is {_shown(found)}."
        )
    if version == 1 and type(version) is int:
        return {_RENAMED.get(field, field): value for field, value in content.items()} | {"format_version": VERSION}
    if isinstance(version, int) and version > VERSION:
        raise FileFormatError(
            f"File {name} is a calibration record of version {_shown(version)}, written by a later qlifq than this one, "
            f"which reads up to version {VERSION}."
        )
    if version != VERSION or type(version) is not int:
        raise FileFormatError(
            f"File {name} must be a calibration record of version 1 or {VERSION}, but its version is {_shown(version)}."
        )
    return content


def parse(data: bytes, name: str) -> Calibration:
    """A calibration from the bytes of its record, as `load`.

    Args:
        data: of the file.
        name: what it is called in an error.

    Raises:
        QLIFError: as `load` does.
    """
    fields = _Fields(name, _envelope(data, name))
    q_scale, q_bias = fields.floats("q_scale", 1), fields.floats("q_bias", 1)
    # A record of version 1 has the corners and no other angles that were set directly.
    set_angles = fields.cells("set_angles", len(q_scale)) if "set_angles" in fields.content else None
    try:
        design = CalibrationDesign(
            fields.text("mapping"),
            len(q_scale),
            q_scale=q_scale,
            q_bias=q_bias,
            quantum_leak=fields.number("quantum_leak"),
            theta_max=fields.number("theta_max"),
            gaps=fields.cells("gaps", len(q_scale)),
            set_angles=set_angles,
            circuit=fields.circuit(),
        )
    except FileFormatError:
        raise
    except QLIFError as error:
        raise FileFormatError(f"File {name} does not hold a calibration: {error}") from error
    cells = (len(design.angles), design.neurons)
    measured = fields.probabilities(cells) if "probability" in fields.content else fields.counts(cells)
    time_utc, seed = fields.text("time_utc"), fields.content.get("seed")
    try:
        datetime.strptime(time_utc, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError as error:
        raise fields.wrong("time_utc", "a time such as 2026-01-31T12:00:00Z", repr(time_utc)) from error
    backend = fields.content.get("backend")
    if backend is not None or "backend" not in fields.content:
        backend = fields.text("backend")
    if (type(seed) is not int or not 0 <= seed <= MAX_SEED) and (backend is not None or seed is not None):
        raise fields.wrong("seed", f"an integer from 0 to {MAX_SEED}")
    found = Calibration(
        Measurement(
            backend=backend,
            details=fields.table("details"),
            design=design,
            data=measured,
            seed=seed,
            time_utc=time_utc,
            versions={library: str(version) for library, version in fields.table("versions").items()},
        )
    )
    try:
        fitted = found.analysis.response.value
    except RuntimeError as error:
        # What the linear algebra of the fit says where numbers that are each in range do not go together.
        raise FileFormatError(f"File {name} holds angles or counts that nothing can be fitted to.") from error
    stored = fields.responses()
    if stored.shape != fitted.shape or not torch.allclose(stored, fitted, rtol=0.0, atol=_ROUNDING, equal_nan=True):
        raise FileFormatError(f"File {name} holds responses that do not follow from its counts: one or the other was changed.")
    return found


class _Fields:
    """The content of a record, field by field, each refusal naming the file, the field and what is wrong."""

    def __init__(self, file: str, content: dict[str, object]) -> None:
        self.file, self.content = file, content

    def wrong(self, name: str, must: str, found: str | None = None) -> FileFormatError:
        """The error for a field, with what it must be and what it is."""
        if found is None:
            found = _shown(self.content.get(name))
        missing = f"File {self.file} lacks `{name}`, which must be {must}."
        return FileFormatError(
            missing if name not in self.content else f"File {self.file}: `{name}` must be {must}, but is {found}."
        )

    def text(self, name: str) -> str:
        value = self.content.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        return value

    def table(self, name: str) -> dict[str, object]:
        value = self.content.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def number(self, name: str) -> float:
        value = self.content.get(name)
        # json reads the words NaN and Infinity as floats, and integers of any size.
        if type(value) not in (int, float) or not abs(value) < _GREATEST:  # type: ignore[arg-type]
            raise self.wrong(name, "a finite number")
        return float(value)  # type: ignore[arg-type]

    def floats(self, name: str, dimensions: int) -> Tensor:
        return self._numbers(name, dimensions, torch.float64)

    def integers(self, name: str, dimensions: int) -> Tensor:
        return self._numbers(name, dimensions, torch.int64)

    def cells(self, name: str, sites: int) -> Tensor:
        """Numbers cell by cell, `(cells, sites)`, of which there may be none."""
        return torch.empty(0, sites, dtype=torch.float64) if self.content.get(name) == [] else self.floats(name, 2)

    def circuit(self) -> SpikeCircuit:
        """What ran: the name of `RYSpike`, or a name with gates."""
        value, ours = self.content.get("circuit"), RYSpike()
        if value == ours.name:
            return ours
        must = f"{ours.name!r}, or an object of `name` and `gates`"
        if not isinstance(value, dict) or not isinstance(value.get("gates"), list):
            raise self.wrong("circuit", must)
        gates = value["gates"]
        if not all(isinstance(gate, list) and len(gate) == 2 for gate in gates):
            raise self.wrong("circuit", must)
        try:
            return SpikeCircuit(
                value.get("name"),  # type: ignore[arg-type]
                tuple(Gate(gate, Slot(0) if angle is None else angle) for gate, angle in gates),
            )
        except QLIFError as error:
            raise self.wrong("circuit", must, f"refused: {error}") from error

    def counts(self, cells: tuple[int, int]) -> Counts:
        """The counts of every round."""
        ones = self.integers("ones", 3)
        per_round = self.content.get("shots")
        listed = isinstance(per_round, list) and bool(per_round) and not isinstance(per_round[0], list)
        shots = self.integers("shots", 1)[:, None, None].expand(-1, *cells) if listed else self.integers("shots", 3)
        shape = (len(shots), *cells)
        # A file that says null knows no order; one without the field has lost it.
        order = None if self.content.get("order", 0) is None else self.integers("order", 3)
        for name, values in (("ones", ones), ("shots", shots), ("order", order)):
            if values is not None and tuple(values.shape) != shape:
                raise self.wrong(name, f"of shape {shape}", f"of shape {tuple(values.shape)}")
        if bool((shots < int(listed)).any()) or not bool((shots.sum((0, 1)) > 0).all()):
            raise self.wrong("shots", "at least 1 everywhere" if listed else "at least 0, and above it on every site")
        if bool(((ones < 0) | (ones > shots)).any()):
            raise self.wrong("ones", "between 0 and the shots of its round", f"{int(ones.min())} to {int(ones.max())}")
        if order is not None and bool((order.sort(dim=1).values != torch.arange(cells[0])[None, :, None]).any()):
            raise self.wrong("order", "a permutation of the angles for every round and site", "none")
        return Counts(ones, shots, order)

    def probabilities(self, cells: tuple[int, int]) -> Probabilities:
        """Estimates with their standard errors."""
        values = [self.floats(name, 2) for name in ("probability", "standard_error")]
        for name, value in zip(("probability", "standard_error"), values, strict=True):
            if tuple(value.shape) != cells:
                raise self.wrong(name, f"of shape {cells}", f"of shape {tuple(value.shape)}")
        if bool((values[1] < 0).any()) or not bool((values[1].sum(0) > 0).all()):
            raise self.wrong("standard_error", "at least 0, and above it on every site")
        return Probabilities(*values)

    def _numbers(self, name: str, dimensions: int, dtype: torch.dtype) -> Tensor:
        kind = (int,) if dtype == torch.int64 else (int, float)
        words = f"{'whole' if dtype == torch.int64 else 'finite'} numbers in {dimensions} dimensions"
        value = self.content.get(name)
        flat = [value]
        for _ in range(dimensions):
            if not all(isinstance(item, list) and item for item in flat):
                raise self.wrong(name, words)
            flat = [item for group in flat for item in group]  # type: ignore[attr-defined]
        if not all(type(item) in kind and abs(item) < _GREATEST for item in flat):  # type: ignore[arg-type]
            raise self.wrong(name, words)
        try:
            return torch.tensor(value, dtype=dtype)
        except ValueError as error:
            raise self.wrong(name, words + " of equal length") from error

    def responses(self) -> Tensor:
        """The a, b and c of every site, `(sites, 3)`; NaN where they were not identified."""
        responses = self.content.get("responses")
        if not isinstance(responses, dict) or set(responses) != set(RESPONSE):
            raise FileFormatError(
                f"File {self.file} must hold `responses` with the lists a, b and c, but holds {_shown(responses)}."
            )
        columns = []
        for name in RESPONSE:
            column = responses[name]
            numbers = isinstance(column, list) and all(
                item is None or (type(item) in (int, float) and abs(item) <= 2) for item in column
            )
            if not numbers or not column or len(column) != len(responses[RESPONSE[0]]):
                raise FileFormatError(
                    f"File {self.file} must hold in `responses.{name}` a number from -2 to 2 or null per site, "
                    f"but holds {_shown(column)}."
                )
            columns.append(torch.tensor([math.nan if item is None else item for item in column], dtype=torch.float64))
        return torch.stack(columns, dim=-1)


def _listed(values: Tensor) -> list[float | None]:
    """Numbers for JSON, with None for NaN and infinity."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
