"""Maximum likelihood for many sites at once, with its covariance, its deviance and what it cannot identify.

A model says P(1) of every cell of a site from a few parameters, and an observation says how likely that makes the data. With
w(p) the information that a cell holds about its own p, Fisher scoring (with Levenberg's damping, so that a flat direction
does no harm) climbs the log-likelihood ℓ, and the inverse of the Fisher information Σ w(p) ∇p ∇pᵀ is the covariance.

Reference: McCullagh and Nelder, Generalized Linear Models, sections 2.5 and 4.4.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = [
    "Binomial",
    "Estimate",
    "Gaussian",
    "Model",
    "Observation",
    "chi_squared_tail",
    "deviance",
    "information",
    "maximise",
]

#: Parameters `(sites, P)` → P(1) `(sites, cells)` and its Jacobian `(sites, cells, P)`.
Model = Callable[[Tensor], tuple[Tensor, Tensor]]

_MOST_STEPS = 200
#: A site is done where the next step promises its log-likelihood less than this: it would move by 1e-4 of its error.
_TOLERANCE = 1e-8


class Observation(Protocol):
    """What was observed of the cells `(sites, cells)`, float64."""

    @property
    def share(self) -> Tensor:
        """The estimate of P(1) in each cell by itself; 0 where nothing was measured."""

    @property
    def measured(self) -> Tensor:
        """Bool, whether anything was measured in the cell."""

    def weight(self, probability: Tensor) -> Tensor:
        """w(p), the information of each cell about its own P(1); 0 where nothing was measured."""

    def log_likelihood(self, probability: Tensor) -> Tensor:
        """ℓ of each site, `(sites,)`, up to a constant."""


class Binomial(NamedTuple):
    """Counts: k of n shots gave 1, ℓ = Σ k ln p + (n − k) ln(1 − p) and w = n / (p (1 − p)).

    Where p comes within half a shot of 0 or 1 the likelihood is continued by the parabola with the variance at that point. So
    a readout without errors is no special case, and its estimate may fall below 0 by a fraction of its error instead of being
    cut off, which would bias it.

    Args:
        ones: k, `(sites, cells)`, float64.
        shots: n, same shape; 0 where nothing was measured.
    """

    ones: Tensor
    shots: Tensor

    @property
    def share(self) -> Tensor:
        """See `Observation`."""
        return self.ones / self.shots.clamp_min(1)

    @property
    def measured(self) -> Tensor:
        """See `Observation`."""
        return self.shots > 0

    def inside(self, probability: Tensor) -> Tensor:
        """The probabilities kept at least half a shot from 0 and 1."""
        edge = self._edge
        return torch.minimum(torch.maximum(probability, edge), 1 - edge)

    def weight(self, probability: Tensor) -> Tensor:
        """See `Observation`."""
        inside = self.inside(probability)
        return self.shots / (inside * (1 - inside))

    def log_likelihood(self, probability: Tensor) -> Tensor:
        """See `Observation`."""
        edge, inside, share = self._edge, self.inside(probability), self.share
        regular = torch.xlogy(self.ones, inside) + torch.xlogy(self.shots - self.ones, 1 - inside)
        # −n/(2 e (1 − e)) (p̂ − p)² beyond the edge e, less its value at the edge, so that ℓ is continuous there.
        beyond = ((share - probability).square() - (share - inside).square()) * self.shots / (2 * edge * (1 - edge))
        return (regular - beyond).sum(-1)

    @property
    def _edge(self) -> Tensor:
        return 0.5 / self.shots.clamp_min(1)


class Gaussian(NamedTuple):
    """Estimates with their standard errors: ℓ = −½ Σ ((p̂ − p)/σ)² and w = 1/σ².

    Args:
        share: p̂, `(sites, cells)`, float64; it may leave [0, 1] by its error, as a mitigated one does.
        standard_error: σ, same shape; 0 where nothing was measured.
    """

    share: Tensor
    standard_error: Tensor

    @property
    def measured(self) -> Tensor:
        """See `Observation`."""
        return self.standard_error > 0

    def weight(self, probability: Tensor) -> Tensor:
        """See `Observation`."""
        return torch.where(self.measured, self.standard_error.square().reciprocal(), 0.0).expand_as(probability)

    def log_likelihood(self, probability: Tensor) -> Tensor:
        """See `Observation`."""
        return -0.5 * (self.weight(probability) * (self.share - probability).square()).sum(-1)


class Estimate(NamedTuple):
    """The parameters of every site as estimated.

    Args:
        value: `(sites, P)`; NaN where a parameter cannot be identified.
        covariance: `(sites, P, P)`; NaN in the rows and columns of such a parameter.
        deviance: 2 (ℓ of the data themselves − ℓ of the model), `(sites,)`.
        condition: condition number of the information in units of the parameters' natural sizes, `(sites,)`.
        converged: bool `(sites,)`.
    """

    value: Tensor
    covariance: Tensor
    deviance: Tensor
    condition: Tensor
    converged: Tensor

    @property
    def standard_error(self) -> Tensor:
        """`(sites, P)`."""
        return self.covariance.diagonal(dim1=-2, dim2=-1).sqrt()

    @property
    def correlation(self) -> Tensor:
        """`(sites, P, P)`."""
        error = self.standard_error
        return self.covariance / (error[:, :, None] * error[:, None, :])


def maximise(model: Model, start: Tensor, observed: Observation, units: Tensor) -> Estimate:
    """The parameters under which the observation is most likely.

    Args:
        model: the probabilities.
        start: `(sites, P)`, float64.
        observed: the data.
        units: the natural size of each parameter, `(sites, P)`. A parameter whose standard error is not below its unit is
            not identified: the counts say nothing of use about it.

    Returns:
        An `Estimate`.
    """
    value = start.clone()
    probability, jacobian = model(value)
    reached = observed.log_likelihood(probability)
    damping = torch.full_like(reached, 1e-3)
    converged = torch.zeros_like(reached, dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        # Fisher scoring: (I + λ diag I) δ = score, with I = Σ w ∇p ∇pᵀ and score = Σ w (p̂ − p) ∇p, in units of the parameters.
        fisher, weighted = _scaled(probability, jacobian, observed, units)
        score = torch.einsum("scp,sc->sp", weighted, observed.share - probability)
        diagonal = fisher.diagonal(dim1=-2, dim2=-1)
        ridge = damping[:, None] * diagonal + 1e-12 * diagonal.amax(-1, keepdim=True) + 1e-300
        step = torch.linalg.solve(fisher + torch.diag_embed(ridge), score)
        # Twice the gain in ℓ that the quadratic model promises, so a test that no choice of units changes.
        converged = (score * step).sum(-1) < _TOLERANCE
        if bool(converged.all()):
            break
        trial = value + torch.where(converged[:, None], 0.0, step) * units
        trial_probability, trial_jacobian = model(trial)
        trial_reached = observed.log_likelihood(trial_probability)
        better = trial_reached > reached
        value = torch.where(better[:, None], trial, value)
        probability = torch.where(better[:, None], trial_probability, probability)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        reached = torch.where(better, trial_reached, reached)
        # Levenberg: a step that raised ℓ trusts the quadratic model more, one that failed is tried again shorter.
        damping = torch.where(better, damping / 10, damping * 10).clamp(1e-12, 1e12)
    covariance, condition = _inverse(_scaled(probability, jacobian, observed, units)[0], units)
    known = (covariance.diagonal(dim1=-2, dim2=-1).sqrt() < units) & converged[:, None]
    nothing = torch.full((), torch.nan, dtype=value.dtype)
    return Estimate(
        value=torch.where(known, value, nothing),
        covariance=torch.where(known[:, :, None] & known[:, None, :], covariance, nothing),
        deviance=deviance(probability, observed),
        condition=condition,
        converged=converged,
    )


def information(model: Model, at: Tensor, planned: Observation, units: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance that a measurement will have, before any shot is spent.

    Args:
        model: the probabilities.
        at: the parameters that are expected, `(sites, P)`.
        planned: the measurement, of which the weights alone are used.
        units: as for `maximise`.

    Returns:
        The covariance `(sites, P, P)`, and the condition number of the information `(sites,)`.
    """
    return _inverse(_scaled(*model(at), planned, units)[0], units)


