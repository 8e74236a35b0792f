"""Runs a sequence through a kernel, as one operation for autograd."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qlifq._transforms import backward_again, cached, is_batched
from qlifq.errors import UnsupportedError
from qlifq.neurons.kernels import build
from qlifq.neurons.kernels.program import Formula, Program, Shape, derive
from qlifq.neurons.kernels.targets import Call, Target, target_of
from qlifq.random.philox import Draws, Place

__all__ = ["Prepared", "Result", "prepare"]

_DTYPES = {torch.float32: "float", torch.float64: "double"}


class _Job(NamedTuple):
    call: Call
    target: Target
    lost: Tensor


class Result(NamedTuple):
    """What a sequence gave.

    Args:
        outputs: what is kept of every step by name, `(steps, batch, neurons)` each.
        states: the states after the last step by name, `(batch, neurons)` each.
        lost: how many neurons had a checked value that was infinite or no number; always 0 on an accelerator, which does not
            check.
    """

    outputs: dict[str, Tensor]
    states: dict[str, Tensor]
    lost: int


class Prepared(NamedTuple):
    """A sequence whose kernel is ready.

    Args:
        program: the graphs of a step.
        shape: what the kernel was compiled for.
        target: where it runs.
        steps: how many steps.
        states: every state before the first step, by name.
        tensors: what the kernel is given: the states that change or are read, the inputs, the constants.
    """

    program: Program
    shape: Shape
    target: Target
    steps: int
    states: Mapping[str, Tensor]
    tensors: tuple[Tensor, ...]

    def run(self, place: Place) -> Result:
        """Run it.

        Args:
            place: where in the stream of random numbers the sequence stands.
        """
        formula = self.program.formula
        lost = torch.zeros(1, dtype=self.tensors[0].dtype, device="cpu")
        job = _Job(Call(self.program, self.shape, self.steps, place), self.target, lost)
        found = _Sequence.apply(job, *self.tensors)  # type: ignore[no-untyped-call]
        outputs = dict(zip(formula.outputs, found, strict=False))
        after = {**self.states, **dict(zip(self.program.states, found[len(formula.outputs) :], strict=True))}
        # Read as an array of the host, which waits for no device.
        return Result(outputs, after, int(lost.numpy()[0]))


def prepare(
    formula: Formula, states: Mapping[str, Tensor], inputs: Mapping[str, Tensor], constants: Mapping[str, Tensor], steps: int
) -> Prepared | None:
    """Make the kernel of a sequence ready.

    Args:
        formula: the step.
        states: before the first step, `(batch, neurons)` each, float32 or float64.
        inputs: of every step, each broadcastable with `(steps, batch, neurons)`.
        constants: `()` or `(neurons,)` each.
        steps: at least 1.

    Returns:
        None where there is no kernel for the device, or none can be built; with a warning, once for each reason, where the
        formula does what no kernel can do, or the compiler is missing or fails.
    """
    like = next(iter(states.values()))
    target = target_of(like.device)
    if target is None or like.dtype not in _DTYPES:
        return None
    batch, neurons = like.shape
    given = {**inputs, **constants}
    graph = torch.is_grad_enabled() and any(value.requires_grad for value in (*given.values(), *states.values()))
    gradients = tuple(name for name, value in {**states, **given}.items() if value.requires_grad) if graph else None
    program = _program(formula, gradients)
    if program is None:
        return None
    laid = {name: _laid_out(value, batch, neurons, name in (gradients or ())) for name, value in inputs.items()}
    shape = Shape(
        dtype=_DTYPES[like.dtype],
        strided=tuple(name for name, value in laid.items() if not value[0].is_contiguous()),
        repeated=tuple(name for name, value in laid.items() if len(value) < steps),
        shared=tuple(name for name, value in constants.items() if value.ndim == 0),
    )
    if not target.ready(program, shape):
        return None
    # States that nothing has changed yet are one tensor under several names, and are written out once.
    dense = {key: value.contiguous() for key, value in {id(states[name]): states[name] for name in program.states}.items()}
    tensors = (
        *(dense[id(states[name])] for name in program.states),
        *(laid[name] for name in formula.inputs),
        *(constants[name].contiguous() for name in formula.constants),
    )
    return Prepared(program, shape, target, steps, states, tensors)


@functools.lru_cache(maxsize=1024)
def _program(formula: Formula, gradients: tuple[str, ...] | None) -> Program | None:
    """The graphs of a step; None, with one warning, where it is more than elementwise arithmetic."""
    try:
        with cached():
            return derive(formula, gradients)
    except Exception as error:
        # A row that a user registered may do anything with its tensors: what is truly wrong with it shows in the step loop.
        build.warn_once(str(error))
        return None


def _laid_out(value: Tensor, batch: int, neurons: int, differentiated: bool) -> Tensor:
    """An input as a kernel reads it: one step where all are the same, and in rows where its gradient is written.

    Of an input that was given for every step the gradient is that of every step, even where all lie in the same memory; where
    nobody keeps it, the gradient of what it was expanded from takes its place, in the memory of one step.
    """
    if value.stride(0) == 0:
        once = value._base
        if not differentiated:
            value = value[:1]
        elif once is not None and once.shape == value.shape[1:] and type(value.grad_fn).__name__ == "ExpandBackward0":
            value = value if value.retains_grad else once.unsqueeze(0)
    value = value.expand(-1, batch, neurons)
    return value.contiguous() if differentiated else value


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: _Job, *tensors: Tensor) -> tuple[Tensor, ...]:
        # The zeros for what has no gradient are made once for all in `backward`.
        ctx.set_materialize_grads(False)
        program, formula, steps = job.call.program, job.call.program.formula, job.call.steps
        count, like = len(program.states), tensors[0]
        values = dict(zip((*program.states, *formula.inputs, *formula.constants), tensors, strict=True))
        outputs = {f"out_{name}": like.new_empty((steps, *like.shape)) for name in formula.outputs}
        after = {f"next_{name}": torch.empty_like(like) for name in program.states}
        kept = {}
        if program.derivative is not None:
            kept["kept"] = like.new_empty(((steps - 1) // job.target.interval, count, *like.shape))
        job.target.invoke("forward", job.call, {**values, **outputs, **after, **kept, "lost": job.lost}, like)
        if program.derivative is not None:
            ctx.job = job
            ctx.save_for_backward(*tensors, kept["kept"], outputs["out_spikes"])
        return (*outputs.values(), *after.values())

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        job: _Job = ctx.job
        program, formula = job.call.program, job.call.program.formula
        *tensors, kept, spikes = ctx.saved_tensors
        like = tensors[0]
        none = torch.zeros_like(like)
        rows = spikes.shape
        grads = [
            (none.expand(rows) if place < len(formula.outputs) else none) if grad is None else grad
            for place, grad in enumerate(given)
        ]
        if torch.is_grad_enabled() or any(map(is_batched, grads)):
            if formula.once is not None:
                raise UnsupportedError(formula.once)
            return (None, *backward_again(lambda: _in_torch(job.call, tensors, spikes), tensors, grads))
        names = (*program.states, *formula.inputs, *formula.constants)
        values = dict(zip(names, tensors, strict=True)) | {"kept": kept, "out_spikes": spikes}
        # That of a sum over time is the same at every step, and need not be written out for each.
        of_outputs = [grad[:1] if grad.stride(0) == 0 else grad for grad in grads[: len(formula.outputs)]]
        places = (*(f"grad_out_{name}" for name in formula.outputs), *(f"grad_next_{name}" for name in program.states))
        pairs = zip(places, (*of_outputs, *grads[len(formula.outputs) :]), strict=True)
        values |= {name: grad.contiguous() for name, grad in pairs}
        constants = {name: values[name] for name in formula.constants if name in program.gradients}
        parts = job.target.summands(list(constants.values()), job.call, like) if constants else []
        found = {name: torch.empty_like(values[name]) for name in program.gradients if name not in constants}
        values |= {f"grad_{name}": value for name, value in [*found.items(), *zip(constants, parts, strict=True)]}
        job.target.invoke("backward", job.call, values, like)
        if constants:
            found.update(zip(constants, job.target.summed(list(constants.values()), parts), strict=True))
        return (None, *(found.get(name) for name in names))


def _in_torch(call: Call, tensors: Sequence[Tensor], spikes: Tensor) -> list[Tensor]:
    """What the kernel returned, by the formula in operations that autograd records; spikes stay as they were decided."""
    program, formula, place = call.program, call.program.formula, call.place._replace(draws=Draws())
    names = (*program.states, *formula.inputs, *formula.constants)
    values = dict(zip(names, tensors, strict=True))
    like = tensors[0]
    # A state that takes no part has no value here.
    values |= {name: torch.zeros_like(like) for name in formula.states if name not in program.states}
    kept: list[dict[str, Tensor]] = []
    for step in range(call.steps):
        now = {name: values[name][0 if name in call.shape.repeated else step].expand_as(like) for name in formula.inputs}
        if formula.binary:
            now["drawn"] = spikes[step].detach()
        if formula.noisy:
            now["noise"] = place._replace(position=place.position + step).normal(like.detach())
        kept.append(formula.step({**values, **now}))
        values |= {name: kept[-1][name] for name in formula.states}
    return [
        *(torch.stack([found[name] for found in kept]) for name in formula.outputs),
        *(values[name] for name in program.states),
    ]
