"""Modules of other libraries that carry a state over time, and how a chain runs each kind.

No library is imported: a module is known by the home package of its classes, and is used through what that library documents.
A kind is one row of `FOREIGN`. Where a library keeps the state inside the module (snnTorch, SpikingJelly), it is reset before a
sequence that starts without a state, handed out after it, and the module is left at rest.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from qlifq.errors import DtypeError, ShapeError

__all__ = ["FOREIGN", "Family", "classes_of"]


@dataclass(frozen=True)
class Family:
    """A kind of modules that carry a state over time.

    Args:
        name: of the kind, in messages.
        holds: whether a module is of this kind.
        run: `run(module, sequence, state)` gives the output, `(time, batch, ...)`, and the state after it; None starts at rest.
        refusal: why a module of the kind cannot be run and what to do instead, or None.
        inside: whether it is wrong, too, deep inside a module that sees time and batch as one. An `nn.LSTM` in there is not:
            it begins anew with every call.
        run_same: `run_same(module, input, steps, state)` as `run`, for an input `(batch, ...)` that is the same at every step;
            None where that is no less work.
    """

    name: str
    holds: Callable[[nn.Module], bool]
    run: Callable[[nn.Module, Tensor, object], tuple[Tensor, object]]
    refusal: Callable[[nn.Module], str | None] = lambda _: None
    inside: bool = True
    run_same: Callable[[nn.Module, Tensor, int, object], tuple[Tensor, object]] | None = None


def classes_of(module: nn.Module, package: str) -> list[str]:
    """The names of those classes of a module that a package defines, the most special first."""
    return [kind.__name__ for kind in _kinds(module, package)]


def _kinds(module: nn.Module, package: str) -> list[type[Any]]:
    return [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] == package]


# torch ------------------------------------------------------------------------------------------------------------------------

_ATTENTION: tuple[type[nn.Module], ...] = (
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)


def _run_recurrent(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    layer = cast(nn.RNNBase, module)
    _check_state(module, state, tuple if isinstance(layer, nn.LSTM) else Tensor, sequence.shape[1], dim=1)
    output, state = layer(sequence.transpose(0, 1) if layer.batch_first else sequence, state)
    return (output.transpose(0, 1) if layer.batch_first else output), state


def _run_cell(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    """The cells of torch return their state, whose first or only part is the output."""
    _check_state(module, state, tuple if isinstance(module, nn.LSTMCell) else Tensor, sequence.shape[1])
    outputs = []
    for now in sequence:
        state = module(now, state)
        outputs.append(state[0] if isinstance(state, tuple) else cast(Tensor, state))
    return torch.stack(outputs), state


# Norse ------------------------------------------------------------------------------------------------------------------------

_NORSE_CELLS = {"SNNCell", "SNNRecurrentCell", "LILinearCell", "CobaLIFCell"}
_NORSE_SEQUENCES = {"SNN", "SNNRecurrent"}
_NORSE_STATELESS = {"PoissonEncoderStep", "SignedPoissonEncoderStep", "SpatialReceptiveField2d"}
_NORSE_STATELESS |= {"SampledSpatialReceptiveField2d", "ParameterizedSpatialReceptiveField2d"}


def _is_norse(module: nn.Module, names: set[str]) -> bool:
    return not names.isdisjoint(classes_of(module, "norse"))


def _run_norse_cell(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    _check_state(module, state, tuple, sequence.shape[1])
    outputs = []
    for now in sequence:
        output, state = module(now, state)
        outputs.append(output)
    return torch.stack(outputs), state


def _run_norse_sequence(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    _check_state(module, state, tuple, sequence.shape[1])
    return cast(tuple[Tensor, object], module(sequence, state))


def _norse_refusal(module: nn.Module) -> str | None:
    if getattr(module, "record_states", False):
        return "with record_states=True it returns the states of all steps and none to go on from; leave that out"
    return None


# snnTorch ---------------------------------------------------------------------------------------------------------------------

_SNNTORCH = ("Leaky", "Synaptic", "Alpha", "Lapicque", "RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM")


def _snntorch_refusal(module: nn.Module) -> str | None:
    if classes_of(module, "snntorch")[0] in _SNNTORCH:
        return None
    return f"its state can be neither given nor read step by step; of snnTorch a chain runs {', '.join(_SNNTORCH)}"


def _run_snntorch(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    """`spk, *state = neuron(input, *state)`, or with `init_hidden` the state in attributes of the same names."""
    neuron = cast(Any, module)
    names = _arguments(_kinds(module, "snntorch")[0].forward)
    _check_state(module, state, tuple, sequence.shape[1])
    if state is not None and len(cast(tuple[object, ...], state)) != len(names):
        raise ShapeError(
            f"Argument `states` must hold {', '.join(names)} for {type(module).__name__}, "
            f"but holds a tuple of {len(cast(Any, state))}."
        )
    rest = neuron.reset_mem()
    values = cast(tuple[object, ...], state if state is not None else rest if isinstance(rest, tuple) else (rest,))
    given = {} if state is None else dict(zip(names, values, strict=True))
    for name, value in given.items():
        setattr(neuron, name, value)
    outputs = []
    for now in sequence:
        answer = neuron(now) if neuron.init_hidden else neuron(now, *values)
        outputs.append(answer[0] if isinstance(answer, tuple) else answer)
        values = tuple(getattr(neuron, name) for name in names)
    neuron.reset_mem()
    _check_taken(module, given, dict(zip(names, values, strict=True)))
    return torch.stack(outputs), values


# SpikingJelly -----------------------------------------------------------------------------------------------------------------


def _memories(module: nn.Module) -> Iterator[tuple[str, Any, str]]:
    """Where a module and what is in it keep their memories: a name, whose it is, and its name there."""
    for place, part in module.named_modules():
        if "MemoryModule" in classes_of(part, "spikingjelly"):
            for name, _ in cast(Any, part).named_memories():
                yield f"{place}.{name}".lstrip("."), part, name


def _step_modes(module: nn.Module) -> set[str]:
    """The step mode of a module, or where it has none those of what is in it."""
    own = _step_mode(module)
    return {own} if own else {mode for part in module.modules() if (mode := _step_mode(part))}


def _step_mode(module: nn.Module) -> str | None:
    """The step mode that is set, or the only one that there is."""
    supported: tuple[str, ...] = getattr(module, "supported_step_mode", tuple)()
    return cast(str | None, getattr(module, "step_mode", supported[0] if len(supported) == 1 else None))


def _is_spikingjelly(module: nn.Module) -> bool:
    """Any module of SpikingJelly but a layer that knows no time: without memories, one step at a time."""
    if not classes_of(module, "spikingjelly"):
        return False
    return _step_modes(module) != {"s"} or any(True for _ in _memories(module))


def _spikingjelly_refusal(module: nn.Module) -> str | None:
    modes, remembers = _step_modes(module), any(True for _ in _memories(module))
    if len(modes) > 1:
        return "its parts differ in step_mode; set one with functional.set_step_mode"
    if not modes or _takes_state(module):
        return "it has no step_mode that says what it takes; use modules that have one"
    if any(name.startswith("TLast") for name in classes_of(module, "spikingjelly")):
        return "its time is the last dimension, where a chain has it first; use its namesake without TLast"
    if not remembers and any(".neuron." in kind.__module__ for kind in type(module).__mro__):
        return "its state over time can be neither given nor read; use a neuron that is a MemoryModule, such as LIFNode"
    return None


def _run_spikingjelly(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    places = {place: (part, name) for place, part, name in _memories(module)}
    _check_state(module, state, dict, sequence.shape[1])
    given = cast(dict[str, object], state or {})
    if state is not None and set(given) != set(places):
        raise ShapeError(
            f"Argument `states` must hold {', '.join(places)} for {type(module).__name__}, but holds {', '.join(given)}."
        )
    for part in {id(part): part for part, _ in places.values()}.values():
        part.reset()
    rest = {place: getattr(part, name) for place, (part, name) in places.items()}
    for place, value in given.items():
        setattr(*places[place], value)
    together = _step_modes(module) == {"m"}
    output = cast(Tensor, module(sequence)) if together else torch.stack([module(now) for now in sequence])
    after = {place: getattr(part, name) for place, (part, name) in places.items()}
    for place, value in rest.items():
        setattr(*places[place], value)
    _check_taken(module, given, after)
    return output, after


# Others -----------------------------------------------------------------------------------------------------------------------

#: Libraries of spiking neurons for torch that no row runs.
_OTHERS = ("sinabs", "rockpool", "bindsnet", "lava", "braincog", "snntorch", "norse")
_STATE_NAMES = {"state", "states", "hx", "hidden", "mem"}


def _takes_state(module: nn.Module) -> bool:
    """Whether a module takes a state beside its input, as its `forward` names it."""
    # What torch has scripted has no function there.
    forward = getattr(type(module), "forward", None)
    return inspect.isfunction(forward) and not _STATE_NAMES.isdisjoint(_arguments(forward))


@functools.lru_cache(maxsize=256)
def _arguments(forward: Callable[..., object]) -> tuple[str, ...]:
    """What a `forward` takes beside the module itself and its input."""
    return tuple(inspect.signature(forward).parameters)[2:]


def _is_other(module: nn.Module) -> bool:
    return not _is_norse(module, _NORSE_STATELESS) and any(classes_of(module, package) for package in _OTHERS)


def _not_run(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    raise NotImplementedError(type(module).__name__)


def _check_state(module: nn.Module, state: object, kind: type, batch: int, dim: int = 0) -> None:
    """Refuse a state that is not of the kind that the module returned, or is one of another batch."""
    name = type(module).__name__
    if state is not None and not isinstance(state, kind):
        raise DtypeError(f"Argument `states` must hold a {kind.__name__} for {name}, but holds {type(state).__name__}.")
    for value in _tensors(state):
        if value.ndim > dim and value.shape[dim] != batch:
            raise ShapeError(f"Argument `states` must hold a batch of {batch} for {name}, but holds one of {value.shape[dim]}.")


def _tensors(state: object) -> Iterator[Tensor]:
    """The tensors of a state, however deep in tuples and dicts."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple | dict):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def _check_taken(module: nn.Module, given: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Refuse a state of another shape than the module's own: the libraries take such a one for none, without a word."""
    for name, value in given.items():
        own = after[name]
        if isinstance(value, Tensor) and isinstance(own, Tensor) and value.shape != own.shape:
            raise ShapeError(
                f"Argument `states` must hold a `{name}` of shape {tuple(own.shape)} for {type(module).__name__}, "
                f"but holds one of shape {tuple(value.shape)}."
            )


