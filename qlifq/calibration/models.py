"""The response of a qubit: the sinusoid that needs no model of the noise, and the neuron seen through a readout."""

import torch
from torch import Tensor

from qlifq.calibration.closed_form import angle_derivatives
from qlifq.calibration.likelihood import Model
from qlifq.circuits import excitation

__all__ = ["NEURON", "PROBABILITY_UNIT", "RESPONSE", "neuron_model", "neuron_units", "response_model"]

#: The parameters of P(1) = a + b cos θ + c sin θ.
RESPONSE = ("a", "b", "c")
#: The parameters of P(1) = readout_p01 + (1 − readout_p01 − readout_p10) sin²(θ/2), θ the angle of q_scale and q_bias.
NEURON = ("q_scale", "q_bias", "readout_p01", "readout_p10")

#: An error of a quarter in a probability says nothing of use.
PROBABILITY_UNIT = 0.25


def response_model(angles: Tensor) -> Model:
    """P(1) = a + b cos θ + c sin θ at the angles `(sites, cells)`, radians; the parameters are `RESPONSE`."""
    design = torch.stack((torch.ones_like(angles), angles.cos(), angles.sin()), dim=-1)

    def model(parameters: Tensor) -> tuple[Tensor, Tensor]:
        return (design @ parameters[:, :, None]).squeeze(-1), design

    return model


def neuron_model(mapping: str, gaps: Tensor, corners: Tensor, quantum_leak: float, theta_max: float) -> Model:
    """P(1) = readout_p01 + (1 − readout_p01 − readout_p10) sin²(θ/2) through a mapping; the parameters are `NEURON`.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        gaps: Δ, `(sites, cells)`.
        corners: angles that are set directly and not by a gap, radians, `(corners,)`; they are the first cells.
        quantum_leak: the layer's `quantum_leak`.
        theta_max: for `tanh`.
    """
    sites = gaps.shape[0]
    set_angles = corners.to(gaps).expand(sites, -1)
    still = torch.zeros_like(set_angles)

    def model(parameters: Tensor) -> tuple[Tensor, Tensor]:
        q_scale, q_bias, readout_p01, readout_p10 = (column[:, None] for column in parameters.unbind(-1))
        at = angle_derivatives(mapping, gaps, q_scale, q_bias - quantum_leak, theta_max)
        angle = torch.cat((set_angles, at.angle), dim=-1)
        excited = excitation(angle)
        contrast = 1 - readout_p01 - readout_p10
        per_angle = contrast * angle.sin() / 2
        jacobian = (
            per_angle * torch.cat((still, at.q_scale), dim=-1),
            per_angle * torch.cat((still, at.q_bias), dim=-1),
            1 - excited,
            -excited,
        )
        return readout_p01 + contrast * excited, torch.stack(jacobian, dim=-1)

    return model


def neuron_units(gaps: Tensor) -> Tensor:
    """The natural sizes of `NEURON`: a turn by about one radian at a typical gap, and a quarter in a probability.

    Args:
        gaps: Δ, `(sites, cells)`.

    Returns:
        `(sites, 4)`.
    """
    typical = gaps.square().mean(-1).sqrt().clamp_min(1e-12)
    one = torch.ones_like(typical)
    return torch.stack((1 / typical, one, PROBABILITY_UNIT * one, PROBABILITY_UNIT * one), dim=-1)
