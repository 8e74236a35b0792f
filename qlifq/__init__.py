"""Quantum leaky integrate-and-fire neurons whose spike decision runs on circuits, simulators and devices."""

from qlifq.errors import QLIFError
from qlifq.neurons import QLIF, BrandPetruccione, QLIFState, Recording, SpikingSequential, integrate, settle, simulate

__all__ = [
    "QLIF",
    "BrandPetruccione",
    "QLIFError",
    "QLIFState",
    "Recording",
    "SpikingSequential",
    "__version__",
    "integrate",
    "settle",
    "simulate",
]
__version__ = "0.1.0"
