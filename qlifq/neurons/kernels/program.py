"""What a kernel runs: the graphs of one step, and what surrounds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qlifq.neurons.kernels.graph import Graph, trace

__all__ = ["Derivative", "Formula", "Program", "Shape", "arrays", "derive"]

Values = Mapping[str, Tensor]


class Formula(NamedTuple):
    """A step of a neuron as an elementwise torch function, and the names of what it takes and gives.

    Args:
        step: from values by name (states, inputs, constants, and the draws `uniform` and `noise`, standard normal, where it
            uses them) to outputs by name and to every state under its own name. Where `drawn` is given, these are the spikes
            that were decided before, and it decides nothing.
        states: the names of the states.
        inputs: the names of what is given at every step.
        constants: the names of the constants.
        outputs: the names of what is kept of every step; the spikes first.
        binary: whether spikes are 0 or 1; they are then kept, and given again as `drawn` when the step is repeated.
        random: whether it uses `uniform`.
        noisy: whether it uses `noise`.
        checked: the name of a value that must be finite, on the CPU; None for none.
        once: why its derivative has none itself, a sentence; None where it has.
    """

    step: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    binary: bool
    random: bool
    noisy: bool
    checked: str | None = None
    once: str | None = None


class Derivative(NamedTuple):
    """The graphs of a backward pass.

    Args:
        replay: to the next states, from spikes that were drawn.
        backward: from the gradients of outputs and next states to those of `carried` states and of the program's `gradients`.
        carried: the states whose gradient is carried from a step to the one before, since one that is needed depends on it.
    """

    replay: Graph
    backward: Graph
    carried: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Program:
    """The graphs of a step.

    Args:
        formula: what they were traced from.
        states: the states that a step changes or reads, in the order of the formula.
        forward: to the outputs and the next states.
        derivative: the graphs of the backward pass; None where no gradient is needed.
        gradients: the inputs, constants and states before the first step whose gradient is computed.
    """

    formula: Formula
    states: tuple[str, ...]
    forward: Graph
    derivative: Derivative | None
    gradients: tuple[str, ...]

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """All of them."""
        back = () if self.derivative is None else (self.derivative.replay, self.derivative.backward)
        return (self.forward, *back)

    @property
    def first(self) -> tuple[str, ...]:
        """The states whose gradient before the first step is computed."""
        return tuple(name for name in self.states if name in self.gradients)


class Shape(NamedTuple):
    """What of a call is known when a kernel is compiled, beside its program.

    Args:
        dtype: "float" or "double".
        strided: those inputs whose elements do not lie one after the other.
        repeated: those inputs that are the same at every step.
        shared: those constants that are one number for all neurons.
    """

    dtype: str
    strided: tuple[str, ...]
    repeated: tuple[str, ...]
    shared: tuple[str, ...]


def arrays(program: Program) -> list[str]:
    """The arrays that a kernel is given, in their order."""
    formula = program.formula
    names = [
        *program.states,
        *(f"next_{name}" for name in program.states),
        *formula.inputs,
        *formula.constants,
        *(f"out_{name}" for name in formula.outputs),
        "kept",
        "lost",
    ]
    if program.derivative is not None:
        names += [f"grad_out_{name}" for name in formula.outputs]
        names += [f"grad_next_{name}" for name in program.derivative.carried]
        names += [f"grad_{name}" for name in program.gradients]
    return names


def derive(formula: Formula, gradients: Sequence[str] | None) -> Program:
    """Trace a step, and its vector-Jacobian product if gradients are needed.

    Args:
        formula: the step.
        gradients: the inputs, constants and states before the first step whose gradient is needed; None for no gradient at all.
    """
    draws = (*(("uniform",) if formula.random else ()), *(("noise",) if formula.noisy else ()))
    given = (*formula.states, *formula.inputs, *formula.constants)

    def forward(values: dict[str, Tensor]) -> dict[str, Tensor]:
        return _prefixed(formula, formula.step(values))

    traced = trace(forward, (*given, *draws))
    # A state of a mechanism that is off passes through unread, and takes no part.
    live = tuple(name for name in formula.states if traced.outputs[f"next_{name}"] != name or name in _read(traced, formula))
    checked = () if formula.checked is None else ("checked",)
    outputs = (*(f"out_{name}" for name in formula.outputs), *(f"next_{name}" for name in live), *checked)
    forward_graph = traced.only(outputs)
    if gradients is None:
        return Program(formula, live, forward_graph, None, ())
    # Spikes are kept and need no draw; the noise is drawn again, which costs less than to store it.
    again = tuple(name for name in draws if name != "uniform")
    drawn = ("drawn",) if formula.binary else ()
    replay = trace(forward, (*given, *again, *drawn)).only([f"next_{name}" for name in live])
    gradients = tuple(name for name in gradients if name not in formula.states or name in live)
    differentiated = dict.fromkeys((*live, *gradients))
    pull = _pullback(formula, forward, live, tuple(differentiated))
    backward = trace(pull, (*given, *again, *drawn, *_cotangents(formula, live)))
    carried = _carried(backward, live, gradients)
    backward = backward.only([f"grad_{name}" for name in dict.fromkeys((*carried, *gradients))])
    return Program(formula, live, forward_graph, Derivative(replay, backward, carried), gradients)


def _carried(backward: Graph, states: Sequence[str], gradients: Sequence[str]) -> tuple[str, ...]:
    """The states whose gradient, directly or over several steps, one of the gradients depends on."""
    # A gradient needs those of the states that its step reads, and these need others: until no state is added.
    carried: list[str] = []
    while True:
        graph = backward.only([f"grad_{name}" for name in dict.fromkeys((*carried, *gradients))])
        read = [name for name in states if f"grad_next_{name}" in graph.inputs or name in gradients]
        if read == carried:
            return tuple(read)
        carried = read


def _prefixed(formula: Formula, found: Values) -> dict[str, Tensor]:
    """Outputs by name, and states by `next_` and their name."""
    checked = {} if formula.checked is None else {"checked": found[formula.checked]}
    return (
        {f"out_{name}": found[name] for name in formula.outputs}
        | checked
        | {f"next_{name}": found[name] for name in formula.states}
    )


def _read(graph: Graph, formula: Formula) -> set[str]:
    """The inputs that an operation or an output reads; a state that merely stays is not read."""
    operands = {item for operation in graph.operations for item in operation.operands if isinstance(item, str)}
    return operands | {item for name, item in graph.outputs.items() if name.startswith("out_") and isinstance(item, str)}


def _cotangents(formula: Formula, live: Sequence[str]) -> tuple[str, ...]:
    return (*(f"grad_out_{name}" for name in formula.outputs), *(f"grad_next_{name}" for name in live))


def _pullback(
    formula: Formula,
    forward: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    live: Sequence[str],
    differentiated: Sequence[str],
) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """The vector-Jacobian product of a step as a function of named tensors."""

    def pull(values: dict[str, Tensor]) -> dict[str, Tensor]:
        cotangents = {name: values[name] for name in _cotangents(formula, live)}
        with torch.enable_grad():
            leaves = {name: values[name].detach().requires_grad_() for name in differentiated}
            found = forward({**values, **leaves})
            pairs = [(found[name.removeprefix("grad_")], cotangent) for name, cotangent in cotangents.items()]
            pairs = [pair for pair in pairs if pair[0].requires_grad]
        outputs, weights = zip(*pairs, strict=True)
        grads = torch.autograd.grad(outputs, list(leaves.values()), weights, allow_unused=True, materialize_grads=True)
        return {f"grad_{name}": grad for name, grad in zip(differentiated, grads, strict=True)}

    return pull
