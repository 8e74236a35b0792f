"""Every parameter of a QLIF neuron: its default, its bounds, what it needs and what it does.

The table of the README, the command line and the checks of user input are all made from the fields below.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from qlifq.neurons.mapping import MAPPINGS, THETA_MAX
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.surrogates import SURROGATES

__all__ = ["DECISIONS", "FORMULAS", "NEUROMOD_MODES", "PER_NEURON", "RESETS", "Settings", "Spec", "markdown_table"]

DECISIONS = ("sample", "threshold", "expectation")
NEUROMOD_MODES = ("gain", "threshold", "prob_slope", "off")
RESETS = ("hard", "soft", "partial")

#: One number for all neurons, or one per neuron.
PerNeuron = float | tuple[float, ...]
Transform = Callable[[Tensor], Tensor]


class Need(NamedTuple):
    """What must hold for a parameter to have an effect, in words and as a test."""

    words: str
    holds: Callable[["Settings"], bool]


class Spec(NamedTuple):
    """What is known about one parameter.

    Args:
        kind: "real", "per-neuron", "integer", "flag", "choice" or "transform".
        group: the mechanism it belongs to.
        doc: what it does, in one clause.
        bounds: keyword arguments of the check, such as `above`.
        options: the names of a choice.
        need: what it needs to have an effect, or None.
    """

    kind: str
    group: str
    doc: str
    bounds: Mapping[str, float]
    options: Collection[str]
    need: Need | None


def _parameter(
    default: object,
    kind: str,
    group: str,
    doc: str,
    *,
    options: Collection[str] = (),
    need: Need | None = None,
    **bounds: float,
) -> Any:  # a dataclass field takes the type of its annotation
    return field(default=default, metadata={"spec": Spec(kind, group, doc, bounds, options, need)})


def _of_membrane(name: str) -> Need:
    """A membrane that uses the parameter."""
    users = " or ".join(f"membrane={key!r}" for key, row in MEMBRANES.items() if name in row.parameters)
    return Need(users, lambda s: name in MEMBRANES[s.membrane].parameters)


def _of_mapping(name: str) -> Need:
    """A mapping that uses the parameter."""
    users = " or ".join(f"mapping={key!r}" for key, row in MAPPINGS.items() if name in row.parameters)
    return Need(f"quantum_mode=True and {users}", lambda s: s.quantum_mode and name in MAPPINGS[s.mapping].parameters)


QUANTUM = Need("quantum_mode=True", lambda s: s.quantum_mode)
CLASSIC = Need("quantum_mode=False", lambda s: not s.quantum_mode)
DETERMINISTIC = Need("quantum_mode=False and stochastic=False", lambda s: not s.quantum_mode and not s.stochastic)
STOCHASTIC = Need("quantum_mode=False and stochastic=True", lambda s: not s.quantum_mode and s.stochastic)
ADAPTIVE = Need("use_adaptive_threshold=True", lambda s: s.use_adaptive_threshold)
BOUNDED = Need(
    "use_adaptive_threshold=True or homeostasis_enabled=True",
    lambda s: s.use_adaptive_threshold or s.homeostasis_enabled,
)
HOMEOSTASIS = Need("homeostasis_enabled=True", lambda s: s.homeostasis_enabled)
AHP = Need("use_ahp=True", lambda s: s.use_ahp)
ADAPTATION = Need("spike_increase above 0", lambda s: s.spike_increase > 0)
DEPRESSION = Need("depression_rate above 0", lambda s: s.depression_rate > 0)
MODULATED = Need("neuromod_mode other than 'off'", lambda s: s.neuromod_mode != "off")
PROBABILISTIC = Need("quantum_mode=True or stochastic=True", lambda s: s.quantum_mode or s.stochastic)
DYNAMIC = Need("allow_dynamic_spike_probability=True", lambda s: s.allow_dynamic_spike_probability)
THRESHOLDED = Need("quantum_mode=True and decision='threshold'", lambda s: s.quantum_mode and s.decision == "threshold")
TO_V_RESET = Need("reset='hard' or reset='partial'", lambda s: s.reset != "soft")
PARTIAL = Need("reset='partial'", lambda s: s.reset == "partial")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a QLIF layer, checked; see the table in the README or `markdown_table()`.

    Raises:
        ArgumentError: for a value out of range, or an unknown name.
        DtypeError: for a value of another type.
        ShapeError: for a parameter per neuron that holds no number.
        UnsupportedError: for a value that would be ignored.
    """

    membrane: str = _parameter("leaky", "choice", "membrane", "membrane equation", options=MEMBRANES)
    V_th: PerNeuron = _parameter(1.0, "per-neuron", "membrane", "threshold at rest")
    V_reset: float = _parameter(0.0, "real", "membrane", "potential after a spike", need=TO_V_RESET)
    reset: str = _parameter(
        "hard", "choice", "membrane", "to V_reset, down by the threshold, or by a fraction towards V_reset", options=RESETS
    )
    reset_fraction: float = _parameter(
        0.3, "real", "membrane", "fraction of a partial reset", need=PARTIAL, above=0.0, at_most=1.0
    )
    tau: PerNeuron = _parameter(20.0, "per-neuron", "membrane", "membrane time constant τ, at least dt", above=0.0)
    dt: float = _parameter(1.0, "real", "membrane", "time step, in the unit of τ", above=0.0)
    noise_std: float = _parameter(0.0, "real", "membrane", "membrane noise σ, scaled with √dt", at_least=0.0)
    refractory_period: int = _parameter(
        0, "integer", "membrane", "steps after a spike in which V is held and no circuit is asked", at_least=0
    )
    V_rest: float = _parameter(0.0, "real", "membrane", "stable point of the parabola", need=_of_membrane("V_rest"))
    V_c: float = _parameter(0.8, "real", "membrane", "unstable point of the parabola, above V_rest", need=_of_membrane("V_c"))
    a0: float = _parameter(1.0, "real", "membrane", "steepness of the parabola", need=_of_membrane("a0"), above=0.0)
    R: float = _parameter(1.0, "real", "membrane", "resistance of the input", need=_of_membrane("R"), above=0.0)
    V_peak: float = _parameter(10.0, "real", "membrane", "cut-off of the potential, above V_th", need=_of_membrane("V_peak"))

    use_adaptive_threshold: bool = _parameter(False, "flag", "threshold", "whether spikes raise the threshold")
    eta: PerNeuron = _parameter(0.1, "per-neuron", "threshold", "rise of the threshold at a spike", need=ADAPTIVE, at_least=0.0)
    tau_threshold: float = _parameter(
        20.0, "real", "threshold", "time constant of its way back to rest", need=ADAPTIVE, above=0.0
    )
    min_threshold: float = _parameter(0.5, "real", "threshold", "least threshold", need=BOUNDED)
    max_threshold: float = _parameter(2.0, "real", "threshold", "greatest threshold", need=BOUNDED)
    homeostasis_enabled: bool = _parameter(
        False, "flag", "threshold", "whether V_th follows the firing rate: V_th ← V_th + lr (F − target)"
    )
    homeostasis_target_rate: float = _parameter(
        0.1, "real", "threshold", "wanted rate, spikes a step", need=HOMEOSTASIS, at_least=0.0, at_most=1.0
    )
    homeostasis_lr: float = _parameter(
        0.01, "real", "threshold", "speed of homeostasis, per unit of time", need=HOMEOSTASIS, above=0.0
    )
    homeostasis_tau: float = _parameter(
        100.0, "real", "threshold", "time constant of the rate F, at least dt", need=HOMEOSTASIS, above=0.0
    )

    spike_increase: float = _parameter(0.0, "real", "adaptation", "rise of the adaptation current A at a spike", at_least=0.0)
    adaptation_decay: float = _parameter(
        0.9, "real", "adaptation", "what is left of A after a time of 1", need=ADAPTATION, at_least=0.0, below=1.0
    )
    use_ahp: bool = _parameter(False, "flag", "adaptation", "whether spikes cause an after-hyperpolarisation H")
    tau_ahp: float = _parameter(120.0, "real", "adaptation", "time constant of H", need=AHP, above=0.0)
    ahp_jump: float = _parameter(0.3, "real", "adaptation", "rise of H at a spike; H is at most 2", need=AHP, above=0.0)
    g_ahp: float = _parameter(0.2, "real", "adaptation", "weight of H in the input", need=AHP, above=0.0)

    depression_rate: float = _parameter(
        0.0, "real", "plasticity", "fraction of the efficiency S that a spike uses up", at_least=0.0, at_most=1.0
    )
    recovery_rate: float = _parameter(
        0.05,
        "real",
        "plasticity",
        "fraction of its deficit that S regains in a time of 1",
        need=DEPRESSION,
        above=0.0,
        at_most=1.0,
    )

    neuromod_mode: str = _parameter("gain", "choice", "neuromodulation", "what modulation m acts on", options=NEUROMOD_MODES)
    neuromod_strength: float = _parameter(1.0, "real", "neuromodulation", "its strength k", need=MODULATED)
    neuromod_transform: Transform | None = _parameter(
        None, "transform", "neuromodulation", "function applied to the modulation first", need=MODULATED
    )

    quantum_mode: bool = _parameter(True, "flag", "quantum decision", "whether a qubit decides, or classic rules")
    decision: str = _parameter(
        "sample", "choice", "quantum decision", "what is made of the probability", options=DECISIONS, need=QUANTUM
    )
    mapping: str = _parameter(
        "sigmoid", "choice", "quantum decision", "from the gap to the angle", options=MAPPINGS, need=QUANTUM
    )
    q_scale: PerNeuron | None = _parameter(
        None, "per-neuron", "quantum decision", "slope of the mapping; None for its default", need=QUANTUM, above=0.0
    )
    q_bias: PerNeuron | None = _parameter(
        None, "per-neuron", "quantum decision", "offset of the mapping; None for its default", need=QUANTUM
    )
    quantum_leak: float = _parameter(0.0, "real", "quantum decision", "taken off the offset", need=QUANTUM)
    theta_max: float = _parameter(
        THETA_MAX,
        "real",
        "quantum decision",
        "span of the tanh mapping, radians",
        need=_of_mapping("theta_max"),
        above=0.0,
        at_most=math.pi,
    )
    quantum_threshold: float = _parameter(
        math.pi / 2,
        "real",
        "quantum decision",
        "angle whose probability sin²(angle/2) the estimate must exceed",
        need=THRESHOLDED,
        at_least=0.0,
        at_most=math.pi,
    )
    quantum_wire: int = _parameter(
        1, "integer", "quantum decision", "qubits per neuron whose shots are pooled", need=QUANTUM, at_least=1
    )
    allow_dynamic_spike_probability: bool = _parameter(
        False,
        "flag",
        "quantum decision",
        "whether recent spikes D flatten the probability: slope / (1 + D)",
        need=PROBABILISTIC,
    )
    tau_adapt: float = _parameter(20.0, "real", "quantum decision", "time constant of D", need=DYNAMIC, above=0.0)

    stochastic: bool = _parameter(False, "flag", "classic decision", "whether it is drawn, p = σ(base_alpha Δ)", need=CLASSIC)
    base_alpha: float = _parameter(2.0, "real", "classic decision", "slope of the drawn decision", need=STOCHASTIC, above=0.0)
    surrogate_gradient_function: str = _parameter(
        "fast_sigmoid",
        "choice",
        "classic decision",
        "derivative that stands for the step's",
        options=tuple(SURROGATES),
        need=DETERMINISTIC,
    )
    alpha: float = _parameter(1.0, "real", "classic decision", "its sharpness", need=DETERMINISTIC, above=0.0)

    learnable_threshold: bool = _parameter(False, "flag", "learning", "whether V_th is trained")
    learnable_tau: bool = _parameter(False, "flag", "learning", "whether τ is trained, above dt")
    learnable_eta: bool = _parameter(False, "flag", "learning", "whether eta is trained, above 0", need=ADAPTIVE)
    learnable_qscale: bool = _parameter(False, "flag", "learning", "whether q_scale is trained, above 0", need=QUANTUM)
    learnable_qbias: bool = _parameter(False, "flag", "learning", "whether q_bias is trained", need=QUANTUM)

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _checked(item, getattr(self, item.name)))
        for item in fields(self):
            spec, value = spec_of(item), getattr(self, item.name)
            if spec.need is not None and value != item.default and not spec.need.holds(self):
                raise UnsupportedError(
                    f"Argument `{item.name}` would be ignored: it needs {spec.need.words}, but is {value!r} without."
                )
        self._check_together()

    def _check_together(self) -> None:
        """What two parameters must be to each other."""
        for name in ("V_th", "tau", "eta", "q_scale", "q_bias"):
            value = getattr(self, name)
            if isinstance(value, tuple) and not value:
                raise ShapeError(f"Argument `{name}` must hold one number per neuron, but is empty.")
        if least(self.tau) < self.dt or (self.learnable_tau and least(self.tau) <= self.dt):
            bound = "above" if self.learnable_tau else "at least"
            raise ArgumentError(f"Argument `tau` must be {bound} dt = {self.dt:g}, but is {least(self.tau):g}.")
        if self.homeostasis_tau < self.dt:
            raise ArgumentError(
                f"Argument `homeostasis_tau` must be at least dt = {self.dt:g}, but is {self.homeostasis_tau:g}."
            )
        if self.learnable_eta and least(self.eta) <= 0:
            raise ArgumentError(f"Argument `eta` must be above 0 to be learnable, but is {least(self.eta):g}.")
        if self.min_threshold >= self.max_threshold:
            raise ArgumentError(
                f"Argument `min_threshold` must be below max_threshold = {self.max_threshold:g}, but is {self.min_threshold:g}."
            )
        if BOUNDED.holds(self):
            for value in (least(self.V_th), greatest(self.V_th)):
                if not self.min_threshold <= value <= self.max_threshold:
                    raise ArgumentError(
                        f"Argument `V_th` must be within min_threshold = {self.min_threshold:g} and "
                        f"max_threshold = {self.max_threshold:g}, but is {value:g}."
                    )
        if TO_V_RESET.holds(self) and self.V_reset >= least(self.V_th):
            raise ArgumentError(f"Argument `V_th` must be above V_reset = {self.V_reset:g}, but is {least(self.V_th):g}.")
        MEMBRANES[self.membrane].check(self)
        if self.refractory_period and self.quantum_mode and self.decision == "expectation":
            raise UnsupportedError(
                f"Argument `refractory_period` must be 0 with decision='expectation', whose spikes are graded, "
                f"but is {self.refractory_period}."
            )
        if self.neuromod_mode == "prob_slope" and not PROBABILISTIC.holds(self):
            raise UnsupportedError(
                "Argument `neuromod_mode` must not be 'prob_slope' for the classic deterministic decision, which has no slope."
            )

    def uses(self, name: str) -> bool:
        """Whether a parameter that switches its mechanism on above 0 does so for any neuron."""
        value = getattr(self, name)
        return any(value) if isinstance(value, tuple) else bool(value)

    @property
    def lowest_V_th(self) -> float:
        """The least threshold at rest of any neuron."""
        return least(self.V_th)

    @property
    def highest_threshold(self) -> tuple[str, float]:
        """The highest threshold that any neuron can take, and the parameter that sets it."""
        return ("max_threshold", self.max_threshold) if BOUNDED.holds(self) else ("V_th", greatest(self.V_th))


