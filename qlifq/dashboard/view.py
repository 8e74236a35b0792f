"""What a page shows, as one frozen value; and its way into the address and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from qlifq.dashboard.controls import TRANSFORMS, Control, Value, controls_of, parameter_controls, relevant
from qlifq.errors import ArgumentError, QLIFError, UnsupportedError
from qlifq.neurons import Settings

__all__ = ["VERSION", "View", "from_address", "settle", "to_address"]

#: Of the address. A name that changes its meaning needs a new one.
VERSION = "1"
_MOST_SENTENCES = 5


@dataclass(frozen=True, kw_only=True)
class View:
    """Base of the views. The fields of a view are its controls; one may be the `Settings` of a neuron."""

    @classmethod
    def controls(cls) -> tuple[Control, ...]:
        """All that can be moved, in the order in which it is shown."""
        return controls_of(cls)

    @classmethod
    def defaults(cls) -> dict[str, Value]:
        """Every control as it stands at first."""
        return _complete(cls, {})

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Self:
        """The view that has these values; the other controls stand as at first, and so do those without an effect.

        Raises:
            QLIFError: in the words of the library, for a value out of range or one that does not go with the others.
        """
        settled = settle(cls, values)
        names = {item.name for item in fields(cls)}
        own: dict[str, Any] = {name: value for name, value in settled.items() if name in names}
        if any(item.type is Settings for item in fields(cls)):
            own["settings"] = Settings(**_changed(cls, settled))
        return cls(**own)


def settle(view: type[View], values: Mapping[str, Value]) -> dict[str, Value]:
    """A value for every control: the given one, checked, or the default where none is given or it would have no effect."""
    given = dict(values)
    # One that falls back to its default can take the effect of others with it.
    while ignored := _ignored(view, given):
        for item in ignored:
            del given[item.name]
    return _complete(view, given)


def _complete(view: type[View], values: Mapping[str, Value]) -> dict[str, Value]:
    """A value for every control: the given one, checked, or the default, which may follow from those before."""
    # Those first that the defaults of others follow.
    complete: dict[str, Value] = {}
    for item in sorted(view.controls(), key=lambda item: item.by is not None):
        named = item.name in values
        complete[item.name] = item.checked(values[item.name]) if named else item.default_among(complete)
    return complete


def _ignored(view: type[View], values: Mapping[str, Value]) -> list[Control]:
    """The controls whose given value would have no effect."""
    complete = _complete(view, values)
    return [item for item in view.controls() if item.name in values and not relevant(item, complete)]


def _changed(view: type[View], settled: Mapping[str, Value]) -> dict[str, Any]:
    """The neuron's parameters that are not at their defaults, as `QLIF` takes them."""
    changed: dict[str, Any] = {}
    for item in parameter_controls():
        value = settled[item.name]
        if value != item.default_among(settled):
            changed[item.name] = TRANSFORMS[str(value)] if item.name == "neuromod_transform" else value
    return changed


def to_address(view: type[View], values: Mapping[str, Value]) -> dict[str, str]:
    """What differs from the defaults, as the parameters of an address."""
    settled = settle(view, values)
    changed = {
        item.name: item.text(settled[item.name])
        for item in view.controls()
        if settled[item.name] != item.default_among(settled)
    }
    return {"v": VERSION, **changed} if changed else {}


def from_address(view: type[View], address: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
    """The values that an address gives, and what is wrong with it, a sentence each.

    A wrong value is left out, so that the default stands in its place; values that do not go together are all left out.
    """
    if not address:
        return {}, []
    if address.get("v") != VERSION:
        return {}, [f"The address must have v={VERSION}, but is of another version of the dashboard: it is not used."]
    known = {item.name: item for item in view.controls()}
    values: dict[str, Value] = {}
    wrong: list[str] = []
    for name, text in address.items():
        if name == "v":
            continue
        try:
            if name not in known:
                raise ArgumentError(f"The address must hold names of controls, but holds {name[:40]!r}.")
            values[name] = known[name].parsed(text)
        except QLIFError as error:
            wrong.append(str(error))
    wrong += _without_effect(view, values)
    try:
        view.of(values)
    except QLIFError as error:
        return {}, _few([*wrong, str(error)])
    return values, _few(wrong)


def _without_effect(view: type[View], values: dict[str, Value]) -> Iterable[str]:
    """A sentence for each value that would be ignored; they are taken out."""
    while ignored := _ignored(view, values):
        for item in ignored:
            words = item.need.words if item.need else ""
            del values[item.name]
            yield str(UnsupportedError(f"Argument `{item.name}` would be ignored: it needs {words}."))


def _few(sentences: list[str]) -> list[str]:
    """The first sentences, and how many more there are."""
    more = len(sentences) - _MOST_SENTENCES
    return [*sentences[:_MOST_SENTENCES], f"{more} more values of the address are not used."] if more > 0 else sentences
