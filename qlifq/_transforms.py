"""What torch may do with a call beyond running it: derivatives, vmap, compiling, tracing, inference.

Forward-mode derivatives and those of `torch.func` travel with a tensor whose `requires_grad` is False, the latter in a wrapper.
Both go through ordinary operations as they should; what is drawn must see plain numbers.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from qlifq.errors import UnsupportedError

__all__ = [
    "FLOATS",
    "backward_again",
    "cached",
    "constant",
    "is_batched",
    "refuse_tracing",
    "trainable",
    "transformed",
    "uncompiled",
]

#: The dtypes that a neuron and a circuit compute in.
FLOATS = (torch.float32, torch.float64)

P = ParamSpec("P")
R = TypeVar("R")


def transformed(*values: object) -> bool:
    """Whether derivatives are carried forward with one of the tensors among the values, or a transform of torch.func runs."""
    if torch._C._are_functorch_transforms_active():
        return True
    # Outside a level of forward-mode differentiation no tensor has a tangent.
    return forward_ad._current_level >= 0 and any(
        isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None  # type: ignore[no-untyped-call]
        for value in values
    )


def is_batched(value: Tensor) -> bool:
    """Whether `torch.vmap`, or `torch.autograd.grad` with `is_grads_batched`, has hidden a dimension of this tensor."""
    if torch._C._functorch.is_legacy_batchedtensor(value):
        return True
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        if torch._C._functorch.is_batchedtensor(value):
            return True
        value = torch._C._functorch.get_unwrapped(value)
    return False


def constant(value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function(value)` outside of all derivatives and of what torch does to take them: no derivative passes.

    Within `torch.func` the numbers are drawn once, whatever number of derivatives is taken at them.

    Args:
        value: the tensor.
        function: sees it as a plain tensor, and returns a new one.

    Raises:
        QLIFError: if `torch.vmap` has batched the value.
    """
    if not transformed(value):
        return function(value.detach())
    return cast(Tensor, _Constant.apply(value, function))  # type: ignore[no-untyped-call]


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """A function that `torch.compile` leaves as it is: it may call a package that no compiler understands."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Asked for only here, since it imports the compiler, which takes as long as torch itself.
        if torch.compiler.is_compiling():
            return cast(R, torch.compiler.disable(function)(*args, **kwargs))  # type: ignore[no-untyped-call]
        return function(*args, **kwargs)

    return call


def refuse_tracing() -> None:
    """Refuse `torch.jit.trace`, which records numbers as they were drawn."""
    if torch._C._is_tracing():
        raise UnsupportedError(
            "torch.jit.trace would record the spikes of one call and repeat them for ever: call the layer itself, or save "
            "its `state_dict`."
        )


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Where tensors are made that are kept for later calls, on the CPU unless a device is named.

    What is made in inference mode cannot take part in training afterwards, and what is made on the default device meta holds
    nothing.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        yield


def trainable(value: Tensor) -> Tensor:
    """The tensor itself, or a copy of one that was made in inference mode where a derivative may be needed."""
    return value.clone() if torch.is_grad_enabled() and value.is_inference() else value


def backward_again(
    operations: Callable[[], Sequence[Tensor]], inputs: Sequence[Tensor], grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradients of a custom operation by what it does in ordinary ones, differentiable where `create_graph` says so.

    For `backward` of an operation whose written-out derivative works in place: it has no derivative itself, and takes one
    gradient at a time.

    Args:
        operations: what is done with the inputs; returns the outputs.
        inputs: the inputs as they were saved.
        grads: of the outputs.

    Returns:
        For each input its gradient, None where the input needs none.
    """
    graph = torch.is_grad_enabled()
    needed = [value for value in inputs if value.requires_grad]
    with torch.enable_grad():
        pairs = [(output, grad) for output, grad in zip(operations(), grads, strict=True) if output.requires_grad]
        outputs, weights = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(outputs, needed, weights, create_graph=graph, materialize_grads=True))
    return tuple(next(found) if value.requires_grad else None for value in inputs)


class _Constant(torch.autograd.Function):
    @staticmethod
    def forward(value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(value)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[None, None]:
        return None, None

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, *tangents: Tensor) -> None:
        return None

    @staticmethod
    def vmap(*arguments: object) -> None:
        raise UnsupportedError(
            "What is drawn or compared must not be batched by torch.vmap: stack the samples along the dimension `batch`."
        )
