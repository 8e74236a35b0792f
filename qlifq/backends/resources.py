"""What a circuit costs on a device, counted on the device's snapshot without running anything."""

from typing import Any, NamedTuple

from qlifq._packages import load
from qlifq.backends.snapshots import load_backend, load_snapshot
from qlifq.circuits import Gate, SpikeCircuit

__all__ = ["Resources", "count_resources"]

#: Gates that a device does by relabelling its frame, in no time.
_VIRTUAL = ("rz", "p", "z", "s", "sdg", "t", "tdg", "u1")


class Resources(NamedTuple):
    """What one evaluation costs.

    Args:
        gates: of the circuit as it is written, without the measurement.
        depth: of the circuit as it is written, with the measurement.
        native: the gates that run on the device, such as "sx 2, rz 2".
        native_depth: their depth, with the measurement.
        pulses: those of them that take time, without delays.
        circuit_seconds: how long one shot runs on the qubit.
        pause_seconds: how long the device pauses before the next shot; None where it does not say.
        qubit: which qubit was looked at, the snapshot's best.
    """

    gates: int
    depth: int
    native: str
    native_depth: int
    pulses: int
    circuit_seconds: float
    pause_seconds: float | None
    qubit: int


def count_resources(circuit: SpikeCircuit, snapshot: str, *, delay_seconds: float = 0.0) -> Resources:
    """Transpile a circuit for the best qubit of a snapshot and count.

    Args:
        circuit: what would run.
        snapshot: name of a snapshot, such as "fake_torino".
        delay_seconds: how long a delay with a slot takes; rounded to what the device can do.

    Returns:
        Its `Resources`.

    Raises:
        QLIFError: for an unknown snapshot, or without the package `qiskit-ibm-runtime`.
    """
    device = load_backend(snapshot, "snapshot")
    qubit = next(iter(load_snapshot(snapshot)))
    written = _with_delay(circuit, _aligned(delay_seconds, device)).to_qiskit()
    transpile = load("qiskit", package="qiskit", feature="Counting resources", install="qiskit").transpile
    native = transpile(written, device, initial_layout=[qubit], optimization_level=1, seed_transpiler=0)
    counts = {name: count for name, count in native.count_ops().items() if name != "measure"}
    pause = getattr(device, "default_rep_delay", None)
    return Resources(
        gates=len(circuit.gates),
        depth=written.depth(),
        native=", ".join(f"{name} {count}" for name, count in sorted(counts.items())),
        native_depth=native.depth(),
        pulses=sum(count for name, count in counts.items() if name not in {*_VIRTUAL, "delay"}),
        circuit_seconds=float(native.estimate_duration(device.target, unit="s")),
        pause_seconds=None if pause is None else float(pause),
        qubit=qubit,
    )


def _with_delay(circuit: SpikeCircuit, seconds: float) -> SpikeCircuit:
    """The circuit with its delays set: the transpiler cannot place one whose duration is open."""
    gates = tuple(Gate("Delay", seconds) if gate.name == "Delay" else gate for gate in circuit.gates)
    return SpikeCircuit(circuit.name, gates)


def _aligned(seconds: float, device: Any) -> float:
    """A duration that the device's clock can do."""
    if device.dt is None:
        return seconds
    grid = device.dt * max(device.target.pulse_alignment, device.target.acquire_alignment)
    return float(round(seconds / grid) * grid)
