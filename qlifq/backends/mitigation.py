"""Estimates of P(1) with the readout errors taken off."""

from collections.abc import Iterable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from qlifq import _proportions as proportions
from qlifq._validation import real
from qlifq.backends.interface import Backend, Outcome, Plan
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError

__all__ = ["ReadoutMitigated"]


@final
class ReadoutMitigated(Backend):
    """A backend whose estimates of P(1) are corrected for readout errors.

    Read as 1 is p' = eps + (1 − eps − eta) p, so that

        p̂ = (p̂' − eps) / (1 − eps − eta)

    is unbiased, and its standard error is wider by 1 / (1 − eps − eta). It is never clipped: near 0 and 1 an estimate falls
    outside [0, 1] by its error, and cutting that off would bias every average of it. So this serves
    `decision="expectation"`, gradients and replays, which average; `decision="sample"` and BrandPetruccione, which would have
    to clip it, refuse it. A single shot is a spike and no estimate: it cannot be mitigated, and one shot is refused; the
    response of spikes is set right by a calibration's correction of q_scale and q_bias instead. An outcome has no counts,
    since no whole number of shots gives p̂; its metadata holds the error_inflation per site as `error_inflation`.

    Args:
        backend: where to run.
        eps: P(read as 1) of a qubit in |0⟩, one number or one per site; an estimate may be below 0 by its error.
        eta: P(read as 0) of a qubit in |1⟩, alike, with eps + eta below 1.

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

    def __init__(self, backend: Backend, eps: float | Iterable[float], eta: float | Iterable[float]) -> None:
        if not isinstance(backend, Backend):
            raise DtypeError(f"Argument `backend` must be a Backend, but is {type(backend).__name__}.")
        if isinstance(backend, ReadoutMitigated):
            raise UnsupportedError("Argument `backend` must not be mitigated already: its readout errors would come off twice.")
        self.backend = backend
        self.name = f"mitigated-{backend.name}"
        self.capabilities = replace(backend.capabilities, bounded=False, ideal=False)
        self.facts = backend.facts
        self.eps, self.eta = _errors("eps", eps), _errors("eta", eta)
        if self.eps.shape != self.eta.shape:
            raise ShapeError(
                f"Arguments `eps` and `eta` must have as many values, but have {len(self.eps)} and {len(self.eta)}."
            )
        contrast = 1 - self.eps - self.eta
        if bool((contrast <= 0).any()):
            worst = int(contrast.argmin())
            raise ArgumentError(
                f"Arguments `eps` and `eta` must add up to less than 1, but are {float(self.eps[worst]):g} and "
                f"{float(self.eta[worst]):g} at site {worst}."
            )

    def run(
        self,
        circuit: SpikeCircuit,
        angles: Tensor,
        *,
        shots: int | None,
        seed: int | None,
        where: Tensor | None = None,
    ) -> Outcome:
        """See `Backend.run`; `probability` is unbiased and may leave [0, 1], and `ones` is None."""
        self.check(circuit, angles, shots=shots, seed=seed, where=where)
        if shots == 1:
            raise UnsupportedError(
                "Argument `shots` must be above 1 where the readout is mitigated: one shot is a spike and no estimate, "
                "and spikes are set right by a correction of q_scale and q_bias."
            )
        if len(self.eps) not in {1, angles.shape[1]}:
            raise ShapeError(f"Argument `angles` must have {len(self.eps)} sites, as `eps` has, but has {angles.shape[1]}.")
        outcome = self.backend.run(circuit, angles, shots=shots, seed=seed, where=where)
        eps, eta = self.eps.to(angles), self.eta.to(angles)
        probability = (outcome.probability - eps) / (1 - eps - eta)
        if where is not None:
            probability = torch.where(where, probability, 0.0)
        error_inflation = tuple((1 / (1 - self.eps - self.eta)).tolist())
        return replace(
            outcome, probability=probability, ones=None, metadata={**outcome.metadata, "error_inflation": error_inflation}
        )

    def plan(self, circuit: SpikeCircuit, batch: int, sites: int, *, shots: int | None) -> Plan:
        """See `Backend.plan`: what the backend itself costs."""
        return self.backend.plan(circuit, batch, sites, shots=shots)

    def standard_error(self, outcome: Outcome) -> Tensor:
        """The standard error of every estimate of an outcome of this backend, `(batch, sites)`; 0 where it was exact.

        It is that of the share of shots read as 1, widened: √(p̃ (1 − p̃) / shots) / (1 − eps − eta) with p̃ = (ones + 2) /
        (shots + 4), above 0 even where every shot was read alike. An estimate ± 1.96 of these holds P(1), whatever it is, with
        0.83 or more for any number of shots, 0.89 or more from 12 and 0.92 or more from 50 on. For an interval that holds it
        with a stated confidence see `interval`.
        """
        if outcome.shots is None:
            return torch.zeros_like(outcome.probability)
        eps, eta = self.eps.to(outcome.probability), self.eta.to(outcome.probability)
        return proportions.standard_error(self._read(outcome).to(outcome.probability), outcome.shots) / (1 - eps - eta)

    def interval(self, outcome: Outcome, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """Bounds of P(1) for every estimate of an outcome of this backend, each `(batch, sites)`; where it was exact, itself.

        The exact interval of Clopper and Pearson for the shots that were read as 1, corrected like the estimate: it holds P(1)
        at least with this confidence, whatever P(1) is, as far as eps and eta are right. It is not clipped.

        Args:
            outcome: what `run` returned.
            confidence: between 0 and 1.

        Raises:
            QLIFError: if the confidence is out of range.
        """
        real("confidence", confidence, above=0.0, below=1.0)
        if outcome.shots is None:
            return outcome.probability.detach(), outcome.probability.detach()
        bounds = proportions.clopper_pearson((self._read(outcome) * outcome.shots).round(), outcome.shots, confidence)
        low, high = ((torch.from_numpy(bound) - self.eps) / (1 - self.eps - self.eta) for bound in bounds)
        return low.to(outcome.probability), high.to(outcome.probability)

    def _read(self, outcome: Outcome) -> Tensor:
        """The share of shots that was read as 1, `(batch, sites)`, float64 on the host."""
        share = self.eps + (1 - self.eps - self.eta) * outcome.probability.detach().cpu().double()
        # The correction and its undoing round.
        return share.clamp(0.0, 1.0)


def _errors(name: str, value: float | Iterable[float]) -> Tensor:
    """`(1,)` or `(sites,)`, float64, within [0, 1)."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    numbers = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    if not numbers:
        raise ShapeError(f"Argument `{name}` must hold one number per site, but is empty.")
    return torch.tensor([real(name, number, above=-1.0, below=1.0) for number in numbers], dtype=torch.float64)
