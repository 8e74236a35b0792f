"""Neuromodulation: a signal m from outside that scales the input, shifts the threshold or scales the slope."""

from typing import Any

from torch import Tensor

from qlifq.errors import UnsupportedError
from qlifq.neurons.basic_parameters import PROBABILISTIC
from qlifq.neurons.mechanisms.mechanism import Drive, Mechanism
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, Transform, parameter, parameter_group

__all__ = ["GAIN", "NEUROMOD_MODES", "SLOPE_MODULATION", "THRESHOLD_MODULATION", "NeuromodulationParameters"]

NEUROMOD_MODES = ("gain", "threshold", "prob_slope", "off")
_MODULATED = Need("neuromod_mode other than 'off'", lambda s: s.neuromod_mode != "off")


@parameter_group("neuromodulation")
class NeuromodulationParameters:
    """What modulation acts on, and how strongly."""

    neuromod_mode: str = parameter("what modulation m acts on", default="gain", options=NEUROMOD_MODES)
    neuromod_strength: PerNeuron = parameter("its strength k", default=1.0, need=_MODULATED)
    neuromod_transform: Transform | None = parameter("function applied to the modulation first", default=None, need=_MODULATED)


def _gain(current: Tensor, state: Any, d: Any, drive: Drive) -> Tensor:
    return current if drive.modulation is None else current * (1 + d.neuromod_strength * drive.modulation)


def _shift(threshold: Tensor, state: Any, d: Any, drive: Drive) -> Tensor:
    return threshold if drive.modulation is None else threshold + d.neuromod_strength * drive.modulation


def _slope(slope: Tensor, state: Any, d: Any, drive: Drive) -> Tensor:
    return slope if drive.modulation is None else slope * (1 + d.neuromod_strength * drive.modulation)


def _check_slope(settings: Any) -> None:
    if not PROBABILISTIC.holds(settings):
        raise UnsupportedError(
            "Argument `neuromod_mode` must not be 'prob_slope' for the classic deterministic decision, which has no slope."
        )


def _mode(name: str) -> Need:
    return Need(f"neuromod_mode={name!r}", lambda s: s.neuromod_mode == name)


def _strength(numbers: Any) -> dict[str, Any]:
    return {"neuromod_strength": numbers.neuromod_strength}


# One row for each mode: they act at different places of the step. Modulation is given, and a circuit's angles follow it.
GAIN = Mechanism(
    group="neuromodulation",
    formula=("gain: I ← (1 + k m) I",),
    on=_mode("gain"),
    parameters=NeuromodulationParameters,
    constants=_strength,
    input=_gain,
    obstacles=(),
)
THRESHOLD_MODULATION = Mechanism(
    group="neuromodulation",
    formula=("threshold: Δ ← Δ − k m",),
    on=_mode("threshold"),
    constants=_strength,
    threshold=_shift,
    obstacles=(),
)
SLOPE_MODULATION = Mechanism(
    group="neuromodulation",
    formula=("prob_slope: slope ← (1 + k m) slope",),
    on=_mode("prob_slope"),
    constants=_strength,
    check=_check_slope,
    slope=_slope,
    obstacles=(),
)