#: The first row that holds a module is its own.
FOREIGN = (
    Family(
        "nn.RNN, nn.GRU or nn.LSTM",
        lambda module: isinstance(module, nn.RNNBase),
        _run_recurrent,
        lambda module: (
            "it reads a sequence backwards too, so that no state carries it on; use one direction"
            if cast(nn.RNNBase, module).bidirectional
            else None
        ),
        inside=False,
    ),
    Family("a cell of torch", lambda module: isinstance(module, nn.RNNCellBase), _run_cell, inside=False),
    Family("a cell of Norse", lambda module: _is_norse(module, _NORSE_CELLS), _run_norse_cell),
    Family("a layer of Norse", lambda module: _is_norse(module, _NORSE_SEQUENCES), _run_norse_sequence, _norse_refusal),
    Family(
        "a neuron of snnTorch",
        lambda module: "SpikingNeuron" in classes_of(module, "snntorch"),
        _run_snntorch,
        _snntorch_refusal,
    ),
    Family("a module of SpikingJelly", _is_spikingjelly, _run_spikingjelly, _spikingjelly_refusal),
    Family(
        "attention",
        lambda module: isinstance(module, _ATTENTION),
        _not_run,
        lambda _: (
            "it mixes what it takes for a sequence, and here time and batch would be one; wrap it in a module of your own that "
            "takes (batch, ...)"
        ),
        inside=False,
    ),
    Family(
        "a module of a library of spiking neurons",
        _is_other,
        _not_run,
        lambda _: "how it carries its state over time is not known here; run it by itself, between two chains",
    ),
    Family(
        "a module with a state",
        _takes_state,
        _not_run,
        lambda _: "its forward takes a state, which a chain would not carry; run it by itself, between two chains",
        inside=False,
    ),
)
