"""A calibration from the measurements of somebody else: counts, or probabilities with their errors."""

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._files import PathLike, stamp
from qlifq._text import one_line
from qlifq.backends.interface import MAX_SHOTS
from qlifq.calibration.calibration import Calibration
from qlifq.calibration.data import Counts, Probabilities
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.measurement import Measurement, library_versions
from qlifq.calibration.table import COUNTS, LEAST_ERROR, PROBABILITIES, Table, is_table, parse_table, read_table
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError
from qlifq.neurons.mapping import THETA_MAX

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["TIME_FORMAT", "from_counts", "from_probabilities", "parse_counts"]

#: How a record writes a time.
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
#: What the response P(1) = a + b cos θ + c sin θ needs at least.
_FEWEST_ANGLES = 3

Array = Tensor | npt.NDArray[Any]


def from_counts(
    angles: "Array | PathLike | DataFrame",
    ones: Array | None = None,
    shots: Array | int | None = None,
    *,
    measured_by: str,
    gaps: Array | None = None,
    mapping: str = "sigmoid",
    q_scale: Tensor | float | None = None,
    q_bias: Tensor | float | None = None,
    quantum_leak: float = 0.0,
    theta_max: float = THETA_MAX,
    order: Array | None = None,
    circuit: SpikeCircuit | None = None,
    time_utc: str | None = None,
) -> Calibration:
    """Fit counts that somebody measured, with the estimate, the intervals, the tests and the record of `fit`.

    Every site needs at least three different angles. Angles that were set directly give the response P(1) = a + b cos θ +
    c sin θ and the readout errors; what was set through a mapping is given as gaps with the mapping's numbers, and gives the
    q_scale and q_bias that the qubit shows besides. Several rounds show drift, and an `order` shows crosstalk.

    A table has one row per site and angle, with the columns `site` (from 0), `angle` (radians) or `gap` or both with one of
    them empty, `shots`, `ones`, and, where there are several rounds, `round`. Sites may have other angles, and as many as they
    like.

    Args:
        angles: those that were set directly, radians, `(angles,)` or `(angles, sites)`; or a table, as the path of a CSV file
            or a DataFrame, and then no `ones`, `shots`, `gaps` and `order`.
        ones: shots that gave 1, `(angles + points, sites)` or `(rounds, angles + points, sites)`: first at `angles`, then at
            `gaps`.
        shots: same shape, or one number for all; 0 where a site did not run.
        measured_by: whose data these are, and of what: the record and everything that is drawn from it says so.
        gaps: Δ, `(points,)` or `(points, sites)`.
        mapping: "sigmoid", "linear" or "tanh"; it turns the gaps into angles, and a correction is made for it.
        q_scale: what was programmed, not 0: a number or `(sites,)`; None for the mapping's default.
        q_bias: same shape.
        quantum_leak: the layer's `quantum_leak`.
        theta_max: the layer's `theta_max`, radians, for `tanh` alone.
        order: when in its round each cell ran, shaped as `ones`: for every round and site the numbers from 0, and cells with
            the same number ran side by side. None where unknown.
        circuit: what ran, a circuit with one angle in one rotation; None for `RYSpike`.
        time_utc: when it was measured, such as "2026-01-31T12:00:00Z"; None for now.

    Returns:
        A `Calibration`.

    Raises:
        QLIFError: if an argument cannot be used, or a line of a table is not as it must be.

    Example:
        >>> import torch
        >>> angles = torch.linspace(0, torch.pi, 7, dtype=torch.float64)
        >>> ones = torch.tensor([[20, 82, 253, 485, 718, 888, 950]]).T
        >>> calibration = from_counts(angles, ones, 1000, measured_by="our lab, qubit 5")
        >>> calibration.analysis.neuron.value[0, 2:].round(decimals=2)
        tensor([0.0200, 0.0500], dtype=torch.float64)
    """
    if is_table(angles):
        _refuse_beside_a_table(ones=ones, shots=shots, gaps=gaps, order=order)
        set_angles, points, data = _from_table(read_table(angles, COUNTS))
    else:
        set_angles, points = _places(angles, gaps)
        data = _counts(ones, shots, order, len(set_angles) + len(points))
    return _calibration(
        data,
        set_angles,
        points,
        measured_by=measured_by,
        time_utc=time_utc,
        mapping=mapping,
        q_scale=q_scale,
        q_bias=q_bias,
        quantum_leak=quantum_leak,
        theta_max=theta_max,
        circuit=circuit,
    )


