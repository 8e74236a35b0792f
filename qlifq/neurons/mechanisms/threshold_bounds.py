"""The least and the greatest threshold that its mechanisms reach."""

from typing import Any

from torch import Tensor

from qlifq.neurons.mechanisms.mechanism import Mechanism, Numbers
from qlifq.neurons.rules import PerNeuron, Rule
from qlifq.neurons.specs import Need, parameter, parameter_group

__all__ = ["THRESHOLD_BOUNDS", "ThresholdBounds", "within"]

_ON = Need(
    "use_adaptive_threshold=True or homeostasis_enabled=True",
    lambda s: s.use_adaptive_threshold or s.homeostasis_enabled,
)


@parameter_group("threshold")
class ThresholdBounds:
    """Both bounds."""

    min_threshold: PerNeuron = parameter("least threshold", default=0.5, need=_ON)
    max_threshold: PerNeuron = parameter("greatest threshold", default=2.0, need=_ON)


def _constants(p: Numbers) -> dict[str, Any]:
    lowest, highest = p.tensor(p.min_threshold), p.tensor(p.max_threshold)
    # A trained V_th can leave the bounds, but no threshold does.
    return {"lowest_threshold": lowest, "highest_threshold": highest, "V_th": p.V_th.clamp(lowest, highest)}


def within(shift: Tensor, at_rest: Tensor, d: Any) -> Tensor:
    """The shift kept such that the threshold, `at_rest` + shift, stays within its bounds."""
    return shift.clamp(d.lowest_threshold - at_rest, d.highest_threshold - at_rest)


THRESHOLD_BOUNDS = Mechanism(
    group="threshold",
    formula=("the threshold is kept within min_threshold and max_threshold",),
    on=_ON,
    parameters=ThresholdBounds,
    constants=_constants,
    rules=(
        Rule("min_threshold", "below", "max_threshold"),
        Rule("V_th", "at least", "min_threshold"),
        Rule("V_th", "at most", "max_threshold"),
    ),
    obstacles=(),
)
