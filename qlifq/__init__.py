"""Quantum leaky integrate-and-fire neurons whose spike decision runs on circuits, simulators and devices."""

from typing import TYPE_CHECKING

from qlifq.errors import QLIFError

if TYPE_CHECKING:
    from qlifq.neurons import (
        QLIF,
        BrandPetruccione,
        QLIFState,
        Recording,
        SpikingSequential,
        integrate,
        settle,
        simulate,
    )

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


def __getattr__(name: str) -> object:
    # torch takes a second to import: the command line's help and version do without it.
    if name in __all__:
        import qlifq.neurons

        return getattr(qlifq.neurons, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
