"""Neurons of Norse."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from qlifq._packages import load
from qlifq.errors import UnsupportedError
from qlifq.interop.classical import class_name, merged, number, numbers_of, refuse_options, require_classical, same
from qlifq.neurons import QLIF, LeakyIntegrator, SpikingSequential

__all__ = ["from_norse", "to_norse"]

_WITH_SYNAPSE = ("LIF", "LIFCell")
_RESETS = {"reset_value": "hard", "reset_subtract": "soft"}


def from_norse(neuron: nn.Module, num_neurons: int | tuple[int, ...], **parameters: Any) -> QLIF | SpikingSequential:
    """A layer whose membrane follows that of a neuron of Norse: v ← v + dt τ_mem⁻¹ (v_leak − v + i).

    Args:
        neuron: `LIFBoxCell`, which becomes a `QLIF`; or `LIF` or `LIFCell`, whose synaptic current i ← (1 − dt τ_syn⁻¹) i + x
            becomes a `LeakyIntegrator` in front of it: a chain with the parts "synapse" and "neuron".
        num_neurons: how many neurons there are, or their shape, which the neuron does not know.
        **parameters: of the `QLIF`, beside or instead of those that follow from the neuron.

    Returns:
        The layer or the chain, with times in the unit of Norse, seconds.

    Raises:
        DtypeError: if it is no neuron of Norse.
        UnsupportedError: for another neuron, or an option that has no equal.
    """
    kind = class_name(neuron, "norse", (*_WITH_SYNAPSE, "LIFBoxCell"))
    cell = cast(Any, neuron)
    p, dt = cell.p, float(cell.dt)
    refuse_options(
        "Norse", {"record_states": bool(getattr(cell, "record_states", False)), "method='adjoint'": p.method == "adjoint"}
    )
    method = getattr(p, "reset_method", None)
    reset = "hard" if method is None else _RESETS.get(getattr(method, "__name__", ""))
    if reset is None:
        raise UnsupportedError("Argument `neuron` must have reset_method reset_value or reset_subtract of Norse.")
    own: dict[str, Any] = {
        "dt": dt,
        "tau": number(1 / torch.as_tensor(p.tau_mem_inv).double()),
        "V_th": number(p.v_th),
        "V_rest": number(p.v_leak),
        "reset": reset,
    }
    if reset == "hard":
        own["V_reset"] = number(p.v_reset)
    layer = QLIF(num_neurons, **merged(own, parameters))
    if kind not in _WITH_SYNAPSE:
        return layer
    tau = number(1 / torch.as_tensor(p.tau_syn_inv).double())
    return SpikingSequential({"synapse": LeakyIntegrator(num_neurons, tau=tau, dt=dt, decay_input=False), "neuron": layer})


def to_norse(layer: QLIF | SpikingSequential) -> nn.Module:
    """The neuron of Norse whose membrane follows that of a layer; its decision is the deterministic one.

    Args:
        layer: a `QLIF` with R = 1, which becomes a `LIFBoxCell`; or a chain as `from_norse` gives, which becomes a `LIFCell`.

    Raises:
        UnsupportedError: for a layer that has no equal.
        MissingPackageError: without Norse.
    """
    synapse = None
    if isinstance(layer, SpikingSequential):
        parts = list(layer)
        if len(parts) != 2 or not isinstance(parts[0], LeakyIntegrator) or not isinstance(parts[1], QLIF):
            raise UnsupportedError("Argument `layer` must be a QLIF, or a chain of a LeakyIntegrator and a QLIF, for Norse.")
        synapse, layer = parts[0], parts[1]
    require_classical(layer, "Norse")
    tau, rest, resistance, threshold = numbers_of(layer, "tau", "V_rest", "R", "V_th")
    settings = layer.settings
    scaled = resistance if settings.decay_input else resistance * tau / settings.dt
    if not same(scaled, 1.0):
        raise UnsupportedError("Argument `layer` must have decay_input=True and R=1 for Norse.")
    if settings.reset == "soft" and not same(numbers_of(layer, "reset_scale")[0], 1.0):
        raise UnsupportedError("Argument `layer` must have reset_scale=1 for Norse.")
    module = load("norse.torch", package="norse", feature="A neuron of Norse", install="norse")
    if synapse is None:
        return _boxed(module, layer, tau, rest, threshold)
    tau_syn, rest_syn, r_syn = (cast(Tensor, value()).detach().double() for value in synapse.constants.values())
    if synapse.settings.decay_input or not same(rest_syn, 0.0) or not same(r_syn, 1.0) or synapse.settings.dt != settings.dt:
        raise UnsupportedError(
            "Argument `layer` must have a synapse with decay_input=False, V_rest=0, R=1 and the neuron's dt."
        )
    if settings.reset != "hard":
        raise UnsupportedError("Argument `layer` must have a hard reset for a neuron of Norse with a synapse.")
    p = module.LIFParameters(
        tau_syn_inv=_single(1 / tau_syn),
        tau_mem_inv=_single(1 / tau),
        v_leak=_single(rest),
        v_th=_single(threshold),
        v_reset=_single(numbers_of(layer, "V_reset")[0]),
    )
    return cast(nn.Module, module.LIFCell(p=p, dt=settings.dt))


def _boxed(module: Any, layer: QLIF, tau: Tensor, rest: Tensor, threshold: Tensor) -> nn.Module:
    hard = layer.settings.reset == "hard"
    resets = load("norse.torch.functional.reset", package="norse", feature="A neuron of Norse", install="norse")
    p = module.LIFBoxParameters(
        tau_mem_inv=_single(1 / tau),
        v_leak=_single(rest),
        v_th=_single(threshold),
        v_reset=_single(numbers_of(layer, "V_reset")[0] if hard else torch.zeros(())),
        reset_method=resets.reset_value if hard else resets.reset_subtract,
    )
    return cast(nn.Module, module.LIFBoxCell(p=p, dt=layer.settings.dt))


def _single(value: Tensor) -> Tensor:
    """One number where all are the same, else one per neuron."""
    first = value.flatten()[0]
    return (first if bool((value == first).all()) else value).detach().to(torch.get_default_dtype())
