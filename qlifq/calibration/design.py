"""Which angles to measure, and how many shots it takes, before any is spent."""

import math

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.calibration.closed_form import checked_settings
from qlifq.calibration.likelihood import Binomial, Model, information
from qlifq.calibration.models import NEURON, ideal_response, neuron_model, neuron_units
from qlifq.circuits import RYSpike, SpikeCircuit
from qlifq.errors import ArgumentError, ShapeError
from qlifq.neurons.mapping import MAPPINGS, THETA_MAX

__all__ = ["CORNERS", "CalibrationDesign", "informative_gaps", "shots_for"]

#: The angles of the readout corners |0⟩ and |1⟩ from where a circuit is least excited, radians.
CORNERS = torch.tensor([0.0, math.pi], dtype=torch.float64)
#: An angle beyond this, radians, is a mistake, and its cosine has lost half of its digits.
_GREATEST_ANGLE = 1e6

#: Gaps in a default design. Four parameters need four cells; the others are there to catch a wrong model.
_POINTS = 10
#: Shots at which the information is computed before it is scaled: so many that no cell comes near its edge.
_MANY = 1e9


class CalibrationDesign:
    """What is set on the neurons that are measured: the mapping with its numbers, and the gaps.

    Args:
        mapping: "sigmoid", "linear" or "tanh".
        neurons: how many neurons, at least 1; each stands on its own site.
        q_scale: slope of the mapping, not 0: a number, or `(neurons,)`; None for the mapping's default.
        q_bias: its offset, same shape.
        quantum_leak: the layer's `quantum_leak`.
        theta_max: the layer's `theta_max`, radians, for `tanh` alone.
        gaps: Δ, `(points,)` or `(points, neurons)`; None for `informative_gaps`.
        set_angles: angles that are set directly, radians, `(angles,)` or `(angles, neurons)`; None for the readout corners.
        circuit: what runs; None for `RYSpike`.

    Raises:
        QLIFError: if an argument cannot be used.

    Attributes:
        ideal: the response of the circuit without errors, each `()`.
        angles: those set directly and then that of every gap, `(angles + points, neurons)`, radians.
    """

    def __init__(
        self,
        mapping: str,
        neurons: int,
        *,
        q_scale: Tensor | float | None = None,
        q_bias: Tensor | float | None = None,
        quantum_leak: float = 0.0,
        theta_max: float = THETA_MAX,
        gaps: Tensor | None = None,
        set_angles: Tensor | None = None,
        circuit: SpikeCircuit | None = None,
    ) -> None:
        self.circuit = RYSpike() if circuit is None else circuit
        self.ideal = ideal_response(self.circuit)
        self.quantum_leak, self.theta_max = checked_settings(mapping, quantum_leak, theta_max)
        defaults = MAPPINGS[mapping]
        self.mapping = mapping
        self.neurons = check.integer("neurons", neurons, at_least=1)
        self.q_scale = _per_neuron("q_scale", defaults.q_scale if q_scale is None else q_scale, self.neurons)
        self.q_bias = _per_neuron("q_bias", defaults.q_bias if q_bias is None else q_bias, self.neurons)
        if bool((self.q_scale == 0).any()):
            raise ArgumentError("Argument `q_scale` must not be 0, or every gap gives the same angle.")
        offset = self.q_bias - self.quantum_leak
        self.set_angles = _per_cell("angles", self._corners() if set_angles is None else set_angles, self.neurons)
        if gaps is None:
            self.gaps = informative_gaps(mapping, self.q_scale, offset)
        else:
            self.gaps = _per_cell("gaps", gaps, self.neurons, least=int(set_angles is None))
        turned = MAPPINGS[mapping].angle(self.gaps, self.q_scale, offset, self.theta_max)
        self.angles = torch.cat((self.set_angles, turned))
        for name, angles in (("angles", self.set_angles), ("gaps", turned)):
            if not bool((angles.abs() <= _GREATEST_ANGLE).all()):
                raise ArgumentError(
                    f"Argument `{name}` must give angles of at most {_GREATEST_ANGLE:,.0f} radians, "
                    f"but gives {float(angles.abs().max()):g}."
                )

    def _corners(self) -> Tensor:
        """Where the circuit has its least and its greatest P(1): 0 and π for `RYSpike`."""
        return CORNERS + torch.atan2(-self.ideal.c, -self.ideal.b)

    def neuron_model(self) -> Model:
        """The probabilities of all cells from the parameters `NEURON`."""
        return neuron_model(self.mapping, self.gaps.T, self.set_angles.T, self.quantum_leak, self.theta_max, self.ideal)


