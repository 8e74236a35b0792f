"""What is known about one parameter of a neuron: its default, its bounds, what it needs and what it does."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast, dataclass_transform, get_type_hints

from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import DtypeError, ShapeError
from qlifq.neurons.rules import PerNeuron

__all__ = ["Need", "Spec", "Transform", "checked_value", "parameter", "parameter_group", "positive", "spec_of"]

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
Transform = Callable[[Tensor], Tensor]
#: The kind of a parameter by its type.
_KINDS: Mapping[Any, str] = MappingProxyType(
    {
        PerNeuron: "per-neuron",
        PerNeuron | None: "per-neuron",
        float: "real",
        int: "integer",
        bool: "flag",
        str: "choice",
        Transform | None: "transform",
        tuple[str, ...]: "names",
    }
)
Class = TypeVar("Class")


class Need(NamedTuple):
    """What must hold for a parameter or a mechanism to have an effect, as a phrase and as a test of the settings."""

    words: str
    holds: Callable[[Any], bool]


class Spec(NamedTuple):
    """What is known about one parameter.

    Args:
        kind: "per-neuron" (one number, or one per neuron), "real" (one number), "integer", "flag", "choice", "transform" or
            "names".
        group: the heading it stands under, such as the name of its mechanism.
        doc: what it does, in one clause.
        bounds: keyword arguments of the check, such as `above`.
        options: the names of a choice.
        need: what it needs to have an effect, or None.
        fixed: why a number has no gradient; empty where it has one.
        kept: whether a layer keeps it per neuron even where all neurons share one number.
        not_below_dt: whether it is a time that a step of dt must not overtake.
    """

    kind: str
    group: str
    doc: str
    bounds: Mapping[str, float]
    options: Collection[str]
    need: Need | None
    fixed: str = ""
    kept: bool = False
    not_below_dt: bool = False

    @property
    def without_gradient(self) -> str:
        """Why it cannot be trained; empty where it can."""
        return self.fixed or _NOT_TRAINED.get(self.kind, "")

    def has_effect(self, settings: Any) -> bool:
        """Whether it has an effect as the others stand."""
        return self.need is None or self.need.holds(settings)


class _Declared(NamedTuple):
    """A parameter before its class says the rest: its default, and what of `Spec` is given."""

    default: object
    given: Mapping[str, Any]


def parameter(
    doc: str,
    *,
    default: object,
    options: Collection[str] = (),
    need: Need | None = None,
    fixed: str = "",
    kept: bool = False,
    not_below_dt: bool = False,
    **bounds: float,
) -> Any:  # a dataclass field takes the type of its annotation
    """A field of a `parameter_group`; arguments as of `Spec`, the bounds as `above`, `at_least`, `below` and `at_most`."""
    given = {"need": need, "fixed": fixed, "kept": kept, "not_below_dt": not_below_dt}
    return _Declared(default, {"doc": doc, "bounds": bounds, "options": options, **given})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(parameter,))
def parameter_group(group: str) -> Callable[[type[Class]], type[Class]]:
    """A class of parameters, made to a frozen dataclass.

    The type says what a parameter is: `PerNeuron` one number or one per neuron, `float` one number for all neurons, `int`,
    `bool`, `str` one of its `options`.

    Args:
        group: the heading that they stand under.

    Raises:
        DtypeError: for a field of another type, or without `parameter`.
    """

    def declared(cls: type[Class]) -> type[Class]:
        for name, annotation in get_type_hints(cls).items():
            value = getattr(cls, name, None)
            if annotation not in _KINDS or not isinstance(value, _Declared):
                raise DtypeError(f"Parameter `{name}` must be `parameter(...)` and of a type that `parameter_group` names.")
            spec = Spec(_KINDS[annotation], group, **value.given)
            setattr(cls, name, field(default=value.default, metadata={"spec": spec}))
        return dataclass(frozen=True, kw_only=True)(cls)

    return declared


def spec_of(item: "Field[Any]") -> Spec:
    """What is known about a field of `Settings`."""
    return cast(Spec, item.metadata["spec"])


def positive(value: PerNeuron) -> bool:
    """Whether one number, or any of several, is above 0."""
    return any(number > 0 for number in value) if isinstance(value, tuple | list) else value > 0


def checked_value(item: "Field[Any]", value: object) -> object:
    """The value of one parameter, refused or brought to its type."""
    spec, name = spec_of(item), item.name
    if spec.kind == "flag":
        return check.flag(name, value)
    if spec.kind == "choice":
        return check.choice(name, value, spec.options)
    if spec.kind == "integer":
        return check.integer(name, value, **{bound: int(number) for bound, number in spec.bounds.items()})
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
        value = value.detach().double().tolist()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        if not value:
            raise ShapeError(f"Argument `{name}` must hold one number per neuron, but is empty.")
        return tuple(check.real(name, number, **spec.bounds) for number in value)
    return check.real(name, value, **spec.bounds)
