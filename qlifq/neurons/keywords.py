"""The keywords of a QLIF neuron for editors and type checkers; what each does stands in `Settings`."""

from collections.abc import Sequence
from typing import Any, TypedDict

from numpy.typing import NDArray
from torch import Tensor

from qlifq.neurons.parameters import Transform

__all__ = ["NeuronParameters", "Numbers"]

#: One number for all neurons, or one per neuron.
Numbers = float | Sequence[float] | Tensor | NDArray[Any]


class NeuronParameters(TypedDict, total=False):
    """The fields of `Settings`, without those that `QLIF` names itself: decision, mapping and membrane."""

    V_th: Numbers
    V_reset: Numbers
    reset: str
    reset_fraction: Numbers
    reset_scale: Numbers
    tau: Numbers
    dt: float
    decay_input: bool
    noise_std: Numbers
    refractory_period: int
    V_rest: Numbers
    V_c: Numbers
    a0: Numbers
    R: Numbers
    V_min: Numbers | None
    V_peak: Numbers
    use_adaptive_threshold: bool
    eta: Numbers
    tau_threshold: Numbers
    min_threshold: Numbers
    max_threshold: Numbers
    homeostasis_enabled: bool
    homeostasis_target_rate: Numbers
    homeostasis_lr: Numbers
    homeostasis_tau: Numbers
    spike_increase: Numbers
    adaptation_decay: Numbers
    use_ahp: bool
    tau_ahp: Numbers
    ahp_jump: Numbers
    g_ahp: Numbers
    depression_rate: Numbers
    recovery_rate: Numbers
    neuromod_mode: str
    neuromod_strength: Numbers
    neuromod_transform: Transform | None
    quantum_mode: bool
    q_scale: Numbers | None
    q_bias: Numbers | None
    quantum_leak: Numbers
    theta_max: Numbers
    quantum_threshold: float
    quantum_wire: int
    allow_dynamic_spike_probability: bool
    tau_adapt: Numbers
    stochastic: bool
    base_alpha: Numbers
    surrogate_gradient_function: str
    alpha: Numbers
    learnable: Sequence[str]
    learnable_threshold: bool
    learnable_tau: bool
    learnable_eta: bool
    learnable_qscale: bool
    learnable_qbias: bool
