"""The mechanisms by name: a row that is registered brings its parameters, states and equations to every neuron."""

import keyword
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch

from qlifq._registry import Registry
from qlifq.circuits import SinusoidalResponse
from qlifq.errors import ArgumentError, DtypeError
from qlifq.neurons.mechanisms.mechanism import Mechanism, Numbers
from qlifq.neurons.specs import Spec
from qlifq.neurons.state import QLIFState

__all__ = ["Mechanisms"]

#: What a step, a recording or a layer calls its own values.
_TAKEN = frozenset(
    {"active", "angle", "current", "drawn", "gap", "level", "modulation", "noise", "offset", "population", "potential"}
    | {"probability", "spikes", "step", "threshold", "trace", "uniform", *QLIFState._fields, *SinusoidalResponse._fields}
    | {"constants", "decay", "decay_input", "hooks", "mechanisms", "membrane", "tensor"}
    | {"angle_tolerance", "backend", "circuit", "gradient", "gradient_shots", "kernel", "loop", "num_neurons", "seed", "shots"}
)


class Mechanisms(Registry[Mechanism]):
    """Mechanisms by name, in the order in which a step runs them.

    Args:
        settings: the dataclass of a neuron's parameters, which gets those of a row that is registered.
        rows: those to begin with, whose parameters it has.
    """

    def __init__(self, settings: type, rows: Mapping[str, Mechanism]) -> None:
        super().__init__("mechanism", rows)
        self._settings: Any = settings

    def register(self, name: str, row: Mechanism) -> None:
        """Add a mechanism after the others, and its parameters to `Settings`; layers made before are as they were.

        Args:
            name: what it is called.
            row: what belongs to it.

        Raises:
            ArgumentError: if the name, or one of its parameters, states or constants is taken or is no name, or if it acts at
                the defaults of its parameters.
            DtypeError: if it is no mechanism, or its parameters are no dataclass of `parameter` fields.
        """
        if not isinstance(row, Mechanism):
            raise DtypeError(f"Argument `row` must be a Mechanism, but is {type(row).__name__}.")
        own = {} if row.parameters is None else _fields_of(row.parameters)
        known = self._settings.__dataclass_fields__
        defaults = SimpleNamespace(**{item.name: item.default for item in (*known.values(), *own.values())})
        numbers = Numbers(defaults, {"V_th": torch.tensor(1.0)})
        taken = {*_TAKEN, *known}.union(*((*other.states, *other.constants(numbers)) for other in self.values()))
        _check_names((*own, *row.states), taken)
        # A constant may have the name of its own parameter.
        _check_names(row.constants(numbers).keys() - own.keys(), {*taken, *row.states})
        if row.on.holds(defaults):
            raise ArgumentError(f"Argument `row` must not act at its defaults, but does: {row.on.words}.")
        super().register(name, row)
        for each, item in own.items():
            known[each] = item
            # Settings that were made or saved before have the default.
            setattr(self._settings, each, item.default)


def _check_names(names: Iterable[str], taken: Collection[str]) -> None:
    for name in names:
        usable = name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and name[0] != "_"
        if not usable or name in taken:
            raise ArgumentError(f"Argument `row` must have names of its own, but {name!r} is taken or no name.")


def _fields_of(parameters: type) -> dict[str, Any]:
    """The fields of a dataclass of parameters by name."""
    found = {item.name: item for item in fields(parameters)} if is_dataclass(parameters) else {}
    if not found or not all(isinstance(item.metadata.get("spec"), Spec) for item in found.values()):
        raise DtypeError(f"Argument `row` must have a dataclass of `parameter` fields, but has {parameters!r}.")
    return found
