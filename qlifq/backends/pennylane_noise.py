"""Noise on PennyLane's devices with mixed states."""

import hashlib
from typing import Any

import numpy as np
import pennylane as qml

from qlifq.backends.noise import DeviceNoise, SiteNoise, describe_noise
from qlifq.errors import UnsupportedError

__all__ = ["channels", "check_noise_model", "describe_simulator", "readout_channel"]


def channels(noise: SiteNoise, delay: float | None, wire: object) -> list[Any]:
    """What follows an RX or RY, or with a time is a delay."""
    time = noise.gate_time if delay is None else delay
    found = []
    if delay is None and noise.gate_error:
        # PennyLane's p of the three Pauli errors together: (1 − 4p/3) ρ + 4p/3 ½.
        found.append(qml.DepolarizingChannel(1.5 * noise.gate_error, wires=wire))
    if time and (np.isfinite(noise.t1) or np.isfinite(noise.t2)):
        # The bound on T2 is 2 T1 but for rounding, which PennyLane does not forgive.
        found.append(qml.ThermalRelaxationError(0.0, noise.t1, min(noise.t2, 2 * noise.t1), time, wires=wire))
    return found


def readout_channel(noise: SiteNoise, wire: object) -> list[Any]:
    """The errors of reading as a channel before the measurement."""
    p01, p10 = noise.readout_p01, noise.readout_p10
    if not (p01 or p10):
        return []
    kraus = np.zeros((4, 2, 2))
    kraus[0, 0, 0], kraus[1, 1, 0], kraus[2, 1, 1], kraus[3, 0, 1] = np.sqrt([1 - p01, p01, 1 - p10, p10])
    return [qml.QubitChannel(list(kraus), wires=wire)]


def check_noise_model(model: Any) -> None:
    """Refuse an error of a measurement that PennyLane would drop."""
    for condition in model.meas_map:
        if not (condition(qml.probs(wires=[0])) and condition(qml.sample(wires=[0]))):
            raise UnsupportedError(
                f"Argument `noise` must have readout errors that act on qml.probs and qml.sample, which this backend measures, "
                f"but has one for {condition!r}."
            )


def describe_simulator(noise: object, options: dict[str, object]) -> str:
    """The noise of a simulator that was built here."""
    if isinstance(noise, qml.NoiseModel):
        return f"noise model, sha256 {hashlib.sha256(repr(noise).encode()).hexdigest()[:16]}"
    own = [f"{key}={value}" for key, value in options.items() if value]
    given = describe_noise(noise if isinstance(noise, DeviceNoise) else None)
    return ", ".join([*([] if own and given == "none" else [given]), *own])
