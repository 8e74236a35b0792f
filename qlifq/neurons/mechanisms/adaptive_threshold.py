"""The adaptive threshold: each spike raises the threshold by eta, and it decays back to rest.

Reference: Bellec et al., NeurIPS 2018, arXiv 1803.09574, whose adaptive threshold it is, with bounds.
"""

from typing import Any

import torch
from torch import Tensor

from qlifq.errors import ArgumentError
from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.mechanisms.threshold_bounds import within
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["ADAPTIVE", "ADAPTIVE_THRESHOLD", "AdaptiveThresholdParameters"]

ADAPTIVE = Need("use_adaptive_threshold=True", lambda s: s.use_adaptive_threshold)


@parameter_group("threshold")
class AdaptiveThresholdParameters:
    """Whether spikes raise it, and its course."""

    use_adaptive_threshold: bool = parameter("whether spikes raise the threshold", default=False)
    eta: PerNeuron = parameter("rise of the threshold at a spike", default=0.1, need=ADAPTIVE, kept=True, at_least=0.0)
    tau_threshold: PerNeuron = parameter("time constant of its way back to rest", default=20.0, need=ADAPTIVE, above=0.0)


def _settle(state: Any, spikes: Tensor, d: Any) -> dict[str, Tensor]:
    # The shift is bounded from where homeostasis, which settles before, has left the threshold at rest.
    at_rest = d.V_th + state.homeostasis_shift if "homeostasis_gain" in d.constants else d.V_th
    risen = state.threshold_shift * d.threshold_decay + d.eta * spikes
    return {"threshold_shift": within(risen, at_rest, d)}


def _unclipped(d: Any, state: Any, steps: int) -> None:
    lowest = highest = state.threshold_shift.double()
    for _ in range(steps - 1):
        lowest, highest = lowest * d.threshold_decay, highest * d.threshold_decay + d.eta
    if bool((d.V_th + highest > d.highest_threshold).any()):
        raise ArgumentError(
            "Argument `max_threshold` must not be reached in a spike train of one circuit, but spikes at all "
            f"{steps} steps bring the threshold to {float((d.V_th + highest).max()):.4g}."
        )
    if bool((d.V_th + torch.minimum(lowest, state.threshold_shift) < d.lowest_threshold).any()):
        raise ArgumentError("Argument `min_threshold` must not be reached in a spike train of one circuit, but is.")


ADAPTIVE_THRESHOLD = Mechanism(
    group="threshold",
    formula=("adaptive: threshold ← threshold + T, T ← T e^(−dt/tau_threshold) + eta s",),
    on=ADAPTIVE,
    parameters=AdaptiveThresholdParameters,
    states={"threshold_shift": 0.0},
    constants=lambda p: {"eta": p.eta, "threshold_decay": p.decay(p.tau_threshold)},
    threshold=lambda threshold, state, d, drive: threshold + state.threshold_shift,
    settle=_settle,
    obstacles=(
        TrainObstacle(
            "use_adaptive_threshold",
            "with reset='soft' a spike takes off the threshold that earlier spikes raised, which is no sum over the spikes",
            lambda s: s.reset == "soft",
        ),
        TrainObstacle(
            "use_adaptive_threshold",
            "the threshold sums over all spikes, which the angle does with mapping='linear' alone",
            lambda s: s.mapping != "linear",
        ),
        TrainObstacle(
            "refractory_period",
            "with use_adaptive_threshold=True the angle must be a sum over the spikes",
            lambda s: s.refractory_period > 0,
        ),
    ),
    summed=("eta",),
    unclipped=_unclipped,
)
