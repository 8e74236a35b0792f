"""Running a layer while keeping what happens inside it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.description import describe_decisions
from qlifq.neurons.dynamics import state_class
from qlifq.neurons.inputs import FLOATING
from qlifq.neurons.precision import widened
from qlifq.neurons.qlif import QLIF
from qlifq.neurons.state import QLIFState
from qlifq.neurons.steps import Sequence, Step, gathered
from qlifq.neurons.trains.loop import LOOPS

__all__ = ["RECORDABLE", "Recording", "circuit_decisions", "recordable", "simulate", "spike_trace", "unrecordable"]

#: What can be recorded of any layer beside the spikes; "trace" is made of the spikes.
RECORDABLE = (*QLIFState._fields, "potential", "threshold", "gap", "angle", "probability", "trace")


@dataclass(frozen=True)
class Recording:
    """What a simulation kept.

    `recording["voltage"]` is a trace, `(time, batch, num_neurons)`, or `(time, batch, *shape)` of a layer with a shape;
    `recording.names` lists them.

    Args:
        spikes: `(time, batch, num_neurons)`.
        traces: the recorded variables by name. State variables stand as they are after the step; "potential", "threshold",
            "gap", "angle" and "probability" as they are at the decision, before any reset.
        state: the state after the last step, a `QLIFState`, or a `BrandPetruccioneState` of such a layer.
        evaluations: how many spike decisions a qubit made.
        decided_by: who decided them, as a phrase, see `describe_decisions`.
        shots: how often every row of the batch is there, shot after shot.
    """

    spikes: Tensor
    traces: Mapping[str, Tensor]
    state: Any
    evaluations: int
    decided_by: str
    shots: int = 1

    def __getitem__(self, name: str) -> Tensor:
        """A trace by name, or the spikes."""
        if name == "spikes":
            return self.spikes
        if name not in self.traces:
            raise ArgumentError(f"Trace `{name}` was not recorded: recorded are {', '.join(self.names)}.")
        return self.traces[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what was kept."""
        return ("spikes", *self.traces)

    @property
    def trains(self) -> Tensor:
        """The spikes by shot, `(shots, time, batch, num_neurons)`."""
        time, rows, *shape = self.spikes.shape
        return self.spikes.reshape(time, self.shots, rows // self.shots, *shape).movedim(1, 0)

    def __str__(self) -> str:
        time, batch, *shape = self.spikes.shape
        neurons = " × ".join(map(str, shape))
        rate = f"{float(self.spikes.detach().mean()):.4f}" if self.spikes.numel() else "none"
        return (
            f"steps {time} · batch {batch} · neurons {neurons} · {self.decided_by} · spikes per step {rate}"
            f" · evaluations {self.evaluations:,} · kept {', '.join(self.names)}"
        )


torch.serialization.add_safe_globals([Recording])


def simulate(
    layer: QLIF,
    current: Tensor,
    record: Iterable[str] = (),
    *,
    state: QLIFState | None = None,
    modulation: Tensor | None = None,
    trace_tau: float = 20.0,
    progress: Callable[[int, int], None] | None = None,
    mode: str | None = None,
    shots: int | None = None,
) -> Recording:
    """Run a layer and keep what `record` names; without `record` nothing is kept but the spikes.

    The exponential spike trace follows x ← x e^(−dt/trace_tau) + s.

    Args:
        layer: the layer.
        current: `(time, batch, num_neurons)`, as for `QLIF.forward`.
        record: names from `RECORDABLE`: every state variable, "potential", "threshold", "gap", "angle", "probability", "trace";
            of a layer with a mechanism of one's own its states too.
        state: as for `QLIF.forward`.
        modulation: as for `QLIF.forward`.
        trace_tau: time constant of the spike trace, in the unit of dt.
        progress: called as `progress(done, steps)` after every step.
        mode: where the closed loop runs, "host" or "circuit", as the layer's `loop`; None for that.
        shots: with mode "circuit", trains of each row of the batch; None for 1. They come from one call of the backend, and the
            recording has a batch of `shots` × batch rows, shot after shot; its `trains` are the spikes by shot.

    Returns:
        A `Recording`.

    Raises:
        ArgumentError: for an unknown name, a time constant that is not above 0, or an input that is not finite.
        UnsupportedError: for a name that this layer does not have, or a neuron or backend that runs no spike trains.
        ShapeError: for an input of another shape.
        DtypeError: for one that is no tensor, or has another dtype or device than the layer.
        BackendError: if the backend fails while it runs.

    Example:
        >>> recording = simulate(QLIF(2, seed=0), torch.full((40, 1, 2), 1.5), record=("voltage", "probability"))
        >>> recording["probability"].shape
        torch.Size([40, 1, 2])
    """
    names = _names(layer, record)
    check.tensor("current", current, dtypes=FLOATING)
    decay = math.exp(-layer.settings.dt / check.real("trace_tau", trace_tau, above=0.0))
    outputs = tuple(name for name in names if name != "trace")
    loop = layer.loop if mode is None else check.choice("mode", mode, LOOPS)
    copies = _shots(shots, loop)
    if copies > 1 and current.ndim > 1:
        current, state, modulation = _repeated(copies, current, state, modulation)
    before = None if state is None else state.refractory
    in_one = progress is None and loop == "host" and layer.why_stepwise() is None
    found = layer.sequence(current, state, modulation, outputs=outputs) if in_one else None
    if found is None:
        found = _stepwise(layer, current, state, modulation, outputs, progress, loop)
    kept = dict(found.outputs)
    spikes = kept.pop("spikes")
    if "trace" in names:
        kept["trace"] = spike_trace(spikes, decay)
    return Recording(
        spikes=spikes,
        traces={name: kept[name] for name in names},
        state=found.state,
        evaluations=circuit_decisions(layer, spikes, before),
        decided_by=describe_decisions(layer) if loop == "host" else f"{layer.backend.describe(copies)}, whole trains",
        shots=copies,
    )


def _shots(shots: int | None, loop: str) -> int:
    """How many trains of each row there are."""
    if loop == "circuit":
        return 1 if shots is None else check.integer("shots", shots, at_least=1)
    if shots is not None:
        raise UnsupportedError(f"Argument `shots` would be ignored: it needs mode='circuit', but is {shots!r}.")
    return 1


def _repeated(
    copies: int, current: Tensor, state: QLIFState | None, modulation: Tensor | None
) -> tuple[Tensor, QLIFState | None, Tensor | None]:
    """What a layer runs on, every row of the batch this often."""
    if state is not None:
        state = type(state)(*(value.repeat(copies, *[1] * (value.ndim - 1)) for value in state))
    if modulation is not None and modulation.ndim > 1 and modulation.shape[1] > 1:
        modulation = modulation.repeat(1, copies, *[1] * (modulation.ndim - 2))
    return current.repeat(1, copies, *[1] * (current.ndim - 2)), state, modulation


def _stepwise(
    layer: QLIF,
    current: Tensor,
    state: QLIFState | None,
    modulation: Tensor | None,
    outputs: tuple[str, ...],
    progress: Callable[[int, int], None] | None,
    loop: str,
) -> Sequence:
    """What `QLIF.sequence` keeps, step by step."""
    steps = layer.steps(current, state, modulation, loop=loop)
    start = layer.initial_state(current.shape[1]) if state is None else state
    return gathered(steps if progress is None else _counted(steps, len(current), progress), outputs, widened(current), start)


def _counted(steps: Iterable[Step], count: int, progress: Callable[[int, int], None]) -> Iterator[Step]:
    """The same steps; `progress` is called after each."""
    for done, step in enumerate(steps, start=1):
        yield step
        progress(done, count)


def spike_trace(spikes: Tensor, decay: float) -> Tensor:
    """The trace x ← decay · x + s over time, in the shape of the spikes."""
    values: list[Tensor] = []
    for now in spikes:
        values.append(values[-1] * decay + now if values else now)
    return torch.stack(values) if values else torch.zeros_like(spikes)


def circuit_decisions(layer: QLIF, spikes: Tensor, before: Tensor | None) -> int:
    """How many spike decisions qubits made in a sequence.

    Args:
        layer: the layer.
        spikes: what it gave, `(time, batch, ...)`.
        before: the refractory steps that were left at the start, or None.
    """
    return _decisions(layer, spikes, before) * (layer.settings.quantum_wire if layer.settings.quantum_mode else 0)


def _decisions(layer: QLIF, spikes: Tensor, before: Tensor | None) -> int:
    """How many decisions there were: one of every neuron at every step outside its refractory period."""
    period, steps = layer.settings.refractory_period, len(spikes)
    if not period:
        return spikes.numel()
    # A spike silences its neuron for the period, or for what is left of the sequence.
    silenced = torch.arange(steps - 1, -1, -1, device=spikes.device).clamp(max=period)
    after_spikes = int((spikes.detach().sum(dim=tuple(range(1, spikes.ndim))).to(torch.int64) * silenced).sum())
    at_first = 0 if before is None else int(before.detach().clamp(max=steps).to(torch.int64).sum())
    return spikes.numel() - after_spikes - at_first


def _names(layer: QLIF, record: object) -> list[str]:
    """What is to be recorded, each name once, or the reason why it cannot be."""
    if not isinstance(record, Iterable):
        raise DtypeError(f"Argument `record` must be names of what to keep, but is {record!r}.")
    names = list(dict.fromkeys([record] if isinstance(record, str) else record))
    for name in names:
        check.choice("record", name, recordable(layer))
        if (reason := unrecordable(layer, name)) is not None:
            raise UnsupportedError(f"Argument `record` must not hold {name!r} {reason}, which has none.")
    return names


def recordable(layer: QLIF) -> tuple[str, ...]:
    """`RECORDABLE`, and the states of the layer's own mechanisms."""
    return tuple(dict.fromkeys((*RECORDABLE, *state_class(layer.settings.mechanisms)._fields)))


def unrecordable(layer: QLIF, name: str) -> str | None:
    """In what kind of layer a recordable name cannot be recorded, if this is one."""
    if name == "angle" and not layer.settings.quantum_mode:
        return "without quantum_mode"
    if name == "probability" and not layer.settings.quantum_mode and not layer.settings.stochastic:
        return "for the classic deterministic decision"
    return None
