"""What the parameters of a neuron are called on a page: words, the keyword of `QLIF`, and the unit where there is one."""

from collections.abc import Mapping
from types import MappingProxyType

from qlifq.neurons.parameters import Spec

__all__ = ["LABELS", "label_of"]

_TIME = "unit of dt"

#: By keyword: the words, and the unit; a number without one is dimensionless.
LABELS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "membrane": ("Membrane equation", ""),
        "V_th": ("Threshold at rest", ""),
        "V_reset": ("Potential after a spike", ""),
        "reset": ("Reset", ""),
        "reset_fraction": ("Fraction of a partial reset", ""),
        "reset_scale": ("Thresholds taken off by a soft reset", ""),
        "tau": ("Membrane time constant τ", _TIME),
        "dt": ("Time step", "same unit as τ"),
        "decay_input": ("Input scaled by dt/τ", ""),
        "noise_std": ("Membrane noise σ", ""),
        "refractory_period": ("Refractory period", "steps"),
        "V_rest": ("Potential at rest", ""),
        "V_c": ("Unstable point of the parabola", ""),
        "a0": ("Steepness of the parabola", ""),
        "R": ("Resistance of the input", ""),
        "V_peak": ("Cut-off of the potential", ""),
        "use_adaptive_threshold": ("Adaptive threshold", ""),
        "eta": ("Rise of the threshold at a spike", ""),
        "tau_threshold": ("Time constant of the threshold", _TIME),
        "min_threshold": ("Least threshold", ""),
        "max_threshold": ("Greatest threshold", ""),
        "homeostasis_enabled": ("Homeostasis", ""),
        "homeostasis_target_rate": ("Target rate", "spikes per step"),
        "homeostasis_lr": ("Speed of homeostasis", "per unit of dt"),
        "homeostasis_tau": ("Time constant of the rate F", _TIME),
        "spike_increase": ("Rise of the adaptation current A at a spike", ""),
        "adaptation_decay": ("What is left of A", "per unit of dt"),
        "use_ahp": ("After-hyperpolarisation H", ""),
        "tau_ahp": ("Time constant of H", _TIME),
        "ahp_jump": ("Rise of H at a spike", ""),
        "g_ahp": ("Weight of H in the input", ""),
        "depression_rate": ("Efficiency S used up by a spike", "fraction"),
        "recovery_rate": ("Recovery of S", "fraction per unit of dt"),
        "neuromod_mode": ("What modulation acts on", ""),
        "neuromod_strength": ("Strength k of modulation", ""),
        "neuromod_transform": ("Function applied to modulation", ""),
        "quantum_mode": ("A qubit decides", ""),
        "decision": ("Decision", ""),
        "mapping": ("Mapping from gap to angle", ""),
        "q_scale": ("Slope of the mapping", ""),
        "q_bias": ("Offset of the mapping", ""),
        "quantum_leak": ("Taken off the offset", ""),
        "theta_max": ("Span of the tanh mapping", "radians"),
        "quantum_threshold": ("Angle whose P(1) the estimate must exceed", "radians"),
        "quantum_wire": ("Qubits per neuron", ""),
        "allow_dynamic_spike_probability": ("Recent spikes D flatten P(1)", ""),
        "tau_adapt": ("Time constant of D", _TIME),
        "stochastic": ("Drawn spikes", ""),
        "base_alpha": ("Slope of the drawn decision", ""),
        "surrogate_gradient_function": ("Derivative in place of the step's", ""),
        "alpha": ("Sharpness of that derivative", ""),
        "learnable_threshold": ("Train the threshold", ""),
        "learnable_tau": ("Train τ", ""),
        "learnable_eta": ("Train the rise of the threshold", ""),
        "learnable_qscale": ("Train the slope of the mapping", ""),
        "learnable_qbias": ("Train the offset of the mapping", ""),
    }
)


def label_of(name: str, spec: Spec) -> str:
    """What stands over the control of a parameter.

    The keyword is a part of it, since errors, the table of parameters and the Python of the page use it. A parameter that has
    no row yet goes by what it does.
    """
    words, unit = LABELS.get(name, (spec.doc[:1].upper() + spec.doc[1:], ""))
    return f"{words} ({', '.join(filter(None, (name, unit)))})"
