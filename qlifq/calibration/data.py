"""The data of a calibration: counts of shots, or estimates with their standard errors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qlifq import _proportions as proportions
from qlifq.calibration.likelihood import Binomial, Gaussian

__all__ = ["Counts", "Probabilities"]


@dataclass(frozen=True, eq=False)
class Counts:
    """Shots that gave 1, round by round.

    Args:
        ones: `(rounds, cells, sites)` int64.
        shots: same shape; 0 where the site did not run the cell in that round.
        order: when in its round each cell ran, same shape: cells with the same number ran side by side. None where unknown.
    """

    ones: Tensor
    shots: Tensor
    order: Tensor | None

    @property
    def rounds(self) -> int:
        """How many rounds are kept apart."""
        return len(self.ones)

    @property
    def total_shots(self) -> Tensor:
        """Shots over all rounds, `(cells, sites)`."""
        return self.shots.sum(0)

    @property
    def estimate(self) -> Tensor:
        """P(1) of each cell by itself, `(cells, sites)`; NaN where nothing was measured."""
        return self.ones.sum(0) / self.total_shots

    def interval(self, confidence: float) -> tuple[Tensor, Tensor]:
        """The exact interval of each P(1), lower and upper bounds as `estimate`."""
        ends = proportions.clopper_pearson(self.ones.sum(0).numpy(), self.total_shots.clamp_min(1).numpy(), confidence)
        nothing = self.total_shots == 0
        low, high = (torch.from_numpy(end).masked_fill(nothing, torch.nan) for end in ends)
        return low, high

    def pooled(self) -> Binomial:
        """All rounds together, `(sites, cells)`."""
        return Binomial(self.ones.sum(0).T.to(torch.float64), self.total_shots.T.to(torch.float64))

    def describe(self) -> str:
        """How much was measured, for people."""
        spent = self.total_shots[self.total_shots > 0]
        least, most = int(spent.min()), int(spent.max())
        return f"{least:,} shots per angle" if least == most else f"{least:,} to {most:,} shots per angle"


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Estimates of P(1), where the counts behind them are not known.

    Args:
        probability: `(cells, sites)` float64; it may leave [0, 1] by its error.
        standard_error: same shape; 0 where nothing was measured.
    """

    probability: Tensor
    standard_error: Tensor

    @property
    def rounds(self) -> int:
        """How many rounds are kept apart: one."""
        return 1

    @property
    def estimate(self) -> Tensor:
        """P(1) of each cell by itself, `(cells, sites)`; NaN where nothing was measured."""
        return torch.where(self.standard_error > 0, self.probability, torch.nan)

    def interval(self, confidence: float) -> tuple[Tensor, Tensor]:
        """The normal interval of each P(1), lower and upper bounds as `estimate`."""
        reach = float(torch.special.ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64))) * self.standard_error
        return self.estimate - reach, self.estimate + reach

    def pooled(self) -> Gaussian:
        """`(sites, cells)`."""
        return Gaussian(self.probability.T, self.standard_error.T)

    def describe(self) -> str:
        """How much was measured, for people."""
        known = self.standard_error[self.standard_error > 0]
        return f"P(1) with standard errors from {float(known.min()):.2g} to {float(known.max()):.2g}"
