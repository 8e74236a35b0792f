"""Each module of a network as a node of NIR, and each node as modules: one row a kind."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from qlifq._version import __version__
from qlifq.errors import FileFormatError, ShapeError, UnsupportedError
from qlifq.interop.classical import LEAKLESS_TAU, numbers_of, require_classical, same
from qlifq.neurons import QLIF, LeakyIntegrator, Readout, Recurrent, Settings, TemporalModule

__all__ = ["IMPORTS", "Options", "node_of"]

Options = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
#: The version of the metadata.
_FORMAT = 1
#: The groups of parameters that are kept as metadata.
_KEPT = ("quantum decision", "classic decision", "learning")


def node_of(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    """The node of a module that takes inputs of a shape.

    Raises:
        UnsupportedError: if NIR has no equal.
    """
    for kind, make in _EXPORTS.items():
        if isinstance(module, kind):
            return make(nir, module, seconds, shape)
    raise UnsupportedError(
        f"Argument `network` must not hold {type(module).__name__}, which NIR has no equal for; known are "
        f"{', '.join(kind.__name__ for kind in _EXPORTS)}, chains of them, and Recurrent."
    )


def first_shape(module: nn.Module) -> tuple[int, ...]:
    """The shape of what a module takes, without time and batch, where the module determines it.

    Raises:
        ShapeError: if it does not.
    """
    if isinstance(module, Recurrent):
        return first_shape(module.layer)
    if isinstance(module, Readout):
        return module.shape
    if isinstance(module, QLIF | LeakyIntegrator):
        return module.shape
    if isinstance(module, nn.Linear):
        return (module.in_features,)
    raise ShapeError(f"Argument `input_shape` must be given, since the first module, {type(module).__name__}, takes any.")


@torch.no_grad()
def shape_after(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a module gives for an input of a shape.

    Raises:
        ShapeError: if it cannot take that.
    """
    if isinstance(module, TemporalModule):
        if first_shape(module) != shape:
            raise ShapeError(f"{type(module).__name__} takes {first_shape(module)}, but what comes before it gives {shape}.")
        return shape
    like = next(module.parameters(), torch.zeros(()))
    try:
        return tuple(module(torch.zeros(1, *shape, dtype=like.dtype, device=like.device)).shape[1:])
    except RuntimeError as error:
        raise ShapeError(f"{type(module).__name__} cannot take {shape}, which comes before it: {error}") from error


# Out --------------------------------------------------------------------------------------------------------------------------


