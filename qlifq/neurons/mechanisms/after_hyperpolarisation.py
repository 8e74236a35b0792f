"""After-hyperpolarisation: each spike raises a conductance H, which decays exponentially, saturates and lowers the input."""

from typing import Any

from qlifq.errors import ArgumentError
from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["AFTER_HYPERPOLARISATION", "AHP_MAX", "AfterHyperpolarisationParameters"]

#: H saturates here.
AHP_MAX = 2.0
_ON = Need("use_ahp=True", lambda s: s.use_ahp)


@parameter_group("adaptation")
class AfterHyperpolarisationParameters:
    """Whether there is one, and its course."""

    use_ahp: bool = parameter("whether spikes cause an after-hyperpolarisation H", default=False)
    tau_ahp: PerNeuron = parameter("time constant of H", default=120.0, need=_ON, above=0.0)
    ahp_jump: PerNeuron = parameter("rise of H at a spike; H is at most 2", default=0.3, need=_ON, above=0.0)
    g_ahp: PerNeuron = parameter("weight of H in the input", default=0.2, need=_ON, above=0.0)


def _unclipped(d: Any, state: Any, steps: int) -> None:
    ahp = state.ahp.double()
    for _ in range(steps - 1):
        ahp = ahp * d.ahp_decay + d.ahp_jump
    if bool((ahp > AHP_MAX).any()):
        raise ArgumentError(
            f"Argument `ahp_jump` must keep H below {AHP_MAX:g} for a spike train in one circuit, but spikes at all "
            f"{steps} steps bring it to {float(ahp.max()):.4g}."
        )


AFTER_HYPERPOLARISATION = Mechanism(
    group="adaptation",
    formula=("I ← I − g_ahp H", f"H ← min(H e^(−dt/tau_ahp) + ahp_jump s, {AHP_MAX:g})"),
    on=_ON,
    parameters=AfterHyperpolarisationParameters,
    states={"ahp": 0.0},
    constants=lambda p: {"g_ahp": p.g_ahp, "ahp_jump": p.ahp_jump, "ahp_decay": p.decay(p.tau_ahp)},
    current=lambda current, state, d, drive: current - d.g_ahp * state.ahp,
    settle=lambda state, spikes, d: {"ahp": (state.ahp * d.ahp_decay + d.ahp_jump * spikes).clamp(max=AHP_MAX)},
    obstacles=(
        TrainObstacle(
            "use_ahp", "with reset='hard' the potential must follow the last spike alone", lambda s: s.reset != "soft"
        ),
    ),
    unclipped=_unclipped,
)
