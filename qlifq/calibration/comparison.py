"""Whether two calibrations of the same sites differ by more than their shots allow."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._validation import real
from qlifq.calibration.calibration import Calibration
from qlifq.calibration.likelihood import chi_squared_tail
from qlifq.calibration.models import RESPONSE
from qlifq.errors import ArgumentError, DtypeError, ShapeError

__all__ = ["Comparison", "compare"]


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
            QLIFError: if it is out of range.
        """
        return self.p_value * len(self.p_value) < real("level", level, above=0.0, below=1.0)

    def __str__(self) -> str:
        changed = self.drifted().nonzero().flatten().tolist()
        known = [value for value in self.p_value.tolist() if not math.isnan(value)]
        least = f"{min(1.0, min(known) * len(known)):.2g}" if known else "none"
        named = ", ".join(str(site) for site in changed[:8]) + (", …" if len(changed) > 8 else "")
        verdict = f"{len(changed)} of {len(self.p_value)} sites drifted: {named}" if changed else "no drift beyond the noise"
        parts = [verdict, f"least p-value, Bonferroni {least}"]
        parts += [f"largest shift of P(1) {float(self.shift.nan_to_num(0).max()):.4f}"]
        return " · ".join([*parts, f"on {self.source}"] if self.source else parts)


def compare(a: Calibration, b: Calibration) -> Comparison:
    """Separate drift from noise: the difference of two responses, site by site, against both covariances.

    Args:
        a: the earlier calibration.
        b: the later one, of the same sites. Mapping, gaps and shots may differ: the response is of the qubit alone.

    Returns:
        A `Comparison`.

    Raises:
        QLIFError: if they differ in the number of sites, or on which qubits those stand.
    """
    for name, value in (("a", a), ("b", b)):
        if not isinstance(value, Calibration):
            raise DtypeError(f"Argument `{name}` must be a Calibration, but is {type(value).__name__}.")
    if a.sites != b.sites:
        raise ShapeError(f"Argument `b` must have the {a.sites} sites of `a`, but has {b.sites}.")
    first, second = (calibration.measurement.details.get("qubits") for calibration in (a, b))
    if first != second:
        raise ArgumentError(f"Argument `b` must stand on the qubits of `a`, {first}, but stands on {second}.")
    difference = b.analysis.response.value - a.analysis.response.value
    covariance = a.analysis.response.covariance + b.analysis.response.covariance
    known = ~(difference.isnan().any(-1) | covariance.isnan().any(-1).any(-1))
    safe = torch.where(known[:, None, None], covariance, torch.eye(len(RESPONSE), dtype=torch.float64))
    statistic = (difference.nan_to_num(0.0) * torch.linalg.solve(safe, difference.nan_to_num(0.0))).sum(-1)
    return Comparison(
        difference=difference,
        standard_error=covariance.diagonal(dim1=-2, dim2=-1).sqrt(),
        p_value=torch.where(known, chi_squared_tail(statistic, len(RESPONSE)), math.nan),
        shift=difference[:, 0].abs() + torch.hypot(difference[:, 1], difference[:, 2]),
        source=a.source if a.source == b.source else f"{a.source} against {b.source}",
    )
