"""Binomial maximum likelihood for many sites at once, with its covariance, its deviance and what it cannot tell.

Site by site, k of n shots gave 1 in each of some cells, and a model says P(1) of each from a few parameters. Fisher scoring
(with Levenberg's damping, so that a flat direction does no harm) climbs

    ℓ = Σ k ln p + (n − k) ln(1 − p)

and the inverse of the Fisher information Σ n ∇p ∇pᵀ / (p (1 − p)) is the covariance. Where p comes within half a shot of
0 or 1 the likelihood is continued by the parabola with the variance at that point. So a readout without errors is no
special case, and its estimate may fall below 0 by a fraction of its error instead of being cut off, which would bias it.

Reference: McCullagh and Nelder, Generalized Linear Models, sections 2.5 and 4.4.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Estimate", "Model", "chi_squared_tail", "deviance", "half_shot", "information", "maximise"]

#: Parameters `(sites, P)` → P(1) `(sites, cells)` and its Jacobian `(sites, cells, P)`.
Model = Callable[[Tensor], tuple[Tensor, Tensor]]

_MOST_STEPS = 200
#: A site is done where the next step promises its log-likelihood less than this: it would move by 1e-4 of its error.
_TOLERANCE = 1e-8


class Estimate(NamedTuple):
    """What the counts tell of the parameters of every site.

    Args:
        value: `(sites, P)`; NaN where a parameter cannot be identified.
        covariance: `(sites, P, P)`; NaN in the rows and columns of such a parameter.
        deviance: 2 (ℓ of the counts themselves − ℓ of the model), `(sites,)`.
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


def maximise(model: Model, start: Tensor, ones: Tensor, shots: Tensor, units: Tensor) -> Estimate:
    """The parameters under which the counts are most likely.

    Args:
        model: the probabilities.
        start: `(sites, P)`, float64.
        ones: shots that gave 1, `(sites, cells)`, float64.
        shots: shots, broadcastable with `ones`.
        units: the natural size of each parameter, `(sites, P)`. A parameter whose standard error is not below its unit is
            not identified: the counts say nothing of use about it.

    Returns:
        An `Estimate`.
    """
    value = start.clone()
    probability, jacobian = model(value)
    reached = _log_likelihood(probability, ones, shots)
    damping = torch.full_like(reached, 1e-3)
    converged = torch.zeros_like(reached, dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        fisher, weighted = _scaled(probability, jacobian, shots, units)
        score = torch.einsum("scp,sc->sp", weighted, ones / shots - probability)
        diagonal = fisher.diagonal(dim1=-2, dim2=-1)
        ridge = damping[:, None] * diagonal + 1e-12 * diagonal.amax(-1, keepdim=True) + 1e-300
        step = torch.linalg.solve(fisher + torch.diag_embed(ridge), score)
        converged = (score * step).sum(-1) < _TOLERANCE
        if bool(converged.all()):
            break
        trial = value + torch.where(converged[:, None], 0.0, step) * units
        trial_probability, trial_jacobian = model(trial)
        trial_reached = _log_likelihood(trial_probability, ones, shots)
        better = trial_reached > reached
        value = torch.where(better[:, None], trial, value)
        probability = torch.where(better[:, None], trial_probability, probability)
        jacobian = torch.where(better[:, None, None], trial_jacobian, jacobian)
        reached = torch.where(better, trial_reached, reached)
        damping = torch.where(better, damping / 10, damping * 10).clamp(1e-12, 1e12)
    covariance, condition = _inverse(_scaled(probability, jacobian, shots, units)[0], units)
    known = (covariance.diagonal(dim1=-2, dim2=-1).sqrt() < units) & converged[:, None]
    nothing = torch.full((), torch.nan, dtype=value.dtype)
    return Estimate(
        value=torch.where(known, value, nothing),
        covariance=torch.where(known[:, :, None] & known[:, None, :], covariance, nothing),
        deviance=deviance(probability, ones, shots),
        condition=condition,
        converged=converged,
    )


def information(model: Model, at: Tensor, shots: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance that this many shots will have, before any is spent.

    Args:
        model: the probabilities.
        at: the parameters that are expected, `(sites, P)`.
        shots: shots per cell, broadcastable with `(sites, cells)`.
        units: as for `maximise`.

    Returns:
        The covariance `(sites, P, P)`, and the condition number of the information `(sites,)`.
    """
    return _inverse(_scaled(*model(at), shots, units)[0], units)


def deviance(probability: Tensor, ones: Tensor, shots: Tensor) -> Tensor:
    """2 (ℓ(counts) − ℓ(model)) over the cells, `(sites, cells)` to `(sites,)`; χ² where every cell has some of both."""
    return 2 * (_log_likelihood(ones / shots, ones, shots) - _log_likelihood(probability, ones, shots)).clamp_min(0.0)


def chi_squared_tail(statistic: Tensor, freedom: Tensor | int) -> Tensor:
    """P(χ² ≥ statistic), NaN where no degree of freedom is left."""
    freedom = torch.as_tensor(freedom, dtype=statistic.dtype).expand_as(statistic)
    tail = torch.special.gammaincc(freedom.clamp_min(1) / 2, statistic / 2)
    return torch.where(freedom > 0, tail, torch.nan)


def half_shot(probability: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
    """Half a shot as a probability, and the probabilities kept at least that far from 0 and 1."""
    edge = 0.5 / shots
    return edge, torch.minimum(torch.maximum(probability, edge), 1 - edge)


def _log_likelihood(probability: Tensor, ones: Tensor, shots: Tensor) -> Tensor:
    """ℓ with its parabolas beyond half a shot from 0 and 1, `(sites, cells)` to `(sites,)`."""
    edge, inside = half_shot(probability, shots)
    regular = torch.xlogy(ones, inside) + torch.xlogy(shots - ones, 1 - inside)
    share = ones / shots
    beyond = ((share - probability).square() - (share - inside).square()) * shots / (2 * edge * (1 - edge))
    return (regular - beyond).sum(-1)


def _scaled(probability: Tensor, jacobian: Tensor, shots: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """The information per unit squared, `(sites, P, P)`, and the weighted Jacobian behind it, `(sites, cells, P)`."""
    _, inside = half_shot(probability, shots)
    per_unit = jacobian * units[:, None, :]
    weighted = per_unit * (shots / (inside * (1 - inside)))[..., None]
    return weighted.transpose(-1, -2) @ per_unit, weighted


def _inverse(fisher: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse in the parameters' own size; a direction that nothing is known of gets a variance beyond all bounds."""
    values, vectors = torch.linalg.eigh(fisher)
    least = values[:, -1:].clamp_min(1e-300) * 1e-14
    spread = vectors / values.clamp_min(least)[:, None, :]
    covariance = (spread @ vectors.transpose(-1, -2)) * units[:, :, None] * units[:, None, :]
    return covariance, values[:, -1] / values[:, 0].clamp_min(least[:, 0])
