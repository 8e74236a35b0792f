"""Layers in a chain, with their states carried along."""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast, overload

from torch import Tensor, nn

from qlifq import _validation as check
from qlifq._transforms import uncompiled
from qlifq.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from qlifq.neurons.brand_petruccione import BrandPetruccione, BrandPetruccioneState, rotations
from qlifq.neurons.precision import returned
from qlifq.neurons.stateful import FOREIGN, Family, classes_of
from qlifq.neurons.temporal import TemporalModule

__all__ = ["ROW_BY_ROW", "Chain", "SpikingSequential", "check_chain", "run_weighted"]

#: Modules, of these very classes, that treat every row by itself and draw nothing: an input that is the same at every step is
#: run once. A class of one's own joins with `ROW_BY_ROW.add`.
ROW_BY_ROW: set[type[nn.Module]] = {
    nn.Identity,
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    *(nn.Flatten, nn.Unflatten),
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
}


class SpikingSequential(TemporalModule):
    """A chain of spiking layers, other modules with a state, and ordinary modules.

    An ordinary module, such as `nn.Linear` or `nn.Conv2d`, sees time and batch as one batch dimension; an image that is
    expanded over time (`image.expand(steps, ...)`) it sees once. Batch normalisation averages over time too, as in
    SpikingJelly; `nn.Dropout` draws anew at every step, and `TimeDropout` once per sequence. A module that carries a state over
    time sees the sequence, or one step after the other, and its own state:

    - `QLIF`, `SpikingSequential`, and every other `TemporalModule`: on the sequence. A `Readout` is last.
    - `BrandPetruccione`: on the sequence. Its input is W_q x and W_t x one after the other, `(time, batch, 2 num_neurons)`, and
      drives it by θ = π |W_q x|, τ = 200 |W_t x|, and an input spike where W_q x > 0.
    - `nn.RNN`, `nn.GRU`, `nn.LSTM` of one direction: on the sequence, whatever their `batch_first`; their cells step by step.
    - Norse: cells step by step, layers on the sequence.
    - snnTorch: `Leaky` and its siblings step by step, with and without `init_hidden`; the state is a tuple such as `(mem,)`.
    - SpikingJelly: step by step with `step_mode` "s", on the sequence with "m"; the state is a dict of its memories.
    - `nn.Sequential` with such modules, and Norse's `SequentialState` and `Lift`: their modules one after the other, as here;
      the state is a tuple of theirs.

    Every state is handed out and can be given again: a sequence cut in two and carried over equals the whole. Where a library
    keeps the state inside the module, it is reset before a sequence without a state, and the module is left at rest after each.
    Any other module that is known to carry a state, or to hold one that does, is refused: run it by itself, between two chains.
    A state that no name betrays, in a module of one's own, is not seen.

    `len(network)`, `network[1]`, `network["hidden"]` and `network[:2]` give the parts, a slice as a chain of the same modules.

    Args:
        *modules: the chain, in order, or one mapping from names to modules.

    Raises:
        ArgumentError: if there is no module, or a name that torch does not allow.
        DtypeError: if an item is none.
        UnsupportedError: if an item is one that a chain cannot run.

    Example:
        >>> import torch
        >>> from qlifq.neurons import QLIF
        >>> network = SpikingSequential(nn.Linear(4, 8), QLIF(8, seed=0), nn.Linear(8, 2))
        >>> output, states = network(torch.rand(10, 3, 4))
        >>> output.shape, len(states)
        (torch.Size([10, 3, 2]), 1)
    """

    def __init__(self, *modules: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        named = (
            modules[0]
            if len(modules) == 1 and isinstance(modules[0], Mapping)
            else dict(zip(_numbers(), modules, strict=False))
        )
        if not named:
            raise ArgumentError("Argument `modules` must hold at least one module, but is empty.")
        for name, module in named.items():
            if not isinstance(module, nn.Module):
                raise DtypeError(f"Argument `modules` must hold torch modules, but holds {type(module).__name__}.")
            if not isinstance(name, str) or not name or "." in name or hasattr(nn.Sequential, name):
                raise ArgumentError(f"Argument `modules` must have names that torch allows, without a dot, but has {name!r}.")
        self.chain = nn.Sequential(OrderedDict(cast(Mapping[str, nn.Module], named)))
        check_chain(self.chain)

    def __len__(self) -> int:
        return len(self.chain)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.chain)

    @overload
    def __getitem__(self, part: slice) -> "SpikingSequential": ...

    @overload
    def __getitem__(self, part: int | str) -> nn.Module: ...

    def __getitem__(self, part: int | str | slice) -> nn.Module:
        """A module by its place or name, or a chain of those in a slice."""
        named = dict(self.chain.named_children())
        if isinstance(part, slice):
            return SpikingSequential(dict(list(named.items())[part]))
        if isinstance(part, str) and part not in named:
            raise check.unknown("module", part, list(named))
        return named[part] if isinstance(part, str) else self.chain[part]

    @property
    def keeps_time(self) -> bool:
        """Whether the output has the dimension of time: not where the last module is a readout."""
        return _keeps_time(self.chain[-1])

    def forward(self, sequence: Tensor, states: tuple[object, ...] | None = None) -> tuple[Tensor, tuple[object, ...]]:
        """Run a sequence through the chain.

        Args:
            sequence: `(time, batch, ...)`.
            states: one state for each module that carries one, in order, as returned before; None starts at rest.

        Returns:
            What the last module returns, `(time, batch, ...)`, or `(batch, ...)` of a readout, and the states after it.

        Raises:
            ShapeError: for another shape, or more or fewer states than modules that carry one.
            DtypeError: for a state of another kind.
            UnsupportedError: if a module cannot be run.
        """
        if not isinstance(sequence, Tensor) or sequence.ndim < 2:
            found = tuple(sequence.shape) if isinstance(sequence, Tensor) else type(sequence).__name__
            raise ShapeError(f"Argument `sequence` must have shape (time, batch, ...), but is {found}.")
        check_chain(self.chain)
        return Chain.of(self.chain).run(sequence, states)


