"""What the counts of a calibration say: the response, the neuron, and whether either model holds."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.calibration.data import Counts
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.likelihood import Binomial, Estimate, chi_squared_tail, deviance, maximise
from qlifq.calibration.measurement import Measurement
from qlifq.calibration.models import NEURON, PROBABILITY_UNIT, RESPONSE, neuron_units, response_model

__all__ = ["Analysis", "analyse"]

#: A cell with fewer expected counts of either kind makes the χ² of a deviance a rough guide.
_FEW = 5.0
#: Sites whose crosstalk is tested at once: all pairs of thousands would fill the memory.
_BLOCK = 256


class Analysis(NamedTuple):
    """What a measurement says of every site.

    Args:
        response: `RESPONSE`, P(1) = a + b cos θ + c sin θ, which holds for any noise that does not depend on θ.
        neuron: `NEURON`, P(1) = readout_p01 + (1 − readout_p01 − readout_p10) p(θ) with the q_scale and q_bias that the qubit
            sees, and p the response of the circuit without errors: sin²(θ/2) for `RYSpike`.
        p_value: of that response's deviance, `(sites,)`: small where P(1) has another form.
        neuron_p_value: of the neuron's deviance, same shape: small where it is not that circuit seen through a readout.
        drift_p_value: same shape: small where the rounds differ by more than their shots allow. NaN for one round and where
            no counts are known.
        crosstalk_p_value: same shape: small where the counts follow another site's angle, Bonferroni over the others. NaN
            for one site and where it is not known what ran side by side.
        crosstalk_from: int64 `(sites,)`: the other site that it follows most.
        small_counts: int64 `(sites,)`: cells with fewer than 5 expected counts of either kind, where the p-values are rough.
    """

    response: Estimate
    neuron: Estimate
    p_value: Tensor
    neuron_p_value: Tensor
    drift_p_value: Tensor
    crosstalk_p_value: Tensor
    crosstalk_from: Tensor
    small_counts: Tensor


def analyse(measurement: Measurement) -> Analysis:
    """Fit the response and the neuron to the data and test both, all sites at once."""
    design, data = measurement.design, measurement.data
    observed = data.pooled()
    measured = observed.measured

    units = torch.full((measurement.sites, len(RESPONSE)), PROBABILITY_UNIT, dtype=torch.float64)
    response_at = response_model(design.angles.T)
    columns = response_at(units)[1]
    # P(1) is linear in a, b and c: unweighted least squares is close enough to start from.
    least_squares = (torch.linalg.pinv(columns * measured[..., None]) @ observed.share[..., None])[..., 0]
    response = maximise(response_at, least_squares, observed, units)

    gaps, by_gap = design.gaps.T, measured[:, len(design.set_angles) :]
    neuron = maximise(design.neuron_model(), _start(design, least_squares), observed, neuron_units(gaps, by_gap))

    expected = (columns @ response.value[..., None]).squeeze(-1).nan_to_num(0.5)
    cells, nothing = measured.sum(-1), torch.full((measurement.sites,), math.nan, dtype=torch.float64)
    drift, crosstalk, source, few = nothing, nothing, torch.zeros_like(cells), torch.zeros_like(cells)
    if isinstance(data, Counts):
        drift = _drift(data)
        crosstalk, source = _crosstalk(measurement, data, expected, columns)
        few = ((torch.minimum(expected, 1 - expected) * data.total_shots.T < _FEW) & measured).sum(-1)
    # One gap moves q_scale and q_bias together, and none moves neither.
    turning = by_gap.sum(-1).clamp_max(2)
    return Analysis(
        response=response,
        neuron=neuron,
        p_value=chi_squared_tail(response.deviance, cells - len(RESPONSE)),
        neuron_p_value=chi_squared_tail(neuron.deviance, cells - len(NEURON) + 2 - turning),
        drift_p_value=drift,
        crosstalk_p_value=crosstalk,
        crosstalk_from=source,
        small_counts=few,
    )


def _start(design: CalibrationDesign, response: Tensor) -> Tensor:
    """The neuron as programmed, with the readout errors that the response `(sites, 3)` has beside that of the circuit."""
    a, b, c = response.unbind(-1)
    ideal = design.ideal
    contrast = (b * ideal.b + c * ideal.c) / (ideal.b.square() + ideal.c.square())
    readout_p01 = a - contrast * ideal.a
    return torch.stack((design.q_scale, design.q_bias, readout_p01, 1 - readout_p01 - contrast), dim=-1)


def _drift(data: Counts) -> Tensor:
    """Whether every cell kept its probability from round to round, whatever that is."""
    sites = data.ones.shape[2]
    ones, shots = (counts.permute(2, 1, 0).to(torch.float64) for counts in (data.ones, data.shots))
    pooled, spent = ones.sum(-1, keepdim=True), shots.sum(-1, keepdim=True)
    # A likelihood-ratio test of one P(1) per cell against one per cell and round.
    share = (pooled / spent.clamp_min(1)).expand_as(ones)
    statistic = deviance(share.reshape(sites, -1), Binomial(ones.reshape(sites, -1), shots.reshape(sites, -1)))
    # A cell that never or always gave 1 cannot differ between rounds, so it brings no degree of freedom.
    varied = ((pooled > 0) & (pooled < spent))[..., 0]
    return chi_squared_tail(statistic, (varied * ((shots > 0).sum(-1) - 1)).sum(-1))


def _crosstalk(measurement: Measurement, data: Counts, expected: Tensor, design: Tensor) -> tuple[Tensor, Tensor]:
    """For every site, the smallest p-value of the hypothesis that its counts do not follow another site's excitation.

    A score test: the residuals of a site's own response against the excitation sin²(θ/2) that each other site was given at the
    same time, less what the site's own cos θ and sin θ explain of it. It needs no second fit.
    """
    sites = measurement.sites
    if sites == 1 or data.order is None:
        return torch.full((sites,), math.nan, dtype=torch.float64), torch.zeros(sites, dtype=torch.int64)
    weight, residual, given, columns = _by_time(measurement.design, data, data.order, expected, design)
    values, vectors = torch.linalg.eigh(torch.einsum("tip,ti,tiq->ipq", columns, weight, columns))
    # Turns a site's own columns into orthonormal ones; a direction that they lack is dropped.
    kept = values > 1e-12 * values[:, -1:]
    whitening = torch.where(kept, values.clamp_min(1e-300).rsqrt(), 0.0)[:, :, None] * vectors.transpose(-1, -2)
    p_value, source = [], []
    for first in range(0, sites, _BLOCK):
        block = torch.arange(first, min(first + _BLOCK, sites))
        weighted = weight[:, block, None] * columns[:, block]
        mixed = weighted.permute(1, 2, 0).reshape(-1, len(weight)) @ given
        explained = (whitening[block] @ mixed.reshape(len(block), -1, sites)).square().sum(1)
        square = weight[:, block].T @ given.square()
        # Score test: (xᵀ W r)² over xᵀ W x less what a site's own columns explain of it is χ² of one degree of freedom, with x
        # the other site's excitation and r the residuals.
        left = square - explained
        # Where nothing is left both always had the same excitation, and the test has no power.
        strength = ((weight * residual)[:, block].T @ given).square() / left.clamp_min(1e-300)
        strength = torch.where(left > 1e-9 * square, strength, 0.0)
        strength[torch.arange(len(block)), block] = 0.0
        strongest, other = strength.max(dim=1)
        p_value.append((chi_squared_tail(strongest, 1) * (sites - 1)).clamp_max(1.0))
        source.append(other)
    return torch.cat(p_value), torch.cat(source)


def _by_time(
    calibration_design: CalibrationDesign, data: Counts, order: Tensor, expected: Tensor, design: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every moment of all rounds in turn: weight, residual and given excitation `(times, sites)`, own columns `(…, 3)`."""
    excited = calibration_design.ideal.probability(calibration_design.angles)
    own = design.permute(1, 0, 2)
    inside = data.pooled().inside(expected).T
    pieces = []
    for ones, shots, when in zip(data.ones, data.shots, order, strict=True):
        at_time = when.argsort(dim=0)
        cells = shots / (inside * (1 - inside)), ones.to(torch.float64) / shots.clamp_min(1) - expected.T, excited
        columns = own.gather(0, at_time[..., None].expand_as(own))
        pieces.append((*(cell.gather(0, at_time) for cell in cells), columns))
    weight, residual, given, columns = (torch.cat(piece) for piece in zip(*pieces, strict=True))
    return weight, residual, given, columns
