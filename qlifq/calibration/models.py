"""The response of a qubit: the sinusoid that needs no model of the noise, and the neuron seen through a readout."""

import torch
from torch import Tensor

from qlifq.calibration.closed_form import angle_derivatives
from qlifq.calibration.likelihood import Model
from qlifq.circuits import SinusoidalResponse, SpikeCircuit
from qlifq.circuits.sinusoidal import RESPONSE_ANGLES
from qlifq.errors import DtypeError, UnsupportedError

__all__ = ["NEURON", "PROBABILITY_UNIT", "RESPONSE", "ideal_response", "neuron_model", "neuron_units", "response_model"]

#: The parameters of P(1) = a + b cos θ + c sin θ.
RESPONSE = ("a", "b", "c")
#: The parameters of P(1) = readout_p01 + (1 − readout_p01 − readout_p10) p(θ), θ the angle of q_scale and q_bias and p the
#: response of the circuit without errors: sin²(θ/2) for `RYSpike`.
NEURON = ("q_scale", "q_bias", "readout_p01", "readout_p10")

#: An error of a quarter in a probability says nothing of use.
PROBABILITY_UNIT = 0.25


def ideal_response(circuit: SpikeCircuit) -> SinusoidalResponse:
    """P(1) = a + b cos θ + c sin θ of a circuit without errors, each `()`.

    Raises:
        UnsupportedError: if the circuit has no such response, or one that does not depend on its angle.
        DtypeError: if `circuit` is no `SpikeCircuit`.
    """
    if not isinstance(circuit, SpikeCircuit):
        raise DtypeError(f"Argument `circuit` must be a SpikeCircuit, but is {type(circuit).__name__}.")
    if not circuit.is_sinusoidal:
        raise UnsupportedError(f"Argument `circuit` must have one angle, in one rotation, but is {circuit.draw()}.")
    at = torch.tensor(RESPONSE_ANGLES, dtype=torch.float64)
    parts = SinusoidalResponse.through(*circuit.probability(at[:, None]))
    # What rounding leaves of a part that vanishes.
    response = SinusoidalResponse(*(torch.where(part.abs() < 1e-15, 0.0, part) for part in parts))
    if float(torch.hypot(response.b, response.c)) < 1e-6:
        raise UnsupportedError(f"Argument `circuit` must have a P(1) that depends on its angle, but is {circuit.draw()}.")
    return response


def response_model(angles: Tensor) -> Model:
    """P(1) = a + b cos θ + c sin θ at the angles `(sites, cells)`, radians; the parameters are `RESPONSE`."""
    design = torch.stack((torch.ones_like(angles), angles.cos(), angles.sin()), dim=-1)

    def model(parameters: Tensor) -> tuple[Tensor, Tensor]:
        return (design @ parameters[:, :, None]).squeeze(-1), design

    return model


def neuron_model(
    mapping: str,
    gaps: Tensor,
    set_angles: Tensor,
    quantum_leak: float,
    theta_max: float,
    ideal: SinusoidalResponse,
) -> Model:
    """P(1) = readout_p01 + (1 − readout_p01 − readout_p10) p(θ) through a mapping; the parameters are `NEURON`.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        gaps: Δ, `(sites, cells)`.
        set_angles: angles that are set directly and not by a gap, radians, `(sites, cells)`; they are the first cells.
        quantum_leak: the layer's `quantum_leak`.
        theta_max: for `tanh`.
        ideal: p(θ), each `()`.
    """
    still = torch.zeros_like(set_angles)

    def model(parameters: Tensor) -> tuple[Tensor, Tensor]:
        q_scale, q_bias, readout_p01, readout_p10 = (column[:, None] for column in parameters.unbind(-1))
        at = angle_derivatives(mapping, gaps, q_scale, q_bias - quantum_leak, theta_max)
        angle = torch.cat((set_angles, at.angle), dim=-1)
        excited = ideal.probability(angle)
        contrast = 1 - readout_p01 - readout_p10
        per_angle = contrast * ideal.slope(angle)
        jacobian = (
            per_angle * torch.cat((still, at.q_scale), dim=-1),
            per_angle * torch.cat((still, at.q_bias), dim=-1),
            1 - excited,
            -excited,
        )
        return readout_p01 + contrast * excited, torch.stack(jacobian, dim=-1)

    return model


def neuron_units(gaps: Tensor, measured: Tensor | None = None) -> Tensor:
    """The natural sizes of `NEURON`: a turn by about one radian at a typical gap, and a quarter in a probability.

    Args:
        gaps: Δ, `(sites, cells)`.
        measured: bool, same shape, the cells that count; None for all.

    Returns:
        `(sites, 4)`.
    """
    counted = torch.ones_like(gaps) if measured is None else measured.to(gaps)
    typical = ((gaps.square() * counted).sum(-1) / counted.sum(-1).clamp_min(1)).sqrt().clamp_min(1e-12)
    one = torch.ones_like(typical)
    return torch.stack((1 / typical, one, PROBABILITY_UNIT * one, PROBABILITY_UNIT * one), dim=-1)
