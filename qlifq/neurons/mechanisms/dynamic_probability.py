"""Dynamic spike probability: recent spikes D flatten the slope of the decision."""

from qlifq.neurons.basic_parameters import PROBABILISTIC
from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["DYNAMIC_PROBABILITY", "DynamicProbabilityParameters"]

_ON = Need("allow_dynamic_spike_probability=True", lambda s: s.allow_dynamic_spike_probability)


@parameter_group("quantum decision")
class DynamicProbabilityParameters:
    """Whether recent spikes count, and for how long."""

    allow_dynamic_spike_probability: bool = parameter(
        "whether recent spikes D flatten the probability: slope / (1 + D)", default=False, need=PROBABILISTIC
    )
    tau_adapt: PerNeuron = parameter("time constant of D", default=20.0, need=_ON, above=0.0)


DYNAMIC_PROBABILITY = Mechanism(
    group="quantum decision",
    formula=("dynamic: q_scale ← q_scale / (1 + D), D ← D e^(−dt/tau_adapt) + s",),
    on=_ON,
    parameters=DynamicProbabilityParameters,
    states={"dynamic": 0.0},
    constants=lambda p: {"dynamic_decay": p.decay(p.tau_adapt)},
    slope=lambda slope, state, d, drive: slope / (1 + state.dynamic),
    settle=lambda state, spikes, d: {"dynamic": state.dynamic * d.dynamic_decay + spikes},
    obstacles=(
        TrainObstacle("allow_dynamic_spike_probability", "recent spikes divide the slope, which no sum of angles does"),
    ),
)
