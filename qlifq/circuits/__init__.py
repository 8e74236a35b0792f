"""What is asked of a qubit: circuits as data, their closed form and their translations."""

from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Gate, Slot
from qlifq.circuits.library import CIRCUITS, BrandPetruccione, LeakySpike, RYSpike
from qlifq.circuits.packing import Packing
from qlifq.circuits.sinusoidal import SinusoidalResponse

__all__ = [
    "CIRCUITS",
    "BrandPetruccione",
    "Gate",
    "LeakySpike",
    "Packing",
    "RYSpike",
    "SinusoidalResponse",
    "Slot",
    "SpikeCircuit",
]
