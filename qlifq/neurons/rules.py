"""What two parameters of a neuron must be to each other."""

import operator
from collections.abc import Callable, Mapping
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple

from qlifq.errors import ArgumentError

__all__ = ["PerNeuron", "Rule"]

#: One number for all neurons, or one per neuron.
PerNeuron = float | tuple[float, ...]

_ORDERS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"above": operator.gt, "at least": operator.ge, "below": operator.lt, "at most": operator.le}
)


class Rule(NamedTuple):
    """One parameter is above, at least, below or at most another, neuron by neuron, where both have an effect."""

    name: str
    order: str
    other: str

    def check(self, value: PerNeuron, bound: PerNeuron) -> None:
        """Refuse the first neuron that breaks the rule; what is given per neuron must be equally long.

        Raises:
            ArgumentError: if the rule is broken.
        """
        several = isinstance(value, tuple) or isinstance(bound, tuple)
        values, bounds = (
            number if isinstance(number, tuple) else repeat(number) if several else (number,) for number in (value, bound)
        )
        holds = _ORDERS[self.order]
        for one, limit in zip(values, bounds, strict=False):
            if not holds(one, limit):
                raise ArgumentError(f"Argument `{self.name}` must be {self.order} {self.other} = {limit:g}, but is {one:g}.")
