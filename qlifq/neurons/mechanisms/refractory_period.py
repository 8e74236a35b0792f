"""The absolute refractory period: for some steps after a spike V stays, and no circuit runs."""

from typing import Any

import torch
from torch import Tensor

from qlifq.errors import UnsupportedError
from qlifq.neurons.mechanisms.mechanism import Drive, Mechanism, TrainObstacle
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["REFRACTORY_PERIOD", "RefractoryParameters"]


@parameter_group("membrane")
class RefractoryParameters:
    """How long it is."""

    refractory_period: int = parameter("steps after a spike in which V stays and no circuit runs", default=0, at_least=0)


def _hold(voltage: Tensor, state: Any, d: Any, drive: Drive) -> Tensor:
    # The steps that are left, cut to 1, choose exactly: V as it was, or V as it has become.
    return torch.lerp(voltage, state.voltage, state.refractory.clamp(max=1))


def _settle(state: Any, spikes: Tensor, d: Any) -> dict[str, Tensor]:
    # Counts whole steps: the period has no derivative.
    left = (state.refractory - 1).clamp(min=0)
    return {"refractory": left + d.refractory_period * spikes.detach()}


def _check(settings: Any) -> None:
    if settings.quantum_mode and settings.decision == "expectation":
        raise UnsupportedError(
            "Argument `refractory_period` must be 0 with decision='expectation', whose spikes are graded, "
            f"but is {settings.refractory_period}."
        )


REFRACTORY_PERIOD = Mechanism(
    group="membrane",
    formula=("for refractory_period steps after a spike: V stays, and no spike is decided",),
    on=Need("refractory_period above 0", lambda s: s.refractory_period > 0),
    parameters=RefractoryParameters,
    states={"refractory": 0.0},
    constants=lambda p: {"refractory_period": float(p.refractory_period)},
    check=_check,
    limit=_hold,
    settle=_settle,
    obstacles=(
        TrainObstacle(
            "refractory_period", "with reset='soft' the angle must be a sum over the spikes", lambda s: s.reset == "soft"
        ),
    ),
)
