"""Networks as graphs and files of NIR, the Neuromorphic Intermediate Representation.

The classical part of a network goes out and comes in; what makes the decision of a QLIF is kept as metadata of its node, which
other libraries pass over.
"""

import io
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from qlifq import _validation as check
from qlifq._files import write_bytes
from qlifq._packages import load
from qlifq.errors import DtypeError, FileFormatError, QLIFError, UnsupportedError
from qlifq.interop.nir_nodes import IMPORTS, Options, first_shape, node_of, shape_after
from qlifq.neurons import QLIF, Recurrent, SpikingSequential

__all__ = ["from_nir", "read_nir", "to_nir", "write_nir"]

Edges = list[tuple[str, str]]


def to_nir(network: nn.Module, *, dt: float = 1e-4, input_shape: tuple[int, ...] | None = None) -> Any:
    """A network as a graph of NIR.

    `QLIF` becomes `LIF` with its decision as metadata, `LeakyIntegrator` and `Readout` become `LI`, `nn.Linear` becomes
    `Affine` or `Linear`, and `Recurrent` of a QLIF and a linear map a graph of its own, as snnTorch writes it.

    Args:
        network: a `SpikingSequential` or `nn.Sequential`, in which they may nest, or one module.
        dt: what a step is in NIR's unit of time, seconds; snnTorch reads files with 1e-4, Norse with 1e-3.
        input_shape: of an input without time and batch, such as `(1, 28, 28)`; None where the first module determines it, as
            neurons and linear maps do.

    Returns:
        A `nir.NIRGraph`.

    Raises:
        UnsupportedError: for a module or a mechanism of a neuron that NIR has no equal for, by its name.
        ShapeError: without an input shape that is needed, or for one that the modules cannot take.
        MissingPackageError: without the package nir.
    """
    nir, seconds = _nir(), check.real("dt", dt, above=0.0)
    if not isinstance(network, nn.Module):
        raise DtypeError(f"Argument `network` must be a torch module, but is {type(network).__name__}.")
    modules = _named("", network)
    shape = first_shape(modules[0][1]) if input_shape is None else tuple(input_shape)
    nodes = {"input": nir.Input(input_type=np.array(shape))}
    for name, module in modules:
        nodes[name], shape = _node(nir, module, seconds, shape), shape_after(module, shape)
    names = [name for name, _ in modules]
    nodes["output"] = nir.Output(output_type=np.array(shape))
    order = ["input", *names, "output"]
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(order)), type_check=False)


def from_nir(graph: Any, *, dt: float = 1e-4, **options: Any) -> SpikingSequential:
    """The network of a graph of NIR: every node a part of the chain, by its name.

    A `LIF` whose input is not scaled, r dt/τ = 1, takes its input as it is. A node without a decision in its metadata, such as
    one of another library, gets the default decision of a QLIF, or that of the options.

    Args:
        graph: a `nir.NIRGraph` in which one node follows the other; parts with an input and an output of their own may be a
            neuron with a recurrent linear map.
        dt: what a step is in NIR's unit of time, seconds.
        **options: of every `QLIF`, such as `backend` or `quantum_mode`; they override the metadata.

    Returns:
        The network.

    Raises:
        UnsupportedError: for a node that has no equal here, by its name and kind, or a graph that branches.
        DtypeError: if `graph` is no graph of NIR.
        MissingPackageError: without the package nir.
    """
    nir, seconds = _nir(), check.real("dt", dt, above=0.0)
    if not isinstance(graph, nir.NIRGraph):
        raise DtypeError(f"Argument `graph` must be a nir.NIRGraph, but is {type(graph).__name__}.")
    parts: dict[str, nn.Module] = {}
    for name in _order(nir, graph.nodes, graph.edges):
        node = graph.nodes[name]
        made = (
            _recurrent(nir, name, node, seconds, options)
            if isinstance(node, nir.NIRGraph)
            else _modules(name, node, seconds, options)
        )
        for suffix, module in made.items():
            parts[f"{name}{suffix}".replace(".", "_")] = module
    if not parts:
        raise UnsupportedError("Argument `graph` must have a node between its input and its output, but has none.")
    return SpikingSequential(parts)


def write_nir(
    path: str | os.PathLike[str], network: nn.Module, *, dt: float = 1e-4, input_shape: tuple[int, ...] | None = None
) -> None:
    """Write a network as a file of NIR, atomically; arguments and errors as for `to_nir`.

    Raises:
        FileError: if the file cannot be written.
    """
    content = io.BytesIO()
    _nir().write(content, to_nir(network, dt=dt, input_shape=input_shape))
    write_bytes(Path(path), content.getvalue())


