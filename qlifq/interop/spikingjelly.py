"""Neurons of SpikingJelly."""

from typing import Any, cast

from torch import Tensor, nn

from qlifq._packages import load
from qlifq.errors import UnsupportedError
from qlifq.interop.classical import LEAKLESS_TAU, class_name, merged, number, numbers_of, require_classical, same
from qlifq.neurons import QLIF

__all__ = ["from_spikingjelly", "to_spikingjelly"]


def from_spikingjelly(neuron: nn.Module, num_neurons: int | tuple[int, ...], **parameters: Any) -> QLIF:
    """A QLIF whose membrane follows that of a neuron of SpikingJelly: V ← V + (X − (V − V_reset)) / τ.

    With `decay_input=False` X is added as it is; without a `v_reset` the potential decays to 0 and the reset is soft.
    SpikingJelly spikes at the threshold, a QLIF above it. The neuron's `v` is the layer's "voltage", V after the step.

    Args:
        neuron: an `IFNode`, `LIFNode` or `ParametricLIFNode`.
        num_neurons: how many neurons there are, or their shape, which the neuron does not know.
        **parameters: of the `QLIF`, beside or instead of those that follow from the neuron.

    Returns:
        The layer; τ of a `ParametricLIFNode` is trained.

    Raises:
        DtypeError: if it is no neuron of SpikingJelly.
        UnsupportedError: for another neuron.
    """
    kind = class_name(neuron, "spikingjelly", ("IFNode", "LIFNode", "ParametricLIFNode"))
    node = cast(Any, neuron)
    own: dict[str, Any] = {"V_th": number(node.v_threshold)}
    if node.v_reset is None:
        own["reset"] = "soft"
    else:
        own["V_reset"] = own["V_rest"] = number(node.v_reset)
    if kind == "IFNode":
        own |= {"tau": LEAKLESS_TAU, "decay_input": False}
    else:
        own["decay_input"] = bool(node.decay_input)
        own["tau"] = number(node.tau) if kind == "LIFNode" else number(1 / cast(Tensor, node.w).double().sigmoid())
    if kind == "ParametricLIFNode":
        own["learnable_tau"] = True
    return QLIF(num_neurons, **merged(own, parameters))


def to_spikingjelly(layer: QLIF, **options: Any) -> nn.Module:
    """The `LIFNode` of SpikingJelly whose membrane follows that of a layer; its decision is the deterministic one.

    Args:
        layer: with R = 1, one τ above dt for all neurons, and V_rest equal to V_reset, or 0 with a soft reset.
        **options: of `LIFNode`, such as `step_mode`.

    Raises:
        UnsupportedError: for a layer that has no equal.
        MissingPackageError: without SpikingJelly.
    """
    require_classical(layer, "SpikingJelly")
    settings = layer.settings
    tau, rest, resistance, threshold = numbers_of(layer, "tau", "V_rest", "R", "V_th")
    hard = settings.reset == "hard"
    reset = numbers_of(layer, "V_reset")[0] if hard else None
    steps = tau / settings.dt
    if not same(resistance, 1.0) or not same(rest, 0.0 if reset is None else reset):
        raise UnsupportedError("Argument `layer` must have R=1, and V_rest = V_reset or 0, for SpikingJelly.")
    if not hard and not same(numbers_of(layer, "reset_scale")[0], 1.0):
        raise UnsupportedError("Argument `layer` must have reset_scale=1 for SpikingJelly.")
    if float(steps.min()) <= 1:
        raise UnsupportedError(f"Argument `layer` must have tau above dt for SpikingJelly, but has {float(steps.min()):g} dt.")
    library = load(
        "spikingjelly.activation_based.neuron",
        package="spikingjelly",
        feature="A neuron of SpikingJelly",
        install="spikingjelly",
    )
    return cast(
        nn.Module,
        library.LIFNode(
            tau=_one("tau", steps),
            decay_input=settings.decay_input,
            v_threshold=_one("V_th", threshold),
            v_reset=None if reset is None else _one("V_reset", reset),
            **options,
        ),
    )


def _one(name: str, value: Tensor) -> float:
    first = float(value.flatten()[0])
    if not same(value, first):
        raise UnsupportedError(f"Argument `layer` must have one `{name}` for all neurons for SpikingJelly.")
    return first
