"""Any device of PennyLane, packed on its wires and batched in one submission."""

import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, final

import numpy as np
import pennylane as qml
from pennylane.devices import Device, LegacyDevice, LegacyDeviceFacade, QubitDevice
from pennylane.tape import QuantumScript

from qlifq._validation import integer, unknown
from qlifq.backends.batching import Batch, Floats, on_host, rounded_into_range, same_rows, shot_parts, spread
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome, Plan
from qlifq.backends.noise import DeviceNoise, SiteNoise
from qlifq.backends.pennylane_noise import channels, check_noise_model, describe_simulator, readout_channel
from qlifq.circuits import Packing, Slot, SpikeCircuit
from qlifq.errors import ArgumentError, BackendError, DtypeError, UnsupportedError

__all__ = ["PennyLaneBackend"]


class _Simulator(NamedTuple):
    """A device that runs on this machine.

    Args:
        wires: how many evaluations suit one circuit.
        mixed: whether it keeps density matrices, of 4^wires numbers.
        noise_options: those of its options that are noise.
    """

    wires: int = 8
    mixed: bool = False
    noise_options: tuple[str, ...] = ()


#: Devices that run here. Any other may run on somebody else's machine: it counts as remote, and its wires as different.
_SIMULATORS = {
    "default.qubit": _Simulator(4),
    "default.mixed": _Simulator(1, mixed=True, noise_options=("readout_prob",)),
    "reference.qubit": _Simulator(1),
    "lightning.qubit": _Simulator(),
    "lightning.kokkos": _Simulator(),
    "lightning.gpu": _Simulator(),
    "lightning.amdgpu": _Simulator(),
    "qulacs.simulator": _Simulator(),
    "qrack.simulator": _Simulator(),
    "qiskit.aer": _Simulator(noise_options=("noise_model", "backend")),
    "qiskit.basicsim": _Simulator(),
    "braket.local.qubit": _Simulator(noise_options=("noise_model", "backend")),
    "cirq.simulator": _Simulator(),
    "cirq.mixedsimulator": _Simulator(1, mixed=True),
}
#: What belongs to a call or is an argument of the backend.
_OF_THE_CALL = ("shots", "seed")
#: The most numbers that one submission leaves until it is read.
_JOB_NUMBERS = 2**20
_ROTATIONS = {"RX": qml.RX, "RY": qml.RY, "RZ": qml.RZ}
#: Devices of the older kind draw from NumPy's global generator, one at a time.
_GLOBAL_GENERATOR = threading.Lock()


