"""Whether calibrations of the same sites differ by more than their shots allow: two of them, or a history."""

import math
from collections.abc import Sequence
from typing import NamedTuple, overload

import torch
from torch import Tensor

from qlifq._validation import real
from qlifq.calibration.calibration import Calibration
from qlifq.calibration.likelihood import chi_squared_tail
from qlifq.calibration.models import RESPONSE
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

__all__ = ["Comparison", "History", "compare"]


class Comparison(NamedTuple):
    """The change from one calibration to another.

    Args:
        difference: of a, b and c, later minus earlier as they were given, `(sites, 3)`.
        standard_error: of it, same shape.
        p_value: of "nothing has changed", χ² with three degrees of freedom, `(sites,)`; NaN where a response is not identified.
        shift: the most that P(1) changed at any angle, |Δa| + √(Δb² + Δc²), `(sites,)`; noise adds to it.
        source: description of what was calibrated.
    """

    difference: Tensor
    standard_error: Tensor
    p_value: Tensor
    shift: Tensor
    source: str = ""

    def drifted(self, level: float = 0.01) -> Tensor:
        """The sites that changed, bool `(sites,)`: with no change at all, any is named with at most this probability.

        Args:
            level: strictly between 0 and 1, shared by all sites (Bonferroni).

        Raises:
            ArgumentError: if it is out of range.
            DtypeError: if it is not a number.
        """
        return _drifted(self.p_value, level)

    def __str__(self) -> str:
        return _verdict(self.p_value, self.shift, self.source)


class History(NamedTuple):
    """The response of the same sites in several calibrations, from the earliest to the latest.

    Args:
        times: when each was measured, UTC.
        value: a, b and c, `(records, sites, 3)`.
        covariance: of them, `(records, sites, 3, 3)`.
        p_value: of "nothing has changed", `(sites,)`: χ² of all records around their weighted mean, with three degrees of
            freedom for every record but one; NaN where a response is not identified.
        shift: the most that P(1) changed at any angle since the first record, `(records, sites)`; noise adds to it.
        source: description of what was calibrated.
    """

    times: tuple[str, ...]
    value: Tensor
    covariance: Tensor
    p_value: Tensor
    shift: Tensor
    source: str = ""

    def drifted(self, level: float = 0.01) -> Tensor:
        """The sites that changed, bool `(sites,)`, see `Comparison.drifted`."""
        return _drifted(self.p_value, level)

    def __str__(self) -> str:
        span = f"{len(self.times)} records from {self.times[0]} to {self.times[-1]}"
        return f"{span} · {_verdict(self.p_value, self.shift, self.source)}"


@overload
def compare(a: Calibration, b: Calibration) -> Comparison: ...


@overload
def compare(a: Sequence[Calibration]) -> History: ...


def compare(a: Calibration | Sequence[Calibration], b: Calibration | None = None) -> Comparison | History:
    """Separate drift from noise: the responses of several calibrations, site by site, against their covariances.

    Mapping, gaps and shots may differ: the response is of the qubit alone.

    Args:
        a: the earlier calibration; or a list of at least two, which are taken in the order of their times.
        b: the later calibration, of the same sites; None beside a list.

    Returns:
        A `Comparison` of two calibrations, a `History` of a list.

    Raises:
        QLIFError: if they differ in the circuit, in the number of sites, or on which qubits those stand.
    """
    if b is None:
        if isinstance(a, Calibration) or not isinstance(a, Sequence):
            raise DtypeError(f"Argument `a` must be a list of calibrations where `b` is None, but is {type(a).__name__}.")
        if len(a) < 2:
            raise ArgumentError(f"Argument `a` must hold at least 2 calibrations, but holds {len(a)}.")
        records = {f"a[{place}]": record for place, record in enumerate(a)}
    else:
        records = {"a": a, "b": b}  # type: ignore[dict-item]
    _check_same_sites(records)
    if b is None:
        return _history(sorted(records.values(), key=lambda record: record.measurement.time_utc))
    first, last = records.values()
    value, covariance, p_value = _tested([first, last])
    difference = value[1] - value[0]
    return Comparison(
        difference=difference,
        standard_error=covariance.sum(0).diagonal(dim1=-2, dim2=-1).sqrt(),
        p_value=p_value,
        shift=_shift(difference),
        source=_sources([first, last]),
    )


