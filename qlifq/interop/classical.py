"""What all conversions share: the classical part of a neuron, and what of a layer another library has no equal for."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from qlifq.errors import DtypeError, UnsupportedError
from qlifq.neurons import QLIF, Settings
from qlifq.neurons.stateful import classes_of

__all__ = ["LEAKLESS_TAU", "class_name", "merged", "number", "numbers_of", "refuse_options", "require_classical", "same"]

#: τ of a membrane without a leak, in steps: dt/τ vanishes beside 1 in every dtype.
LEAKLESS_TAU = 1e30
#: What decides on a spike, and what is trained, has an equal nowhere; the classical part is what is converted.
_DECISION = {"quantum decision", "classic decision", "learning"}
_MEMBRANE = {"membrane", "V_th", "V_reset", "reset", "reset_scale", "tau", "dt", "decay_input", "V_rest", "R"}


def class_name(module: object, library: str, known: Collection[str]) -> str:
    """The class of a neuron of a library, the most special that is known.

    Raises:
        DtypeError: if it is no module of the library.
        UnsupportedError: if it is one that has no equal here.
    """
    names = classes_of(module, library) if isinstance(module, nn.Module) else []
    if not names:
        raise DtypeError(f"Argument `neuron` must be a neuron of {library}, but is {type(module).__name__}.")
    # A variation may step differently: only the class itself, or a user's own of it, is known.
    if names[0] not in known:
        raise UnsupportedError(f"Argument `neuron` must be one of {', '.join(known)} of {library}, but is {names[0]}.")
    return names[0]


def number(value: object) -> float | Tensor:
    """A number, or one per neuron, in float64."""
    found = torch.as_tensor(cast(Any, value)).detach().cpu().to(torch.float64)
    return float(found) if found.numel() == 1 else found


def same(value: Tensor | float, other: Tensor | float) -> bool:
    """Whether numbers agree to the rounding of float32."""
    return torch.allclose(
        torch.as_tensor(value, dtype=torch.float64), torch.as_tensor(other, dtype=torch.float64), rtol=1e-6, atol=1e-7
    )


def refuse_options(library: str, options: dict[str, bool]) -> None:
    """Refuse the first option of a neuron that has no equal here.

    Raises:
        UnsupportedError: if one is set.
    """
    for name, is_set in options.items():
        if is_set:
            raise UnsupportedError(f"Argument `neuron` must not have `{name}`, which of {library} a QLIF has no equal for.")


def require_classical(layer: object, library: str) -> QLIF:
    """A layer whose membrane and reset are all that there is to it, beside its decision.

    Raises:
        DtypeError: if it is no QLIF.
        UnsupportedError: for a mechanism that the library's neuron does not have.
    """
    if not isinstance(layer, QLIF):
        raise DtypeError(f"Argument `layer` must be a QLIF, but is {type(layer).__name__}.")
    for item in fields(Settings):
        value = getattr(layer.settings, item.name)
        own = item.name in _MEMBRANE or item.metadata["spec"].group in _DECISION or item.name == "neuromod_mode"
        if value != item.default and not own:
            raise UnsupportedError(f"Argument `layer` must not have `{item.name}`, which has no equal in {library}.")
    if layer.settings.membrane != "leaky":
        raise UnsupportedError(
            f"Argument `layer` must have the membrane 'leaky', but has {layer.settings.membrane!r}, which has no equal in "
            f"{library}."
        )
    if layer.settings.reset == "partial":
        raise UnsupportedError(f"Argument `layer` must not have reset='partial', which has no equal in {library}.")
    return layer


def numbers_of(layer: QLIF, *names: str) -> tuple[Tensor, ...]:
    """Numbers of a layer as they are now, in float64, in its shape."""
    return tuple(cast(Tensor, getattr(layer, name)).detach().cpu().to(torch.float64) for name in names)


def merged(own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a converted layer: those of the neuron, and what the user adds or has otherwise."""
    return {**own, **given}
