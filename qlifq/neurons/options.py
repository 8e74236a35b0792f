"""Checks of what a layer is given beside the parameters of its neurons, before anything is made of it."""

from qlifq import _validation as check
from qlifq.backends import Backend
from qlifq.circuits import RYSpike, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.parameters import Settings
from qlifq.neurons.trains.compiler import TOLERANCE
from qlifq.neurons.trains.obstacles import check_trainable

__all__ = ["check_ignored", "check_loop", "checked_circuit", "checked_shots", "checked_tolerance"]


def checked_circuit(circuit: SpikeCircuit | None) -> SpikeCircuit:
    """What a decision runs: a circuit of one angle, `RYSpike` for None."""
    if circuit is None:
        return RYSpike()
    if not isinstance(circuit, SpikeCircuit):
        raise DtypeError(f"Argument `circuit` must be a SpikeCircuit or None, but is {type(circuit).__name__}.")
    if circuit.num_angles != 1:
        raise ArgumentError(f"Argument `circuit` must take one angle, but takes {circuit.num_angles}: {circuit.draw()}.")
    return circuit


def check_loop(loop: str, settings: Settings, circuit: SpikeCircuit, backend: Backend) -> None:
    """Refuse a loop in the circuit that the neuron or the backend does not have."""
    if loop == "circuit":
        check_trainable(settings, circuit)
        backend.check_trains()


def checked_tolerance(tolerance: float | None, loop: str) -> float:
    """The tolerance of the angles, or why it would be ignored."""
    if loop != "circuit" and tolerance is not None:
        raise UnsupportedError(f"Argument `angle_tolerance` would be ignored: it needs loop='circuit', but is {tolerance!r}.")
    return TOLERANCE if tolerance is None else check.real("angle_tolerance", tolerance, at_least=0.0)


def checked_shots(shots: int | None, settings: Settings, backend: Backend, *, loop: str, neurons: int) -> int | None:
    """The shots per qubit and step, or the reason why it cannot be these.

    Args:
        shots: what the user gave; None for the fewest that the decision needs.
        settings: of a neuron that a qubit decides for.
        backend: who answers.
        loop: where the closed loop runs.
        neurons: how many there are.
    """
    if loop == "circuit":
        if shots not in {None, 1}:
            raise UnsupportedError(
                f"Argument `shots` must be 1 with loop='circuit', where one shot is one train, but is {shots}: "
                "`simulate(..., mode='circuit', shots=...)` keeps more."
            )
        shots = 1
    if settings.decision == "sample":
        backend.check_bounded("decision='sample'")
    if shots is None and not backend.capabilities.exact:
        if settings.decision != "sample":
            raise UnsupportedError(
                f"Argument `shots` must be an integer for decision={settings.decision!r} on backend {backend.name}, "
                "which has no exact mode."
            )
        shots = 1
    backend.check_size(0, neurons * settings.quantum_wire, shots)
    if settings.quantum_wire > 1 and shots is None:
        raise UnsupportedError(
            f"Argument `quantum_wire` would be ignored: pooling qubits needs shots, but is {settings.quantum_wire} without."
        )
    return shots


def check_ignored(shots: int | None, gradient_shots: int | None, backend: Backend, gradient: str) -> None:
    """Refuse what a layer without qubits would ignore."""
    given: dict[str, object] = {
        "shots": shots,
        "gradient_shots": gradient_shots,
        "backend": None if backend.name == "analytic" else backend.name,
        "gradient": None if gradient == "auto" else gradient,
    }
    for name, value in given.items():
        if value is not None:
            raise UnsupportedError(f"Argument `{name}` would be ignored: it needs quantum_mode=True, but is {value!r}.")
