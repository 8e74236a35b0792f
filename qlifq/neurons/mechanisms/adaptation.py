"""Spike-triggered adaptation: each spike adds to a current A that opposes the input and decays.

Reference: Brette and Gerstner, J. Neurophysiol. 94, 3637 (2005), whose w it is without a coupling to V (a = 0).
"""

from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group, positive

__all__ = ["ADAPTATION", "AdaptationParameters"]

_ON = Need("spike_increase above 0", lambda s: positive(s.spike_increase))


@parameter_group("adaptation")
class AdaptationParameters:
    """How much a spike adds, and how much of it stays."""

    spike_increase: PerNeuron = parameter("rise of the adaptation current A at a spike", default=0.0, at_least=0.0)
    adaptation_decay: PerNeuron = parameter(
        "what is left of A after a time of 1", default=0.9, need=_ON, at_least=0.0, below=1.0
    )


ADAPTATION = Mechanism(
    group="adaptation",
    formula=("I ← I − A", "A ← A adaptation_decay^dt + spike_increase s"),
    on=_ON,
    parameters=AdaptationParameters,
    states={"adaptation": 0.0},
    # A decay per time of 1 becomes one over dt, so that a finer step keeps the time course.
    constants=lambda p: {"spike_increase": p.spike_increase, "adaptation_decay": p.adaptation_decay**p.dt},
    current=lambda current, state, d, drive: current - state.adaptation,
    settle=lambda state, spikes, d: {"adaptation": state.adaptation * d.adaptation_decay + d.spike_increase * spikes},
    obstacles=(
        TrainObstacle(
            "spike_increase", "with reset='hard' the potential must follow the last spike alone", lambda s: s.reset != "soft"
        ),
    ),
)
