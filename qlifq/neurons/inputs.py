"""Checks of what a layer is called with, before its first step, and of what it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._transforms import FLOATS, refuse_tracing, trainable
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from qlifq.neurons.parameters import Settings
from qlifq.neurons.state import QLIFState

__all__ = ["FLOATING", "check_constants", "checked_current", "checked_end", "checked_modulation"]

#: Half precision is accepted where autocast produced it.
FLOATING = (*FLOATS, torch.float16, torch.bfloat16)


def checked_current(current: Tensor, sizes: Sequence[int | str], like: Tensor, *, check_values: bool) -> Tensor:
    """The input in the dtype of the layer, or the reason why it cannot be used.

    Args:
        current: what the user gave, `(time, batch, num_neurons)`, or without time for one step.
        sizes: the shape it must have, see `qlifq._validation.shape_of`.
        like: a tensor of the layer, for dtype and device.
        check_values: whether its values are checked, which waits for an accelerator.
    """
    refuse_tracing()
    check.shape_of("current", check.tensor("current", current, dtypes=FLOATING), sizes)
    if current.device != like.device:
        raise DtypeError(f"Argument `current` must be on {like.device} like the layer, but is on {current.device}.")
    current = trainable(check.with_values("current", current))
    if like.dtype not in FLOATS:
        half = str(current.dtype).removeprefix("torch.")
        raise DtypeError(f"Argument `current` must have dtype float32 or float64, as must the layer, but has {half}.")
    if current.dtype != like.dtype:
        if not torch.is_autocast_enabled(current.device.type):
            expected, found = (str(dtype).removeprefix("torch.") for dtype in (like.dtype, current.dtype))
            raise DtypeError(f"Argument `current` must have dtype {expected} like the layer, but has {found}.")
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
            check.finite(name, value)


def checked_end(state: QLIFState) -> QLIFState:
    """The state after a sequence, refused where a potential was lost on the way.

    Once V is infinite, the next step or reset takes infinity from infinity or multiplies it by 0, and once it is NaN every step
    and reset keeps it NaN. So the end shows it for every step, and none has to be checked by itself. On an accelerator this
    would wait for the device.
    """
    voltage = state.voltage
    if voltage.device.type == "cpu" and (lost := check.not_finite(voltage)):
        dtype, most = str(voltage.dtype).removeprefix("torch."), torch.finfo(voltage.dtype).max
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