def parse_counts(content: bytes, name: str, *, measured_by: str, time_utc: str | None = None, **design: Any) -> Calibration:
    """`from_counts` of the bytes of a CSV file, which is called `name` in an error."""
    set_angles, gaps, data = _from_table(parse_table(content, f"File {name}", COUNTS))
    return _calibration(data, set_angles, gaps, measured_by=measured_by, time_utc=time_utc, **design)


def from_probabilities(
    angles: "Array | PathLike | DataFrame",
    probability: Array | None = None,
    standard_error: Array | float | None = None,
    *,
    measured_by: str,
    gaps: Array | None = None,
    mapping: str = "sigmoid",
    q_scale: Tensor | float | None = None,
    q_bias: Tensor | float | None = None,
    quantum_leak: float = 0.0,
    theta_max: float = THETA_MAX,
    circuit: SpikeCircuit | None = None,
    time_utc: str | None = None,
) -> Calibration:
    """Fit estimates of P(1) of which the errors and no counts are known: weighted least squares, else as `from_counts`.

    An estimate may leave [0, 1] by its error, as a mitigated one does. Drift and crosstalk cannot be tested.

    Args:
        angles: as for `from_counts`; a table has the columns `probability` and `standard_error` in place of the counts.
        probability: estimates of P(1), from -1 to 2, `(angles + points, sites)`.
        standard_error: same shape, or one number for all, at most 1; 0 where nothing was measured.
        measured_by: as for `from_counts`.
        gaps: as for `from_counts`.
        mapping: as for `from_counts`.
        q_scale: as for `from_counts`.
        q_bias: as for `from_counts`.
        quantum_leak: as for `from_counts`.
        theta_max: as for `from_counts`.
        circuit: as for `from_counts`.
        time_utc: as for `from_counts`.

    Returns:
        A `Calibration`.

    Raises:
        QLIFError: as `from_counts` does.
    """
    if is_table(angles):
        _refuse_beside_a_table(probability=probability, standard_error=standard_error, gaps=gaps)
        table = read_table(angles, PROBABILITIES)
        set_angles, points = table.angles, table.gaps
        estimates = [_one_round(table.values[name]) for name in PROBABILITIES]
    else:
        set_angles, points = _places(angles, gaps)
        value = _real("probability", probability)
        error = _filled("standard_error", standard_error, value)
        if bool(((value < -1) | (value > 2)).any()):
            raise ArgumentError(f"Argument `probability` must be from -1 to 2 everywhere, but is {_range(value)}.")
        if bool(((error != 0) & ((error < LEAST_ERROR) | (error > 1))).any()):
            raise ArgumentError(
                f"Argument `standard_error` must be 0 or from {LEAST_ERROR:g} to 1 everywhere, but is {_range(error)}."
            )
        estimates = [
            _cells(name, each, len(set_angles) + len(points), (2,))
            for name, each in (("probability", value), ("standard_error", error))
        ]
    value, error = estimates
    return _calibration(
        Probabilities(torch.where(error > 0, value, 0.0), error),
        set_angles,
        points,
        measured_by=measured_by,
        time_utc=time_utc,
        mapping=mapping,
        q_scale=q_scale,
        q_bias=q_bias,
        quantum_leak=quantum_leak,
        theta_max=theta_max,
        circuit=circuit,
    )


def _calibration(
    data: Counts | Probabilities,
    set_angles: Tensor,
    gaps: Tensor,
    *,
    measured_by: str,
    time_utc: str | None,
    mapping: str = "sigmoid",
    **design: Any,
) -> Calibration:
    """The calibration of checked data."""
    if not isinstance(measured_by, str) or not one_line(measured_by):
        raise ArgumentError(f"Argument `measured_by` must say whose data these are, but is {measured_by!r}.")
    made = stamp()
    measured = data.pooled().measured
    placed = CalibrationDesign(mapping, len(measured), gaps=gaps, set_angles=set_angles, **design)
    calibration = Calibration(
        Measurement(
            backend=None,
            details={"measured_by": one_line(measured_by)},
            design=placed,
            data=data,
            seed=None,
            time_utc=made["time_utc"] if time_utc is None else _time(time_utc),
            versions=library_versions(made["qlifq_version"]),
        )
    )
    for site, angles in enumerate(placed.angles.T):
        # Whole turns apart, and the same point but for rounding.
        points = {(round(math.cos(at), 9), round(math.sin(at), 9)) for at in angles[measured[site]].tolist()}
        if len(points) < _FEWEST_ANGLES:
            raise ArgumentError(f"Site {site} must have at least {_FEWEST_ANGLES} different angles, but has {len(points)}.")
    return calibration


