"""Where a qubit is asked: the interface, the registry, the noise and the conformance checks."""

from qlifq.backends.description import describe_shots, describe_source
from qlifq.backends.gradients import evaluate, parameter_shift
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.noise import DeviceNoise
from qlifq.backends.registry import capabilities, get, names

__all__ = [
    "Backend",
    "Call",
    "Capabilities",
    "DeviceNoise",
    "Outcome",
    "Plan",
    "capabilities",
    "describe_shots",
    "describe_source",
    "evaluate",
    "get",
    "names",
    "parameter_shift",
]