class Chain(NamedTuple):
    """Modules one after the other, with what is known of each.

    Args:
        parts: the modules, each with its family; None for one without a state.
    """

    parts: tuple[tuple[nn.Module, Family | None], ...]

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> "Chain":
        """The chain of these modules."""
        return cls(tuple((module, _family(module)) for module in modules))

    def run(self, sequence: Tensor, states: object) -> tuple[Tensor, tuple[object, ...]]:
        """One module after the other, and the states after them."""
        stateful = sum(family is not None for _, family in self.parts)
        if states is None:
            states = (None,) * stateful
        if not isinstance(states, tuple | list):
            raise DtypeError(f"Argument `states` must be a tuple of states or None, but is {type(states).__name__}.")
        if len(states) != stateful:
            raise ShapeError(
                f"Argument `states` must hold {stateful} states, one per module with a state, but holds {len(states)}."
            )
        before, after = iter(states), []
        # What all steps see where they see the same: a stride of 0 in time, as `expand` leaves it, reads the same memory.
        same = sequence[0] if len(sequence) > 1 and sequence.stride(0) == 0 else None
        for module, family in self.parts:
            if family is None and same is not None and _is_row_by_row(module):
                same = cast(Tensor, module(same))
                sequence = same.expand(len(sequence), *same.shape)
                continue
            if family is None:
                sequence = _fold(module, sequence)
            else:
                if family in FOREIGN and not len(sequence):
                    raise ShapeError(f"Argument `sequence` must have at least one step for {family.name}, but has none.")
                state = next(before)
                if same is not None and family.run_same is not None:
                    sequence, state = family.run_same(module, same, len(sequence), state)
                else:
                    sequence, state = family.run(module, sequence, state)
                after.append(state)
            same = None
        return sequence, tuple(after)


def _numbers() -> Iterator[str]:
    """The names of modules that were given none: those of torch."""
    return map(str, itertools.count())


def _keeps_time(module: nn.Module) -> bool:
    if isinstance(module, TemporalModule):
        return module.keeps_time
    parts = _parts(module)
    return not parts or _keeps_time(parts[-1])


def _fold(module: nn.Module, sequence: Tensor) -> Tensor:
    """A module that knows no time, on time and batch as one dimension."""
    time, batch = sequence.shape[:2]
    merged = module(sequence.flatten(0, 1))
    if not isinstance(merged, Tensor) or merged.shape[:1] != (time * batch,):
        found = f"one of shape {tuple(merged.shape)}" if isinstance(merged, Tensor) else type(merged).__name__
        raise ShapeError(
            f"Module {type(module).__name__} must return a tensor of time · batch = {time * batch} rows in a chain, "
            f"but returned {found}; run it by itself, between two chains."
        )
    return merged.reshape(time, batch, *merged.shape[1:])


def _is_row_by_row(module: nn.Module) -> bool:
    if type(module) is nn.Sequential:
        return all(map(_is_row_by_row, module))
    return type(module) in ROW_BY_ROW


