"""What runs on a qubit: circuits as data, their closed form and their translations."""

from typing import TYPE_CHECKING

from qlifq._lazy import lazy
from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Gate, Slot
from qlifq.circuits.library import CIRCUITS, BrandPetruccione, LeakySpike, NamedCircuit, RYSpike

if TYPE_CHECKING:
    from qlifq.circuits.packing import Packing
    from qlifq.circuits.sinusoidal import SinusoidalResponse, excitation, excitation_at
    from qlifq.circuits.trains.circuit import Condition, SpikeTrainCircuit
else:
    # What is made of tensors and arrays: a circuit is data, and drawing one needs neither.
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Condition": "qlifq.circuits.trains.circuit",
            "Packing": "qlifq.circuits.packing",
            "SinusoidalResponse": "qlifq.circuits.sinusoidal",
            "SpikeTrainCircuit": "qlifq.circuits.trains.circuit",
            "excitation": "qlifq.circuits.sinusoidal",
            "excitation_at": "qlifq.circuits.sinusoidal",
        },
    )

__all__ = [
    "CIRCUITS",
    "BrandPetruccione",
    "Condition",
    "Gate",
    "LeakySpike",
    "NamedCircuit",
    "Packing",
    "RYSpike",
    "SinusoidalResponse",
    "Slot",
    "SpikeCircuit",
    "SpikeTrainCircuit",
    "excitation",
    "excitation_at",
]