def _array(value: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = value.detach().cpu().numpy()
    return array


def _lif(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    layer = require_classical(module, "NIR")
    settings = layer.settings
    if settings.reset != "hard":
        raise UnsupportedError(
            f"Argument `network` must have neurons with a hard reset for NIR, but one has {settings.reset!r}."
        )
    tau, rest, resistance, threshold, reset = numbers_of(layer, "tau", "V_rest", "R", "V_th", "V_reset")
    steps = tau / settings.dt
    return nir.LIF(
        tau=_array(steps * seconds),
        r=_array(resistance if settings.decay_input else resistance * steps),
        v_leak=_array(rest),
        v_threshold=_array(threshold),
        v_reset=_array(reset),
        metadata=_metadata(_decision(layer)),
    )


def _integrator(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    readout = module if isinstance(module, Readout) else None
    if readout is not None and readout.integrator is None:
        raise UnsupportedError("Argument `network` must have a Readout with tau for NIR, but has one of tau=None.")
    layer = cast(LeakyIntegrator, module if readout is None else readout.integrator)
    values = {name: cast(Tensor, value()).detach().double().expand(layer.shape) for name, value in layer.constants.items()}
    settings = layer.settings
    steps = values["tau"] / settings.dt
    kept: dict[str, Any] = {"dt": settings.dt, "decay_input": settings.decay_input, "learnable": list(settings.learnable)}
    if readout is not None:
        kept["over_time"] = readout.over_time
    return nir.LI(
        tau=_array(steps * seconds),
        r=_array(values["R"] if settings.decay_input else values["R"] * steps),
        v_leak=_array(values["V_rest"]),
        metadata=_metadata(kept),
    )


def _linear(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    linear = cast(nn.Linear, module)
    weight = _array(linear.weight)
    return nir.Linear(weight=weight) if linear.bias is None else nir.Affine(weight=weight, bias=_array(linear.bias))


def _convolution(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    convolution = cast(nn.Conv2d, module)
    if convolution.padding_mode != "zeros":
        raise UnsupportedError(f"Argument `network` must pad with zeros for NIR, but pads {convolution.padding_mode!r}.")
    bias = torch.zeros(convolution.out_channels) if convolution.bias is None else convolution.bias
    options = {name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")}
    if convolution.bias is None:
        options["metadata"] = _metadata({"bias": False})
    if isinstance(module, nn.Conv1d):
        options = {name: value[0] if isinstance(value, tuple) else value for name, value in options.items()}
        return nir.Conv1d(input_shape=shape[-1], weight=_array(convolution.weight), bias=_array(bias), **options)
    return nir.Conv2d(input_shape=shape[-2:], weight=_array(convolution.weight), bias=_array(bias), **options)


def _flatten(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    flatten = cast(nn.Flatten, module)
    if flatten.start_dim < 1:
        raise UnsupportedError("Argument `network` must not flatten the batch for NIR, which has none.")
    # NIR counts dimensions without the batch.
    end = flatten.end_dim - 1 if flatten.end_dim > 0 else flatten.end_dim
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=flatten.start_dim - 1, end_dim=end)


def _pool(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    pool = cast(nn.AvgPool2d, module)
    if pool.ceil_mode or pool.divisor_override is not None or (_pair(pool.padding) != (0, 0) and not pool.count_include_pad):
        raise UnsupportedError("Argument `network` must have an AvgPool2d without ceil_mode and divisor_override for NIR.")
    sizes = {"kernel_size": pool.kernel_size, "stride": pool.stride, "padding": pool.padding}
    return nir.AvgPool2d(**{name: np.array(_pair(value)) for name, value in sizes.items()})


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


_EXPORTS: Mapping[type[nn.Module], Callable[[Any, nn.Module, float, tuple[int, ...]], Any]] = MappingProxyType(
    {
        QLIF: _lif,
        LeakyIntegrator: _integrator,
        Readout: _integrator,
        nn.Linear: _linear,
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.Flatten: _flatten,
        nn.AvgPool2d: _pool,
    }
)


# Metadata ---------------------------------------------------------------------------------------------------------------------


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    return {"qlifq": json.dumps({"format": _FORMAT, "version": __version__, **values})}


def _decision(layer: QLIF) -> dict[str, Any]:
    """What of a layer the classical part does not hold."""
    settings = layer.settings
    kept: dict[str, Any] = {"dt": settings.dt, "decay_input": settings.decay_input}
    for item in fields(Settings):
        value = getattr(settings, item.name)
        if item.metadata["spec"].group in _KEPT and value != item.default:
            kept[item.name] = value
        if item.name in layer.constants and item.metadata["spec"].group in _KEPT:
            kept[item.name] = numbers_of(layer, item.name)[0].tolist()
    if layer.shots is not None:
        kept["shots"] = layer.shots
    return kept


def _kept(node: Any) -> dict[str, Any]:
    """What a node has from qlifq; nothing where another library wrote it."""
    text = node.metadata.get("qlifq")
    if text is None:
        return {}
    try:
        values = json.loads(text.decode() if isinstance(text, bytes) else str(text))
    except ValueError as error:
        raise FileFormatError(f"its metadata `qlifq` is not JSON: {error}") from error
    if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
        raise FileFormatError(f"its metadata `qlifq` is not of format {_FORMAT}")
    values.pop("version", None)
    return values


# In ---------------------------------------------------------------------------------------------------------------------------


def _numbers(values: Any, shape: tuple[int, ...]) -> float | Tensor:
    """One number where all are the same, else one per neuron."""
    array = torch.as_tensor(np.broadcast_to(np.asarray(values, dtype=np.float64), shape).copy())
    first = array.flatten()[0]
    return float(first) if bool((array == first).all()) else array


def _leak(node: Any, kept: Options, seconds: float, tau: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """The membrane of a node."""
    dt = float(kept.get("dt", 1.0))
    steps = np.asarray(tau, dtype=np.float64) / seconds
    decayed = bool(kept["decay_input"]) if "decay_input" in kept else not same(torch.as_tensor(np.asarray(node.r) / steps), 1.0)
    resistance = np.asarray(node.r, dtype=np.float64)
    return {
        "dt": dt,
        "tau": _numbers(steps * dt, shape),
        "V_rest": _numbers(node.v_leak, shape),
        "R": _numbers(resistance if decayed else resistance / steps, shape),
        "decay_input": decayed,
    }


def _sizes(values: Any) -> tuple[int, ...]:
    """The shape of the neurons of a node."""
    shape: tuple[int, ...] = np.shape(values)
    if not shape:
        raise UnsupportedError("its parameters have no shape, which is that of the neurons")
    return shape


def _from_lif(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    shape, kept = _sizes(node.v_threshold), _kept(node)
    membrane = _leak(node, kept, seconds, node.tau, shape)
    return {"": _neuron(node, membrane, kept, shape, options)}


def _neuron(node: Any, membrane: dict[str, Any], kept: Options, shape: tuple[int, ...], options: Options) -> QLIF:
    threshold = {"V_th": _numbers(node.v_threshold, shape), "V_reset": _numbers(node.v_reset, shape)}
    known = {item.name for item in fields(Settings)} | {"shots"}
    decision = {name: _given(value) for name, value in kept.items() if name in known and name not in membrane}
    return QLIF(shape, **{**decision, **membrane, **threshold, **options})


def _given(value: Any) -> Any:
    """A value of the metadata as a parameter takes it: numbers in a shape as a tensor."""
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return torch.tensor(value, dtype=torch.float64)
    return value


def _from_if(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    shape = _sizes(node.v_threshold)
    # τ̇ is missing: a step adds r dt I.
    membrane = {"tau": LEAKLESS_TAU, "R": _numbers(np.asarray(node.r) * seconds, shape), "decay_input": False}
    return {"": _neuron(node, membrane, {}, shape, options)}


def _from_li(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    shape, kept = _sizes(node.tau), _kept(node)
    membrane = _leak(node, kept, seconds, node.tau, shape)
    membrane["learnable"] = tuple(kept.get("learnable", ()))
    if "over_time" in kept:
        return {"": Readout(shape, over_time=kept["over_time"], **membrane)}
    return {"": LeakyIntegrator(shape, **membrane)}


def _synapse(node: Any, seconds: float, shape: tuple[int, ...]) -> LeakyIntegrator:
    steps = np.asarray(node.tau_syn, dtype=np.float64) / seconds
    decayed = not same(torch.as_tensor(np.asarray(node.w_in) / steps), 1.0)
    weight = np.asarray(node.w_in, dtype=np.float64)
    return LeakyIntegrator(
        shape,
        tau=_numbers(steps, shape),
        R=_numbers(weight if decayed else weight / steps, shape),
        decay_input=decayed,
    )


def _from_cuba_lif(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    shape = _sizes(node.v_threshold)
    membrane = _leak(node, {}, seconds, node.tau_mem, shape)
    return {"_synapse": _synapse(node, seconds, shape), "_neuron": _neuron(node, membrane, {}, shape, options)}


def _from_cuba_li(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    shape = _sizes(node.tau_mem)
    membrane = _leak(node, {}, seconds, node.tau_mem, shape)
    return {"_synapse": _synapse(node, seconds, shape), "_integrator": LeakyIntegrator(shape, **membrane)}


def _from_linear(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    weight, bias = torch.as_tensor(np.asarray(node.weight)), getattr(node, "bias", None)
    if weight.ndim != 2:
        raise UnsupportedError(f"its weight has {weight.ndim} dimensions, and not 2")
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return {"": _filled(module, weight, bias)}


def _from_convolution(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    weight = torch.as_tensor(np.asarray(node.weight))
    kind: Any = nn.Conv1d if weight.ndim == 3 else nn.Conv2d
    settings = {name: _python_value(getattr(node, name)) for name in ("stride", "padding", "dilation")}
    groups = int(node.groups)
    # NIR has no convolution without a bias; one of ours was zeros.
    settings["bias"] = bool(_kept(node).get("bias", True))
    module = kind(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), groups=groups, **settings)
    return {"": _filled(module, weight, node.bias if settings["bias"] else None)}


def _filled(module: Any, weight: Tensor, bias: Any) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(torch.as_tensor(np.asarray(bias)))
    return cast(nn.Module, module)


def _python_value(value: Any) -> Any:
    if isinstance(value, bytes | str):
        return value.decode() if isinstance(value, bytes) else value
    return tuple(int(each) for each in value) if np.ndim(value) else int(value)


def _from_flatten(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    start, end = int(node.start_dim), int(node.end_dim)
    return {"": nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)}


def _from_pool(node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    return {"": nn.AvgPool2d(_python_value(node.kernel_size), _python_value(node.stride), _python_value(node.padding))}


#: What a node becomes, by its kind: modules by what is added to the node's name.
IMPORTS: Mapping[str, Callable[[Any, float, Options], dict[str, nn.Module]]] = MappingProxyType(
    {
        "LIF": _from_lif,
        "IF": _from_if,
        "LI": _from_li,
        "CubaLIF": _from_cuba_lif,
        "CubaLI": _from_cuba_li,
        "Affine": _from_linear,
        "Linear": _from_linear,
        "Conv1d": _from_convolution,
        "Conv2d": _from_convolution,
        "Flatten": _from_flatten,
        "AvgPool2d": _from_pool,
    }
)
