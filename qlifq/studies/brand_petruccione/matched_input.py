"""The same input for QLIF and for the neuron of Brand and Petruccione (arXiv 2407.16398).

Both get the same input spikes x. Theirs rotates its population by θ at a spike and leaks for one step otherwise. QLIF gets a
current that lifts its potential, at each spike, by the same share of the way to threshold:

    θ/φ of V_th,   φ = 2 arcsin √α_th,   so   I = x · (τ/dt) · V_th θ/φ

Its time constant τ is their T1, and it rests for one step after a spike, as theirs does while it is reset.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.neurons import QLIF, BrandPetruccione, simulate
from qlifq.reporting.intervals import Floats

__all__ = ["LEAKS", "NEURONS", "T1", "THETA", "THRESHOLD", "Response", "drive", "driven", "rotated"]

#: θ of an input spike, radians: four in a row reach the threshold.
THETA = 0.6
THRESHOLD = 0.75
#: T1 of their leak and τ of QLIF, steps.
T1 = 60.0
NEURONS = ("QLIF threshold", "QLIF sample", "BP relaxation", "BP published")
LEAKS = ("relaxation", "published")


class Response(NamedTuple):
    """What a neuron made of an input: what it cost.

    Args:
        spikes: `(time, trials)`.
        trace: potential or population, `(time, trials)`.
        evaluations: circuits per step and trial.
    """

    spikes: Floats
    trace: Floats
    evaluations: float


def drive(
    name: str, x: Tensor, *, seed: int, t1: float = T1, backend: Backend | None = None, shots: int | None = None
) -> Response:
    """The response of a neuron to input spikes.

    Args:
        name: one of `NEURONS`.
        x: input spikes, 0 or 1, `(time, trials)` float64.
        seed: of its decisions and shots.
        t1: T1 of their leak, τ of QLIF, steps.
        backend: where the decisions run; None for `analytic`.
        shots: shots per step; None for exact probabilities.

    Returns:
        A `Response`.

    Example:
        >>> drive("BP relaxation", torch.ones(5, 1, dtype=torch.float64), seed=0).spikes[:, 0]
        array([0., 0., 0., 1., 0.])
    """
    inputs, place = x[:, :, None], "analytic" if backend is None else backend
    if name.startswith("BP"):
        leak = name.removeprefix("BP ")
        layer = BrandPetruccione(1, backend=place, shots=shots, seed=seed, threshold=THRESHOLD, t1=t1, leak=leak)
        return rotated(layer, torch.full_like(inputs, THETA), inputs)
    decision = name.removeprefix("QLIF ")
    neuron = QLIF(1, backend=place, shots=shots, seed=seed, decision=decision, tau=t1, refractory_period=1).double()
    # I = x · (τ/dt) · V_th θ/φ with dt = V_th = 1, see the top of the module.
    return driven(neuron, inputs * (t1 * THETA / (2 * math.asin(math.sqrt(THRESHOLD)))))


def rotated(layer: BrandPetruccione, theta: Tensor, x: Tensor) -> Response:
    """The response of their neuron to input spikes x that rotate by θ, `(time, batch, neurons)`; else it leaks one step."""
    with torch.no_grad():
        population, spikes, _ = layer.run(theta, torch.ones_like(x), x)
    # No circuit runs in the step after a spike.
    evaluations = 1 - float(spikes[:-1].sum()) / spikes.numel()
    return Response(spikes.flatten(1).numpy(), population.flatten(1).numpy(), evaluations)


def driven(layer: QLIF, current: Tensor) -> Response:
    """The response of QLIF to a current, `(time, batch, neurons)`."""
    with torch.no_grad():
        recording = simulate(layer, current, ("potential",))
    trace = recording["potential"].flatten(1).numpy()
    return Response(recording.spikes.flatten(1).numpy(), trace, recording.evaluations / current.numel())