#: The parameters that every neuron can have its own value of.
PER_NEURON = tuple(item.name for item in fields(Settings) if item.metadata["spec"].kind == "per-neuron")


#: What each group of parameters does to the neuron at every step, s being the spike and m the transformed modulation.
FORMULAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "membrane": (
            *(f"{name}: {membrane.formula} + noise_std √dt ξ" for name, membrane in MEMBRANES.items()),
            "hard reset: V ← V_reset · soft: V ← V − threshold · partial: V ← V + reset_fraction (V_reset − V)",
        ),
        "threshold": (
            "threshold = V_th + H + T",
            "homeostasis: F ← F + (dt/homeostasis_tau) (s − F), H ← H + homeostasis_lr dt (F − homeostasis_target_rate)",
            "adaptive: T ← T e^(−dt/tau_threshold) + eta s, the sum kept within min_threshold and max_threshold",
        ),
        "adaptation": (
            "I_eff = I S − A − g_ahp H",
            "A ← A adaptation_decay^dt + spike_increase s",
            "H ← min(H e^(−dt/tau_ahp) + ahp_jump s, 2)",
        ),
        "plasticity": (
            "I_eff = I S − A − g_ahp H",
            "S ← S + (1 − (1 − recovery_rate)^dt) (1 − S) − depression_rate S s",
        ),
        "neuromodulation": (
            "gain: I ← (1 + k m) I",
            "threshold: Δ ← Δ − k m",
            "prob_slope: slope ← (1 + k m) slope",
        ),
        "quantum decision": (
            "Δ = V − threshold",
            *(f"{name}: {mapping.formula}" for name, mapping in MAPPINGS.items()),
            "P(1) = sin²(θ/2)",
            "dynamic: q_scale ← q_scale / (1 + D), D ← D e^(−dt/tau_adapt) + s",
        ),
        "classic decision": ("deterministic: s = 1 where Δ > 0", "stochastic: p = σ(base_alpha Δ)"),
        "learning": ("∂ rate / ∂ parameter, the sum over all neurons",),
    }
)


