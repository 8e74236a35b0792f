"""A calibrated device as a formula: the response that was measured, on torch tensors."""

import os
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor

from qlifq._files import PathLike
from qlifq._transforms import cached, transformed
from qlifq.backends.interface import Backend, Call, Capabilities, Outcome
from qlifq.backends.sampling import draw, masked
from qlifq.calibration.record import load
from qlifq.circuits import SinusoidalResponse, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError

__all__ = ["Calibrated", "TwinBackend"]


@runtime_checkable
class Calibrated(Protocol):
    """What the twin needs of a calibration that is in memory."""

    @property
    def circuit(self) -> SpikeCircuit:
        """The circuit that was calibrated."""

    @property
    def response(self) -> SinusoidalResponse:
        """Its response on every site, `(sites,)`."""

    @property
    def source(self) -> str:
        """Description of what was calibrated."""


@final
class TwinBackend(Backend):
    """The twin of a device: P(1) = a + b cos θ + c sin θ with the numbers that a calibration measured, site by site.

    It runs on the device and in the dtype of the angles, carries autograd, and draws shots where `shots` is given: train on the
    twin, run on the device. It runs the circuit that was calibrated, on as many sites, and no other. A response that leaves
    [0, 1] by its statistical error is limited to that interval.

    Args:
        record: a calibration, or the path of its record, which is checked as `qlifq.calibration.load` does.

    Raises:
        QLIFError: if the record cannot be read, or a site's response was not identified.

    Attributes:
        sites: how many sites were calibrated.
    """

    name = "twin"
    capabilities = Capabilities(exact=True, shots=True, noisy=False, differentiable=True, record=True)

    @cached()
    def __init__(self, record: PathLike | Calibrated | None = None) -> None:
        if record is None:
            raise ArgumentError(
                "Argument `record` must be a calibration or the path of its file for backend twin, but is None."
            )
        calibration = load(record) if isinstance(record, str | os.PathLike) else record
        if not isinstance(calibration, Calibrated):
            raise DtypeError(
                f"Argument `record` must be a calibration or the path of its file, but is {type(record).__name__}."
            )
        self.circuit, response = calibration.circuit, calibration.response
        self.facts = {"twin_of": calibration.source}
        unknown = torch.stack(response).isnan().any(dim=0).nonzero()
        if len(unknown):
            raise ArgumentError(
                f"Argument `record` must hold the response of every site, but {len(unknown)} lack theirs, "
                f"first {int(unknown[0])}."
            )
        self.sites = len(response.a)
        self._response = response
        floor, ceiling = (extreme.clamp(0.0, 1.0) for extreme in response.extremes())
        # a + b cos θ + c sin θ = middle − swing cos(θ − φ): one cosine, and three passes over memory.
        self._numbers = torch.stack(((floor + ceiling) / 2, (floor - ceiling) / 2, torch.atan2(-response.c, -response.b)))
        self._on: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def _execute(self, call: Call) -> Outcome:
        middle, minus_swing, phase = self._cast(call.angles)
        # Rounding cannot lead out of [0, 1]: middle and swing are each off by less than half an ulp of their sum.
        probability = torch.addcmul(middle, minus_swing, (call.angles[..., 0] - phase).cos())
        probability = masked(probability, call.where)
        return Outcome(probability) if call.shots is None else draw(probability, call.shots, call.seed)

    def response(self, circuit: SpikeCircuit, sites: int) -> SinusoidalResponse:
        """See `Backend.response`."""
        self.check_circuit(circuit, sites)
        return self._response

    def check_circuit(self, circuit: SpikeCircuit, sites: int) -> None:
        """See `Backend.check_circuit`: the circuit that was calibrated."""
        if circuit.gates != self.circuit.gates:
            raise UnsupportedError(
                f"Argument `circuit` must be what was calibrated, {self.circuit.draw()}, but is {circuit.draw()}."
            )
        super().check_circuit(circuit, sites)

    def _cast(self, angles: Tensor) -> Tensor:
        """The numbers in the dtype and on the device of the angles; copied there once."""
        key = (angles.dtype, angles.device)
        if (found := self._on.get(key)) is not None:
            return found
        with cached():
            numbers = self._numbers.to(angles)
        # What is made within a transform of torch.func is wrapped for it.
        return numbers if transformed() else self._on.setdefault(key, numbers)