def run_weighted(
    neurons: BrandPetruccione,
    weighted: Tensor,
    state: BrandPetruccioneState | None = None,
    *,
    steps: int | None = None,
) -> tuple[Tensor, Tensor, BrandPetruccioneState]:
    """Run Brand and Petruccione neurons on two weighted inputs each, see `rotations`.

    Args:
        neurons: the layer.
        weighted: W_q x and W_t x one after the other, `(time, batch, 2 num_neurons)`.
        state: the state to start from; None starts at population 0.
        steps: with it, `weighted` is `(1, batch, 2 num_neurons)` and the same in each of this many steps.

    Returns:
        The populations and the spikes, each `(time, batch, num_neurons)`, and the state after the last step.

    Raises:
        ShapeError: for an input of another shape.
    """
    if weighted.shape[2:] != (2 * neurons.num_neurons,):
        raise ShapeError(
            f"What drives a BrandPetruccione of {neurons.num_neurons} neurons in a chain must have shape (time, batch, "
            f"{2 * neurons.num_neurons}), two weighted inputs each, but has shape {tuple(weighted.shape)}."
        )
    populations, spikes, after = neurons.run(*rotations(weighted), state, steps=steps)
    return returned(populations, weighted), returned(spikes, weighted), after


# What carries a state -------------------------------------------------------------------------------------------------------


def _as_it_is(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    return cast(tuple[Tensor, object], module(sequence, state))


def _run_rotated(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    _, spikes, after = run_weighted(cast(BrandPetruccione, module), sequence, cast(BrandPetruccioneState | None, state))
    return spikes, after


def _run_rotated_same(module: nn.Module, same: Tensor, steps: int, state: object) -> tuple[Tensor, object]:
    """The angles of one step serve all of them."""
    before = cast(BrandPetruccioneState | None, state)
    _, spikes, after = run_weighted(cast(BrandPetruccione, module), same.unsqueeze(0), before, steps=steps)
    return spikes, after


def _run_parts(module: nn.Module, sequence: Tensor, state: object) -> tuple[Tensor, object]:
    return Chain.of(cast(Sequence[nn.Module], _parts(module))).run(sequence, state)


def _parts(module: nn.Module) -> list[nn.Module] | None:
    """The modules that a container applies one after the other, if that is all it does."""
    norse = classes_of(module, "norse")
    if getattr(type(module), "forward", None) is nn.Sequential.forward or "SequentialState" in norse:
        return list(cast(nn.Sequential, module))
    return [cast(Any, module).lifted_module] if "Lift" in norse else None


def _is_container(module: nn.Module) -> bool:
    parts = _parts(module)
    return parts is not None and (bool(classes_of(module, "norse")) or any(_family(part) is not None for part in parts))


def _container_refusal(module: nn.Module) -> str | None:
    if getattr(module, "return_hidden", False):
        return "with return_hidden=True it returns what each of its modules does and no one output; leave that out"
    return None


_FAMILIES = (
    Family(
        "BrandPetruccione",
        lambda module: isinstance(module, BrandPetruccione),
        _run_rotated,
        run_same=_run_rotated_same,
    ),
    Family("TemporalModule", lambda module: isinstance(module, TemporalModule), _as_it_is),
    Family("a container", _is_container, _run_parts, _container_refusal, inside=False),
    *FOREIGN,
)


@uncompiled
def _family(module: nn.Module) -> Family | None:
    """The kind of a module that carries a state, or None; one that `torch.compile` wrapped is what it was."""
    kept = getattr(module, "_orig_mod", module)
    return next((family for family in _FAMILIES if family.holds(kept)), None)


@uncompiled
def check_chain(modules: Iterable[nn.Module]) -> None:
    """Refuse what cannot be run in a chain."""
    chain = list(modules)
    for module in chain[:-1]:
        if not _keeps_time(module):
            raise UnsupportedError(
                f"Argument `modules` must hold a {type(module).__name__} last, whose output has no time, but one follows it."
            )
    for module in chain:
        family = _family(module)
        if family is not None:
            if (reason := family.refusal(module)) is not None:
                raise UnsupportedError(f"Argument `modules` must not hold {_words(module)}: {reason}.")
            if family.run is _run_parts:
                check_chain(cast(Sequence[nn.Module], _parts(module)))
            continue
        for name, part in module.named_modules():
            found = _family(part) if name else None
            if found is not None and found.inside:
                raise UnsupportedError(
                    f"Argument `modules` must not hold {_words(module)}: its `{name}` is {_words(part)}, whose state the chain "
                    "cannot carry there; give the chain its parts in order, or run it by itself, between two chains."
                )


def _words(module: nn.Module) -> str:
    """The class of a module, with its library."""
    kind = type(module)
    return f"{kind.__name__} of {kind.__module__.partition('.')[0]}"
