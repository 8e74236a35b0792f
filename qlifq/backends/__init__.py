"""Where a qubit is asked: the interface, the registry, the noise and the conformance checks."""

from qlifq.backends.gradients import evaluate, parameter_shift
from qlifq.backends.interface import Backend, Capabilities, Outcome, Plan
from qlifq.backends.noise import DeviceNoise
from qlifq.backends.registry import capabilities, get, names

__all__ = [
    "Backend",
    "Capabilities",
    "DeviceNoise",
    "Outcome",
    "Plan",
    "capabilities",
    "evaluate",
    "get",
    "names",
    "parameter_shift",
]
