"""The parameters that every neuron has: membrane and reset, decision, and what is trained."""

import math

from qlifq.neurons.mapping import MAPPINGS, THETA_MAX
from qlifq.neurons.mechanisms.adaptive_threshold import ADAPTIVE
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.rules import PerNeuron
from qlifq.neurons.specs import Need, parameter, parameter_group
from qlifq.neurons.surrogates import SURROGATES

__all__ = [
    "DECISIONS",
    "DETERMINISTIC",
    "PROBABILISTIC",
    "QUANTUM",
    "RESETS",
    "ClassicParameters",
    "LearningParameters",
    "MembraneParameters",
    "QuantumParameters",
]

DECISIONS = ("sample", "threshold", "expectation")
RESETS = ("hard", "soft", "partial")


def _of_membrane(name: str) -> Need:
    """A membrane that uses the parameter."""
    users = [f"membrane={key!r}" for key, row in MEMBRANES.items() if name in row.parameters]
    words = "a membrane that has it" if len(users) == len(MEMBRANES) else " or ".join(users)
    return Need(words, lambda s: name in MEMBRANES[s.membrane].parameters)


def _of_mapping(name: str) -> Need:
    """A mapping that uses the parameter."""
    users = " or ".join(f"mapping={key!r}" for key, row in MAPPINGS.items() if name in row.parameters)
    return Need(f"quantum_mode=True and {users}", lambda s: s.quantum_mode and name in MAPPINGS[s.mapping].parameters)


QUANTUM = Need("quantum_mode=True", lambda s: s.quantum_mode)
CLASSIC = Need("quantum_mode=False", lambda s: not s.quantum_mode)
DETERMINISTIC = Need("quantum_mode=False and stochastic=False", lambda s: not s.quantum_mode and not s.stochastic)
STOCHASTIC = Need("quantum_mode=False and stochastic=True", lambda s: not s.quantum_mode and s.stochastic)
PROBABILISTIC = Need("quantum_mode=True or stochastic=True", lambda s: s.quantum_mode or s.stochastic)
THRESHOLDED = Need("quantum_mode=True and decision='threshold'", lambda s: s.quantum_mode and s.decision == "threshold")
TO_V_RESET = Need("reset='hard' or reset='partial'", lambda s: s.reset != "soft")
PARTIAL = Need("reset='partial'", lambda s: s.reset == "partial")
SOFT = Need("reset='soft'", lambda s: s.reset == "soft")


@parameter_group("membrane")
class MembraneParameters:
    """How the potential follows its input, and where a spike leaves it."""

    membrane: str = parameter("membrane equation", default="leaky", options=MEMBRANES)
    V_th: PerNeuron = parameter("threshold at rest", default=1.0, kept=True)
    V_reset: PerNeuron = parameter("potential after a spike", default=0.0, need=TO_V_RESET)
    reset: str = parameter(
        "to V_reset, down by the threshold, or by a fraction towards V_reset", default="hard", options=RESETS
    )
    reset_fraction: PerNeuron = parameter("fraction of a partial reset", default=0.3, need=PARTIAL, above=0.0, at_most=1.0)
    reset_scale: PerNeuron = parameter(
        "multiple of the threshold that a soft reset takes off", default=1.0, need=SOFT, at_least=0.0
    )
    tau: PerNeuron = parameter("membrane time constant τ, at least dt", default=20.0, kept=True, not_below_dt=True, above=0.0)
    dt: float = parameter("time step, in the unit of τ", default=1.0, fixed="all neurons share one time step", above=0.0)
    decay_input: bool = parameter("whether dt/τ scales the input; with False V takes it as it is, as in snnTorch", default=True)
    V_rest: PerNeuron = parameter("potential at rest, the stable point of a parabola", default=0.0, need=_of_membrane("V_rest"))
    V_c: PerNeuron = parameter("unstable point of the parabola, above V_rest", default=0.8, need=_of_membrane("V_c"))
    a0: PerNeuron = parameter("steepness of the parabola", default=1.0, need=_of_membrane("a0"), above=0.0)
    R: PerNeuron = parameter("resistance of the input", default=1.0, need=_of_membrane("R"), above=0.0)
    V_peak: PerNeuron = parameter("cut-off of the potential, above V_th", default=10.0, need=_of_membrane("V_peak"))


@parameter_group("quantum decision")
class QuantumParameters:
    """How a qubit decides."""

    quantum_mode: bool = parameter("whether a qubit decides, or classic rules", default=True)
    decision: str = parameter("what is made of the probability", default="sample", options=DECISIONS, need=QUANTUM)
    mapping: str = parameter("from the gap to the angle", default="sigmoid", options=MAPPINGS, need=QUANTUM)
    q_scale: PerNeuron | None = parameter(
        "slope of the mapping; None for its default", default=None, need=QUANTUM, kept=True, above=0.0
    )
    q_bias: PerNeuron | None = parameter("offset of the mapping; None for its default", default=None, need=QUANTUM, kept=True)
    quantum_leak: PerNeuron = parameter("taken off the offset", default=0.0, need=QUANTUM)
    theta_max: PerNeuron = parameter(
        "span of the tanh mapping, radians", default=THETA_MAX, need=_of_mapping("theta_max"), above=0.0, at_most=math.pi
    )
    quantum_threshold: float = parameter(
        "angle whose probability sin²(angle/2) the estimate must exceed",
        default=math.pi / 2,
        need=THRESHOLDED,
        fixed="a comparison has no derivative",
        at_least=0.0,
        at_most=math.pi,
    )
    quantum_wire: int = parameter("qubits per neuron whose shots are pooled", default=1, need=QUANTUM, at_least=1)


@parameter_group("classic decision")
class ClassicParameters:
    """How a neuron without a qubit decides."""

    stochastic: bool = parameter("whether it is drawn, p = σ(base_alpha Δ)", default=False, need=CLASSIC)
    base_alpha: PerNeuron = parameter("slope of the drawn decision", default=2.0, need=STOCHASTIC, above=0.0)
    surrogate_gradient_function: str = parameter(
        "derivative that stands for the step's", default="fast_sigmoid", options=tuple(SURROGATES), need=DETERMINISTIC
    )
    alpha: PerNeuron = parameter("its sharpness", default=1.0, need=DETERMINISTIC, fixed="no spike depends on it", above=0.0)


@parameter_group("learning")
class LearningParameters:
    """What is trained."""

    learnable: tuple[str, ...] = parameter("what is trained, each within its range", default=())
    learnable_threshold: bool = parameter("whether V_th is trained", default=False)
    learnable_tau: bool = parameter("whether τ is trained, above dt", default=False)
    learnable_eta: bool = parameter("whether eta is trained, above 0", default=False, need=ADAPTIVE)
    learnable_qscale: bool = parameter("whether q_scale is trained, above 0", default=False, need=QUANTUM)
    learnable_qbias: bool = parameter("whether q_bias is trained", default=False, need=QUANTUM)
