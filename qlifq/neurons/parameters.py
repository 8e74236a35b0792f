"""The parameters of a QLIF neuron, and the rows of its mechanisms in the order of the step.

The table in docs/neuron.md, the command line and the checks of user input are all made from the fields of `Settings`: those of
every neuron, and those of each mechanism.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from qlifq import _validation as check
from qlifq.errors import ArgumentError, ShapeError, UnsupportedError
from qlifq.neurons.basic_parameters import (
    DECISIONS,
    DETERMINISTIC,
    PROBABILISTIC,
    QUANTUM,
    RESETS,
    ClassicParameters,
    LearningParameters,
    MembraneParameters,
    QuantumParameters,
)
from qlifq.neurons.mapping import MAPPINGS
from qlifq.neurons.mechanisms.adaptation import ADAPTATION, AdaptationParameters
from qlifq.neurons.mechanisms.adaptive_threshold import ADAPTIVE_THRESHOLD, AdaptiveThresholdParameters
from qlifq.neurons.mechanisms.after_hyperpolarisation import AFTER_HYPERPOLARISATION, AfterHyperpolarisationParameters
from qlifq.neurons.mechanisms.dynamic_probability import DYNAMIC_PROBABILITY, DynamicProbabilityParameters
from qlifq.neurons.mechanisms.homeostasis import HOMEOSTASIS, HomeostasisParameters
from qlifq.neurons.mechanisms.mechanism import Mechanism
from qlifq.neurons.mechanisms.membrane_noise import MEMBRANE_NOISE, NoiseParameters
from qlifq.neurons.mechanisms.neuromodulation import (
    GAIN,
    NEUROMOD_MODES,
    SLOPE_MODULATION,
    THRESHOLD_MODULATION,
    NeuromodulationParameters,
)
from qlifq.neurons.mechanisms.potential_limits import CUT_OFF, LEAST_POTENTIAL, LeastPotentialParameters
from qlifq.neurons.mechanisms.refractory_period import REFRACTORY_PERIOD, RefractoryParameters
from qlifq.neurons.mechanisms.registry import Mechanisms
from qlifq.neurons.mechanisms.synaptic_depression import SYNAPTIC_DEPRESSION, DepressionParameters
from qlifq.neurons.mechanisms.threshold_bounds import THRESHOLD_BOUNDS, ThresholdBounds
from qlifq.neurons.membrane import MEMBRANES
from qlifq.neurons.rules import PerNeuron, Rule
from qlifq.neurons.specs import Need, Spec, Transform, checked_value, positive, spec_of

__all__ = [
    "DECISIONS",
    "DETERMINISTIC",
    "MECHANISMS",
    "NEUROMOD_MODES",
    "PROBABILISTIC",
    "QUANTUM",
    "RESETS",
    "Need",
    "Settings",
    "Spec",
    "Transform",
    "is_per_neuron",
    "spec_of",
]

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


# The fields of a dataclass stand in the order of its bases from the last to the first.
@dataclass(frozen=True, kw_only=True)
class Settings(
    LearningParameters,
    ClassicParameters,
    DynamicProbabilityParameters,
    QuantumParameters,
    NeuromodulationParameters,
    DepressionParameters,
    AfterHyperpolarisationParameters,
    AdaptationParameters,
    HomeostasisParameters,
    ThresholdBounds,
    AdaptiveThresholdParameters,
    LeastPotentialParameters,
    RefractoryParameters,
    NoiseParameters,
    MembraneParameters,
):
    """The parameters of a QLIF layer, checked; see the table in docs/neuron.md.

    A mechanism that is registered adds its parameters to the fields.

    Raises:
        ArgumentError: for a value out of range, or an unknown name.
        DtypeError: for a value of another type.
        ShapeError: for a parameter per neuron that holds no number.
        UnsupportedError: for a value that would be ignored.
    """

    if not TYPE_CHECKING:  # type checkers know the fields of the bases

        def __init__(self, **values: object) -> None:
            for name in values:
                if name not in self.__dataclass_fields__:
                    raise check.unknown("parameter", name, list(self.__dataclass_fields__))
            for item in fields(self):
                object.__setattr__(self, item.name, checked_value(item, values.get(item.name, item.default)))
            self._check_effects()
            self._check_sizes()
            self._check_rules()
            self._check_trained()
            for row in self.mechanisms:
                if row.check is not None:
                    row.check(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(tuple(self.__getstate__().values()))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__getstate__().items())})"

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name in state:
            if name not in self.__dataclass_fields__:
                raise ArgumentError(
                    f"Saved settings have `{name}`, which no mechanism here has: register it before they are read."
                )
        self.__dict__.update(state)

    @cached_property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """The rows of the mechanisms that act, in the order of the step."""
        return tuple(row for row in MECHANISMS.values() if row.on.holds(self))

    def _check_effects(self) -> None:
        """What is off its default has an effect."""
        for item in fields(self):
            spec, value = spec_of(item), getattr(self, item.name)
            if spec.need is not None and value != item.default and not spec.has_effect(self):
                raise UnsupportedError(
                    f"Argument `{item.name}` would be ignored: it needs {spec.need.words}, but is {value!r} without."
                )

    def _check_sizes(self) -> None:
        """What is given per neuron is given for equally many."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if spec_of(item).kind == "per-neuron"}
        sizes = {name: len(value) for name, value in values.items() if isinstance(value, tuple)}
        for name, size in sizes.items():
            first = next(iter(sizes))
            if size != sizes[first]:
                raise ShapeError(f"Argument `{name}` must hold {sizes[first]} numbers like `{first}`, but holds {size}.")

    def _check_rules(self) -> None:
        """What two parameters must be to each other."""
        times = [Rule(item.name, "at least", "dt") for item in fields(self) if spec_of(item).not_below_dt]
        of_mechanisms = (rule for row in self.mechanisms for rule in row.rules)
        for rule in (*times, *of_mechanisms, Rule("V_th", "above", "V_reset"), *MEMBRANES[self.membrane].rules):
            value, bound = getattr(self, rule.name), getattr(self, rule.other)
            if self.has_effect(rule.name) and self.has_effect(rule.other) and value is not None and bound is not None:
                rule.check(value, bound)

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
                    limit = f"dt = {bound:g}" if specs[name].not_below_dt else f"{bound:g}"
                    raise ArgumentError(f"Argument `{name}` must be {word} {limit} to be learnable, but is {outside:g}.")

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
        spec = spec_of(self.__dataclass_fields__[name])
        low = self.dt if spec.not_below_dt else spec.bounds.get("above", spec.bounds.get("at_least"))
        return low, spec.bounds.get("below", spec.bounds.get("at_most"))


def is_per_neuron(name: str) -> bool:
    """Whether it is the name of a parameter that every neuron can have its own value of."""
    item = Settings.__dataclass_fields__.get(name)
    return item is not None and spec_of(item).kind == "per-neuron"


#: The mechanisms by name, in the order in which a step runs them; one that is registered comes last.
MECHANISMS = Mechanisms(
    Settings,
    {
        "gain": GAIN,
        "adaptation": ADAPTATION,
        "synaptic_depression": SYNAPTIC_DEPRESSION,
        "after_hyperpolarisation": AFTER_HYPERPOLARISATION,
        "dynamic_probability": DYNAMIC_PROBABILITY,
        "threshold_bounds": THRESHOLD_BOUNDS,
        "homeostasis": HOMEOSTASIS,
        "adaptive_threshold": ADAPTIVE_THRESHOLD,
        "threshold_modulation": THRESHOLD_MODULATION,
        "slope_modulation": SLOPE_MODULATION,
        "membrane_noise": MEMBRANE_NOISE,
        "cut_off": CUT_OFF,
        "refractory_period": REFRACTORY_PERIOD,
        "least_potential": LEAST_POTENTIAL,
    },
)
