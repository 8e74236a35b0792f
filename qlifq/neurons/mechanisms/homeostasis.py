"""Homeostasis: the threshold at rest follows the firing rate, such that the rate approaches a target.

Reference: Lazar, Pipa and Triesch, Front. Comput. Neurosci. 3, 23 (2009), whose intrinsic plasticity it is with a running rate
F in place of the spike.
"""

from typing import Any

from torch import Tensor

from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.mechanisms.threshold_bounds import within
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["HOMEOSTASIS", "HomeostasisParameters"]

_ON = Need("homeostasis_enabled=True", lambda s: s.homeostasis_enabled)


@parameter_group("threshold")
class HomeostasisParameters:
    """Whether there is one, its target and its speed."""

    homeostasis_enabled: bool = parameter("whether V_th follows the firing rate: V_th ← V_th + lr (F − target)", default=False)
    homeostasis_target_rate: PerNeuron = parameter(
        "target rate, spikes per step", default=0.1, need=_ON, at_least=0.0, at_most=1.0
    )
    homeostasis_lr: PerNeuron = parameter("speed of homeostasis, per unit of time", default=0.01, need=_ON, above=0.0)
    homeostasis_tau: PerNeuron = parameter(
        "time constant of the rate F, at least dt", default=100.0, need=_ON, not_below_dt=True, above=0.0
    )


def _settle(state: Any, spikes: Tensor, d: Any) -> dict[str, Tensor]:
    # F ← F + (dt/τ_h)(s − F), and V_th moves by how far the new F is from its target.
    rate = state.rate + d.rate_step * (spikes - state.rate)
    moved = state.homeostasis_shift + d.homeostasis_gain * (rate - d.homeostasis_target)
    return {"rate": rate, "homeostasis_shift": within(moved, d.V_th, d)}


HOMEOSTASIS = Mechanism(
    group="threshold",
    formula=(
        "threshold ← V_th + H",
        "homeostasis: F ← F + (dt/homeostasis_tau) (s − F), H ← H + homeostasis_lr dt (F − homeostasis_target_rate)",
    ),
    on=_ON,
    parameters=HomeostasisParameters,
    states={"homeostasis_shift": 0.0, "rate": 0.0},
    constants=lambda p: {
        "homeostasis_gain": p.homeostasis_lr * p.dt,
        "homeostasis_target": p.homeostasis_target_rate,
        "rate_step": p.dt / p.homeostasis_tau,
    },
    threshold=lambda threshold, state, d, drive: threshold + state.homeostasis_shift,
    settle=_settle,
    obstacles=(TrainObstacle("homeostasis_enabled", "the threshold follows a rate within bounds"),),
)
