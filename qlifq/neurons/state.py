"""The state of a QLIF layer: tensors in a named tuple, never hidden in the module."""

import functools
import operator
from collections import namedtuple
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import trainable
from qlifq.errors import ArgumentError, DtypeError, ShapeError

__all__ = ["QLIFState", "check_state", "state_with"]


class QLIFState(NamedTuple):
    """What a layer carries from one step to the next, each `(batch, num_neurons)`, or `(batch, *shape)`.

    The state of a layer with a mechanism of one's own is one too, which has the states of this mechanism behind these.

    Args:
        voltage: membrane potential V.
        adaptation: adaptation current A.
        efficiency: synaptic efficiency S, 1 at rest.
        ahp: after-hyperpolarisation H.
        dynamic: memory of recent spikes D that flattens the probability's slope.
        threshold_shift: how far the adaptive threshold stands above its rest value.
        homeostasis_shift: how far homeostasis has moved that rest value from V_th.
        rate: running firing rate F, spikes per step.
        refractory: steps of refractory period that are left.
    """

    voltage: Tensor
    adaptation: Tensor
    efficiency: Tensor
    ahp: Tensor
    dynamic: Tensor
    threshold_shift: Tensor
    homeostasis_shift: Tensor
    rate: Tensor
    refractory: Tensor

    def detach(self) -> "QLIFState":
        """The same values, cut from the graph that made them."""
        return type(self)(*(value.detach() for value in self))


def state_with(names: Iterable[str]) -> type[QLIFState]:
    """The class of states that have these names too; `QLIFState` where it has them all."""
    return _class_of(tuple(name for name in names if name not in QLIFState._fields))


@functools.cache
def _class_of(own: tuple[str, ...]) -> type[QLIFState]:
    if not own:
        return QLIFState
    every: Any = namedtuple("QLIFState", (*QLIFState._fields, *own))  # type: ignore[misc]
    # Saved by its names, since no module has the class.
    parts = {"__slots__": (), "__reduce__": lambda state: (_restored, (own, *state))}
    return cast(type[QLIFState], type("QLIFState", (every, QLIFState), parts))


def _restored(own: tuple[str, ...], *values: Tensor) -> QLIFState:
    return _class_of(own)(*values)


# So that `torch.load` reads a saved state as it reads tensors.
torch.serialization.add_safe_globals([QLIFState, _restored])


def check_state(
    state: object, names: tuple[str, ...], sizes: tuple[int, ...], like: Tensor, *, check_values: bool
) -> QLIFState:
    """Refuse what is not a state of these names and sizes, else return it; its values are read with `check_values`."""
    if not isinstance(state, QLIFState):
        raise DtypeError(f"Argument `state` must be a QLIFState or None, but is {type(state).__name__}.")
    if state._fields != names:
        raise ArgumentError(f"Argument `state` must hold {', '.join(names)}, but holds {', '.join(state._fields)}.")
    for name, value in zip(state._fields, state, strict=True):
        if not isinstance(value, Tensor) or value.dtype != like.dtype or value.device != like.device:
            found = f"{_dtype_name(value.dtype)} on {value.device}" if isinstance(value, Tensor) else type(value).__name__
            raise DtypeError(f"Argument `state.{name}` must be {_dtype_name(like.dtype)} on {like.device}, but is {found}.")
        if value.shape != sizes:
            raise ShapeError(f"Argument `state.{name}` must have shape {sizes}, but has shape {tuple(value.shape)}.")
    if check_values:
        check.all_finite({f"state.{name}": value for name, value in state._asdict().items()})
    usable = [trainable(value) for value in state]
    return state if all(map(operator.is_, usable, state)) else type(state)(*usable)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
