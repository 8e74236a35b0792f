"""The closed form of any one-qubit circuit: a Bloch vector under affine maps.

A one-qubit state is a vector (x, y, z) in the unit ball, |0⟩ is (0, 0, 1), and P(|1⟩) = (1 − z)/2. A rotation turns the
vector; relaxation, dephasing and depolarisation contract it and pull z towards 1. So the probability of any gate list,
with or without noise, follows from the list itself, elementwise on torch tensors and differentiably.

Reference: Nielsen and Chuang, Quantum Computation and Quantum Information, sections 4.2 and 8.3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from qlifq.circuits.gates import Gate, Slot
from qlifq.circuits.sinusoidal import excitation, excitation_at

__all__ = ["Channel", "Contraction", "probability", "vector"]

Scalar = Tensor | float


class Contraction(NamedTuple):
    """A noise channel on the Bloch vector: x, y ← transverse · (x, y) and z ← longitudinal · z + shift."""

    transverse: Scalar
    longitudinal: Scalar
    shift: Scalar


class Channel(Protocol):
    """Gives the noise that follows a gate, or None where there is none."""

    def __call__(self, gate: Gate, value: Scalar, /) -> Contraction | None:
        """The noise after `gate`, run with `value` in radians or seconds."""
        ...


def probability(gates: Sequence[Gate], angles: Tensor, channel: Channel | None = None) -> Tensor:
    """P(|1⟩) after a gate list, before any readout error.

    Args:
        gates: the circuit, in the order in which it runs.
        angles: shape `(..., num_angles)`, radians (seconds for a delay).
        channel: the noise after each gate, broadcastable with `(...)`.

    Returns:
        Shape `(...)`, within [0, 1].
    """
    if channel is None and (axis := _only_axis(gates)) is not None:
        return _about_one_axis(gates, angles, axis)
    z = vector(gates, angles, channel)[2]
    population = torch.as_tensor(0.5 * (1.0 - z), dtype=angles.dtype, device=angles.device)
    # Rounding can leave [0, 1] by an ulp; the derivative vanishes there, so the clamp takes nothing from the gradient.
    return population.clamp(0.0, 1.0).expand(angles.shape[:-1])


def vector(gates: Sequence[Gate], angles: Tensor, channel: Channel | None = None) -> tuple[Scalar, Scalar, Scalar]:
    """The Bloch vector (x, y, z) after a gate list; |0⟩ is (0, 0, 1). Arguments as for `probability`."""
    x: Scalar = 0.0
    y: Scalar = 0.0
    z: Scalar = 1.0
    for gate in gates:
        value = _value(gate, angles)
        if gate.name != "Delay":
            cosine, sine = _cos_sin(value)
            if gate.name == "RX":
                y, z = y * cosine - z * sine, y * sine + z * cosine
            elif gate.name == "RY":
                z, x = z * cosine - x * sine, z * sine + x * cosine
            else:
                x, y = x * cosine - y * sine, x * sine + y * cosine
        contraction = None if channel is None else channel(gate, value)
        if contraction is not None:
            x, y = x * contraction.transverse, y * contraction.transverse
            z = z * contraction.longitudinal + contraction.shift
    return x, y, z


def _only_axis(gates: Sequence[Gate]) -> str | None:
    """The rotation that all gates but delays are, if it is RX or RY, or None."""
    names = {gate.name for gate in gates} - {"Delay"}
    return next(iter(names)) if names in ({"RX"}, {"RY"}) else None


def _about_one_axis(gates: Sequence[Gate], angles: Tensor, axis: str) -> Tensor:
    """sin²(Σθ/2): faster than the Bloch vector, and exact to the last bits where P(1) is small."""
    values = [_value(gate, angles) for gate in gates if gate.name == axis]
    total = sum(values[1:], start=values[0])
    if isinstance(total, Tensor):
        return excitation(total)
    return angles.new_full(angles.shape[:-1], excitation_at(total))


def _value(gate: Gate, angles: Tensor) -> Scalar:
    return angles[..., gate.angle.index] if isinstance(gate.angle, Slot) else gate.angle


def _cos_sin(value: Scalar) -> tuple[Scalar, Scalar]:
    if isinstance(value, Tensor):
        return value.cos(), value.sin()
    return math.cos(value), math.sin(value)
