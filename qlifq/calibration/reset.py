"""The reset error of each qubit, measured on whole trains, and what it does to a neuron's rate."""

from typing import NamedTuple

import torch
from torch import Tensor

from qlifq._validation import integer
from qlifq.backends import Backend, DeviceNoise
from qlifq.circuits import SpikeTrainCircuit
from qlifq.circuits.trains.law import TrainNoise
from qlifq.errors import BackendError, ShapeError

__all__ = ["ResetErrors", "reset_errors"]

#: The least difference between a qubit that was flipped and one that was not from which a reset error can be estimated.
_LEAST_CONTRAST = 0.1


class ResetErrors(NamedTuple):
    """How often a reset leaves |1⟩ as it is, site by site.

    Args:
        error: `(sites,)`, float64; estimates, which can lie below 0 by their error.
        standard_error: `(sites,)`.
        shots: of each of the two circuits.
        source: what was measured, as `Backend.describe` says it.
    """

    error: Tensor
    standard_error: Tensor
    shots: int
    source: str

    def rate_change(self, train: SpikeTrainCircuit, noise: DeviceNoise | None = None) -> Tensor:
        """How far the reset errors move the mean rate of each neuron, exactly, by the law of the train.

        Args:
            train: the neurons' program, one site for each error.
            noise: what the qubits do beside, with its own reset error left out; None for nothing.

        Returns:
            `(batch, sites)`: spikes per step with the errors, minus those without.

        Raises:
            QLIFError: for another number of sites, or a train whose rate has no recursion.
        """
        if train.sites != len(self.error):
            raise ShapeError(f"Argument `train` must have {len(self.error)} sites, but has {train.sites}.")
        base = train.base
        beside = TrainNoise() if noise is None else noise.of_trains(base.dtype, base.device)
        error = self.error.clamp(0, 1).to(base)
        with_errors, without = (train.moments(0, beside._replace(reset_error=e)).rate for e in (error, 0.0))
        return (with_errors - without).mean(0)

    def __str__(self) -> str:
        worst = int(self.error.argmax())
        return (
            f"reset error of {self.source}: median {float(self.error.median()):.4f}, largest {float(self.error[worst]):.4f} ± "
            f"{float(self.standard_error[worst]):.4f} (site {worst})"
        )


def reset_errors(backend: Backend, sites: int, *, shots: int = 10_000, seed: int | None = None) -> ResetErrors:
    """Measure how often a reset leaves |1⟩ as it is.

    Two trains of two steps run: a first step that rotates by 0 or by π, and a second one without a rotation. With m₀, m₁ the
    rates of the first step and r₀, r₁ those of the second, the error is (r₁ − r₀) / (m₁ − m₀): readout errors and the errors
    of the rotation are in both differences, and cancel.

    Args:
        backend: one that runs spike trains.
        sites: how many sites to measure.
        shots: of each of the two trains, at least 2.
        seed: as for `Backend.run_train`.

    Raises:
        QLIFError: for a backend without trains, or a number out of range.
        BackendError: if a rotation by π changes what is read too little.

    Example:
        >>> from qlifq.backends import get
        >>> noise = DeviceNoise(readout_p01=0.02, reset_error=0.1)
        >>> reset_errors(get("analytic", noise=noise), 1, seed=1).error.round(decimals=1)
        tensor([0.1000], dtype=torch.float64)
    """
    integer("sites", sites, at_least=1)
    integer("shots", shots, at_least=2)
    base = torch.zeros((2, 2, sites), dtype=torch.float64)
    base[0, 1] = torch.pi
    program = SpikeTrainCircuit(base, (), torch.zeros((0, 2, sites), dtype=torch.float64))
    first, second = backend.run_train(program, shots=shots, seed=seed).spikes.double().unbind(1)
    contrast = first[:, 1].mean(0) - first[:, 0].mean(0)
    if bool((contrast < _LEAST_CONTRAST).any()):
        site = int(contrast.argmin())
        raise BackendError(
            f"The reset error of site {site} cannot be measured: a rotation by π raises what is read from "
            f"{float(first[:, 0, site].mean()):.3f} to {float(first[:, 1, site].mean()):.3f} only."
        )
    error = (second[:, 1].mean(0) - second[:, 0].mean(0)) / contrast
    # What the two steps of one shot have in common is in the variance of this difference.
    variance = (second - error * first).var(0).sum(0) / shots
    return ResetErrors(error, variance.sqrt() / contrast, shots, backend.describe(shots))