def spec_of(item: "Field[Any]") -> Spec:
    """What is known about a field of `Settings`."""
    return cast(Spec, item.metadata["spec"])


def least(value: PerNeuron) -> float:
    """The least of one number or several."""
    return min(value) if isinstance(value, tuple) else value


def greatest(value: PerNeuron) -> float:
    """The greatest of one number or several."""
    return max(value) if isinstance(value, tuple) else value


def markdown_table() -> str:
    """The parameters as a Markdown table, in the order of `Settings`."""
    rows = ["| parameter | default | range | what it does |", "| --- | --- | --- | --- |"]
    group = ""
    for item in fields(Settings):
        spec = spec_of(item)
        if spec.group != group:
            group = spec.group
            rows.append(f"| **{group}** | | | |")
        default = f"{item.default:.6g}" if isinstance(item.default, float) else repr(item.default).strip("'")
        need = f"; needs {spec.need.words}" if spec.need else ""
        rows.append(f"| `{item.name}` | {default} | {_range(spec)} | {spec.doc}{need} |")
    return "\n".join(rows) + "\n"


def _range(spec: Spec) -> str:
    if spec.options:
        return ", ".join(spec.options)
    signs = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
    return ", ".join(f"{signs[word]} {bound:.6g}" for word, bound in spec.bounds.items()) or {
        "flag": "True, False",
        "transform": "a function of a tensor",
    }.get(spec.kind, "finite")


def _checked(item: "Field[Any]", value: object) -> object:
    """The value of one parameter, refused or brought to its type."""
    spec, name = spec_of(item), item.name
    if spec.kind == "flag":
        return check.flag(name, value)
    if spec.kind == "choice":
        return check.choice(name, value, spec.options)
    if spec.kind == "integer":
        return check.integer(name, value, at_least=int(spec.bounds["at_least"]))
    if spec.kind == "real":
        return check.real(name, value, **spec.bounds)
    if spec.kind == "transform":
        if value is not None and not callable(value):
            raise DtypeError(f"Argument `{name}` must be a function of a tensor or None, but is {value!r}.")
        return value
    if value is None and item.default is None:
        return None
    if isinstance(value, Tensor):
        value = value.detach().to(torch.float64).tolist()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(check.real(name, number, **spec.bounds) for number in value)
    return check.real(name, value, **spec.bounds)
