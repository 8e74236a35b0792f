"""Noise as something to choose: none, a snapshot of a device, or a few numbers."""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar

from qlifq.backends import Backend, Capabilities, DeviceNoise, capabilities, get, names
from qlifq.backends.snapshots import load_snapshot
from qlifq.calibration import Calibration
from qlifq.dashboard.controls import control
from qlifq.errors import ArgumentError, QLIFError
from qlifq.neurons.parameters import Need

__all__ = [
    "BACKENDS",
    "CAPABILITIES",
    "IMPORTS",
    "NOISES",
    "SNAPSHOTS",
    "Numbers",
    "backend_code",
    "build",
    "default_noise",
    "in_vendor_thread",
    "noisy",
    "number",
]

P = ParamSpec("P")
T = TypeVar("T")
_WORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backends")


def in_vendor_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the one thread that all vendors are used from.

    Every run of a page is a thread of its own, and Qiskit crashes the process where a later one uses what an earlier one,
    since ended, was the first to use.
    """
    return _WORKER.submit(function, *args, **kwargs).result()


def _installed() -> dict[str, Capabilities]:
    found = {}
    # One whose package is missing is not offered.
    for name in names():
        with contextlib.suppress(QLIFError):
            found[name] = capabilities(name)
    return found


#: What every registered backend can do, as far as it is installed.
CAPABILITIES = in_vendor_thread(_installed)
#: One on another machine shows what it would cost, and is not run from here.
BACKENDS = tuple(CAPABILITIES)
SNAPSHOTS = ("fake_torino", "fake_marrakesh", "fake_sherbrooke", "fake_brisbane")
#: The line of imports that `backend_code` needs.
IMPORTS = "from qlifq.backends import DeviceNoise, get"
NOISES = ("none", "numbers", *SNAPSHOTS)


class Numbers(Protocol):
    """A view with the numbers of a noise, and for how many qubits."""

    @property
    def neurons(self) -> int:
        """Qubits."""

    @property
    def readout_p01(self) -> float:
        """P(read 1 | 0)."""

    @property
    def readout_p10(self) -> float:
        """P(read 0 | 1)."""

    @property
    def gate_error(self) -> float:
        """Average infidelity of a gate."""


#: The numbers of a noise as controls: value at first, what it is, its greatest value, and its label.
_NUMBERS: Mapping[str, tuple[float, str, float, str]] = MappingProxyType(
    {
        "readout_p01": (0.02, "probability that 0 is read as 1", 1.0, "Readout error P(1 | 0)"),
        "readout_p10": (0.05, "probability that 1 is read as 0", 1.0, "Readout error P(0 | 1)"),
        "gate_error": (0.001, "average infidelity of a gate", 0.5, "Gate error (average infidelity)"),
        "reset_error": (0.01, "probability that a reset leaves the qubit in |1⟩", 1.0, "Reset error (probability)"),
    }
)


def number(name: str, group: str, need: Need) -> Any:  # a dataclass field takes the type of its annotation
    """A field of a view that is a number of its noise."""
    default, doc, most, label = _NUMBERS[name]
    return control(default, "real", group, doc, need=need, at_least=0.0, at_most=most, label=label)


def noisy(name: str) -> bool:
    """Whether a backend takes a noise; one with a device takes the snapshot of one in its place."""
    return CAPABILITIES[name].device or CAPABILITIES[name].noisy


def default_noise(name: str) -> str:
    """What a page begins with."""
    return SNAPSHOTS[0] if CAPABILITIES[name].device else "none"


def build(name: str, noise: str, numbers: Numbers, record: Calibration | None) -> Backend:
    """The backend that was chosen.

    Raises:
        QLIFError: if it cannot be had.
    """
    can = CAPABILITIES[name]
    if can.device:
        if noise not in SNAPSHOTS:
            raise ArgumentError(
                f"Backend {name} needs a device, one of {', '.join(SNAPSHOTS)} as its noise, but has {noise!r}."
            )
        return get(name, device=noise)
    options: dict[str, object] = {}
    if noise != "none":
        options["noise"] = noise if can.snapshots and noise in SNAPSHOTS else _as_numbers(noise, numbers)
    if can.record and record is not None:
        options["record"] = record
    return get(name, **options)


def backend_code(name: str, noise: str, numbers: Numbers, record: str) -> str:
    """The Python that builds it; `record` is the file of the twin."""
    can = CAPABILITIES[name]
    if can.device:
        return f"get({name!r}, device={noise!r})"
    if can.record:
        return f"get({name!r}, record=calibration.load({record!r}))"
    if noise == "none":
        return f"get({name!r})"
    if noise in SNAPSHOTS:
        if can.snapshots:
            return f"get({name!r}, noise={noise!r})"
        return f"get({name!r}, noise=DeviceNoise.from_snapshot({noise!r}, {_best(noise, numbers.neurons)}))"
    given = ", ".join(f"{name}={value!r}" for name, value in _given(numbers).items())
    return f"get({name!r}, noise=DeviceNoise({given}))"


def _given(numbers: Numbers) -> dict[str, float]:
    return {"readout_p01": numbers.readout_p01, "readout_p10": numbers.readout_p10, "gate_error": numbers.gate_error}


def _as_numbers(noise: str, numbers: Numbers) -> DeviceNoise:
    """For backends that know no snapshots: those that were given, or those of the qubits that Aer would take."""
    if noise == "numbers":
        return DeviceNoise(**_given(numbers))
    return DeviceNoise.from_snapshot(noise, _best(noise, numbers.neurons))


def _best(snapshot: str, neurons: int) -> tuple[int, ...]:
    return tuple(load_snapshot(snapshot))[:neurons]