def _check_same_sites(records: dict[str, Calibration]) -> None:
    """Refuse calibrations of which the responses cannot be compared; the names are for the sentence."""
    for name, record in records.items():
        if not isinstance(record, Calibration):
            raise DtypeError(f"Argument `{name}` must be a Calibration, but is {type(record).__name__}.")
    (name, first), *others = records.items()
    for other, record in others:
        if record.sites != first.sites:
            raise ShapeError(f"Argument `{other}` must have the {first.sites} sites of `{name}`, but has {record.sites}.")
        qubits, own = (calibration.measurement.details.get("qubits") for calibration in (first, record))
        if own != qubits:
            raise ArgumentError(f"Argument `{other}` must stand on the qubits of `{name}`, {qubits}, but stands on {own}.")
        if record.circuit.gates != first.circuit.gates:
            raise UnsupportedError(
                f"Argument `{other}` must be of the circuit of `{name}`, {first.circuit.draw()}, "
                f"but is of {record.circuit.draw()}."
            )


def _history(records: Sequence[Calibration]) -> History:
    value, covariance, p_value = _tested(records)
    return History(
        times=tuple(record.measurement.time_utc for record in records),
        value=value,
        covariance=covariance,
        p_value=p_value,
        shift=_shift(value - value[0]),
        source=_sources(records),
    )


def _tested(records: Sequence[Calibration]) -> tuple[Tensor, Tensor, Tensor]:
    """The responses, their covariances, and the p-value of one response for all: χ² around the weighted mean.

    With W the inverse covariances, the mean is (Σ W)⁻¹ Σ W x and the statistic Σ (x − mean)ᵀ W (x − mean); for two records
    that is the difference against the sum of both covariances.
    """
    value = torch.stack([record.analysis.response.value for record in records])
    covariance = torch.stack([record.analysis.response.covariance for record in records])
    known = ~(value.isnan().any(-1) | covariance.isnan().any(-1).any(-1)).any(0)
    identity = torch.eye(len(RESPONSE), dtype=torch.float64)
    weight = torch.linalg.inv(torch.where(known[:, None, None], covariance, identity))
    at = value.nan_to_num(0.0)[..., None]
    mean = torch.linalg.solve(weight.sum(0), (weight @ at).sum(0))
    statistic = ((at - mean).transpose(-1, -2) @ weight @ (at - mean)).sum(0)[..., 0, 0]
    freedom = len(RESPONSE) * (len(records) - 1)
    return value, covariance, torch.where(known, chi_squared_tail(statistic, freedom), math.nan)


def _shift(difference: Tensor) -> Tensor:
    """The most that P(1) changes at any angle: |Δa| + √(Δb² + Δc²)."""
    return difference[..., 0].abs() + torch.hypot(difference[..., 1], difference[..., 2])


def _sources(records: Sequence[Calibration]) -> str:
    first, *others = dict.fromkeys(record.source for record in records)
    return f"{first} against {others[0] if len(others) == 1 else f'{len(others)} others'}" if others else first


def _drifted(p_value: Tensor, level: float) -> Tensor:
    return p_value * len(p_value) < real("level", level, above=0.0, below=1.0)


def _verdict(p_value: Tensor, shift: Tensor, source: str) -> str:
    """Which sites drifted and by how much, one line."""
    changed = _drifted(p_value, 0.01).nonzero().flatten().tolist()
    known = [value for value in p_value.tolist() if not math.isnan(value)]
    least = f"{min(1.0, min(known) * len(known)):.2g}" if known else "none"
    named = ", ".join(str(site) for site in changed[:8]) + (", …" if len(changed) > 8 else "")
    verdict = f"{len(changed)} of {len(p_value)} sites drifted: {named}" if changed else "no drift beyond the noise"
    parts = [verdict, f"least p-value, Bonferroni {least}", f"largest shift of P(1) {float(shift.nan_to_num(0).max()):.4f}"]
    return " · ".join([*parts, f"on {source}"] if source else parts)
