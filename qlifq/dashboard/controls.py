"""What can be moved on a page: its values, its range, and when it has an effect.

The controls of a neuron's parameters are made from `qlifq.neurons.Settings`, those of a page from the fields of its view.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch

from qlifq import _validation as check
from qlifq.dashboard.labels import label_of
from qlifq.errors import ArgumentError
from qlifq.neurons import MAPPINGS, Settings
from qlifq.neurons.parameters import Need, spec_of

__all__ = ["TRANSFORMS", "Control", "Value", "control", "controls_of", "parameter_controls", "relevant"]

Value = float | int | bool | str

#: What can stand for `neuromod_transform`, by the name it has in torch.
TRANSFORMS: Mapping[str, Callable[[torch.Tensor], torch.Tensor] | None] = {
    "none": None,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}

#: Positions of a slider over its range.
_POSITIONS = 100
_LONGEST = 40
#: Of a number without a bound of its own: far from where float32 ends, and as many samples as a file may hold.
_GREATEST = 1e6


@dataclass(frozen=True, kw_only=True)
class Control:
    """One thing to move.

    Args:
        name: of the field, and in the address.
        label: what stands over it, in words, with its unit.
        kind: "real", "integer", "flag" or "choice".
        group: the heading it stands under.
        doc: what it does, in one clause.
        default: its value at first; a mapping from the value of `by` where it depends on that.
        bounds: keyword arguments of the check, such as `above`.
        options: the names of a choice.
        need: what it needs to have an effect, as text and as a test of the values; None where it always has one.
        by: the control that its default depends on.
    """

    name: str
    label: str
    kind: str
    group: str
    doc: str
    default: Value | Mapping[str, Value]
    bounds: Mapping[str, float] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    need: Need | None = None
    by: str | None = None

    def default_among(self, values: Mapping[str, Value]) -> Value:
        """Its value at first, as the others stand."""
        if isinstance(self.default, Mapping):
            return self.default[str(values[str(self.by)])]
        return self.default

    def checked(self, value: object) -> Value:
        """A value that may stand in a view.

        Raises:
            QLIFError: in the words of the library.
        """
        if self.kind == "flag":
            return check.flag(self.name, value)
        if self.kind == "choice":
            return check.choice(self.name, value, self.options)
        if self.kind == "integer":
            whole = {side: int(bound) for side, bound in self._all_bounds().items()}
            return check.integer(self.name, value, **whole)
        return check.real(self.name, value, **self._all_bounds())

    def _all_bounds(self) -> Mapping[str, float]:
        """The bounds, and on a side without one that of all numbers."""
        low = {} if self.bounds.keys() & {"at_least", "above"} else {"at_least": -_GREATEST}
        high = {} if self.bounds.keys() & {"at_most", "below"} else {"at_most": _GREATEST}
        return {**low, **self.bounds, **high}

    def parsed(self, text: str) -> Value:
        """A value from the text of an address.

        Raises:
            QLIFError: if the text is no such value.
        """
        # Before it is parsed: the digits of an integer without end take time.
        if len(text) > _LONGEST:
            raise ArgumentError(f"Argument `{self.name}` must have at most {_LONGEST} characters, but has {len(text)}.")
        value: object = text
        try:
            if self.kind == "integer":
                value = int(text)
            elif self.kind == "real":
                value = float(text)
            elif self.kind == "flag":
                # An address is written as 1 and 0; whoever writes one by hand types what Python or JSON would.
                value = {"1": True, "0": False, "true": True, "false": False}.get(text.lower(), text)
        except ValueError:
            kind = "an integer" if self.kind == "integer" else "a number"
            raise ArgumentError(f"Argument `{self.name}` must be {kind}, but is {text!r}.") from None
        return self.checked(value)

    def text(self, value: Value) -> str:
        """A value as an address holds it."""
        if self.kind == "flag":
            return "1" if value else "0"
        return f"{value:.12g}" if self.kind == "real" else str(value)

    def slider(self, value: float, default: float) -> tuple[float, float, float]:
        """Lowest, highest and step of the slider, wide enough for a value that came from the address."""
        lowest, highest = self._range(default)
        step = 1.0 if self.kind == "integer" else _nice((highest - lowest) / _POSITIONS)
        if "above" in self.bounds:
            # One step away: the bound itself would be refused.
            lowest = max(lowest, self.bounds["above"] + step)
        if "below" in self.bounds:
            highest = min(highest, self.bounds["below"] - step)
        return min(lowest, value), max(highest, value), step

    def _range(self, default: float) -> tuple[float, float]:
        """From the bounds, and where there is none, some way to either side of the default."""
        low = self.bounds.get("at_least", self.bounds.get("above"))
        high = self.bounds.get("at_most", self.bounds.get("below"))
        away = max(2.0, abs(default))
        if low is None:
            low = default - away
            return low, default + away if high is None else high
        if high is None:
            high = (default + 10 if default == low else 8 * default) if self.kind == "integer" else 4 * default or 1.0
        return low, high


def control(
    default: Value | Mapping[str, Value],
    kind: str,
    group: str,
    doc: str,
    *,
    label: str | None = None,
    options: tuple[str, ...] = (),
    need: Need | None = None,
    by: str | None = None,
    **bounds: float,
) -> Any:  # a dataclass field takes the type of its annotation
    """A field of a view that can be moved; without a label, its name is one."""
    return field(
        metadata={
            "control": lambda name: Control(
                name=name,
                label=label or name.replace("_", " ").capitalize(),
                kind=kind,
                group=group,
                doc=doc,
                default=default,
                bounds=bounds,
                options=options,
                need=need,
                by=by,
            )
        }
    )


def controls_of(view: type) -> tuple[Control, ...]:
    """The controls of a view in the order of its fields, those of the neuron's parameters where it holds `Settings`."""
    found: list[Control] = []
    for item in fields(view):
        if "control" in item.metadata:
            found.append(item.metadata["control"](item.name))
        elif item.type is Settings:
            found += parameter_controls()
    return tuple(found)


@lru_cache
def parameter_controls() -> tuple[Control, ...]:
    """A control for every parameter of the neuron that always has a value; what is trained has flags."""
    found = []
    for item in fields(Settings):
        spec = spec_of(item)
        # `learnable` has the flags of its own group in its place, and no slider stands for "no least potential".
        default: Any = item.default
        options, by = spec.options, None
        if spec.kind == "names" or item.name == "V_min":
            continue
        kind = {"per-neuron": "real", "transform": "choice"}.get(spec.kind, spec.kind)
        if spec.kind == "transform":
            default, options = "none", tuple(TRANSFORMS)
        elif default is None:
            default, by = {name: getattr(mapping, item.name) for name, mapping in MAPPINGS.items()}, "mapping"
        found.append(
            Control(
                name=item.name,
                label=label_of(item.name, spec),
                kind=kind,
                group=spec.group,
                doc=spec.doc,
                default=default,
                bounds=spec.bounds,
                options=tuple(options),
                need=spec.need,
                by=by,
            )
        )
    return tuple(found)


def relevant(control: Control, values: Mapping[str, Value]) -> bool:
    """Whether a control has an effect as the others stand."""
    return control.need is None or control.need.holds(SimpleNamespace(**values))


def _nice(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return min((1, 2, 5, 10), key=lambda factor: abs(math.log(step / (factor * power)))) * power
