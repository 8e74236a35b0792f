"""QLIF layers of one's own beside the neuron of Brand and Petruccione, on one's own input."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.backends import Backend, get
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons import QLIF, BrandPetruccione, SeedStream
from qlifq.reporting.figures import column_figure, drawn, figure_files, series
from qlifq.reporting.intervals import CONFIDENCE, DRAWS, Interval
from qlifq.reporting.panels import spike_raster, stacked
from qlifq.reporting.report import Picture, Report, Section, records
from qlifq.reporting.wording import counted
from qlifq.studies.brand_petruccione.matched_input import LEAKS, T1, THRESHOLD, Response, driven, rotated
from qlifq.studies.brand_petruccione.study import KERNEL, statistics_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = [
    "FILES",
    "BrandPetruccioneComparison",
    "brand_petruccione_comparison_report",
    "compare_brand_petruccione",
    "matched_layers",
]

#: What the report is written to.
FILES = ("report.md", "neurons.csv", *figure_files("neurons"))
#: Trains that the figure shows.
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class BrandPetruccioneComparison:
    """What the neurons made of one input.

    Args:
        backend: where their circuits ran.
        shots: shots per circuit; None for exact probabilities.
        seed: the root of all randomness.
        shape: of the input, `(time, batch, neurons)`.
        t1: T1 of their leak, steps.
        neurons: one row for every neuron: rate, intervals between spikes, distance from the first, circuits per step.
        responses: every neuron's spikes and trace, `(time, batch · neurons)`.
    """

    backend: Backend
    shots: int | None
    seed: int
    shape: tuple[int, ...]
    t1: float
    neurons: "DataFrame"
    responses: Mapping[str, Response]


def compare_brand_petruccione(
    layer: QLIF | Sequence[QLIF],
    current: Tensor,
    backend: str | Backend = "analytic",
    *,
    shots: int | None = None,
    seed: int = 0,
) -> BrandPetruccioneComparison:
    """Drive QLIF and the neuron of Brand and Petruccione with the same current.

    A current I lifts the potential of QLIF by r = I dt/τ (with `decay_input=False` by I) in a step. Their neuron gets an input
    spike where I > 0, which rotates it by the same share of the way to its threshold:

        θ = φ r / V_th,   φ = 2 arcsin √α_th

    It leaks for one step otherwise, with T1 = τ. The layers stay as they are; copies run, see `QLIF.moved`.

    Args:
        layer: a QLIF with the leaky membrane and one τ, or several that differ in other parameters, such as their decision. The
            first sets the scale, and distances are from its spikes.
        current: `(time, batch, neurons)`, floating, finite, at least 0.
        backend: where all decisions run, a name or a `Backend`.
        shots: shots per decision; None for exact probabilities where the backend can.
        seed: root of all randomness; the same seed gives the same tables.

    Returns:
        A `BrandPetruccioneComparison`; `brand_petruccione_comparison_report` makes a report of it.

    Raises:
        QLIFError: before anything runs, if an argument cannot be used.

    Example:
        >>> layer = QLIF(2, decision="threshold", tau=60.0, refractory_period=1)
        >>> compared = compare_brand_petruccione(layer, torch.full((80, 3, 2), 12.0))
        >>> list(compared.neurons["neuron"])
        ['QLIF threshold', 'BP relaxation', 'BP published']
    """
    from pandas import DataFrame

    layers = list(layer) if isinstance(layer, Sequence) else [layer]
    place = backend if isinstance(backend, Backend) else get(backend)
    t1, theta = _rotation(layers, current)
    # Their neuron squares a rounding error of its population near 0, so that it runs in double precision.
    theta, spikes = theta.double(), (theta > 0).double()
    seeds = SeedStream(seed)
    copies = {_name(each): each.moved(place, shots=shots, seed=seeds.next_seed()) for each in layers}
    if len(copies) < len(layers):
        raise ArgumentError("Argument `layer` must hold layers that differ in their decision, but two are the same.")
    taken = copies[_name(layers[0])].shots
    theirs = {
        f"BP {leak}": BrandPetruccione(
            layers[0].num_neurons, backend=place, shots=taken, seed=seeds.next_seed(), threshold=THRESHOLD, t1=t1, leak=leak
        )
        for leak in LEAKS
    }
    responses = {name: driven(each, current) for name, each in copies.items()}
    responses |= {name: rotated(each, theta, spikes) for name, each in theirs.items()}
    rng, first = np.random.default_rng(seed), responses[_name(layers[0])]
    rows = [{"neuron": name, **statistics_of(response, first, rng)} for name, response in responses.items()]
    return BrandPetruccioneComparison(place, taken, seed, tuple(current.shape), t1, DataFrame(rows), responses)


def _name(layer: QLIF) -> str:
    return f"QLIF {layer.settings.decision}"


def _rotation(layers: Sequence[QLIF], current: Tensor) -> tuple[float, Tensor]:
    """T1 in steps, and the angle θ of the input spike of every step."""
    if not layers or not all(isinstance(each, QLIF) for each in layers):
        raise DtypeError("Argument `layer` must be a QLIF or a list of them.")
    first = layers[0]
    shape = check.shape_of("current", check.tensor("current", current), ("time", "batch", first.num_neurons))
    check.finite("current", check.with_values("current", shape))
    if not current.is_floating_point():
        raise DtypeError(f"Argument `current` must be floating, but is {current.dtype}.")
    if float(current.min()) < 0:
        raise ArgumentError(f"Argument `current` must be at least 0, but is {float(current.min()):g} somewhere.")
    taus = torch.cat([each.tau.detach().flatten() for each in layers])
    for each in layers:
        settings = each.settings
        if (
            settings.membrane != "leaky"
            or not settings.quantum_mode
            or settings.decision == "expectation"
            or len(each.shape) > 1
        ):
            raise UnsupportedError(
                "Argument `layer` must have membrane='leaky', quantum_mode=True, decision 'threshold' or 'sample', and no "
                "shape, to be compared."
            )
    if bool((taus != taus[0]).any()) or any(each.num_neurons != first.num_neurons for each in layers):
        raise UnsupportedError("Argument `layer` must have one `tau` and one number of neurons to be compared.")
    t1 = float(taus[0]) / first.settings.dt
    rise = current / t1 if first.settings.decay_input else current
    return t1, rise / first.V_th.detach() * (2 * math.asin(math.sqrt(THRESHOLD)))


def brand_petruccione_comparison_report(compared: BrandPetruccioneComparison, setup: Mapping[str, object]) -> Report:
    """The report of a comparison, for `write_report`.

    Args:
        compared: what was measured.
        setup: what else was set, such as the file of the input, as names with numbers or text.
    """
    rows = records(compared.neurons)
    found = [
        f"`{row['neuron']}`: {Interval.of(row, 'rate')} spikes per step, {row['evaluations']:.3g} circuits per step; distance "
        f"from `{rows[0]['neuron']}` {Interval.of(row, 'distance')}."
        for row in rows
    ]
    steps, batch, neurons = compared.shape
    shots = "exact" if compared.shots is None else counted(compared.shots, "shot")
    section = Section(
        title="Responses",
        question=(
            "A current lifts the potential of QLIF, and rotates the qubit of the other neuron, by the same share of the way to "
            f"threshold in a step; T1 = τ = {compared.t1:g} steps."
        ),
        findings=found,
        pictures={"neurons": Picture(partial(_figure, compared), f"Spikes of the first {_SHOWN} trains at most.")},
        tables={"neurons": compared.neurons},
        columns={
            "rate": "spikes per neuron and step",
            "isi": "mean steps between two spikes",
            "isi_cv": "standard deviation over mean of these intervals",
            "distance": f"van Rossum, kernel of {KERNEL:g} steps",
            "evaluations": "circuits per neuron and step",
        },
    )
    return Report(
        title="QLIF and the neuron of Brand and Petruccione on one's own input",
        question="What do QLIF and the neuron of Brand and Petruccione, arXiv 2407.16398, make of the same current?",
        findings=found,
        uncertainty=(
            f"Numbers in brackets are {CONFIDENCE:.0%} intervals, bootstrap percentiles of {DRAWS:,} resamplings of the "
            f"{counted(batch * neurons, 'train')}, taken as independent."
        ),
        setup={
            "backend": compared.backend.description,
            **setup,
            "seed": compared.seed,
            "shots": shots,
            "input": f"{counted(steps, 'step')}, batch of {batch}, {counted(neurons, 'neuron')}",
        },
        sections=[section],
        source=f"{compared.backend.description}, {shots}",
    )


@drawn
def _figure(compared: BrandPetruccioneComparison) -> "Figure":
    """The spikes of every neuron."""
    count = len(compared.responses)
    figure, axes = column_figure(14 + 26 * count, count, 1, sharex=True)
    for place, (panel, (name, response)) in enumerate(zip(axes[:, 0], compared.responses.items(), strict=True)):
        spike_raster(panel, response.spikes[:, :_SHOWN], row="train", colour=series(place).colour)
        panel.set_title(name)
    stacked(axes[:, 0])
    return figure


def matched_layers(neurons: int) -> list[QLIF]:
    """The QLIF layers of the study, one for each of its decisions."""
    return [QLIF(neurons, decision=decision, tau=T1, refractory_period=1) for decision in ("threshold", "sample")]
