"""Elementwise torch functions as straight-line programs: traced as they run, simplified, free of torch.

Every operation is scalar: one instruction per element, whatever the shapes were. What a printer must know is `OPERATIONS`.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qlifq.errors import UnsupportedError

__all__ = ["OPERATIONS", "SIGNS", "Graph", "Operand", "Operation", "trace"]

#: What an operation takes: the name of an input or of an earlier operation, or a number.
Operand = str | float

#: Every operation, with the number of its operands. Comparisons and logic give a truth value, and `where` takes one; all the
#: others are of numbers.
OPERATIONS: Mapping[str, int] = {
    **dict.fromkeys(
        ("neg", "abs", "sign", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "asin", "atan", "erf", "number"), 1
    ),
    **dict.fromkeys(("add", "sub", "mul", "div", "min", "max", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"), 2),
    "not": 1,
    "lerp": 3,
    "where": 3,
}
#: Those operations that have a sign, the same in every language.
SIGNS: Mapping[str, str] = {
    **{"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|"},
    **{"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="},
}
_TRUTHS = {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}


class Operation(NamedTuple):
    """One instruction.

    Args:
        name: what its result is called.
        kind: a key of `OPERATIONS`.
        operands: what it takes.
    """

    name: str
    kind: str
    operands: tuple[Operand, ...]

    @property
    def is_truth(self) -> bool:
        """Whether its result is a truth value."""
        return self.kind in _TRUTHS


class Graph(NamedTuple):
    """A straight-line program.

    Args:
        inputs: the names of those inputs that it reads.
        operations: in the order in which they run.
        outputs: by name; a number, an input or the result of an operation.
    """

    inputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, Operand]

    def only(self, outputs: Iterable[str]) -> "Graph":
        """The program of some of its outputs, without what none of them needs."""
        chosen = {name: self.outputs[name] for name in outputs}
        needed = {item for item in chosen.values() if isinstance(item, str)}
        # An operation stands after its operands: backwards, all that read a result are known before it.
        for operation in reversed(self.operations):
            if operation.name in needed:
                needed |= {item for item in operation.operands if isinstance(item, str)}
        return Graph(
            inputs=tuple(name for name in self.inputs if name in needed),
            operations=tuple(operation for operation in self.operations if operation.name in needed),
            outputs=chosen,
        )


def trace(function: Callable[[dict[str, Tensor]], dict[str, Tensor]], inputs: Sequence[str]) -> Graph:
    """Trace an elementwise function of named tensors to a program.

    Args:
        function: from inputs by name to outputs by name, each of the same shape.
        inputs: the names.

    Raises:
        UnsupportedError: if it does something that is not elementwise, or that no printer knows.
    """
    # Distinct values within (0, 1): every function is defined there.
    examples = [torch.linspace(0.2, 0.8, 5, dtype=torch.float64) + 1e-3 * place for place in range(len(inputs))]
    recorder = _Recorder(dict(zip(inputs, examples, strict=True)))
    # Hooks of the caller's, such as those of `torch.utils.checkpoint`, have no part in what is saved here.
    with recorder, torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
        outputs = function(dict(zip(inputs, examples, strict=True)))
    return recorder.program(outputs)


#: Operations of torch that leave every element as it is.
_SAME = {
    *("alias", "detach", "clone", "view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "slice", "permute"),
    *("lift_fresh", "lift_fresh_copy", "_to_copy"),
}
#: Those of them, and others, that can leave some elements out.
_PARTS = {"slice", "select", "squeeze", "view", "permute"}
_ZEROS = {"zeros", "zeros_like", "new_zeros", "zero", "empty", "empty_like", "new_empty"}
_ONES = {"ones", "ones_like", "new_ones"}
#: Operations of torch that are one operation here.
_ONE_TO_ONE = {
    **{
        name: name
        for name in ("neg", "abs", "sign", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "asin", "atan", "erf")
    },
    **{name: name for name in ("lt", "le", "gt", "ge", "eq", "ne", "mul", "div", "lerp", "where")},
    **{"sgn": "sign", "minimum": "min", "maximum": "max"},
    **{f"{prefix}_{name}": name for prefix in ("logical", "bitwise") for name in ("and", "or", "not")},
}
_BINARY = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Turns the torch operations of a function into operations; what is constant is folded, and what is equal computed once.

    `torch.fx` would serve too, but its first trace imports the whole of torch's compiler, which takes seconds.
    """

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inputs = list(inputs)
        self.operations: dict[tuple[str, tuple[Operand, ...]], Operation] = {}
        self.by_name: dict[str, Operation] = {}
        # By identity: every known tensor is kept, so that no other takes its place in memory.
        self.known: dict[int, tuple[Tensor, Any]] = {id(value): (value, name) for name, value in inputs.items()}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch's compiler would be imported only to be skipped.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation on the examples, and keep what it is."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, tuple | list) and func.overloadpacket.__name__ == "unbind":
            # The angles of a circuit, stacked in a last dimension, come apart again.
            parts = self._operand(args[0])
            self.known |= {id(part): (part, operand) for part, operand in zip(result, parts, strict=True)}
        elif isinstance(result, Tensor):
            name = func.overloadpacket.__name__.removesuffix("_")
            if name == "lift_fresh":
                # A tensor that was made of a number just now.
                self.known[id(args[0])] = (args[0], float(args[0]))
            given = [[self._operand(each) for each in item] if isinstance(item, list) else self._operand(item) for item in args]
            if name in _PARTS and not isinstance(given[0], list) and args[0].numel() not in {1, result.numel()}:
                raise UnsupportedError(f"`{name}` takes some neurons apart from the others, which a kernel treats all the same")
            self.known[id(result)] = (result, self._value(name, given, kwargs or {}))
        return result

    def program(self, outputs: Mapping[str, Tensor]) -> Graph:
        """What was recorded, without what no output needs."""
        found = {name: self._number(self._operand(value)) for name, value in outputs.items()}
        return Graph(tuple(self.inputs), tuple(self.operations.values()), found).only(found)

    def _operand(self, item: Any) -> Any:
        """What stands for an argument: a recorded value, or a number."""
        if not isinstance(item, Tensor):
            return item
        if id(item) in self.known:
            return self.known[id(item)][1]
        # It may be trained, or change from call to call: what it is now must not be written into a kernel.
        raise UnsupportedError(f"a tensor of shape {tuple(item.shape)} is no state, input or constant of the layer")

    def _value(self, name: str, given: list[Any], options: Mapping[str, Any]) -> Any:
        """The operand that stands for the result of a torch operation."""
        at: Any = given[0] if given else None
        if name in _SAME:
            return at
        if name in _ZEROS:
            return 0.0
        if name in _ONES:
            return 1.0
        if name in {"full", "full_like", "new_full", "fill"}:
            return float(given[1] if name != "new_full" else given[2])
        if name == "scalar_tensor":
            return float(cast(float, at))
        if name == "select_backward" and given[1][-1] == 1:
            return at
        if name == "select_backward":
            return [at if place == given[3] else 0.0 for place in range(given[1][-1])]
        if name == "add" and isinstance(at, list):
            return [self.op("add", *pair) for pair in zip(at, given[1], strict=True)]
        if name == "stack":
            return list(at)
        if name == "select" and isinstance(at, list):
            return at[given[2]]
        if name == "select":
            return at
        if name in {"add", "sub"}:
            return self.op(name, at, self.op("mul", given[1], float(options.get("alpha", 1))))
        if name == "rsub":
            return self.op("sub", given[1], at)
        if name in {"reciprocal", "rsqrt"}:
            return self.op("div", 1.0, at if name == "reciprocal" else self.op("sqrt", at))
        if name == "addcmul":
            product = self.op("mul", self.op("mul", given[1], given[2]), float(options.get("value", 1)))
            return self.op("add", at, product)
        if name == "pow":
            return self._power(at, given[1])
        if name in {"clamp", "clamp_min", "clamp_max"}:
            return self._clamped(name, at, given[1:], options)
        if name == "sigmoid_backward":
            return self.op("mul", at, self.op("mul", given[1], self.op("sub", 1.0, given[1])))
        if name == "tanh_backward":
            return self.op("mul", at, self.op("sub", 1.0, self.op("mul", given[1], given[1])))
        if name == "masked_fill":
            return self.op("where", given[1], float(given[2]), at)
        if name in _ONE_TO_ONE:
            return self.op(_ONE_TO_ONE[name], *given[: OPERATIONS[_ONE_TO_ONE[name]]])
        raise UnsupportedError(f"no kernel has the torch operation `{name}`")

    def _power(self, base: Operand, exponent: float) -> Operand:
        if exponent in {1.0, 2.0, 3.0}:
            result = base
            for _ in range(int(exponent) - 1):
                result = self.op("mul", result, base)
            return result
        if exponent == 0.5:
            return self.op("sqrt", base)
        if exponent == 0.0:
            return 1.0
        if -3.0 <= exponent < 0.0:
            return self.op("div", 1.0, self._power(base, -exponent))
        raise UnsupportedError(f"no kernel has a power of {exponent}")

    def _clamped(self, name: str, value: Operand, bounds: Sequence[Any], options: Mapping[str, Any]) -> Operand:
        low, high = {
            "clamp": (*bounds, None, None)[:2],
            "clamp_min": (*bounds, None)[:2],
            "clamp_max": (None, *bounds, None)[:2],
        }[name]
        low, high = options.get("min", low), options.get("max", high)
        if low is not None:
            value = self.op("max", value, low if isinstance(low, str) else float(low))
        if high is not None:
            value = self.op("min", value, high if isinstance(high, str) else float(high))
        return value

    def op(self, kind: str, *operands: Operand) -> Operand:
        """An operation's result, simplified where it can be."""
        # A truth value counts as 0 or 1 where a number is needed.
        takes_truth = {"and": (0, 1), "or": (0, 1), "not": (0,), "where": (0,), "number": (0,)}.get(kind, ())
        operands = tuple(
            self._number(item) if place not in takes_truth else self._truth(item) for place, item in enumerate(operands)
        )
        known = _folded(kind, operands)
        if known is None and kind == "mul":
            known = self._double_angle(*operands)
        if known is not None:
            return known
        key = (kind, operands)
        if key not in self.operations:
            self.operations[key] = Operation(f"v{len(self.operations)}", kind, operands)
            self.by_name[self.operations[key].name] = self.operations[key]
        return self.operations[key].name

    def _double_angle(self, product: Operand, cosine: Operand) -> Operand | None:
        """G · 2 sin x · cos x, as autograd differentiates sin² x, as g · sin 2x: one function in place of two."""
        turned = self._made("cos", cosine)
        factors = self._made("mul", product)
        doubled = self._made("mul", factors.operands[1]) if factors else None
        if not (turned and factors and doubled) or doubled.operands[1] != 2.0:
            return None
        sine = self._made("sin", doubled.operands[0])
        if sine is None or sine.operands != turned.operands:
            return None
        (x,) = turned.operands
        half = self._made("div", x)
        whole = half.operands[0] if half and half.operands[1] == 2.0 else self.op("mul", x, 2.0)
        return self.op("mul", factors.operands[0], self.op("sin", whole))

    def _made(self, kind: str, item: Operand) -> Operation | None:
        """The operation that an operand is the result of, where it is of this kind."""
        operation = self.by_name.get(item) if isinstance(item, str) else None
        return operation if operation and operation.kind == kind else None

    def _is_truth(self, item: Operand) -> bool:
        return isinstance(item, str) and item in self.by_name and self.by_name[item].is_truth

    def _number(self, item: Operand) -> Operand:
        if isinstance(item, bool | int):
            return float(item)
        return self.op("number", item) if self._is_truth(item) else item

    def _truth(self, item: Operand) -> Operand:
        if isinstance(item, str) and not self._is_truth(item):
            return self.op("ne", item, 0.0)
        return item


def _folded(kind: str, operands: tuple[Operand, ...]) -> Operand | None:
    """The result where it does not take an operation: of numbers, and of neutral elements."""
    first, *others = operands
    if kind == "number" and isinstance(first, float):
        return first
    if all(isinstance(item, float) for item in operands) and kind in _BINARY:
        return float(_BINARY[kind](*operands))
    if kind == "neg" and isinstance(first, float):
        return -first
    if kind == "sub" and first == others[0]:
        # A value less itself, the straight-through p − p.detach(), is 0.
        return 0.0
    if (kind in {"add", "sub"} and others[0] == 0.0) or (kind in {"mul", "div"} and others[0] == 1.0):
        return first
    if (kind == "add" and first == 0.0) or (kind == "mul" and first == 1.0):
        return others[0]
    if kind == "mul" and 0.0 in operands:
        return 0.0
    if kind == "div" and first == 0.0:
        return 0.0
    if (kind == "min" and math.inf in operands) or (kind == "max" and -math.inf in operands):
        return next(item for item in operands if not isinstance(item, float))
    return None