def _from_table(table: Table) -> tuple[Tensor, Tensor, Counts]:
    ones, shots = (table.values[name].to(torch.int64) for name in ("ones", "shots"))
    return table.angles, table.gaps, Counts(ones, shots, None)


def _refuse_beside_a_table(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ArgumentError(f"Argument `{name}` would be ignored: a table in `angles` holds it.")


def _one_round(values: Tensor) -> Tensor:
    if len(values) > 1:
        raise ArgumentError(f"A table of probabilities must have one round, but has {len(values)}: estimates cannot be pooled.")
    return values[0]


def _places(angles: object, gaps: object) -> tuple[Tensor, Tensor]:
    """The angles that were set directly and the gaps, at least one column each."""
    set_angles = _real("angles", angles)
    return set_angles, torch.empty(0, dtype=torch.float64) if gaps is None else _real("gaps", gaps)


def _counts(ones: object, shots: object, order: object, cells: int) -> Counts:
    """Checked counts of every round."""
    ones = _cells("ones", _whole("ones", ones), cells, (2, 3))
    if isinstance(shots, int) and not isinstance(shots, bool):
        shots = torch.full_like(ones, check.integer("shots", shots, at_least=1, at_most=MAX_SHOTS))
    else:
        shots = _same_shape("shots", _cells("shots", _whole("shots", shots), cells, (2, 3)), ones)
    if bool(((shots < 0) | (shots > MAX_SHOTS)).any()):
        raise ArgumentError(f"Argument `shots` must be from 0 to {MAX_SHOTS:,} everywhere, but is {_range(shots)}.")
    wrong = ((ones < 0) | (ones > shots)).nonzero()
    if len(wrong):
        turn, cell, site = wrong[0].tolist()
        raise ArgumentError(
            f"Argument `ones` must be from 0 to its {int(shots[turn, cell, site]):,} shots, "
            f"but is {int(ones[turn, cell, site]):,} at angle {cell} of site {site}."
        )
    if order is None:
        return Counts(ones, shots, None)
    when = _same_shape("order", _cells("order", _whole("order", order), cells, (2, 3)), ones)
    if bool((when.sort(dim=1).values != torch.arange(cells)[None, :, None]).any()):
        raise ArgumentError(f"Argument `order` must hold each of 0 to {cells - 1} once for every round and site, but does not.")
    return Counts(ones, shots, when)


def _array(name: str, value: object) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.array(value, dtype=np.float64 if value.dtype.kind == "f" else np.int64))
    if not isinstance(value, Tensor) or value.dtype.is_complex or value.dtype == torch.bool:
        found = f"of dtype {value.dtype}" if isinstance(value, Tensor | np.ndarray) else type(value).__name__
        raise DtypeError(f"Argument `{name}` must be a torch tensor or a NumPy array of numbers, but is {found}.")
    return value.detach().cpu()


def _real(name: str, value: object) -> Tensor:
    return check.finite(name, _array(name, value).to(torch.float64))


def _whole(name: str, value: object) -> Tensor:
    numbers = _array(name, value)
    if numbers.is_floating_point() and bool((check.finite(name, numbers) != numbers.round()).any()):
        raise ArgumentError(f"Argument `{name}` must hold whole numbers, but holds others.")
    return numbers.to(torch.int64)


def _filled(name: str, value: object, like: Tensor) -> Tensor:
    """One number for all cells, or an array of the same shape."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return torch.full_like(like, check.real(name, value, above=0.0))
    return _same_shape(name, _real(name, value), like)


def _same_shape(name: str, value: Tensor, like: Tensor) -> Tensor:
    return check.shape_of(name, value, tuple(like.shape))


def _cells(name: str, value: Tensor, cells: int, dimensions: tuple[int, ...]) -> Tensor:
    """An array of cells and sites, with rounds before them where these are allowed."""
    if value.ndim not in dimensions or value.shape[-2] != cells or not value.numel():
        rounds = f" or (rounds, {cells}, sites)" if 3 in dimensions else ""
        raise ShapeError(
            f"Argument `{name}` must have shape ({cells}, sites){rounds}, a row for every angle and gap, "
            f"but has shape {tuple(value.shape)}."
        )
    return value[None] if 3 in dimensions and value.ndim == 2 else value


def _range(values: Tensor) -> str:
    return f"{values.min().item():g} to {values.max().item():g}"


def _time(text: object) -> str:
    try:
        return datetime.strptime(str(text), TIME_FORMAT).strftime(TIME_FORMAT)
    except ValueError as error:
        raise ArgumentError(f"Argument `time_utc` must be a time such as 2026-01-31T12:00:00Z, but is {text!r}.") from error
