"""Checks of what a layer is called with, before its first step, and of what it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import FLOATS, refuse_tracing, trainable
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from qlifq.neurons.parameters import Settings
from qlifq.neurons.precision import HALVES, widened
from qlifq.neurons.state import QLIFState

__all__ = ["FLOATING", "check_constants", "checked_current", "checked_end", "checked_modulation"]

#: The dtypes of an input.
FLOATING = (*FLOATS, *HALVES)


def checked_current(current: Tensor, sizes: Sequence[int | str], like: Tensor, *, check_values: bool) -> Tensor:
    """The input in the dtype that the layer computes in, or the reason why it cannot be used.

    Args:
        current: what the user gave, `(time, batch, num_neurons)`, or without time for one step.
        sizes: the shape it must have, see `qlifq._validation.shape_of`.
        like: a tensor of the layer, for device and dtype; in half precision it computes in float32.
        check_values: whether its values are checked, which waits for an accelerator.
    """
    refuse_tracing()
    check.shape_of("current", check.tensor("current", current, dtypes=FLOATING), sizes)
    if current.device != like.device:
        raise DtypeError(f"Argument `current` must be on {like.device} like the layer, but is on {current.device}.")
    current = trainable(check.with_values("current", current))
    like = widened(like)
    if like.dtype not in FLOATS:
        raise DtypeError(
            f"A layer must have dtype {', '.join(map(_plain, FLOATING))}, but its constants have {_plain(like.dtype)}."
        )
    if current.dtype != like.dtype:
        if current.dtype not in HALVES and not torch.is_autocast_enabled(current.device.type):
            raise DtypeError(
                f"Argument `current` must have dtype {_plain(like.dtype)} like the layer, but has {_plain(current.dtype)}."
            )
        current = current.to(like.dtype)
    return check.finite("current", current) if check_values else current


def check_constants(settings: Settings, stored: Mapping[str, Tensor], current: Tensor, suited: set[torch.dtype]) -> None:
    """Refuse numbers of a layer that are no use in the dtype of its input.

    Args:
        settings: the layer's.
        stored: its constants per neuron as they are kept, which a conversion, a checkpoint or an optimiser may have changed;
            on an accelerator they are not checked.
        current: the input.
        suited: the dtypes that were found good before; this one joins them.
    """
    if current.dtype not in suited:
        for item in fields(settings):
            number = getattr(settings, item.name)
            if isinstance(number, float) and item.name not in stored:
                check.within(item.name, [number], current.dtype)
        suited.add(current.dtype)
    if current.device.type == "cpu":
        for name, value in stored.items():
            check.finite(name, widened(value))


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def checked_end(state: QLIFState, *, wait: bool = False) -> QLIFState:
    """The state after a sequence, refused where a potential was lost on the way.

    Once V is infinite, the next step or reset takes infinity from infinity or multiplies it by 0, and once it is NaN every step
    and reset keeps it NaN. So the end shows it for every step, and none has to be checked by itself.

    Args:
        state: the state after the last step.
        wait: whether it is checked on an accelerator too, which waits for the device.
    """
    voltage = state.voltage
    if (wait or voltage.device.type == "cpu") and (lost := check.not_finite(voltage)):
        dtype, most = _plain(voltage.dtype), torch.finfo(voltage.dtype).max
        raise ArgumentError(
            f"Argument `current` must keep the potential within the range of {dtype}, ±{most:.3g}, but {lost} of "
            f"{voltage.numel()} potentials became infinite or NaN."
        )
    return state


def checked_modulation(
    modulation: Tensor | None, settings: Settings, current: Tensor, *, timed: bool, check_values: bool
) -> Tensor | None:
    """The transformed modulation, shaped as `current` or with 1 for batch and neurons, or None; see `checked_current`."""
    if modulation is None:
        return None
    if settings.neuromod_mode == "off":
        raise UnsupportedError("Argument `modulation` would be ignored: it must be None with neuromod_mode='off'.")
    if isinstance(modulation, Tensor) and modulation.dtype in HALVES:
        modulation = modulation.to(current.dtype)
    check.tensor("modulation", modulation, dtypes=(current.dtype,))
    time, shaped = current.shape[:timed], current.shape[timed:]
    sizes = [*({steps} for steps in time), *({size, 1} for size in shaped)]
    if modulation.ndim != len(sizes) or not all(
        have in expected for have, expected in zip(modulation.shape, sizes, strict=True)
    ):
        expected = ", ".join([*map(str, time), *(f"{size} or 1" for size in shaped)])
        raise ShapeError(f"Argument `modulation` must have shape ({expected}), but has shape {tuple(modulation.shape)}.")
    if modulation.device != current.device:
        raise DtypeError(f"Argument `modulation` must be on {current.device}, but is on {modulation.device}.")
    modulation = trainable(modulation)
    if check_values:
        check.finite("modulation", modulation)
    if settings.neuromod_transform is None:
        return modulation
    transformed = settings.neuromod_transform(modulation)
    if not isinstance(transformed, Tensor) or transformed.shape != modulation.shape:
        found = tuple(transformed.shape) if isinstance(transformed, Tensor) else type(transformed).__name__
        raise ShapeError(
            f"Argument `neuromod_transform` must return a tensor of shape {tuple(modulation.shape)}, but returned {found}."
        )
    transformed = transformed.to(current.dtype)
    return check.finite("neuromod_transform(modulation)", transformed) if check_values else transformed