def deviance(probability: Tensor, observed: Observation) -> Tensor:
    """2 (ℓ(data) − ℓ(model)) over the cells, `(sites, cells)` to `(sites,)`; χ² where every cell has counts of both kinds."""
    return 2 * (observed.log_likelihood(observed.share) - observed.log_likelihood(probability)).clamp_min(0.0)


def chi_squared_tail(statistic: Tensor, freedom: Tensor | int) -> Tensor:
    """P(χ² ≥ statistic), NaN where no degree of freedom is left."""
    freedom = torch.as_tensor(freedom, dtype=statistic.dtype).expand_as(statistic)
    tail = torch.special.gammaincc(freedom.clamp_min(1) / 2, statistic / 2)
    return torch.where(freedom > 0, tail, torch.nan)


def _scaled(probability: Tensor, jacobian: Tensor, observed: Observation, units: Tensor) -> tuple[Tensor, Tensor]:
    """The information per unit squared, `(sites, P, P)`, and the weighted Jacobian behind it, `(sites, cells, P)`."""
    per_unit = jacobian * units[:, None, :]
    weighted = per_unit * observed.weight(probability)[..., None]
    return weighted.transpose(-1, -2) @ per_unit, weighted


def _inverse(fisher: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse in the parameters' own size; a direction that nothing is known of gets a variance beyond all bounds."""
    values, vectors = torch.linalg.eigh(fisher)
    least = values[:, -1:].clamp_min(1e-300) * 1e-14
    spread = vectors / values.clamp_min(least)[:, None, :]
    covariance = (spread @ vectors.transpose(-1, -2)) * units[:, :, None] * units[:, None, :]
    return covariance, values[:, -1] / values[:, 0].clamp_min(least[:, 0])
