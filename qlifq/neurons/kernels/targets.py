"""Where kernels run: on CPUs as compiled C++, on NVIDIA and AMD GPUs as Triton."""

import ctypes
import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from qlifq.neurons.kernels import build, print_cpp, print_triton
from qlifq.neurons.kernels.program import Program, Shape, arrays
from qlifq.random.philox import Place

__all__ = ["Call", "Target", "target_of"]

#: Fewer steps of a neuron than this are not worth waking a thread for.
_STEPS_PER_THREAD = 16384


class Call(NamedTuple):
    """A sequence that is to be run.

    Args:
        program: the graphs of a step.
        shape: what the kernel was compiled for.
        steps: how many steps.
        place: where in the stream of random numbers it stands.
    """

    program: Program
    shape: Shape
    steps: int
    place: Place


class Target(Protocol):
    """One kind of processor.

    Attributes:
        interval: steps between two states that are kept for the backward pass.
    """

    interval: int

    def ready(self, program: Program, shape: Shape) -> bool:
        """Whether the kernels of a program can run here; builds them."""
        ...

    def invoke(self, function: str, call: Call, values: Mapping[str, Tensor], like: Tensor) -> None:
        """Run `forward` or `backward`.

        Args:
            function: which.
            call: what.
            values: the arrays by name, see `arrays`; those that are not needed may lack.
            like: `(batch, neurons)`, of the dtype of the states.
        """
        ...

    def summands(self, constants: Sequence[Tensor], call: Call, like: Tensor) -> Sequence[Tensor]:
        """For each constant an array in which `backward` leaves its gradient, in parts."""
        ...

    def summed(self, constants: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
        """The gradients of the constants, in their shapes, from what `backward` left."""
        ...


def target_of(device: torch.device) -> Target | None:
    """The target that serves a device, or None."""
    return {"cpu": _CPU, "cuda": _GPU}.get(device.type)


def _strides(call: Call, values: Mapping[str, Tensor]) -> list[int]:
    """Those of every input, and in time that of the gradient of every output; 0 where all steps are the same."""
    formula = call.program.formula
    of_inputs = [
        0 if place == 0 and name in call.shape.repeated else stride
        for name in formula.inputs
        for place, stride in enumerate(values[name].stride())
    ]
    grads = [values.get(f"grad_out_{name}") for name in formula.outputs]
    return [*of_inputs, *(0 if grad is None or len(grad) == 1 else grad.stride(0) for grad in grads)]


class _Arguments(ctypes.Structure):
    _fields_ = (
        ("arrays", ctypes.POINTER(ctypes.c_void_p)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.c_int64) for name in ("steps", "elements", "neurons", "interval", "threads")),
        *((name, ctypes.c_uint64) for name in ("key", "place", "position")),
    )


class _CPUTarget:
    interval = 20

    def ready(self, program: Program, shape: Shape) -> bool:
        return self._library(program, shape) is not None

    def invoke(self, function: str, call: Call, values: Mapping[str, Tensor], like: Tensor) -> None:
        names = arrays(call.program)
        pointers = (ctypes.c_void_p * len(names))(*(values[name].data_ptr() if name in values else None for name in names))
        strides = _strides(call, values)
        arguments = _Arguments(
            pointers,
            (ctypes.c_int64 * len(strides))(*strides),
            call.steps,
            like.numel(),
            like.shape[-1],
            self.interval,
            self._threads(call, like),
            call.place.key,
            call.place.first,
            call.place.position,
        )
        getattr(self._library(call.program, call.shape), function)(ctypes.byref(arguments))

    def summands(self, constants: Sequence[Tensor], call: Call, like: Tensor) -> Sequence[Tensor]:
        return [constant.new_zeros((self._threads(call, like), *constant.shape)) for constant in constants]

    def summed(self, constants: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
        return [part.sum_to_size(constant.shape) for constant, part in zip(constants, parts, strict=True)]

    @staticmethod
    def _threads(call: Call, like: Tensor) -> int:
        return max(1, min(torch.get_num_threads(), like.numel() * call.steps // _STEPS_PER_THREAD))

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def _library(program: Program, shape: Shape) -> ctypes.CDLL | None:
        return build.library(print_cpp.source(program, shape))


class _GPUTarget:
    interval = 4
    #: Neurons that one program of the grid serves.
    lanes = 128

    def ready(self, program: Program, shape: Shape) -> bool:
        return importlib.util.find_spec("triton") is not None and self._module(program, shape) is not None

    def invoke(self, function: str, call: Call, values: Mapping[str, Tensor], like: Tensor) -> None:
        module = self._module(call.program, call.shape)
        kernel: Callable[..., Any] = getattr(module, function)[(-(-like.numel() // self.lanes),)]
        # Lost values are counted by CPUs alone, in memory that a GPU cannot reach.
        given = [like if name == "lost" else values.get(name, like) for name in arrays(call.program)]
        strides = _strides(call, values)
        place = call.place
        numbers = (call.steps, like.numel(), like.shape[-1], self.interval, place.key, place.first, place.position)
        kernel(*given, *strides, *numbers, LANES=self.lanes)

    def summands(self, constants: Sequence[Tensor], call: Call, like: Tensor) -> Sequence[Tensor]:
        # Every lane writes the sum over its own steps.
        return like.new_empty((len(constants), *like.shape)).unbind()

    def summed(self, constants: Sequence[Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
        # All batches in one operation, since the device is called for each.
        base = parts[0]._base
        assert base is not None
        return [part.sum_to_size(constant.shape) for constant, part in zip(constants, base.sum(1), strict=True)]

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def _module(program: Program, shape: Shape) -> ModuleType | None:
        return build.module(print_triton.source(program, shape))


_CPU: Target = _CPUTarget()
_GPU: Target = _GPUTarget()
