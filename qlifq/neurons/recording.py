"""Running a layer while keeping what happens inside it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.description import describe_decisions
from qlifq.neurons.inputs import FLOATING
from qlifq.neurons.qlif import QLIF, Step
from qlifq.neurons.state import QLIFState

__all__ = ["RECORDABLE", "Recording", "simulate"]


def _of_state(name: str) -> Callable[[Step], Tensor]:
    return lambda step: cast(Tensor, getattr(step.state, name))


#: What can be recorded beside the spikes, and where a step keeps it; "trace" is made of the spikes.
_SOURCES: Mapping[str, Callable[[Step], Tensor]] = {
    **{name: _of_state(name) for name in QLIFState._fields},
    "potential": lambda step: step.potential,
    "threshold": lambda step: step.potential - step.gap,
    "gap": lambda step: step.gap,
    "angle": lambda step: cast(Tensor, step.decided.angle),
    "probability": lambda step: cast(Tensor, step.decided.probability),
}
RECORDABLE = (*_SOURCES, "trace")
#: What `QLIF.traces` tells.
_OF_TRACES = {"voltage", "potential", "threshold", "gap", "angle", "probability"}


@dataclass(frozen=True)
class Recording:
    """What a simulation kept.

    `recording["voltage"]` is a trace, `(time, batch, num_neurons)`; `recording.names` lists them.

    Args:
        spikes: `(time, batch, num_neurons)`.
        traces: the recorded variables by name. State variables stand as they are after the step; "potential", "threshold",
            "gap", "angle" and "probability" as they are at the decision, before any reset.
        state: the state after the last step.
        evaluations: how many spike decisions were asked of a qubit.
        decided_by: who answered them, in words, see `describe_decisions`.
    """

    spikes: Tensor
    traces: Mapping[str, Tensor]
    state: QLIFState
    evaluations: int
    decided_by: str

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

    def __str__(self) -> str:
        time, batch, neurons = self.spikes.shape
        rate = f"{float(self.spikes.detach().mean()):.4f}" if self.spikes.numel() else "none"
        return (
            f"steps {time} · batch {batch} · neurons {neurons} · {self.decided_by} · spikes a step {rate}"
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
) -> Recording:
    """Run a layer and keep what is asked for; without `record` nothing is kept but the spikes.

    The exponential spike trace follows x ← x e^(−dt/trace_tau) + s.

    Args:
        layer: the layer.
        current: `(time, batch, num_neurons)`, as for `QLIF.forward`.
        record: names from `RECORDABLE`: every state variable, "potential", "threshold", "gap", "angle", "probability", "trace".
        state: as for `QLIF.forward`.
        modulation: as for `QLIF.forward`.
        trace_tau: time constant of the spike trace, in the unit of dt.
        progress: called as `progress(done, steps)` after every step.

    Returns:
        A `Recording`.

    Raises:
        QLIFError: for an unknown name, one this layer does not have, or an input that cannot be used.

    Example:
        >>> recording = simulate(QLIF(2, seed=0), torch.full((40, 1, 2), 1.5), record=("voltage", "probability"))
        >>> recording["probability"].shape
        torch.Size([40, 1, 2])
    """
    names = _names(layer, record)
    check.tensor("current", current, dtypes=FLOATING)
    kept = math.exp(-layer.settings.dt / check.real("trace_tau", trace_tau, above=0.0))
    if progress is None and _OF_TRACES.issuperset(names) and (found := layer.traces(current, state, modulation)) is not None:
        whole, state = found
        return Recording(
            whole.spikes, {name: getattr(whole, name) for name in names}, state, current.numel(), describe_decisions(layer)
        )
    spikes: list[Tensor] = []
    traces: dict[str, list[Tensor]] = {name: [] for name in names}
    asked = torch.zeros((), dtype=torch.int64, device=current.device)
    trace: Tensor | None = None
    for step in layer.steps(current, state, modulation):
        state = step.state
        spikes.append(step.decided.spikes)
        if "trace" in traces:
            trace = step.decided.spikes if trace is None else trace * kept + step.decided.spikes
            traces["trace"].append(trace)
        for name in names:
            if name != "trace":
                traces[name].append(_SOURCES[name](step))
        if step.active is not None:
            asked += step.active.sum()
        if progress is not None:
            progress(len(spikes), len(current))
    wires = layer.settings.quantum_wire if layer.settings.quantum_mode else 0
    total = int(asked) if layer.settings.refractory_period else current.numel()
    return Recording(
        spikes=_stacked(spikes, current),
        traces={name: _stacked(values, current) for name, values in traces.items()},
        state=layer.initial_state(current.shape[1]) if state is None else state,
        evaluations=total * wires,
        decided_by=describe_decisions(layer),
    )


def _names(layer: QLIF, record: object) -> list[str]:
    """What is to be recorded, each name once, or the reason why it cannot be."""
    if not isinstance(record, Iterable):
        raise DtypeError(f"Argument `record` must be names of what to keep, but is {record!r}.")
    settings = layer.settings
    names = list(dict.fromkeys([record] if isinstance(record, str) else record))
    for name in names:
        check.choice("record", name, RECORDABLE)
        if name == "angle" and not settings.quantum_mode:
            raise UnsupportedError("Argument `record` must not hold 'angle' without quantum_mode, which has none.")
        if name == "probability" and not settings.quantum_mode and not settings.stochastic:
            raise UnsupportedError(
                "Argument `record` must not hold 'probability' for the classic deterministic decision, which has none."
            )
    return names


def _stacked(values: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(values) if values else torch.zeros_like(like)
