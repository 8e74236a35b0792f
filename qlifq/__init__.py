"""Quantum leaky integrate-and-fire neurons whose spike decision runs on circuits, simulators and devices."""

from qlifq.errors import QLIFError

__all__ = ["QLIFError", "__version__"]
__version__ = "0.1.0"
