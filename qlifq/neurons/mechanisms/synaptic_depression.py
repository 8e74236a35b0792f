"""Short-term depression of the input: each spike uses up a fraction of the synaptic efficiency S.

Reference: Tsodyks and Markram, PNAS 94, 719 (1997), with the neuron's own spikes as the ones that use S up.
"""

from typing import Any

from torch import Tensor

from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group, positive

__all__ = ["SYNAPTIC_DEPRESSION", "DepressionParameters"]

_ON = Need("depression_rate above 0", lambda s: positive(s.depression_rate))


@parameter_group("plasticity")
class DepressionParameters:
    """How much a spike uses up, and how fast it comes back."""

    depression_rate: PerNeuron = parameter(
        "fraction of the efficiency S that a spike uses up", default=0.0, at_least=0.0, at_most=1.0
    )
    recovery_rate: PerNeuron = parameter(
        "fraction of its deficit that S regains in a time of 1", default=0.05, need=_ON, above=0.0, at_most=1.0
    )


def _settle(state: Any, spikes: Tensor, d: Any) -> dict[str, Tensor]:
    # S recovers towards 1, and a spike takes off a fraction of S as it was before.
    recovered = state.efficiency + d.recovery * (1 - state.efficiency)
    return {"efficiency": recovered - d.depression_rate * state.efficiency * spikes}


SYNAPTIC_DEPRESSION = Mechanism(
    group="plasticity",
    formula=("I ← I S", "S ← S + (1 − (1 − recovery_rate)^dt) (1 − S) − depression_rate S s"),
    on=_ON,
    parameters=DepressionParameters,
    states={"efficiency": 1.0},
    constants=lambda p: {"depression_rate": p.depression_rate, "recovery": 1 - (1 - p.recovery_rate) ** p.dt},
    input=lambda current, state, d, drive: current * state.efficiency,
    settle=_settle,
    obstacles=(TrainObstacle("depression_rate", "a spike takes a fraction of what earlier spikes left"),),
)
