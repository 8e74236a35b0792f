"""What the counts of a calibration say: the response, the neuron, and whether either model holds."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.calibration.design import CORNERS
from qlifq.calibration.likelihood import Estimate, chi_squared_tail, deviance, half_shot, maximise
from qlifq.calibration.measurement import Measurement
from qlifq.calibration.models import NEURON, PROBABILITY_UNIT, RESPONSE, neuron_model, neuron_units, response_model
from qlifq.circuits import excitation

__all__ = ["Analysis", "analyse"]

#: A cell with fewer expected counts of either kind makes the χ² of a deviance a rough guide.
_FEW = 5.0
#: Sites whose crosstalk is tested at once: all pairs of thousands would fill the memory.
_BLOCK = 256


class Analysis(NamedTuple):
    """What a measurement says of every site.

    Args:
        response: `RESPONSE`, P(1) = a + b cos θ + c sin θ, which holds for any noise that does not depend on θ.
        neuron: `NEURON`, P(1) = readout_p01 + (1 − readout_p01 − readout_p10) sin²(θ/2) with the q_scale and q_bias that the
            qubit sees.
        p_value: of that response's deviance, `(sites,)`: small where P(1) has another form.
        neuron_p_value: of the neuron's deviance, same shape: small where it is no RY seen through a readout.
        drift_p_value: same shape: small where the rounds differ by more than their shots allow. NaN for one round.
        crosstalk_p_value: same shape: small where the counts follow another site's angle, Bonferroni over the others. NaN
            for one site.
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
    """Fit the response and the neuron to the counts and test both, all sites at once."""
    calibration_design, shots = measurement.design, torch.tensor(float(measurement.total_shots), dtype=torch.float64)
    angles, gaps = calibration_design.angles.T, calibration_design.gaps.T
    ones = measurement.ones.sum(0).T.to(torch.float64)
    cells = ones.shape[1]

    units = torch.full((measurement.sites, len(RESPONSE)), PROBABILITY_UNIT, dtype=torch.float64)
    response_at = response_model(angles)
    design = response_at(units)[1]
    response = maximise(response_at, torch.linalg.pinv(design).matmul((ones / shots)[..., None])[..., 0], ones, shots, units)

    readout_p01, readout_p10 = ones[:, 0] / shots, 1 - ones[:, 1] / shots
    start = torch.stack((calibration_design.q_scale, calibration_design.q_bias, readout_p01, readout_p10), dim=-1)
    fitted_neuron = neuron_model(
        calibration_design.mapping, gaps, CORNERS, calibration_design.quantum_leak, calibration_design.theta_max
    )
    neuron = maximise(fitted_neuron, start, ones, shots, neuron_units(gaps))

    expected = (design @ response.value[..., None]).squeeze(-1).nan_to_num(0.5)
    crosstalk, source = _crosstalk(measurement, expected, design)
    return Analysis(
        response=response,
        neuron=neuron,
        p_value=chi_squared_tail(response.deviance, cells - len(RESPONSE)),
        neuron_p_value=chi_squared_tail(neuron.deviance, cells - len(NEURON)),
        drift_p_value=_drift(measurement),
        crosstalk_p_value=crosstalk,
        crosstalk_from=source,
        small_counts=(torch.minimum(expected, 1 - expected) * shots < _FEW).sum(-1),
    )


def _drift(measurement: Measurement) -> Tensor:
    """Whether every cell kept its probability from round to round, whatever that is."""
    rounds, cells, sites = measurement.ones.shape
    ones = measurement.ones.permute(2, 1, 0).to(torch.float64)
    shots = torch.tensor(measurement.shots, dtype=torch.float64)
    pooled = ones.sum(-1, keepdim=True)
    share = pooled / shots.sum()
    flat = (sites, cells * rounds)
    statistic = deviance(share.expand_as(ones).reshape(flat), ones.reshape(flat), shots.repeat(cells))
    # A cell that never or always gave 1 cannot differ between rounds, so it brings no degree of freedom.
    varied = ((pooled > 0) & (pooled < shots.sum())).sum((1, 2))
    return chi_squared_tail(statistic, varied * (rounds - 1))


def _crosstalk(measurement: Measurement, expected: Tensor, design: Tensor) -> tuple[Tensor, Tensor]:
    """For every site, the smallest p-value of the hypothesis that its counts do not follow another site's excitation.

    A score test: the residuals of a site's own response against the excitation sin²(θ/2) that each other site was given at the
    same time, less what the site's own cos θ and sin θ explain of it. It needs no second fit.
    """
    sites = measurement.sites
    if sites == 1:
        return torch.full((1,), math.nan, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    weight, residual, given, columns = _by_time(measurement, expected, design)
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
        left = square - explained
        # Where nothing is left both always had the same excitation, and the test has no power.
        strength = ((weight * residual)[:, block].T @ given).square() / left.clamp_min(1e-300)
        strength = torch.where(left > 1e-9 * square, strength, 0.0)
        strength[torch.arange(len(block)), block] = 0.0
        strongest, other = strength.max(dim=1)
        p_value.append((chi_squared_tail(strongest, 1) * (sites - 1)).clamp_max(1.0))
        source.append(other)
    return torch.cat(p_value), torch.cat(source)


def _by_time(measurement: Measurement, expected: Tensor, design: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every moment of all rounds in turn: weight, residual and given excitation `(times, sites)`, own columns `(…, 3)`."""
    excited = excitation(measurement.design.angles)
    own = design.permute(1, 0, 2)
    _, inside = half_shot(expected.T, torch.tensor(float(measurement.total_shots), dtype=torch.float64))
    pieces = []
    for ones, order, shots in zip(measurement.ones, measurement.order, measurement.shots, strict=True):
        at_time = order.argsort(dim=0)
        cells = shots / (inside * (1 - inside)), ones.to(torch.float64) / shots - expected.T, excited
        columns = own.gather(0, at_time[..., None].expand_as(own))
        pieces.append((*(cell.gather(0, at_time) for cell in cells), columns))
    weight, residual, given, columns = (torch.cat(piece) for piece in zip(*pieces, strict=True))
    return weight, residual, given, columns
