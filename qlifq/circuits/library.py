"""The circuits that qlifq knows by name."""

from collections.abc import Callable
from typing import NamedTuple

from qlifq._registry import Registry
from qlifq._validation import choice, real
from qlifq.circuits.circuit import SpikeCircuit
from qlifq.circuits.gates import Gate, Slot

__all__ = ["CIRCUITS", "BrandPetruccione", "LeakySpike", "NamedCircuit", "RYSpike"]


def RYSpike() -> SpikeCircuit:
    """The QLIF decision: RY(θ) on |0⟩, P(1) = sin²(θ/2). One slot: θ, radians.

    Example:
        >>> print(RYSpike().draw())
        |0⟩ ──RY(θ0)──M
    """
    return SpikeCircuit("RYSpike", (Gate("RY", Slot(0)),))


def LeakySpike(leak: float | None = None) -> SpikeCircuit:
    """RY(θ) then RX(λ), as other open projects read arXiv 2407.16398: P(1) = ½(1 − cos θ cos λ).

    Args:
        leak: λ in radians; None makes it the second slot.

    Returns:
        A circuit of the slots (θ, λ), or of θ alone where `leak` is given.

    Raises:
        ArgumentError: if `leak` is not finite.
        DtypeError: if it is not a number.
    """
    angle = Slot(1) if leak is None else real("leak", leak)
    return SpikeCircuit("LeakySpike", (Gate("RY", Slot(0)), Gate("RX", angle)))


def BrandPetruccione(leak: str = "rotation") -> SpikeCircuit:
    """The neuron of Brand and Petruccione, arXiv 2407.16398: RX(φ) re-prepares the population, then input or leak.

    An input spike is RX(φ) RX(θ). A leak is RX(φ) RX(γ) on a simulator, so the same circuit serves both with P(1) =
    sin²((φ + θ)/2); on a device that relaxes it is RX(φ) and a wait.

    Args:
        leak: "rotation", the slots (φ, θ or γ) in radians, or "delay", the slots φ in radians and Δt in seconds.

    Raises:
        ArgumentError: for another `leak`.
    """
    second = "RX" if choice("leak", leak, ("rotation", "delay")) == "rotation" else "Delay"
    return SpikeCircuit("BrandPetruccione", (Gate("RX", Slot(0)), Gate(second, Slot(1))))


class NamedCircuit(NamedTuple):
    """A circuit that is found by name, with its formula in the usual notation.

    A circuit of one's own is one row: `CIRCUITS.register("Mine", NamedCircuit(...))`.

    Args:
        build: makes the circuit.
        formula: its P(1), as people write it.
    """

    build: Callable[[], SpikeCircuit]
    formula: str


#: The circuits by name.
CIRCUITS: Registry[NamedCircuit] = Registry(
    "circuit",
    {
        "RYSpike": NamedCircuit(RYSpike, "P(1) = sin²(θ0/2)"),
        "LeakySpike": NamedCircuit(LeakySpike, "P(1) = ½(1 − cos θ0 cos θ1)"),
        "BrandPetruccione": NamedCircuit(BrandPetruccione, "P(1) = sin²((θ0 + θ1)/2)"),
    },
)
