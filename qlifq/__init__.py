"""Quantum leaky integrate-and-fire neurons whose spike decision runs on circuits, simulators and devices."""

from typing import TYPE_CHECKING

from qlifq._lazy import lazy
from qlifq._version import __version__
from qlifq.errors import QLIFError

if TYPE_CHECKING:
    from qlifq import backends, calibration, circuits, interop, neurons, plot, random, reporting, studies, training
    from qlifq.neurons import (
        QLIF,
        BrandPetruccione,
        Dynamics,
        LeakyIntegrator,
        QLIFState,
        Readout,
        Recording,
        Recurrent,
        Settings,
        SpikingSequential,
        TimeDropout,
        detach,
        integrate,
        record,
        settle,
        simulate,
    )
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "backends": "qlifq.backends",
            "calibration": "qlifq.calibration",
            "circuits": "qlifq.circuits",
            "interop": "qlifq.interop",
            "neurons": "qlifq.neurons",
            "plot": "qlifq.plot",
            "random": "qlifq.random",
            "reporting": "qlifq.reporting",
            "studies": "qlifq.studies",
            "training": "qlifq.training",
            "QLIF": "qlifq.neurons",
            "BrandPetruccione": "qlifq.neurons",
            "Dynamics": "qlifq.neurons",
            "QLIFState": "qlifq.neurons",
            "Recording": "qlifq.neurons",
            "Settings": "qlifq.neurons",
            "SpikingSequential": "qlifq.neurons",
            "integrate": "qlifq.neurons",
            "LeakyIntegrator": "qlifq.neurons",
            "Readout": "qlifq.neurons",
            "Recurrent": "qlifq.neurons",
            "TimeDropout": "qlifq.neurons",
            "detach": "qlifq.neurons",
            "record": "qlifq.neurons",
            "settle": "qlifq.neurons",
            "simulate": "qlifq.neurons",
        },
    )

__all__ = [
    "QLIF",
    "BrandPetruccione",
    "Dynamics",
    "LeakyIntegrator",
    "QLIFError",
    "QLIFState",
    "Readout",
    "Recording",
    "Recurrent",
    "Settings",
    "SpikingSequential",
    "TimeDropout",
    "__version__",
    "backends",
    "calibration",
    "circuits",
    "detach",
    "integrate",
    "interop",
    "neurons",
    "plot",
    "random",
    "record",
    "reporting",
    "settle",
    "simulate",
    "studies",
    "training",
]