@final
class PennyLaneBackend(Backend):
    """Circuits on any PennyLane device: its wires side by side, the parameter sets of a call as one batch.

    A circuit is one tape whose angles are arrays, which a device that knows broadcasting runs at once; PennyLane expands it
    for any other. All tapes of a submission go through one `pennylane.execute`. The plan counts as `jobs` what the device
    runs one by one, and as `qubits` what stands side by side.

    Args:
        device: a name such as "lightning.kokkos" or "braket.aws.qubit", or a device object; None for "default.qubit", and
            for "default.mixed" where there is a noise. By name a simulator is seeded by each call. A device object draws from
            its own generator, and one on another machine as it does: `capabilities.seeded` says which.
        noise: for a device with mixed states: a `DeviceNoise`, which follows each RX and RY as written, or a
            `pennylane.NoiseModel`, whose wire s is site s and whose circuits run one by one. None leaves the device its own.
        wires: evaluations side by side in one circuit, 1 to 64; None for what suits the device, or all of a device object.
        **device_options: what the device's constructor takes, such as `c_dtype` or `device_arn`.

    Raises:
        QLIFError: for an unknown device, one that cannot be built, a noise that it cannot have, or an option that it does not
            take.

    Example:
        >>> import torch
        >>> from qlifq.circuits import RYSpike
        >>> angles = torch.tensor([[[0.0], [torch.pi / 2], [torch.pi]]], dtype=torch.float64)
        >>> PennyLaneBackend("default.mixed").run(RYSpike(), angles, shots=None, seed=None).probability
        tensor([[0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """

    name = "pennylane"
    capabilities = Capabilities(exact=True, shots=True, noisy=True, differentiable=False)

    def __init__(
        self,
        device: "str | Device | LegacyDevice | None" = None,
        noise: "DeviceNoise | qml.NoiseModel | None" = None,
        *,
        wires: int | None = None,
        **device_options: object,
    ) -> None:
        if device is None:
            device = "default.qubit" if noise is None else "default.mixed"
        if noise is not None and not isinstance(noise, DeviceNoise | qml.NoiseModel):
            raise DtypeError(
                f"Argument `noise` must be a DeviceNoise, a pennylane.NoiseModel or None, but is {type(noise).__name__}."
            )
        self.noise = noise
        self._options = device_options
        given = None if wires is None else integer("wires", wires, at_least=1, at_most=64)
        if isinstance(device, str):
            self._make: Any = _constructor(device, device_options)
            simulator = _SIMULATORS.get(device)
            self.wires = given or (simulator or _Simulator()).wires
            self._device = self._new(None)
            self._labels: Sequence[object] = range(self.wires)
        else:
            self._make = None
            self._device = _as_device(device, device_options)
            simulator = _SIMULATORS.get(self._device.name)
            own = self._device.wires
            self.wires = min(given or len(own or range(8)), len(own or range(64)))
            self._labels = list(own or range(self.wires))[: self.wires]
        self._mixed = simulator is not None and simulator.mixed
        #: What the device is called.
        self.device = str(self._device.name)
        self._reseeds = simulator is not None and self._make is not None and _takes(self._make, "seed")
        #: Of the older kind: run one by one, unless it says otherwise, and mostly drawn from NumPy's global generator.
        old = getattr(self._device, "target_device", None)
        self._one_by_one = isinstance(old, QubitDevice) and type(old).batch_execute is QubitDevice.batch_execute
        self._global = isinstance(old, QubitDevice) and type(old).generate_samples is QubitDevice.generate_samples
        rotation = qml.RY(0.3, self._labels[0])
        exact = simulator is not None and self._trouble(rotation, None) is None
        if simulator is not None and not exact and (trouble := self._trouble(rotation, 1)) is not None:
            raise ArgumentError(f"Argument `device` {self.device} cannot run a rotation: {trouble}") from trouble
        self.capabilities = Capabilities(
            exact=exact,
            shots=True,
            noisy=True,
            differentiable=False,
            remote=simulator is None,
            seeded=self._reseeds or (simulator is not None and self._global),
        )
        channel = qml.DepolarizingChannel(0.1, self._labels[0])
        if noise is not None and (simulator is None or self._trouble(channel, None) is not None):
            raise UnsupportedError(
                f"Argument `noise` must be None for device {self.device}, which has no mixed states here: default.mixed has."
            )
        self.sites: int | None = noise.sites if isinstance(noise, DeviceNoise) else None
        if isinstance(noise, qml.NoiseModel):
            check_noise_model(noise)
        known = simulator is not None and self._make is not None
        #: Whether a site needs its own wire, since the wires may differ.
        self._own_wires = not known or isinstance(noise, qml.NoiseModel) or self.sites is not None
        own_noise = {
            key: device_options[key] for key in (simulator.noise_options if simulator else ()) if key in device_options
        }
        reported = describe_simulator(noise, own_noise) if known else None
        self.facts = {
            "device" if simulator is None else "simulator": self.device,
            **({} if reported is None else {"noise": reported}),
        }
        #: Whether a delay is known to do nothing, or what it does.
        self._delays = isinstance(noise, DeviceNoise) or (noise is None and reported == "none")

    def _execute(self, call: Call) -> Outcome:
        return on_host(call, lambda batch: self._run_all(call, batch))

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """See `Backend.check_circuit`: PennyLane has no delay, which only a simulator of known noise can do without."""
        super().check_circuit(circuit, sites)
        if circuit.has_delay and not self._delays:
            raise UnsupportedError(
                f"Argument `circuit` must have no delay on device {self.device} of backend pennylane, which has no such gate, "
                f"but is {circuit.draw()}: a DeviceNoise says what a delay does."
            )

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`; circuits with delays are counted as if all delays of a slot were equal."""
        self.check_size(batch, sites, shots)
        self.check_circuit(circuit, sites)
        evaluations = batch * sites
        if not evaluations:
            return Plan(evaluations=0, circuits=0, qubits=0, jobs=0, executions=0)
        width = min(self.wires, sites if self._own_wires else evaluations)
        turns = -(-sites // width) if self._own_wires else 1
        circuits = batch * turns if self._own_wires else -(-evaluations // width)
        # A noise model is applied tape by tape, and PennyLane's mixed states then run one tape after the other.
        jobs = (
            circuits if self._one_by_one or isinstance(self.noise, qml.NoiseModel) else -(-circuits // self._rows(width, shots))
        )
        return Plan(
            evaluations=evaluations,
            circuits=circuits,
            qubits=width,
            jobs=jobs * len(self._parts(width, shots)),
            executions=circuits * (shots or 0),
            turns=turns,
        )

    def _new(self, seed: int | None) -> Any:
        """The device by its name."""
        options = dict(self._options) | ({"seed": seed} if _takes(self._make, "seed") else {})
        try:
            return qml.device(self._make.name, wires=self.wires, **options)
        except Exception as error:
            raise ArgumentError(f"Argument `device` {self._make.name} cannot be built: {error}") from error

    def _rows(self, width: int, shots: int | None) -> int:
        """How many circuits go in one submission; a remote one takes all of them."""
        if self.capabilities.remote:
            return 2**31
        numbers: int = max((4 if self._mixed else 2) ** width, width * min(shots or 0, _JOB_NUMBERS))
        return max(1, _JOB_NUMBERS // numbers)

    def _parts(self, width: int, shots: int | None) -> Sequence[int | None]:
        if shots is None or self.capabilities.remote:
            return [shots]
        return shot_parts(shots, _JOB_NUMBERS // width)

    def _run_all(self, call: Call, batch: Batch) -> Floats:
        """P(1) or the number of ones of each evaluation."""
        laid = spread(batch, self.wires, call.sites if self._own_wires else None)
        circuits, width, _ = laid.values.shape
        found = np.zeros((circuits, width))
        delays = (
            laid.values[:, :, call.circuit.delay_slots].reshape(circuits, -1)
            if self.noise is not None
            else np.zeros((circuits, 0))
        )
        turns = laid.turns[:, None] if self.sites is not None else np.zeros((circuits, 0))
        groups = same_rows(np.column_stack((turns, delays)))
        device = self._new(call.seed) if self._reseeds else self._device
        if isinstance(self.noise, qml.NoiseModel):
            device = qml.add_noise(device, self.noise)
        turned = any(isinstance(gate.angle, Slot) and gate.name != "Delay" for gate in call.circuit.gates)
        if isinstance(self.noise, qml.NoiseModel) or not turned:
            # A model may compute a channel from the angle of a gate, which an array of angles would break; and a tape
            # without such an array is run once.
            groups = [np.array([row]) for row in range(circuits)]
        size = self._rows(width, call.shots)
        with _seeded(call.seed) if self._global else _nothing():
            for pieces in _submissions(groups, size):
                tapes = [self._operations(call.circuit, laid.values[rows], int(laid.turns[rows[0]])) for rows in pieces]
                for shots in self._parts(width, call.shots):
                    for rows, each in zip(pieces, self._submit(device, tapes, width, shots), strict=True):
                        found[rows] += each.reshape(len(rows), width)
        values = found[laid.rows, laid.wires]
        return rounded_into_range(values) if call.shots is None else values

    def _submit(self, device: Any, tapes: list[list[Any]], width: int, shots: int | None) -> list[Floats]:
        """One submission: for each tape P(1) or the number of ones, `(rows × width,)`."""
        wires = self._labels[:width]
        measurement = qml.probs(wires=wires) if shots is None else qml.sample(wires=wires)
        try:
            results = qml.execute([QuantumScript(tape, [measurement], shots=shots) for tape in tapes], device, diff_method=None)
        except Exception as error:
            raise BackendError(f"Device {self.device} failed: {error}") from error
        if shots is None:
            arrays = [np.asarray(result, dtype=np.float64).reshape(-1, 2**width) for result in results]
            return [Packing(len(array) * width, width).marginals(array) for array in arrays]
        return [np.asarray(result).reshape(-1, shots, width).sum(axis=1).ravel().astype(np.float64) for result in results]

    def _operations(self, circuit: SpikeCircuit, values: Floats, turn: int) -> list[Any]:
        """One tape for circuits that differ in the angles of rotations alone; values is `(rows, width, num_angles)`."""
        rows, width, _ = values.shape
        operations: list[Any] = []
        for place, wire in enumerate(self._labels[:width]):
            noise = self._at(turn * width + place)
            for gate in circuit.gates:
                if isinstance(gate.angle, Slot):
                    given = values[:, place, gate.angle.index]
                    angle: Any = given if rows > 1 and gate.name != "Delay" else float(given[0])
                else:
                    angle = gate.angle
                if gate.name != "Delay":
                    operations.append(_ROTATIONS[gate.name](angle, wires=wire))
                if noise is not None and not gate.is_virtual:
                    operations += channels(noise, angle if gate.name == "Delay" else None, wire)
            if noise is not None:
                operations += readout_channel(noise, wire)
        return operations

    def _at(self, site: int) -> SiteNoise | None:
        """The noise of a site; that of the last one for what only fills a circuit."""
        if not isinstance(self.noise, DeviceNoise):
            return None
        return self.noise.at(min(site, (self.sites or site + 1) - 1))

    def _trouble(self, operation: Any, shots: int | None) -> Exception | None:
        """Why a simulator cannot run this operation; None where it can, since a simulator costs nothing to try."""
        try:
            self._submit(self._device, [[operation]], 1, shots)
        except BackendError as error:
            return error
        return None


def _submissions(groups: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Groups of circuits in submissions of at most `size` circuits; a group may be cut."""
    job: list[Any] = []
    room = size
    for group in groups:
        rest = group
        while len(rest):
            part, rest = rest[:room], rest[room:]
            job.append(part)
            room -= len(part)
            if not room:
                yield job
                job, room = [], size
    if job:
        yield job


def _constructor(device: str, options: dict[str, object]) -> Any:
    """The entry point of a device, whose constructor takes these options."""
    if device not in qml.plugin_devices:
        raise unknown("device", device, sorted(qml.plugin_devices))
    point = qml.plugin_devices[device]
    for option in options:
        if option in _OF_THE_CALL:
            raise UnsupportedError(f"Argument `{option}` belongs to each call and not to device {device}.")
        if not _takes(point, option):
            raise ArgumentError(f"Device {device} has no option `{option}`: its options are {', '.join(_parameters(point))}.")
    return point


def _as_device(device: object, options: dict[str, object]) -> Any:
    """A device object, one of the older kind behind PennyLane's facade."""
    if not isinstance(device, Device | LegacyDevice):
        raise DtypeError(f"Argument `device` must be the name of a PennyLane device or one, but is {type(device).__name__}.")
    if options:
        raise UnsupportedError(
            f"Argument `{next(iter(options))}` would be ignored: {device.name} is a device that is built already."
        )
    bare = isinstance(device, LegacyDevice) and not isinstance(device, LegacyDeviceFacade)
    return LegacyDeviceFacade(device) if bare else device


def _parameters(point: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(point.load()).parameters)
    except ImportError as error:
        raise ArgumentError(f"Device {point.name} cannot be imported: {error}") from error


def _takes(point: Any, option: str) -> bool:
    """Whether a device's constructor has an option; where it has any, all but a seed, which it would drop in silence."""
    found = _parameters(point)
    return option in found or (option not in _OF_THE_CALL and any(each.kind is each.VAR_KEYWORD for each in found.values()))


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """NumPy's global generator with this seed, and afterwards as it was before."""
    with _GLOBAL_GENERATOR:
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(np.random.SeedSequence(seed).generate_state(8))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _nothing() -> Iterator[None]:
    yield
