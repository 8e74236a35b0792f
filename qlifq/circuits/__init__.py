"""What is asked of a qubit: circuits as data, their closed form and their translations."""

from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Gate, Slot
from qlifq.circuits.library import CIRCUITS, BrandPetruccione, LeakySpike, RYSpike
from qlifq.circuits.packing import Packing
from qlifq.circuits.sinusoidal import Law

__all__ = ["CIRCUITS", "BrandPetruccione", "Gate", "Law", "LeakySpike", "Packing", "RYSpike", "Slot", "SpikeCircuit"]