def informative_gaps(mapping: str, q_scale: Tensor, offset: Tensor, *, points: int = _POINTS) -> Tensor:
    """Gaps whose angles are spread evenly over what the mapping reaches, up to one full turn.

    Evenly spaced angles separate a, b and c of the response P(1) = a + b cos θ + c sin θ from each other; evenly
    spaced gaps would crowd them where a mapping saturates.

    Args:
        mapping: a name in `qlifq.neurons.MAPPINGS`.
        q_scale: slope of the mapping, not 0, `(neurons,)`.
        offset: q_bias less the quantum leak, `(neurons,)`.
        points: how many.

    Returns:
        `(points, neurons)`, float64.
    """
    fractions = ((torch.arange(points, dtype=torch.float64) + 0.5) / points)[:, None]
    return MAPPINGS[mapping].gaps(fractions, q_scale, offset)


def shots_for(
    standard_error: float,
    *,
    parameter: str = "q_bias",
    mapping: str = "sigmoid",
    readout_p01: float = 0.02,
    readout_p10: float = 0.02,
    q_scale: float | None = None,
    q_bias: float | None = None,
    quantum_leak: float = 0.0,
    theta_max: float = THETA_MAX,
    gaps: Tensor | None = None,
    circuit: SpikeCircuit | None = None,
) -> int:
    """The shots per angle with which `fit` will know a parameter to a standard error, from the Fisher information.

    Every angle of the design (the gaps and the two corners) takes that many, so a fit of N neurons side by side runs
    shots × (gaps + 2) circuits, and as many evaluations per neuron.

    Args:
        standard_error: the target, above 0.
        parameter: of which: "q_scale", "q_bias", "readout_p01" or "readout_p10".
        mapping: "sigmoid", "linear" or "tanh".
        readout_p01: the P(1) of a qubit in |0⟩ that is expected.
        readout_p10: the P(0) of a qubit in |1⟩ that is expected.
        q_scale: as it will be programmed; None for the mapping's default.
        q_bias: same shape.
        quantum_leak: as for `fit`.
        theta_max: as for `fit`.
        gaps: as for `fit`.
        circuit: as for `fit`.

    Returns:
        Shots per angle.

    Raises:
        QLIFError: if an argument cannot be used, or the gaps do not identify the parameter at all.

    Example:
        >>> shots_for(0.02, parameter="q_bias") < shots_for(0.01, parameter="q_bias")
        True
    """
    target = check.real("standard_error", standard_error, above=0.0)
    place = NEURON.index(check.choice("parameter", parameter, NEURON))
    errors = [
        check.real(name, value, at_least=0.0, below=0.5)
        for name, value in (("readout_p01", readout_p01), ("readout_p10", readout_p10))
    ]
    plan = CalibrationDesign(
        mapping,
        1,
        q_scale=q_scale,
        q_bias=q_bias,
        quantum_leak=quantum_leak,
        theta_max=theta_max,
        gaps=gaps,
        circuit=circuit,
    )
    at = torch.stack((plan.q_scale, plan.q_bias, *torch.tensor(errors, dtype=torch.float64)[:, None]), dim=-1)
    units = neuron_units(plan.gaps.T)
    shots = torch.full_like(plan.angles.T, _MANY)
    covariance, _ = information(plan.neuron_model(), at, Binomial(torch.zeros_like(shots), shots), units)
    variance = float(covariance[0, place, place]) * _MANY
    if not variance < _MANY * float(units[0, place]) ** 2:
        raise ArgumentError(
            f"Argument `gaps` must identify `{parameter}`, but no number of shots would: the angles are too similar."
        )
    return max(1, math.ceil(variance / target**2))


def _per_neuron(name: str, value: Tensor | float, neurons: int) -> Tensor:
    """One number for all, or `(neurons,)`; float64 on the CPU and apart from any graph."""
    if not isinstance(value, Tensor):
        return torch.full((neurons,), check.real(name, value), dtype=torch.float64)
    check.shape_of(name, check.finite(name, check.tensor(name, value)), (neurons,))
    return value.detach().to("cpu", torch.float64)


def _per_cell(name: str, value: Tensor, neurons: int, *, least: int = 0) -> Tensor:
    """One column for all, or `(cells, neurons)`; float64 on the CPU and apart from any graph."""
    check.finite(name, check.tensor(name, value))
    if value.ndim not in {1, 2} or len(value) < least or (value.ndim == 2 and value.shape[1] != neurons):
        raise ShapeError(
            f"Argument `{name}` must have shape (points,) or (points, {neurons}), but has shape {tuple(value.shape)}."
        )
    per_neuron = value if value.ndim == 2 else value[:, None].expand(-1, neurons)
    return per_neuron.detach().to("cpu", torch.float64)
