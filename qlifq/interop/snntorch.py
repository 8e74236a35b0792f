"""Neurons of snnTorch."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from qlifq._packages import load
from qlifq.errors import UnsupportedError
from qlifq.interop.classical import (
    LEAKLESS_TAU,
    class_name,
    merged,
    number,
    numbers_of,
    refuse_options,
    require_classical,
    same,
)
from qlifq.neurons import QLIF

__all__ = ["from_snntorch", "to_snntorch"]

_SUBTRACT, _ZERO, _NONE = 0, 1, 2


def from_snntorch(neuron: nn.Module, num_neurons: int | tuple[int, ...], **parameters: Any) -> QLIF:
    """A QLIF whose membrane follows that of a `snntorch.Leaky`: U ← β U + I − R U_thr.

    The leak is τ = dt/(1 − β), and the input is added as it is. snnTorch takes the threshold off one step after a spike, when
    the potential has decayed once; that is a soft reset by U_thr/β. What snnTorch returns as `mem` is the layer's "potential",
    V at the decision, and with `reset_delay=False` its "voltage", V after the step.

    Args:
        neuron: a `snntorch.Leaky`.
        num_neurons: how many neurons there are, or their shape, which the neuron does not know.
        **parameters: of the `QLIF`, beside or instead of those that follow from the neuron: `quantum_mode=False` gives its
            spikes, too.

    Returns:
        The layer; β and the threshold are trained where they were.

    Raises:
        DtypeError: if it is no neuron of snnTorch.
        UnsupportedError: for another neuron than `Leaky`, or an option that has no equal.
    """
    class_name(neuron, "snntorch", ("Leaky",))
    leaky = cast(Any, neuron)
    reset, delayed = int(leaky.reset_mechanism_val), bool(leaky.reset_delay)
    refuse_options(
        "snnTorch",
        {
            "inhibition": bool(leaky.inhibition),
            "state_quant": bool(leaky.state_quant),
            "graded_spikes_factor": not same(number(leaky.graded_spikes_factor), 1.0),
            "reset_delay=False with reset_mechanism='subtract'": reset == _SUBTRACT and not delayed,
        },
    )
    beta = torch.as_tensor(number(leaky.beta), dtype=torch.float64).clamp(0, 1)
    own: dict[str, Any] = {
        "tau": number(torch.where(beta < 1, 1 / (1 - beta), LEAKLESS_TAU)),
        "V_th": number(leaky.threshold),
        "decay_input": False,
    }
    if reset != _ZERO:
        own["reset"], own["reset_scale"] = "soft", 0.0
    if reset == _SUBTRACT:
        if bool((beta == 0).any()):
            raise UnsupportedError("Argument `neuron` must have `beta` above 0 with reset_mechanism='subtract', but has 0.")
        own["reset_scale"] = number(1 / beta)
    if isinstance(leaky.beta, nn.Parameter):
        own["learnable_tau"] = True
    if isinstance(leaky.threshold, nn.Parameter):
        own["learnable_threshold"] = True
    return QLIF(num_neurons, **merged(own, parameters))


def to_snntorch(layer: QLIF, **options: Any) -> nn.Module:
    """The `snntorch.Leaky` whose membrane follows that of a layer; its decision is the deterministic one.

    Args:
        layer: with `decay_input=False`, and a hard reset to 0, or a soft one with `reset_scale` 0 (none) or τ/(τ − dt).
        **options: of `snntorch.Leaky`, such as `init_hidden`.

    Raises:
        UnsupportedError: for a layer that has no equal.
        MissingPackageError: without snnTorch.
    """
    require_classical(layer, "snnTorch")
    tau, rest, resistance, threshold = numbers_of(layer, "tau", "V_rest", "R", "V_th")
    beta = 1 - layer.settings.dt / tau
    if layer.settings.decay_input or not same(rest, 0.0) or not same(resistance, 1.0):
        raise UnsupportedError("Argument `layer` must have decay_input=False, V_rest=0 and R=1 for snnTorch.")
    snntorch = load("snntorch", package="snntorch", feature="A neuron of snnTorch", install="snntorch")
    neuron: nn.Module = snntorch.Leaky(
        beta=_shared(beta), threshold=_shared(threshold), reset_mechanism=_mechanism(layer, beta), **options
    )
    return neuron


def _mechanism(layer: QLIF, beta: Tensor) -> str:
    if layer.settings.reset == "hard":
        if same(numbers_of(layer, "V_reset")[0], 0.0):
            return "zero"
    elif same(numbers_of(layer, "reset_scale")[0], 0.0):
        return "none"
    elif same(numbers_of(layer, "reset_scale")[0] * beta, 1.0):
        return "subtract"
    raise UnsupportedError("Argument `layer` must be reset to 0, or softly with reset_scale 0 or τ/(τ − dt), for snnTorch.")


def _shared(value: Tensor) -> Tensor:
    """One number where all are the same, else one per neuron."""
    first = value.flatten()[0]
    found = first if bool((value == first).all()) else value
    return found.to(torch.get_default_dtype())
