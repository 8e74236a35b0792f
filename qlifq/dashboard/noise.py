"""Noise as something to choose: none, a snapshot of a device, or a few numbers."""

from typing import Protocol

from qlifq.backends import Backend, DeviceNoise, capabilities, get, names
from qlifq.calibration import Calibration

__all__ = ["BACKENDS", "NOISES", "Numbers", "backend_code", "build", "noisy"]

#: Every registered backend. One that runs elsewhere shows what it would cost, and is not run from here.
BACKENDS = names()
NOISES = ("none", "numbers", "fake_torino", "fake_marrakesh", "fake_sherbrooke", "fake_brisbane")


class Numbers(Protocol):
    """A view that tells the numbers of a noise."""

    @property
    def readout_p01(self) -> float:
        """P(read 1 | 0)."""

    @property
    def readout_p10(self) -> float:
        """P(read 0 | 1)."""

    @property
    def gate_error(self) -> float:
        """Average infidelity of a gate."""


def noisy(name: str) -> bool:
    """Whether a backend takes a noise."""
    return capabilities(name).noisy


def build(name: str, noise: str, numbers: Numbers, record: Calibration | None) -> Backend:
    """The backend that was chosen.

    Raises:
        QLIFError: if it cannot be had.
    """
    options: dict[str, object] = {}
    if noise != "none":
        given = {"readout_p01": numbers.readout_p01, "readout_p10": numbers.readout_p10, "gate_error": numbers.gate_error}
        options["noise"] = DeviceNoise(**given) if noise == "numbers" else noise
    if name == "twin" and record is not None:
        options["record"] = record
    return get(name, **options)


def backend_code(name: str, noise: str, numbers: Numbers, record: str) -> str:
    """The Python that builds it; `record` is the file of the twin."""
    if name == "twin":
        return f"get('twin', record=calibration.load({record!r}))"
    if noise == "none":
        return f"get({name!r})"
    if noise != "numbers":
        return f"get({name!r}, noise={noise!r})"
    given = f"readout_p01={numbers.readout_p01!r}, readout_p10={numbers.readout_p10!r}, gate_error={numbers.gate_error!r}"
    return f"get({name!r}, noise=DeviceNoise({given}))"
