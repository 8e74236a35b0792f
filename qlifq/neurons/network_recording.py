"""Recording what happens inside the layers of a network while it runs."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.brand_petruccione import BrandPetruccione, BrandPetruccioneState
from qlifq.neurons.description import describe_decisions
from qlifq.neurons.qlif import QLIF
from qlifq.neurons.recorder import Recorder
from qlifq.neurons.recording import RECORDABLE, Recording, circuit_decisions, recordable, spike_trace, unrecordable
from qlifq.neurons.state import QLIFState
from qlifq.neurons.thresholds import comparable

__all__ = ["Recordings", "record"]

Layer = QLIF | BrandPetruccione
#: What a Brand-Petruccione neuron has beside its spikes; "probability" is its population, which is what a circuit measures.
_ROTATED = ("population", "probability", "trace")


class Recordings(Mapping[str, Recording]):
    """The recordings of the layers of a network that have run, by their qualified names.

    A layer that stands for itself has the name "". Each recording is of the last sequence that its layer ran: what goes on from
    the state that the call before returned, as in steps or in chunks, is one sequence.

    Args:
        layers: the recorded layers by name.
        names: what is kept beside the spikes.
        trace_tau: time constant of the spike trace.
    """

    def __init__(self, layers: Mapping[str, Layer], names: tuple[str, ...], trace_tau: float) -> None:
        self._layers, self._names, self._trace_tau = layers, names, trace_tau
        self._recorders = {
            name: Recorder(
                tuple(each for each in names if _has(layer, each) and each != "trace") if isinstance(layer, QLIF) else ()
            )
            for name, layer in layers.items()
        }

    def __getitem__(self, name: str) -> Recording:
        if name not in self._layers:
            raise check.unknown("layer", name, list(self._layers))
        layer, recorder = self._layers[name], self._recorders[name]
        if not recorder.has_run:
            raise ArgumentError(f"Layer `{name}` was not recorded: it has not run yet.")
        kept = recorder.kept()
        spikes = kept["spikes"]
        if "trace" in self._names:
            kept["trace"] = spike_trace(spikes, math.exp(-_dt(layer) / self._trace_tau))
        return Recording(
            spikes=spikes,
            traces={each: kept[each] for each in self._names if each in kept},
            state=recorder.after,
            evaluations=_evaluations(layer, spikes, kept, recorder.before),
            decided_by=describe_decisions(layer),
        )

    def __iter__(self) -> Iterator[str]:
        return (name for name, recorder in self._recorders.items() if recorder.has_run)

    def __len__(self) -> int:
        return sum(recorder.has_run for recorder in self._recorders.values())

    def __contains__(self, name: object) -> bool:
        return name in self._recorders and self._recorders[str(name)].has_run

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the layers are recorded."""
        for name, layer in self._layers.items():
            layer.recorder = self._recorders[name]
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.recorder = None


@contextmanager
def record(
    network: nn.Module, *names: str, layers: Collection[str] | None = None, trace_tau: float = 20.0
) -> Iterator[Recordings]:
    """Record layers of neurons while their network runs, in whatever modules they stand; nothing runs twice.

    The spikes that are recorded are those that the network passes on, and what is recorded carries its gradients.

    Args:
        network: any module with `QLIF` or `BrandPetruccione` layers in it, or such a layer.
        *names: what to keep beside the spikes: `RECORDABLE` names for `QLIF`; "population", "probability" and "trace" for
            `BrandPetruccione`. A layer without one of them goes without.
        layers: the qualified names of the layers to record, as `network.named_modules()` gives them; None for all.
        trace_tau: time constant of the spike trace, in the unit of dt.

    Yields:
        The recordings by the names of their layers, filled while the network runs and complete afterwards.

    Raises:
        ArgumentError: for an unknown name or layer, or a network without any.
        UnsupportedError: for a name that none of the layers has, or a layer that is being recorded already.
        DtypeError: if `network` is no module.

    Example:
        >>> import torch
        >>> from qlifq.neurons import SpikingSequential
        >>> network = SpikingSequential({"weights": nn.Linear(4, 8), "hidden": QLIF(8, seed=0), "last": nn.Linear(8, 2)})
        >>> with record(network, "voltage") as recordings:
        ...     output, _ = network(torch.rand(10, 3, 4))
        >>> recordings["chain.hidden"]["voltage"].shape
        torch.Size([10, 3, 8])
    """
    if not isinstance(network, nn.Module):
        raise DtypeError(f"Argument `network` must be a torch module, but is {type(network).__name__}.")
    found = {name: module for name, module in network.named_modules() if isinstance(module, Layer)}
    if not found:
        raise ArgumentError("Argument `network` must have a QLIF or BrandPetruccione layer, but has none.")
    if isinstance(layers, str):
        raise DtypeError(f"Argument `layers` must be names of layers, but is {layers!r}.")
    for name in layers or ():
        check.choice("layers", name, list(found))
    chosen = found if layers is None else {name: found[name] for name in layers}
    own = (each for layer in found.values() for each in _recordable(layer))
    known = list(dict.fromkeys((*RECORDABLE, *_ROTATED, *own)))
    for name in names:
        check.choice("names", name, known)
        if not any(_has(layer, name) for layer in chosen.values()):
            raise UnsupportedError(f"Argument `names` must not hold {name!r}, which none of the layers has.")
    for name, layer in chosen.items():
        if layer.recorder is not None:
            raise UnsupportedError(f"Argument `layers` must not hold {name!r}, which is being recorded already.")
    recordings = Recordings(chosen, tuple(dict.fromkeys(names)), check.real("trace_tau", trace_tau, above=0.0))
    with recordings.running():
        yield recordings


def _recordable(layer: Layer) -> tuple[str, ...]:
    return _ROTATED if isinstance(layer, BrandPetruccione) else recordable(layer)


def _has(layer: Layer, name: str) -> bool:
    return name in _recordable(layer) and (isinstance(layer, BrandPetruccione) or unrecordable(layer, name) is None)


def _dt(layer: Layer) -> float:
    return layer.settings.dt if isinstance(layer, QLIF) else 1.0


def _evaluations(layer: Layer, spikes: Tensor, kept: Mapping[str, Tensor], before: tuple[Tensor, ...] | None) -> int:
    """How many spike decisions a circuit made."""
    if isinstance(layer, QLIF):
        return circuit_decisions(layer, spikes, before.refractory if isinstance(before, QLIFState) else None)
    # What has reached the threshold is reset in the next step, which runs no circuit.
    populations = kept["population"].detach()
    silent = int((populations[:-1] >= comparable(layer.threshold, layer.shots, populations.dtype)).sum())
    if isinstance(before, BrandPetruccioneState):
        silent += int((before.population >= comparable(layer.threshold, layer.shots, populations.dtype)).sum())
    return populations.numel() - silent
