"""White noise of the membrane, as the Euler-Maruyama step of dV = … + σ dW has it."""

import math
from typing import Any

from torch import Tensor

from qlifq.neurons.mechanisms.mechanism import Drive, Mechanism, TrainObstacle
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group, positive

__all__ = ["MEMBRANE_NOISE", "NoiseParameters"]


@parameter_group("membrane")
class NoiseParameters:
    """How much noise there is."""

    noise_std: PerNeuron = parameter("membrane noise σ, scaled with √dt", default=0.0, at_least=0.0)


def _noise(voltage: Tensor, state: Any, d: Any, drive: Drive) -> Tensor:
    return voltage if drive.noise is None else voltage + d.noise_scale * drive.noise


MEMBRANE_NOISE = Mechanism(
    group="membrane",
    formula=("V ← V + noise_std √dt ξ",),
    on=Need("noise_std above 0", lambda s: positive(s.noise_std)),
    parameters=NoiseParameters,
    # The variance of the increment of a Wiener process is dt.
    constants=lambda p: {"noise_scale": p.noise_std * math.sqrt(p.dt)},
    voltage=_noise,
    noisy=True,
    obstacles=(TrainObstacle("noise_std", "the membrane noise is drawn on the host"),),
)
