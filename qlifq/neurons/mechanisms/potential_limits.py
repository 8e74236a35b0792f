"""What the potential is kept to: the cut-off of a parabola, and a least potential."""

import torch

from qlifq.neurons.mechanisms.mechanism import Mechanism, TrainObstacle
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.rules import PerNeuron, Rule
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["CUT_OFF", "LEAST_POTENTIAL", "LeastPotentialParameters"]


@parameter_group("membrane")
class LeastPotentialParameters:
    """The least potential."""

    V_min: PerNeuron | None = parameter("least potential; None for none", default=None)


# Its parameter is that of the membrane.
CUT_OFF = Mechanism(
    group="membrane",
    formula=("V ← min(V, V_peak) where the membrane has V_peak",),
    on=Need("a membrane with V_peak", lambda s: "V_peak" in MEMBRANES[s.membrane].parameters),
    limit=lambda voltage, state, d, drive: torch.minimum(voltage, d.V_peak),
    obstacles=(),
)
LEAST_POTENTIAL = Mechanism(
    group="membrane",
    formula=("V ← max(V, V_min) where V_min is given",),
    on=Need("V_min", lambda s: s.V_min is not None),
    parameters=LeastPotentialParameters,
    constants=lambda p: {"V_min": p.V_min},
    rules=(Rule("V_min", "below", "V_th"), Rule("V_min", "below", "V_reset")),
    limit=lambda voltage, state, d, drive: torch.maximum(voltage, d.V_min),
    obstacles=(
        TrainObstacle("V_min", "with reset='soft' the potential must be a sum over the spikes", lambda s: s.reset == "soft"),
    ),
)
