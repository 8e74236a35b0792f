"""Noise as something to choose: none, a snapshot of a device, or a few numbers."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from qlifq.backends import Backend, Capabilities, DeviceNoise, capabilities, get, names
from qlifq.backends.snapshots import load_backend, load_snapshot
from qlifq.calibration import Calibration
from qlifq.errors import ArgumentError, QLIFError

__all__ = ["BACKENDS", "CAPABILITIES", "NOISES", "SNAPSHOTS", "Numbers", "ask", "backend_code", "build", "imports", "noisy"]

P = ParamSpec("P")
T = TypeVar("T")
_WORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backends")


def ask(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in the one thread that all vendors are used from.

    Every run of a page is a thread of its own, and Qiskit crashes the process where a later one uses what an earlier one,
    since ended, was the first to use.
    """
    return _WORKER.submit(function, *args, **kwargs).result()


def _installed() -> dict[str, Capabilities]:
    found = {}
    for name in names():
        with contextlib.suppress(QLIFError):
            found[name] = capabilities(name)
    return found


#: What every registered backend can do, as far as it is installed.
CAPABILITIES = ask(_installed)
#: One that runs elsewhere shows what it would cost, and is not run from here.
BACKENDS = tuple(CAPABILITIES)
SNAPSHOTS = ("fake_torino", "fake_marrakesh", "fake_sherbrooke", "fake_brisbane")
NOISES = ("none", "numbers", *SNAPSHOTS)


class Numbers(Protocol):
    """A view that tells the numbers of a noise, and for how many qubits."""

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


def noisy(name: str) -> bool:
    """Whether a backend takes a noise; that of `ibm` is the device itself."""
    return name == "ibm" or CAPABILITIES[name].noisy


def build(name: str, noise: str, numbers: Numbers, record: Calibration | None) -> Backend:
    """The backend that was chosen.

    Raises:
        QLIFError: if it cannot be had.
    """
    if name == "ibm":
        if noise not in SNAPSHOTS:
            raise ArgumentError(f"Backend ibm needs a device, one of {', '.join(SNAPSHOTS)} as its noise, but has {noise!r}.")
        return get(name, device=noise)
    options: dict[str, object] = {}
    if noise != "none":
        options["noise"] = noise if name == "aer" and noise in SNAPSHOTS else _as_numbers(noise, numbers)
    if name == "twin" and record is not None:
        options["record"] = record
    return get(name, **options)


def backend_code(name: str, noise: str, numbers: Numbers, record: str) -> str:
    """The Python that builds it; `record` is the file of the twin."""
    if name == "ibm":
        return f"get('ibm', device={noise!r})"
    if name == "twin":
        return f"get('twin', record=calibration.load({record!r}))"
    if noise == "none":
        return f"get({name!r})"
    if noise in SNAPSHOTS:
        if name == "aer":
            return f"get({name!r}, noise={noise!r})"
        return f"get({name!r}, noise=DeviceNoise.from_backend(load_backend({noise!r}), {_best(noise, numbers.neurons)}))"
    given = ", ".join(f"{name}={value!r}" for name, value in _given(numbers).items())
    return f"get({name!r}, noise=DeviceNoise({given}))"


def imports(*expressions: str) -> list[str]:
    """The lines of imports that such expressions need."""
    lines = ["from qlifq.backends import DeviceNoise, get"]
    if any("load_backend(" in expression for expression in expressions):
        lines += ["from qlifq.backends.snapshots import load_backend"]
    return lines


def _given(numbers: Numbers) -> dict[str, float]:
    return {"readout_p01": numbers.readout_p01, "readout_p10": numbers.readout_p10, "gate_error": numbers.gate_error}


def _as_numbers(noise: str, numbers: Numbers) -> DeviceNoise:
    """For backends that know no snapshots: those that were given, or those of the qubits that Aer would take."""
    if noise == "numbers":
        return DeviceNoise(**_given(numbers))
    return DeviceNoise.from_backend(load_backend(noise), _best(noise, numbers.neurons))


def _best(snapshot: str, neurons: int) -> tuple[int, ...]:
    return tuple(load_snapshot(snapshot))[:neurons]
