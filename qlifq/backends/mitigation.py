"""Estimates of P(1) with the readout errors taken off."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from qlifq import _proportions as proportions
from qlifq._validation import real
from qlifq.backends.interface import Backend, Call, Outcome, Plan
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

__all__ = ["ReadoutMitigated"]


@final
class ReadoutMitigated(Backend):
    """A backend whose estimates of P(1) are corrected for readout errors.

    With p01 and p10 the readout errors, P(read as 1) is p' = p01 + (1 − p01 − p10) p, so that

        p̂ = (p̂' − p01) / (1 − p01 − p10)

    is unbiased, and its standard error is wider by 1 / (1 − p01 − p10). It is never clipped: near 0 and 1 an estimate falls
    outside [0, 1] by its error, and cutting that off would bias every average of it. So this serves
    `decision="expectation"`, gradients and replays, which average; `decision="sample"` and BrandPetruccione, which would have
    to clip it, refuse it. A single shot is a spike and no estimate: it cannot be mitigated, and one shot is refused; the
    response of spikes is set right by a calibration's correction of q_scale and q_bias instead. An outcome has no counts,
    since no whole number of shots gives p̂; its metadata holds the inflation of the error per site as `error_inflation`.

    Args:
        backend: where to run.
        readout_p01: P(read as 1) of a qubit in |0⟩, one number or one per site; an estimate may be below 0 by its error.
        readout_p10: P(read as 0) of a qubit in |1⟩, as many values, with readout_p01 + readout_p10 below 1.

    Raises:
        QLIFError: if `backend` is no backend, or the errors are out of range or differ in number.

    Example:
        >>> from qlifq.backends import DeviceNoise, get
        >>> from qlifq.circuits import RYSpike
        >>> noisy = get("analytic", noise=DeviceNoise(readout_p01=0.1, readout_p10=0.2))
        >>> angles = torch.tensor([[[0.0], [torch.pi]]], dtype=torch.float64)
        >>> ReadoutMitigated(noisy, 0.1, 0.2).run(RYSpike(), angles, shots=None, seed=None).probability.round(decimals=6).abs()
        tensor([[0., 1.]], dtype=torch.float64)
    """

    def __init__(self, backend: Backend, readout_p01: float | Iterable[float], readout_p10: float | Iterable[float]) -> None:
        if not isinstance(backend, Backend):
            raise DtypeError(f"Argument `backend` must be a Backend, but is {type(backend).__name__}.")
        if isinstance(backend, ReadoutMitigated):
            raise UnsupportedError("Argument `backend` must not be mitigated already: its readout errors would come off twice.")
        self.backend = backend
        self.name = f"mitigated-{backend.name}"
        # No estimate of a probability turns one train into another.
        self.capabilities = replace(backend.capabilities, bounded=False, ideal=False, trains=False)
        self.facts = backend.facts
        self.readout_p01, self.readout_p10 = _errors("readout_p01", readout_p01), _errors("readout_p10", readout_p10)
        if self.readout_p01.shape != self.readout_p10.shape:
            raise ShapeError(
                "Arguments `readout_p01` and `readout_p10` must have as many values, but have "
                f"{len(self.readout_p01)} and {len(self.readout_p10)}."
            )
        #: How much of a change of P(1) is read.
        self._contrast = 1 - self.readout_p01 - self.readout_p10
        if bool((self._contrast <= 0).any()):
            worst = int(self._contrast.argmin())
            raise ArgumentError(
                "Arguments `readout_p01` and `readout_p10` must add up to less than 1, but are "
                f"{float(self.readout_p01[worst]):g} and {float(self.readout_p10[worst]):g} at site {worst}."
            )
        self.sites = backend.sites if len(self._contrast) == 1 else len(self._contrast)

    def _execute(self, call: Call) -> Outcome:
        if call.shots == 1:
            raise UnsupportedError(
                "Argument `shots` must be above 1 where the readout is mitigated: one shot is a spike and no estimate, "
                "and spikes are set right by a correction of q_scale and q_bias."
            )
        outcome = self.backend.run(call.circuit, call.angles, shots=call.shots, seed=call.seed, where=call.where)
        p01, p10 = self.readout_p01.to(call.angles), self.readout_p10.to(call.angles)
        probability = (outcome.probability - p01) / (1 - p01 - p10)
        if call.where is not None:
            probability = torch.where(call.where, probability, 0.0)
        error_inflation = tuple((1 / self._contrast).tolist())
        return replace(
            outcome, probability=probability, ones=None, metadata={**outcome.metadata, "error_inflation": error_inflation}
        )

    def metadata(self, sites: int) -> Mapping[str, object]:
        """See `Backend.metadata`: that of the backend itself."""
        return self.backend.metadata(sites)

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`: what the backend itself costs."""
        return self.backend.plan(circuit, batch, sites, shots=shots)

    def standard_error(self, outcome: Outcome) -> Tensor:
        """The standard error of every estimate of an outcome of this backend, `(batch, sites)`; 0 where it was exact.

        It is that of the share of shots read as 1, widened: √(p̃ (1 − p̃) / shots) / (1 − p01 − p10) with p̃ = (ones + 2) /
        (shots + 4), above 0 even where every shot gave the same. An estimate ± 1.96 of these holds P(1), whatever it is, with
        0.83 or more for any number of shots, 0.89 or more from 12 and 0.92 or more from 50 on. For an interval that holds it
        with a stated confidence see `interval`.
        """
        if outcome.shots is None:
            return torch.zeros_like(outcome.probability)
        read = self._read(outcome).to(outcome.probability)
        return proportions.standard_error(read, outcome.shots) / self._contrast.to(read)

    def interval(self, outcome: Outcome, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """Bounds of P(1) for every estimate of an outcome of this backend, each `(batch, sites)`; where it was exact, itself.

        The exact interval of Clopper and Pearson for the shots that were read as 1, corrected like the estimate: it holds P(1)
        at least with this confidence, whatever P(1) is, as far as the readout errors are right. It is not clipped.

        Args:
            outcome: what `run` returned.
            confidence: between 0 and 1.

        Raises:
            ArgumentError: if the confidence is out of range.
            DtypeError: if it is not a number.
        """
        real("confidence", confidence, above=0.0, below=1.0)
        if outcome.shots is None:
            return outcome.probability.detach(), outcome.probability.detach()
        bounds = proportions.clopper_pearson((self._read(outcome) * outcome.shots).round(), outcome.shots, confidence)
        low, high = ((torch.from_numpy(bound) - self.readout_p01) / self._contrast for bound in bounds)
        return low.to(outcome.probability), high.to(outcome.probability)

    def _read(self, outcome: Outcome) -> Tensor:
        """The share of shots that was read as 1, `(batch, sites)`, float64 on the host."""
        share = self.readout_p01 + self._contrast * outcome.probability.detach().cpu().double()
        # The correction and its undoing round.
        return share.clamp(0.0, 1.0)


def _errors(name: str, value: float | Iterable[float]) -> Tensor:
    """`(1,)` or `(sites,)`, float64, within [0, 1)."""
    listed = value.tolist() if hasattr(value, "tolist") else value
    numbers = list(listed) if isinstance(listed, Iterable) and not isinstance(listed, str) else [listed]
    if not numbers:
        raise ShapeError(f"Argument `{name}` must hold one number per site, but is empty.")
    return torch.tensor([real(name, number, above=-1.0, below=1.0) for number in numbers], dtype=torch.float64)
