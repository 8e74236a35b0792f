"""Where circuits run: the interface, the registry, the noise and the conformance checks."""

from typing import TYPE_CHECKING

from qlifq._lazy import lazy
from qlifq.backends.description import describe_shots, describe_source
from qlifq.backends.registry import capabilities, get, names

if TYPE_CHECKING:
    from qlifq.backends.gradients import evaluate, parameter_shift
    from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
    from qlifq.backends.noise import DeviceNoise
    from qlifq.backends.trains import TrainCall, TrainOutcome
else:
    # torch takes a second to import, and the table of the backends does without it.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Backend": "qlifq.backends.interface",
            "Call": "qlifq.backends.interface",
            "Capabilities": "qlifq.backends.interface",
            "DeviceNoise": "qlifq.backends.noise",
            "Outcome": "qlifq.backends.interface",
            "Plan": "qlifq.backends.interface",
            "TrainCall": "qlifq.backends.trains",
            "TrainOutcome": "qlifq.backends.trains",
            "evaluate": "qlifq.backends.gradients",
            "parameter_shift": "qlifq.backends.gradients",
        },
    )

__all__ = [
    "Backend",
    "Call",
    "Capabilities",
    "DeviceNoise",
    "Outcome",
    "Plan",
    "TrainCall",
    "TrainOutcome",
    "capabilities",
    "describe_shots",
    "describe_source",
    "evaluate",
    "get",
    "names",
    "parameter_shift",
]
