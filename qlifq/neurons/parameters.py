"""Every parameter of a QLIF neuron: its default, its bounds, what it needs and what it does.

The table in docs/neuron.md, the command line and the checks of user input are all made from the fields below. What two of them
must be to each other stands in `rules`.
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
from qlifq.neurons.rules import NOT_BELOW_DT, RULES, PerNeuron
from qlifq.neurons.surrogates import SURROGATES

__all__ = ["DECISIONS", "NEUROMOD_MODES", "PER_NEURON", "RESETS", "Settings", "Spec", "Transform"]

DECISIONS = ("sample", "threshold", "expectation")
NEUROMOD_MODES = ("gain", "threshold", "prob_slope", "off")
RESETS = ("hard", "soft", "partial")

#: Why a parameter that is no number has no gradient, by its kind.
_NOT_TRAINED = MappingProxyType(
    {
        "integer": "it is a whole number",
        "flag": "it is True or False",
        "choice": "it is a name",
        "transform": "it is a function",
        "names": "it holds names",
    }
)
#: What a flag of the group "learning" trains.
_TRAINED_BY = MappingProxyType(
    {
        "learnable_threshold": "V_th",
        "learnable_tau": "tau",
        "learnable_eta": "eta",
        "learnable_qscale": "q_scale",
        "learnable_qbias": "q_bias",
    }
)
Transform = Callable[[Tensor], Tensor]


class Need(NamedTuple):
    """What must hold for a parameter to have an effect, as a phrase and as a test."""

    words: str
    holds: Callable[["Settings"], bool]


class Spec(NamedTuple):
    """What is known about one parameter.

    Args:
        kind: "per-neuron" (one number, or one per neuron), "real" (one number), "integer", "flag", "choice", "transform" or
            "names".
        group: the mechanism it belongs to.
        doc: what it does, in one clause.
        bounds: keyword arguments of the check, such as `above`.
        options: the names of a choice.
        need: what it needs to have an effect, or None.
        fixed: why a number has no gradient; empty where it has one.
    """

    kind: str
    group: str
    doc: str
    bounds: Mapping[str, float]
    options: Collection[str]
    need: Need | None
    fixed: str = ""

    @property
    def without_gradient(self) -> str:
        """Why it cannot be trained; empty where it can."""
        return self.fixed or _NOT_TRAINED.get(self.kind, "")

    def has_effect(self, settings: "Settings") -> bool:
        """Whether it has an effect as the others stand."""
        return self.need is None or self.need.holds(settings)


def _parameter(
    default: object,
    kind: str,
    group: str,
    doc: str,
    *,
    options: Collection[str] = (),
    need: Need | None = None,
    fixed: str = "",
    **bounds: float,
) -> Any:  # a dataclass field takes the type of its annotation
    return field(default=default, metadata={"spec": Spec(kind, group, doc, bounds, options, need, fixed)})


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
ADAPTIVE = Need("use_adaptive_threshold=True", lambda s: s.use_adaptive_threshold)
BOUNDED = Need(
    "use_adaptive_threshold=True or homeostasis_enabled=True",
    lambda s: s.use_adaptive_threshold or s.homeostasis_enabled,
)
HOMEOSTASIS = Need("homeostasis_enabled=True", lambda s: s.homeostasis_enabled)
AHP = Need("use_ahp=True", lambda s: s.use_ahp)
ADAPTATION = Need("spike_increase above 0", lambda s: positive(s.spike_increase))
DEPRESSION = Need("depression_rate above 0", lambda s: positive(s.depression_rate))
MODULATED = Need("neuromod_mode other than 'off'", lambda s: s.neuromod_mode != "off")
PROBABILISTIC = Need("quantum_mode=True or stochastic=True", lambda s: s.quantum_mode or s.stochastic)
DYNAMIC = Need("allow_dynamic_spike_probability=True", lambda s: s.allow_dynamic_spike_probability)
THRESHOLDED = Need("quantum_mode=True and decision='threshold'", lambda s: s.quantum_mode and s.decision == "threshold")
TO_V_RESET = Need("reset='hard' or reset='partial'", lambda s: s.reset != "soft")
PARTIAL = Need("reset='partial'", lambda s: s.reset == "partial")
SOFT = Need("reset='soft'", lambda s: s.reset == "soft")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a QLIF layer, checked; see the table in docs/neuron.md.

    Raises:
        ArgumentError: for a value out of range, or an unknown name.
        DtypeError: for a value of another type.
        ShapeError: for a parameter per neuron that holds no number.
        UnsupportedError: for a value that would be ignored.
    """

    membrane: str = _parameter("leaky", "choice", "membrane", "membrane equation", options=MEMBRANES)
    V_th: PerNeuron = _parameter(1.0, "per-neuron", "membrane", "threshold at rest")
    V_reset: PerNeuron = _parameter(0.0, "per-neuron", "membrane", "potential after a spike", need=TO_V_RESET)
    reset: str = _parameter(
        "hard", "choice", "membrane", "to V_reset, down by the threshold, or by a fraction towards V_reset", options=RESETS
    )
    reset_fraction: PerNeuron = _parameter(
        0.3, "per-neuron", "membrane", "fraction of a partial reset", need=PARTIAL, above=0.0, at_most=1.0
    )
    reset_scale: PerNeuron = _parameter(
        1.0, "per-neuron", "membrane", "multiple of the threshold that a soft reset takes off", need=SOFT, at_least=0.0
    )
    tau: PerNeuron = _parameter(20.0, "per-neuron", "membrane", "membrane time constant τ, at least dt", above=0.0)
    dt: float = _parameter(
        1.0, "real", "membrane", "time step, in the unit of τ", fixed="all neurons share one time step", above=0.0
    )
    decay_input: bool = _parameter(
        True, "flag", "membrane", "whether dt/τ scales the input; with False V takes it as it is, as in snnTorch"
    )
    noise_std: PerNeuron = _parameter(0.0, "per-neuron", "membrane", "membrane noise σ, scaled with √dt", at_least=0.0)
    refractory_period: int = _parameter(
        0, "integer", "membrane", "steps after a spike in which V stays and no circuit runs", at_least=0
    )
    V_rest: PerNeuron = _parameter(
        0.0, "per-neuron", "membrane", "potential at rest, the stable point of a parabola", need=_of_membrane("V_rest")
    )
    V_c: PerNeuron = _parameter(
        0.8, "per-neuron", "membrane", "unstable point of the parabola, above V_rest", need=_of_membrane("V_c")
    )
    a0: PerNeuron = _parameter(1.0, "per-neuron", "membrane", "steepness of the parabola", need=_of_membrane("a0"), above=0.0)
    R: PerNeuron = _parameter(1.0, "per-neuron", "membrane", "resistance of the input", need=_of_membrane("R"), above=0.0)
    V_min: PerNeuron | None = _parameter(None, "per-neuron", "membrane", "least potential; None for none")
    V_peak: PerNeuron = _parameter(
        10.0, "per-neuron", "membrane", "cut-off of the potential, above V_th", need=_of_membrane("V_peak")
    )

    use_adaptive_threshold: bool = _parameter(False, "flag", "threshold", "whether spikes raise the threshold")
    eta: PerNeuron = _parameter(0.1, "per-neuron", "threshold", "rise of the threshold at a spike", need=ADAPTIVE, at_least=0.0)
    tau_threshold: PerNeuron = _parameter(
        20.0, "per-neuron", "threshold", "time constant of its way back to rest", need=ADAPTIVE, above=0.0
    )
    min_threshold: PerNeuron = _parameter(0.5, "per-neuron", "threshold", "least threshold", need=BOUNDED)
    max_threshold: PerNeuron = _parameter(2.0, "per-neuron", "threshold", "greatest threshold", need=BOUNDED)
    homeostasis_enabled: bool = _parameter(
        False, "flag", "threshold", "whether V_th follows the firing rate: V_th ← V_th + lr (F − target)"
    )
    homeostasis_target_rate: PerNeuron = _parameter(
        0.1, "per-neuron", "threshold", "target rate, spikes per step", need=HOMEOSTASIS, at_least=0.0, at_most=1.0
    )
    homeostasis_lr: PerNeuron = _parameter(
        0.01, "per-neuron", "threshold", "speed of homeostasis, per unit of time", need=HOMEOSTASIS, above=0.0
    )
    homeostasis_tau: PerNeuron = _parameter(
        100.0, "per-neuron", "threshold", "time constant of the rate F, at least dt", need=HOMEOSTASIS, above=0.0
    )

    spike_increase: PerNeuron = _parameter(
        0.0, "per-neuron", "adaptation", "rise of the adaptation current A at a spike", at_least=0.0
    )
    adaptation_decay: PerNeuron = _parameter(
        0.9, "per-neuron", "adaptation", "what is left of A after a time of 1", need=ADAPTATION, at_least=0.0, below=1.0
    )
    use_ahp: bool = _parameter(False, "flag", "adaptation", "whether spikes cause an after-hyperpolarisation H")
    tau_ahp: PerNeuron = _parameter(120.0, "per-neuron", "adaptation", "time constant of H", need=AHP, above=0.0)
    ahp_jump: PerNeuron = _parameter(
        0.3, "per-neuron", "adaptation", "rise of H at a spike; H is at most 2", need=AHP, above=0.0
    )
    g_ahp: PerNeuron = _parameter(0.2, "per-neuron", "adaptation", "weight of H in the input", need=AHP, above=0.0)

    depression_rate: PerNeuron = _parameter(
        0.0, "per-neuron", "plasticity", "fraction of the efficiency S that a spike uses up", at_least=0.0, at_most=1.0
    )
    recovery_rate: PerNeuron = _parameter(
        0.05,
        "per-neuron",
        "plasticity",
        "fraction of its deficit that S regains in a time of 1",
        need=DEPRESSION,
        above=0.0,
        at_most=1.0,
    )

    neuromod_mode: str = _parameter("gain", "choice", "neuromodulation", "what modulation m acts on", options=NEUROMOD_MODES)
    neuromod_strength: PerNeuron = _parameter(1.0, "per-neuron", "neuromodulation", "its strength k", need=MODULATED)
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
    quantum_leak: PerNeuron = _parameter(0.0, "per-neuron", "quantum decision", "taken off the offset", need=QUANTUM)
    theta_max: PerNeuron = _parameter(
        THETA_MAX,
        "per-neuron",
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
        fixed="a comparison has no derivative",
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
    tau_adapt: PerNeuron = _parameter(20.0, "per-neuron", "quantum decision", "time constant of D", need=DYNAMIC, above=0.0)

    stochastic: bool = _parameter(False, "flag", "classic decision", "whether it is drawn, p = σ(base_alpha Δ)", need=CLASSIC)
    base_alpha: PerNeuron = _parameter(
        2.0, "per-neuron", "classic decision", "slope of the drawn decision", need=STOCHASTIC, above=0.0
    )
    surrogate_gradient_function: str = _parameter(
        "fast_sigmoid",
        "choice",
        "classic decision",
        "derivative that stands for the step's",
        options=tuple(SURROGATES),
        need=DETERMINISTIC,
    )
    alpha: PerNeuron = _parameter(
        1.0, "per-neuron", "classic decision", "its sharpness", need=DETERMINISTIC, fixed="no spike depends on it", above=0.0
    )

    learnable: tuple[str, ...] = _parameter((), "names", "learning", "what is trained, each within its range")
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
            if spec.need is not None and value != item.default and not spec.has_effect(self):
                raise UnsupportedError(
                    f"Argument `{item.name}` would be ignored: it needs {spec.need.words}, but is {value!r} without."
                )
        self._check_sizes()
        for rule in (*RULES, *MEMBRANES[self.membrane].rules):
            value, bound = getattr(self, rule.name), getattr(self, rule.other)
            if self.has_effect(rule.name) and self.has_effect(rule.other) and value is not None and bound is not None:
                rule.check(value, bound)
        self._check_trained()
        self._check_choices()

    def _check_sizes(self) -> None:
        """What is given per neuron is given for equally many."""
        sizes = {name: len(value) for name in PER_NEURON if isinstance(value := getattr(self, name), tuple)}
        for name, size in sizes.items():
            first = next(iter(sizes))
            if size != sizes[first]:
                raise ShapeError(f"Argument `{name}` must hold {sizes[first]} numbers like `{first}`, but holds {size}.")

    def _check_trained(self) -> None:
        """What is trained has a gradient, and starts within its bounds."""
        specs = {item.name: spec_of(item) for item in fields(self)}
        for name in self.learnable:
            if name not in specs:
                known = [known for known, spec in specs.items() if not spec.without_gradient]
                raise check.unknown("learnable parameter", name, known)
            if why := specs[name].without_gradient:
                raise UnsupportedError(f"Argument `learnable` must not hold `{name}`, which has no gradient: {why}.")
            if not self.has_effect(name):
                words = cast(Need, specs[name].need).words
                raise UnsupportedError(f"Argument `learnable` would be ignored for `{name}`: it needs {words}.")
        for name in self.trained:
            value, (low, high) = self.number(name), self.open_bounds(name)
            if value is None:
                raise ArgumentError(f"Argument `{name}` must be a number to be learnable, but is None.")
            numbers = value if isinstance(value, tuple) else (value,)
            for bound, word, outside in ((low, "above", min(numbers)), (high, "below", max(numbers))):
                if bound is not None and (outside <= bound if word == "above" else outside >= bound):
                    limit = f"dt = {bound:g}" if name in NOT_BELOW_DT else f"{bound:g}"
                    raise ArgumentError(f"Argument `{name}` must be {word} {limit} to be learnable, but is {outside:g}.")

    def _check_choices(self) -> None:
        """What two choices must be to each other."""
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
        return positive(getattr(self, name))

    def has_effect(self, name: str) -> bool:
        """Whether a parameter has an effect as the others stand."""
        return spec_of(self.__dataclass_fields__[name]).has_effect(self)

    def number(self, name: str) -> PerNeuron | None:
        """The value of a numeric parameter: where it is None, the default of the mapping; None where that has none."""
        value = getattr(self, name)
        return getattr(MAPPINGS[self.mapping], name, None) if value is None else value

    @property
    def trained(self) -> tuple[str, ...]:
        """The names of the parameters that are trained."""
        flagged = (name for flag, name in _TRAINED_BY.items() if getattr(self, flag))
        return tuple(dict.fromkeys((*flagged, *self.learnable)))

    def open_bounds(self, name: str) -> tuple[float | None, float | None]:
        """What a parameter keeps above and below while it is trained, None where there is no bound."""
        bounds = spec_of(self.__dataclass_fields__[name]).bounds
        low = self.dt if name in NOT_BELOW_DT else bounds.get("above", bounds.get("at_least"))
        return low, bounds.get("below", bounds.get("at_most"))


#: The parameters that every neuron can have its own value of.
PER_NEURON = tuple(item.name for item in fields(Settings) if item.metadata["spec"].kind == "per-neuron")


def spec_of(item: "Field[Any]") -> Spec:
    """What is known about a field of `Settings`."""
    return cast(Spec, item.metadata["spec"])


def positive(value: PerNeuron) -> bool:
    """Whether one number, or any of several, is above 0."""
    return any(number > 0 for number in value) if isinstance(value, tuple | list) else value > 0


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
    if spec.kind == "names":
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise DtypeError(f"Argument `{name}` must be a tuple of names, but is {value!r}.")
        return tuple(value)
    if value is None and item.default is None:
        return None
    if isinstance(value, Tensor):
        value = value.detach().to(torch.float64).tolist()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if not value:
            raise ShapeError(f"Argument `{name}` must hold one number per neuron, but is empty.")
        return tuple(check.real(name, number, **spec.bounds) for number in value)
    return check.real(name, value, **spec.bounds)
