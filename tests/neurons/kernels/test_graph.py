"""What a trace makes of torch operations: the same numbers, or a refusal."""

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from qlifq.errors import UnsupportedError
from qlifq.neurons.kernels import Formula
from qlifq.neurons.kernels.graph import Graph, Operand, trace
from qlifq.neurons.kernels.program import derive

MEANING: Mapping[str, Callable[..., float]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: math.copysign(1, x) if x else 0.0,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "asin": math.asin,
    "atan": math.atan,
    "erf": math.erf,
    "number": float,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "min": min,
    "max": max,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
    "not": lambda x: not x,
    "lerp": lambda x, y, w: x + w * (y - x),
    "where": lambda c, x, y: x if c else y,
}


def interpreted(graph: Graph, values: Mapping[str, float]) -> dict[str, float]:
    """The outputs of a program for one element, by Python's own arithmetic."""
    known: dict[str, float] = dict(values)

    def read(item: Operand) -> float:
        return known[item] if isinstance(item, str) else item

    for operation in graph.operations:
        known[operation.name] = MEANING[operation.kind](*map(read, operation.operands))
    return {name: float(read(item)) for name, item in graph.outputs.items()}


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arithmetic": lambda x, y: 2 * x - y / 3 + (1 - x) * y - 0.5,
    "alpha": lambda x, y: torch.add(x, y, alpha=0.3) - torch.sub(x, y, alpha=2) + torch.rsub(x, y),
    "reciprocal": lambda x, y: 1 / x + y.reciprocal(),
    "powers": lambda x, y: x**2 + y**3 + x**0.5 + y**1 + x**0 + x.square() + y.sqrt(),
    "functions": lambda x, y: (
        x.exp() + y.log() + x.sin() * y.cos() + x.tanh() + y.sigmoid() + x.asin() + y.atan() + (x - y).erf()
    ),
    "probabilities": lambda x, y: (x / 2).sin().square() + (x * y).sin() ** 2 * y + x.sin().square() * y.cos(),
    "bounds": lambda x, y: x.clamp(0.3, 0.6) + y.clamp(max=0.5) + y.clamp(min=0.4) + torch.minimum(x, y) + torch.maximum(x, y),
    "bounds by tensors": lambda x, y: (x + y).clamp(x, 2 * x) + (x * y).clamp_min(0.2) + (x * y).clamp_max(0.3),
    "choices": lambda x, y: torch.where((x < y) & ~(x > 0.5) | (y >= 0.7), x, 0.25) + (x <= y) * y + (x != y).to(x.dtype),
    "signs": lambda x, y: (x - 0.5).sign() * (y - 0.4).abs() - (-x),
    "between": lambda x, y: torch.lerp(x, y, 0.3) + torch.lerp(x, y, x),
    "product": lambda x, y: (
        torch.addcmul(x, x, y, value=0.5) + torch.full_like(x, 0.2) + torch.zeros_like(y) + torch.ones_like(x)
    ),
    "in place": lambda x, y: x.clone().mul_(2).add_(y).clamp_(max=1.2),
    "stacked": lambda x, y: torch.stack((x, y), dim=-1).unbind(-1)[1] + torch.stack((x, y), dim=-1)[..., 0],
    "shapes": lambda x, y: x.unsqueeze(-1).squeeze(-1) + y.view(-1) + torch.tensor(0.3, dtype=x.dtype).expand_as(x),
    "a constant": lambda x, y: torch.ones_like(x) * 0.5,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_traced_function_gives_the_same_numbers(name: str) -> None:
    function = FUNCTIONS[name]
    graph = trace(lambda values: {"out": function(values["x"], values["y"])}, ("x", "y"))
    # Other values than those that were traced with, on either side of every bound.
    for x, y in ((0.1, 0.9), (0.9, 0.1), (0.55, 0.45), (0.4, 0.4)):
        expected = function(torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64))
        assert interpreted(graph, {"x": x, "y": y})["out"] == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in {"in place", "a constant"}])
def test_a_traced_gradient_gives_the_same_numbers(name: str) -> None:
    function = FUNCTIONS[name]

    def gradient(values: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.enable_grad():
            leaves = [values[name].detach().requires_grad_() for name in ("x", "y")]
            found = torch.autograd.grad(function(*leaves), leaves, values["g"], materialize_grads=True, allow_unused=True)
        return dict(zip(("x", "y"), found, strict=True))

    graph = trace(gradient, ("x", "y", "g"))
    for x, y in ((0.11, 0.9), (0.9, 0.11), (0.55, 0.45)):
        values = {"x": x, "y": y, "g": 1.7}
        expected = gradient({key: torch.tensor([value], dtype=torch.float64) for key, value in values.items()})
        found = interpreted(graph, values)
        for key, value in expected.items():
            assert found[key] == pytest.approx(float(value), rel=1e-12), key


def test_what_is_constant_is_folded_and_what_is_equal_computed_once() -> None:
    graph = trace(lambda v: {"out": (v["x"] * 1 + 0) * v["y"] + (v["x"] * v["y"]) * (2 * 3.0)}, ("x", "y", "z"))
    assert [operation.kind for operation in graph.operations] == ["mul", "mul", "add"]
    assert graph.inputs == ("x", "y")
    straight = trace(lambda v: {"out": v["x"] + (v["y"] - v["y"].detach())}, ("x", "y"))
    assert straight.operations == ()
    assert straight.outputs == {"out": "x"}


FIVE, NUMBER = torch.ones(5, dtype=torch.float64), torch.tensor(2.0)
REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "no kernel has the torch operation `cumsum`": lambda x: x.cumsum(0),
    "no kernel has the torch operation `mean`": lambda x: x - x.mean(),
    "no kernel has a power of 1.7": lambda x: x**1.7,
    "`slice` takes some neurons apart": lambda x: x - x[:1],
    "`select` takes some neurons apart": lambda x: x - x[0],
    r"a tensor of shape \(5,\) is no state, input or constant": lambda x: x * FIVE,
    r"a tensor of shape \(\) is no state, input or constant": lambda x: x * NUMBER,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_elementwise_arithmetic_is_refused(message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        trace(lambda values: {"out": REFUSED[message](values["x"])}, ("x",))


def test_the_gradient_of_a_state_is_carried_where_one_that_is_needed_depends_on_it() -> None:
    """The input reaches the output over four states, one step each; what counts the steps depends on nothing."""
    chain = Formula(
        step=lambda v: {
            "spikes": v["a"],
            "a": v["a"] * v["b"],
            "b": v["b"] + v["c"],
            "c": 2 * v["d"],
            "d": v["x"] - v["d"],
            "count": v["count"] + 1,
        },
        states=("a", "b", "c", "d", "count"),
        inputs=("x",),
        constants=(),
        outputs=("spikes",),
        binary=False,
        random=False,
        noisy=False,
    )
    carried = {needed: derive(chain, (needed,)).derivative for needed in ("x", "c", "a", "count")}
    assert {needed: found.carried for needed, found in carried.items() if found} == {
        "x": ("a", "b", "c", "d"),
        "c": ("a", "b", "c"),
        "a": ("a",),
        "count": ("count",),
    }
