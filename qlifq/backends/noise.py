"""One description of a qubit's noise, for every backend that can use it."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import cast

import torch
from torch import Tensor

from qlifq.backends.snapshots import QubitFacts, choose, load_snapshot, read_qubits
from qlifq.circuits.bloch import Channel, Contraction
from qlifq.circuits.gates import Gate
from qlifq.circuits.trains.law import TrainNoise
from qlifq.errors import ArgumentError, DtypeError, ShapeError

__all__ = ["DeviceNoise", "SiteNoise", "check_noise", "describe_noise"]

Value = float | Iterable[float]

#: What each argument accepts, and how that is said.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "t1": (lambda value: value > 0, "above 0"),
    "t2": (lambda value: value > 0, "above 0"),
    "gate_time": (lambda value: 0 <= value < math.inf, "at least 0 and finite"),
    "gate_error": (lambda value: 0 <= value <= 0.5, "at least 0 and at most 0.5"),
    "readout_p01": (lambda value: 0 <= value <= 1, "at least 0 and at most 1"),
    "readout_p10": (lambda value: 0 <= value <= 1, "at least 0 and at most 1"),
    "reset_error": (lambda value: 0 <= value <= 1, "at least 0 and at most 1"),
}


@dataclass(frozen=True, slots=True)
class SiteNoise:
    """The noise of one site: plain numbers, see `DeviceNoise`."""

    t1: float
    t2: float
    gate_time: float
    gate_error: float
    readout_p01: float
    readout_p10: float
    reset_error: float = 0.0


@dataclass(frozen=True)
class DeviceNoise:
    """Relaxation, dephasing, gate error and readout error of qubits.

    After each RX and RY the qubit is depolarised, ρ ← (1 − 2e) ρ + 2e·½ with e = `gate_error`, and then relaxes for
    `gate_time`: with r_x, r_y, r_z its Bloch vector, over a time t

        r_x, r_y ← e^(−t/T2) r_x, r_y        r_z ← 1 − (1 − r_z) e^(−t/T1)

    A delay relaxes for its own duration. RZ is virtual: no time, no error. Measured, P(1) becomes
    p01 + (1 − p01 − p10) P(1).

    Each argument is one number for all sites, or one per site. Numbers per site are kept as tuples, so a `DeviceNoise` is
    hashable and two with equal numbers are equal.

    Args:
        t1: relaxation time, seconds, above 0; infinity for none.
        t2: coherence time, seconds, above 0 and at most 2 T1; None for 2 T1, the most that physics allows.
        gate_time: duration of one RX or RY, seconds.
        gate_error: average infidelity of its depolarisation, 0 to ½, beyond what relaxation does in `gate_time`.
        readout_p01: probability that 0 is read as 1.
        readout_p10: probability that 1 is read as 0.
        reset_error: probability that a reset leaves |1⟩ as it is; of effect only where a circuit resets, which a spike train
            does after every step.

    Raises:
        QLIFError: if a number is out of range, or two arguments have different numbers of sites.

    Example:
        >>> DeviceNoise(t1=120e-6, gate_time=50e-9, readout_p01=(0.01, 0.02)).sites
        2
    """

    t1: Value = math.inf
    t2: Value | None = None
    gate_time: Value = 0.0
    gate_error: Value = 0.0
    readout_p01: Value = 0.0
    readout_p10: Value = 0.0
    reset_error: Value = 0.0

    def __post_init__(self) -> None:
        if self.t2 is None:
            object.__setattr__(self, "t2", _doubled(_numbers("t1", self.t1, *_RANGES["t1"])))
        for name, (accepts, interval) in _RANGES.items():
            object.__setattr__(self, name, _numbers(name, getattr(self, name), accepts, interval))
        for site in range(self.sites or 1):
            noise = self.at(site)
            if noise.t2 > 2 * noise.t1 * (1 + 1e-12):
                raise ArgumentError(
                    f"Argument `t2` must be at most 2 t1, but is {noise.t2:g} s with t1 = {noise.t1:g} s at site {site}."
                )

    @classmethod
    def from_backend(cls, backend: object, qubits: Sequence[int] | None = None) -> "DeviceNoise":
        """The noise of a Qiskit backend, as its calibration reports it, one site per qubit.

        T1, T2 (at most 2 T1) and the readout errors are taken as they are. An RX or RY is what Qiskit makes of an RY in the
        native gates, such as two pulses `sx` on IBM's devices: `gate_time` is the sum of their durations, and `gate_error`
        their depolarisation together, for each what its reported infidelity leaves beyond the relaxation in its time. What
        the backend does not report is without error.

        Args:
            backend: a Qiskit `BackendV2`: a device, a snapshot of one, or a generic one.
            qubits: the qubits, in the order of the sites; None for all that work, best first.

        Raises:
            QLIFError: if `backend` is none, or a qubit does not exist, does not work, or has no gates for a rotation.
        """
        return cls._of(choose(read_qubits(backend), qubits).values())

    @classmethod
    def from_snapshot(cls, name: str, qubits: Sequence[int] | None = None) -> "DeviceNoise":
        """`from_backend` of the snapshot of a device, by its name.

        Args:
            name: such as "fake_torino".
            qubits: as for `from_backend`.

        Raises:
            QLIFError: for a name that no snapshot has, a missing package, or a qubit that does not exist or does not work.
        """
        return cls._of(choose(load_snapshot(name), qubits).values())

    @classmethod
    def _of(cls, qubits: Iterable[QubitFacts]) -> "DeviceNoise":
        """One site per qubit."""
        found = list(qubits)
        turns = [facts.turn for facts in found]
        return cls(
            t1=tuple(facts.t1 for facts in found),
            t2=tuple(facts.t2 for facts in found),
            gate_time=tuple(turn.time for turn in turns),
            gate_error=tuple(turn.excess for turn in turns),
            readout_p01=tuple(facts.readout_p01 for facts in found),
            readout_p10=tuple(facts.readout_p10 for facts in found),
        )

    @property
    def sites(self) -> int | None:
        """For how many sites there are numbers, or None where one number serves all."""
        sizes = {item.name: len(value) for item in fields(self) if isinstance(value := getattr(self, item.name), tuple)}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"`{name}` has {size}" for name, size in sizes.items())
            raise ShapeError(
                f"The arguments of DeviceNoise must have one value or one per site, the same number of sites, but {listed}."
            )
        return next(iter(sizes.values()), None)

    def at(self, site: int) -> SiteNoise:
        """The numbers of one site."""
        values = (getattr(self, item.name) for item in fields(self))
        return SiteNoise(*(value[site] if isinstance(value, tuple) else value for value in values))

    def check_sites(self, sites: int) -> None:
        """Refuse a call with another number of sites than there are numbers for."""
        if self.sites is not None and self.sites != sites:
            raise ShapeError(f"Argument `noise` has values for {self.sites} sites, but `angles` has {sites}.")

    def channel(self, dtype: torch.dtype, device: torch.device) -> Channel:
        """The noise after each gate as maps of the Bloch vector, `(sites,)` or `()`, for the closed form.

        Times are divided in float64, where every one that is above 0 stays so, and only what is left after them is in `dtype`.
        """
        t1, t2 = (self._tensor(name, torch.float64, device) for name in ("t1", "t2"))

        def relaxation(time: Tensor, kept: Tensor | float = 1.0) -> Contraction:
            transverse, longitudinal = kept * (-time / t2).exp(), kept * (-time / t1).exp()
            return Contraction(transverse.to(dtype), longitudinal.to(dtype), -torch.expm1(-time / t1).to(dtype))

        gate_error = self._tensor("gate_error", torch.float64, device)
        relaxed = relaxation(self._tensor("gate_time", torch.float64, device), 1 - 2 * gate_error)

        def channel(gate: Gate, value: Tensor | float) -> Contraction | None:
            if gate.name == "Delay":
                return relaxation(torch.as_tensor(value, dtype=torch.float64, device=device))
            return None if gate.is_virtual else relaxed

        return channel

    def read(self, probability: Tensor) -> Tensor:
        """P(read as 1) from P(1), shape `(..., sites)`."""
        p01 = self._tensor("readout_p01", probability.dtype, probability.device)
        p10 = self._tensor("readout_p10", probability.dtype, probability.device)
        return p01 + (1 - p01 - p10) * probability

    def of_trains(self, dtype: torch.dtype, device: torch.device) -> TrainNoise:
        """What it does to a spike train, for its exact law."""
        names = ("readout_p01", "readout_p10", "reset_error")
        return TrainNoise(self.channel(dtype, device), *(self._tensor(name, dtype, device) for name in names))

    def _tensor(self, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.tensor(getattr(self, name), dtype=dtype, device=device)


def check_noise(backend: str, noise: object) -> None:
    """Refuse what is no noise for a backend that takes a `DeviceNoise` alone."""
    if isinstance(noise, str):
        raise DtypeError(
            f"Argument `noise` must be numbers for backend {backend}, a DeviceNoise, but is {noise!r}: "
            "it is aer that takes the name of a snapshot, and DeviceNoise.from_snapshot that reads the numbers of one."
        )
    if noise is not None and not isinstance(noise, DeviceNoise):
        raise DtypeError(f"Argument `noise` must be a DeviceNoise or None, but is {type(noise).__name__}.")


def describe_noise(noise: DeviceNoise | None) -> str:
    """What a noise has that a perfect qubit has not, in the same text wherever the numbers agree to 12 digits.

    Numbers that differ from site to site are given by their range, and all together by a digest.

    Example:
        >>> describe_noise(DeviceNoise(t1=120e-6, readout_p01=(0.01, 0.01)))
        't1=0.00012, t2=0.00024, readout_p01=0.01'
        >>> describe_noise(None)
        'none'
    """
    perfect, words, varied = DeviceNoise(), [], []
    for item in fields(DeviceNoise):
        value = getattr(noise or perfect, item.name)
        if item.name == "gate_time" and not _decays(noise or perfect):
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        texts = [f"{number:.12g}" for number in numbers]
        if len(set(texts)) > 1:
            words.append(f"{item.name}={min(numbers):.3g} to {max(numbers):.3g}")
            varied.append((item.name, texts))
        elif numbers[0] != getattr(perfect, item.name):
            words.append(f"{item.name}={texts[0]}")
    if varied:
        words.append(f"sha256 {hashlib.sha256(repr(varied).encode()).hexdigest()[:16]}")
    return ", ".join(words) or "none"


def _decays(noise: DeviceNoise) -> bool:
    """Whether time does anything to a qubit."""
    times = (value if isinstance(value, tuple) else (value,) for value in (noise.t1, noise.t2))
    return any(math.isfinite(number) for numbers in times for number in numbers)


def _doubled(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    return 2 * value if isinstance(value, float) else tuple(2 * number for number in value)


def _numbers(name: str, value: object, accepts: Callable[[float], bool], interval: str) -> float | tuple[float, ...]:
    """One number, or a tuple with one per site; a tensor or an array may hold them."""
    listed = value.tolist() if hasattr(value, "tolist") else value
    single = not isinstance(listed, Iterable)
    items: list[object] = [listed] if single else list(cast(Iterable[object], listed))
    if any(isinstance(item, bool) or not isinstance(item, Real) for item in items):
        raise DtypeError(f"Argument `{name}` must be a number or one number per site, but is {value!r}.")
    numbers = [float(item) for item in items]  # type: ignore[arg-type]
    if not numbers:
        raise ShapeError(f"Argument `{name}` must hold one number per site, but is empty.")
    for number in numbers:
        if not accepts(number):
            raise ArgumentError(f"Argument `{name}` must be {interval}, but is {number:g}.")
    return numbers[0] if single else tuple(numbers)