def read_nir(path: str | os.PathLike[str], *, dt: float = 1e-4, **options: Any) -> SpikingSequential:
    """The network of a file of NIR; arguments and errors as for `from_nir`.

    Raises:
        FileFormatError: if the file cannot be read or is no file of NIR.
    """
    nir = _nir()
    try:
        graph = nir.read(path, type_check=False)
    except Exception as error:
        # What a damaged file makes of h5py and nir is an open list.
        raise FileFormatError(f"{os.fspath(path)} cannot be read as a file of NIR: {error}") from error
    return from_nir(graph, dt=dt, **options)


def _nir() -> Any:
    return load("nir", package="nir", feature="A file of NIR", install="qlifq[nir]")


def _named(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of nested chains in order, by their qualified names."""
    if isinstance(module, SpikingSequential):
        module = module.chain
    if not isinstance(module, nn.Sequential):
        return [(prefix or "0", module)]
    return [item for name, part in module.named_children() for item in _named(f"{prefix}_{name}" if prefix else name, part)]


def _node(nir: Any, module: nn.Module, seconds: float, shape: tuple[int, ...]) -> Any:
    if not isinstance(module, Recurrent):
        return node_of(nir, module, seconds, shape)
    if not isinstance(module.layer, QLIF) or not isinstance(module.connection, nn.Linear):
        raise UnsupportedError("Argument `network` must have a QLIF and an nn.Linear in a Recurrent for NIR.")
    lif = node_of(nir, module.layer, seconds, shape)
    return nir.NIRGraph(
        nodes={
            "input": nir.Input(input_type=lif.input_type),
            "lif": lif,
            "w_rec": node_of(nir, module.connection, seconds, shape),
            "output": nir.Output(output_type=lif.output_type),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )


def _modules(name: str, node: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    """What a node becomes: modules by what is added to its name."""
    kind = type(node).__name__
    if kind not in IMPORTS:
        raise UnsupportedError(
            f"Node `{name}` of the graph is a {kind}, which has no equal here; known are {', '.join(IMPORTS)}."
        )
    try:
        return IMPORTS[kind](node, seconds, options)
    except QLIFError as error:
        raise UnsupportedError(f"Node `{name}` of the graph, a {kind}, cannot be a part of a network: {error}") from error


def _recurrent(nir: Any, name: str, graph: Any, seconds: float, options: Options) -> dict[str, nn.Module]:
    """A neuron with a recurrent linear map."""
    inner = {each: node for each, node in graph.nodes.items() if not isinstance(node, nir.Input | nir.Output)}
    neurons = [each for each, node in inner.items() if isinstance(node, nir.LIF | nir.IF)]
    maps = [each for each, node in inner.items() if isinstance(node, nir.Affine | nir.Linear)]
    edges = {(a, b) for a, b in graph.edges if a in inner and b in inner}
    if len(inner) != 2 or len(neurons) != 1 or len(maps) != 1 or edges != {(neurons[0], maps[0]), (maps[0], neurons[0])}:
        raise UnsupportedError(
            f"Node `{name}` of the graph is a graph of its own, and must be one LIF or IF with a recurrent map, but "
            f"has {', '.join(type(node).__name__ for node in inner.values()) or 'nothing'}."
        )
    (layer,) = _modules(f"{name}.{neurons[0]}", inner[neurons[0]], seconds, options).values()
    (connection,) = _modules(f"{name}.{maps[0]}", inner[maps[0]], seconds, options).values()
    return {"": Recurrent(layer, connection)}


def _order(nir: Any, nodes: Mapping[str, Any], edges: Edges) -> list[str]:
    """The nodes between input and output, one after the other."""
    after: dict[str, list[str]] = {}
    before: dict[str, int] = {}
    for start, end in dict.fromkeys(edges):
        after.setdefault(start, []).append(end)
        before[end] = before.get(end, 0) + 1
    inputs = [name for name, node in nodes.items() if isinstance(node, nir.Input)]
    if len(inputs) != 1:
        raise UnsupportedError(f"Argument `graph` must have one input, but has {len(inputs)}.")
    order, now = [], inputs[0]
    while not isinstance(nodes[now], nir.Output):
        following = after.get(now, [])
        if len(following) != 1 or before[following[0]] != 1:
            kinds = f"`{now}`, a {type(nodes[now]).__name__},"
            raise UnsupportedError(f"Argument `graph` must lead from input to output in one chain, but {kinds} does not.")
        now = following[0]
        if not isinstance(nodes[now], nir.Output):
            order.append(now)
    if left := [name for name in nodes if name not in order and name not in {inputs[0], now}]:
        raise UnsupportedError(f"Argument `graph` must lead from input to output in one chain, but `{left[0]}` is beside it.")
    return order
