"""Shot noise on a layer or network of one's own: its spikes and answers with shots, beside those of the model."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.backends import Backend
from qlifq.errors import ArgumentError, DtypeError
from qlifq.neurons import QLIF, BrandPetruccione, SeedStream, record
from qlifq.neurons.parameters import DECISIONS
from qlifq.reporting.figures import column_figure, drawn, figure_files, series
from qlifq.reporting.intervals import CONFIDENCE, DRAWS, Floats, Interval, percentile, resampled_means
from qlifq.reporting.panels import from_zero, points
from qlifq.reporting.report import Picture, Report, Section, records
from qlifq.reporting.wording import counted, listed
from qlifq.studies.checks import local_backend, rising_shots
from qlifq.studies.run import Progress
from qlifq.studies.shot_noise.run import Run
from qlifq.studies.shot_noise.trajectory import GRADED_TOLERANCE, KERNEL
from qlifq.studies.spike_trains import first_difference, van_rossum
from qlifq.training.networks.layers import Answer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["FILES", "SHOTS", "EveryDecision", "ShotNoiseComparison", "compare_shot_noise", "shot_noise_comparison_report"]

#: What the report is written to; "answers.csv" and the figure "answers" only for a network.
FILES = ("report.md", "spikes.csv", "answers.csv", *figure_files("spikes", "answers"))
SHOTS = (1, 10, 100, 1_000)
_QUANTITIES = {
    "rate": ("Firing rate", "rate (spikes per step)"),
    "distance": ("Distance from the model", "van Rossum distance (dimensionless)"),
    "differing": ("Trains that differ", "share (of trains)"),
}


@dataclass(frozen=True, eq=False)
class ShotNoiseComparison:
    """What shots do to a layer or network, as tidy tables.

    Args:
        backends: where the decisions ran.
        shots: the numbers of shots.
        seed: the root of all noise.
        repeats: how often the input ran with every number of shots.
        shape: of the input, `(time, batch, ...)`.
        spikes: one row for every layer, backend and number of shots, first those of the model with another seed ("analytic",
            shots 0): rate, distance from the model, share of trains that differ from it.
        answers: one row for every backend and number of shots: the share of answers that are those of the model; None where the
            output is that of a layer of neurons.
    """

    backends: tuple[Backend, ...]
    shots: tuple[int, ...]
    seed: int
    repeats: int
    shape: tuple[int, ...]
    spikes: "DataFrame"
    answers: "DataFrame | None"


class EveryDecision(nn.Module):
    """Layers with default parameters, one for each decision, that see the same current.

    Args:
        neurons: how many each has.
    """

    def __init__(self, neurons: int) -> None:
        super().__init__()
        for decision in DECISIONS:
            self.add_module(decision, QLIF(neurons, decision=decision))

    def forward(self, current: Tensor) -> None:
        """Run every layer; their spikes are recorded."""
        for layer in self.children():
            layer(current)


def compare_shot_noise(
    network: nn.Module,
    current: Tensor,
    backend: str | Backend | Sequence[str | Backend] = "aer",
    *,
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    repeats: int = 20,
    progress: Progress | None = None,
) -> ShotNoiseComparison:
    """Run a layer or network on one's own input with shots, beside the model: `analytic`, exact and without noise.

    The network stays as it is; copies of it run, see `QLIF.moved`. A repeat runs the whole input with noise of its own, and is
    compared with a repeat of the model. Intervals are over repeats.

    Args:
        network: a `QLIF`, or a module with `QLIF` or `BrandPetruccione` layers that takes the current. The answer of a network
            is the largest of its outputs, of their mean over time where it gives one output per step.
        current: `(time, batch, ...)`, floating, finite.
        backend: where the shots are drawn, one or several, each by name or a `Backend`; noise is its own.
        seed: root of all noise; the same seed gives the same tables.
        shots: at least three numbers of shots, rising.
        repeats: how often the input runs, at least 2.
        progress: called as `progress(done, total)`.

    Returns:
        A `ShotNoiseComparison`; `shot_noise_comparison_report` makes a report of it.

    Raises:
        QLIFError: before anything runs, if the backend draws no shots or is remote, or an argument cannot be used.

    Example:
        >>> layer = QLIF(3, seed=0, decision="threshold")
        >>> compared = compare_shot_noise(layer, torch.full((40, 2, 3), 1.3), "reference", shots=(1, 10, 10_000), repeats=3)
        >>> compared.spikes[["backend", "shots", "distance"]].round(1).iloc[[0, 1, 3]]  # doctest: +SKIP
    """
    given = [backend] if isinstance(backend, str | Backend) else list(backend)
    if not given:
        raise ArgumentError("Argument `backend` must hold at least one backend, but is empty.")
    run = Run(given[0], seed=seed, shots=shots, progress=progress)
    places = [run.backend, *(local_backend(each) for each in given[1:])]
    for place in places:
        rising_shots(shots, place)
    if len({place.description for place in places}) < len(places):
        raise ArgumentError("Argument `backend` must hold backends that differ, but two are the same.")
    check.integer("repeats", repeats, at_least=2)
    check.finite("current", check.with_values("current", _checked(network, current)))
    plan = [(run.ideal, None), (run.ideal, None), *itertools.product(places, run.shots)]
    # All are built before the first one runs, so that what cannot run is refused at once.
    networks = [_moved(network, place, count, run.seeds.next_seed()) for place, count in plan]
    run.total = len(plan)
    repeated = torch.cat([current] * repeats, dim=1)
    model, answered = _ran(networks[0], repeated, repeats)
    run.tick()
    spikes: list[dict[str, object]] = []
    answers: list[dict[str, object]] = []
    for (place, count), each in zip(plan[1:], networks[1:], strict=True):
        trains, given_answers = _ran(each, repeated, repeats)
        row = {"backend": place.description, "shots": count or 0}
        spikes += [{"layer": name, **row, **_measured(run, trains[name], model[name])} for name in model]
        if answered is not None and given_answers is not None:
            same = (given_answers == answered).mean(axis=1, dtype=np.float64)
            answers.append({**row, **percentile(float(same.mean()), resampled_means(same, run.rng)).columns("agreement")})
        run.tick()
    return _tables(places, run, repeats, current, spikes, answers)


def _tables(
    places: list[Backend],
    run: Run,
    repeats: int,
    current: Tensor,
    spikes: list[dict[str, object]],
    answers: list[dict[str, object]],
) -> ShotNoiseComparison:
    from pandas import DataFrame

    table = DataFrame(spikes)
    # Layer by layer, as a reader compares them.
    table = table.sort_values("layer", kind="stable", ignore_index=True)
    return ShotNoiseComparison(
        backends=tuple(places),
        shots=run.shots,
        seed=run.seed,
        repeats=repeats,
        shape=tuple(current.shape),
        spikes=table,
        answers=DataFrame(answers) if answers else None,
    )


def _checked(network: nn.Module, current: Tensor) -> Tensor:
    """The current, of a network that has decisions to run."""
    if not isinstance(network, nn.Module):
        raise DtypeError(f"Argument `network` must be a torch module, but is {type(network).__name__}.")
    if not _deciding(network):
        raise ArgumentError("Argument `network` must have a QLIF or BrandPetruccione layer on a qubit, but has none.")
    check.tensor("current", current)
    if not current.is_floating_point() or current.ndim < 3:
        raise ArgumentError(
            f"Argument `current` must be floating of shape (time, batch, neurons), but is {current.dtype} of shape "
            f"{tuple(current.shape)}."
        )
    return current


def _deciding(network: nn.Module) -> list[QLIF | BrandPetruccione]:
    """The layers whose decisions run on a backend."""
    layers = [module for module in network.modules() if isinstance(module, QLIF | BrandPetruccione)]
    return [layer for layer in layers if isinstance(layer, BrandPetruccione) or layer.settings.quantum_mode]


def _moved(network: nn.Module, backend: Backend, shots: int | None, seed: int) -> nn.Module:
    """A copy of a network, its decisions on another backend and its own noise."""
    seeds = SeedStream(seed)
    memo = {id(layer): layer.moved(backend, shots=shots, seed=seeds.next_seed()) for layer in _deciding(network)}
    return copy.deepcopy(network, memo).eval()


def _ran(network: nn.Module, current: Tensor, repeats: int) -> tuple[dict[str, Floats], "Floats | None"]:
    """The spikes of every layer, `(time, repeats, trains)`, and the answers of a network, `(repeats, batch)`."""
    with torch.no_grad(), record(network) as recordings:
        output = network(current)
    trains = {
        name or "layer": each.spikes.double().cpu().reshape(len(each.spikes), repeats, -1).numpy()
        for name, each in recordings.items()
    }
    if isinstance(network, QLIF | EveryDecision):
        return trains, None
    scores = output.scores if isinstance(output, Answer) else output[0] if isinstance(output, tuple) else output
    scores = scores.mean(dim=0) if scores.ndim > 2 else scores
    return trains, scores.flatten(1).argmax(dim=1).reshape(repeats, -1).cpu().numpy()


def _measured(run: Run, spikes: Floats, model: Floats) -> dict[str, float]:
    """Rate, distance and share of trains that differ, with their intervals over repeats."""
    steps, repeats, _ = spikes.shape
    first = first_difference(spikes, model, GRADED_TOLERANCE if bool((model % 1).any()) else 0.5)
    columns = {
        "rate": spikes.mean(axis=(0, 2)),
        "distance": van_rossum(spikes, model, KERNEL).mean(axis=1),
        "differing": (first < steps).reshape(repeats, -1).mean(axis=1),
    }
    draws = resampled_means(np.column_stack(list(columns.values())), run.rng)
    found = zip(columns.items(), draws.T, strict=True)
    return {
        key: value
        for (name, values), drawn in found
        for key, value in percentile(float(values.mean()), drawn).columns(name).items()
    }


def shot_noise_comparison_report(compared: ShotNoiseComparison, setup: Mapping[str, object]) -> Report:
    """The report of a comparison, for `write_report`.

    Args:
        compared: what was measured.
        setup: what else was set, such as the file of the input, as names with numbers or text.
    """
    shots = ", ".join(f"{count:,}" for count in compared.shots)
    names = listed(place.description for place in compared.backends)
    found = [_sentence(compared, layer, place) for layer in compared.spikes["layer"].unique() for place in compared.backends]
    sections = [
        Section(
            title="Spikes",
            question=(
                f"The input ran {compared.repeats} times with every number of shots, with noise of its own each time, and "
                "beside each the model. Shots 0 stands for the model itself with another seed: only decision `sample` is "
                "random there."
            ),
            findings=found,
            pictures={
                "spikes": Picture(partial(_spikes_figure, compared), "Rate, distance from the model and trains that differ.")
            },
            tables={"spikes": compared.spikes},
            columns={
                "rate": "spikes per neuron and step",
                "distance": f"van Rossum, kernel of {KERNEL:g} steps, mean over trains",
                "differing": f"share of trains that differ somewhere (graded spikes: by more than {GRADED_TOLERANCE})",
            },
        )
    ]
    answers = [] if compared.answers is None else [_answers_section(compared, compared.answers)]
    return Report(
        title="Shot noise on one's own input",
        question=(
            "What does a finite number of shots do to the spikes of this layer or network on this input, compared with exact "
            "probabilities without noise (backend `analytic`, called the model below)?"
        ),
        findings=[*(sentence for section in answers for sentence in section.findings), *found],
        uncertainty=(
            f"Numbers in brackets are {CONFIDENCE:.0%} intervals, bootstrap percentiles of {DRAWS:,} resamplings of the "
            f"{counted(compared.repeats, 'repeat')}. They cover the randomness of shots and spikes on this input alone."
        ),
        setup={
            "backend": names,
            **setup,
            "seed": compared.seed,
            "shots": shots,
            "repeats": compared.repeats,
            "input": f"{compared.shape[0]} steps, batch of {compared.shape[1]}, {' × '.join(map(str, compared.shape[2:]))}",
        },
        sections=[*sections, *answers],
        source=f"{names}, {compared.shots[0]:,} to {counted(compared.shots[-1], 'shot')}, beside analytic, exact",
    )


def _rows(table: "DataFrame", place: Backend) -> "DataFrame":
    return table[(table["backend"] == place.description) & (table["shots"] > 0)]


def _sentence(compared: ShotNoiseComparison, layer: str, place: Backend) -> str:
    of_layer = compared.spikes[compared.spikes["layer"] == layer]
    rows = records(_rows(of_layer, place))
    first, last, model = rows[0], rows[-1], records(of_layer)[0]
    return (
        f"**{layer}** on {place.description}, {compared.shots[0]:,} → {counted(compared.shots[-1], 'shot')}: rate "
        f"{Interval.of(first, 'rate')} → {Interval.of(last, 'rate')}, in the model {Interval.of(model, 'rate')}; distance from "
        f"the model {Interval.of(first, 'distance')} → {Interval.of(last, 'distance')}, of the model from itself "
        f"{Interval.of(model, 'distance')}."
    )


def _answers_section(compared: ShotNoiseComparison, answers: "DataFrame") -> Section:
    found = []
    for place in compared.backends:
        rows = records(_rows(answers, place))
        found.append(
            f"**Answers** on {place.description}, {compared.shots[0]:,} → {counted(compared.shots[-1], 'shot')}: a share of "
            f"{Interval.of(rows[0], 'agreement')} → {Interval.of(rows[-1], 'agreement')} are those of the model; with another "
            f"seed the model itself agrees in {Interval.of(records(answers)[0], 'agreement')}."
        )
    return Section(
        title="Answers",
        question="The answer of the network is the largest of its outputs.",
        findings=found,
        pictures={
            "answers": Picture(partial(_answers_figure, compared, answers), "Share of answers that are those of the model.")
        },
        tables={"answers": answers},
        columns={"agreement": "share of answers that are those of the model"},
    )


@drawn
def _spikes_figure(compared: ShotNoiseComparison) -> "Figure":
    layers = list(compared.spikes["layer"].unique())
    lines = list(itertools.product(layers, compared.backends))
    figure, axes = column_figure(66 + 4 * len(lines), 1, len(_QUANTITIES))
    for panel, (quantity, (title, label)) in zip(axes[0], _QUANTITIES.items(), strict=True):
        panel.set_title(title)
        for place, (layer, backend) in enumerate(lines):
            rows = _rows(compared.spikes[compared.spikes["layer"] == layer], backend)
            aside = rows["shots"] * 1.1 ** (place - (len(lines) - 1) / 2)
            points(panel, aside, rows, quantity, series(place), label=f"{layer}, {backend.description}")
        panel.set(xscale="log", xlabel="shots per decision", ylabel=label)
        from_zero(panel)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@drawn
def _answers_figure(compared: ShotNoiseComparison, answers: "DataFrame") -> "Figure":
    figure, axes = column_figure(66 + 4 * len(compared.backends), single=True)
    panel = axes[0, 0]
    panel.set_title("Answers that are those of the model")
    for place, backend in enumerate(compared.backends):
        rows = _rows(answers, backend)
        points(panel, rows["shots"] * 1.1**place, rows, "agreement", series(place), label=backend.description)
    panel.set(xscale="log", xlabel="shots per decision", ylabel="share (of answers)")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center")
    return figure
