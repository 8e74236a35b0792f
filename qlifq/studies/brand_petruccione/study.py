"""QLIF against the neuron of Brand and Petruccione (arXiv 2407.16398), on the same input: see `matched_input`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from qlifq import circuits
from qlifq.backends import Backend, DeviceNoise, get
from qlifq.backends.resources import Resources, count_resources
from qlifq.circuits import RYSpike
from qlifq.errors import MissingPackageError
from qlifq.neurons import BrandPetruccione
from qlifq.reporting.intervals import Floats, Interval, binomial, mean, percentile, resampled_means, slopes
from qlifq.studies.brand_petruccione.leaks import DEVICE_T1, delay_table, gap_table, leak_table
from qlifq.studies.brand_petruccione.matched_input import NEURONS, T1, THETA, THRESHOLD, Response, drive
from qlifq.studies.run import Progress, StudyRun
from qlifq.studies.spike_trains import Integers, coefficient_of_variation, first_difference, interval_sums, van_rossum

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["KERNEL", "PAPER", "QUICK", "BrandPetruccioneStudy", "StudySize", "run_brand_petruccione", "statistics_of"]

#: Time constant of the kernel of van Rossum, steps.
KERNEL = 10.0
CIRCUITS = {"RY": RYSpike(), "RX RX": circuits.BrandPetruccione(), "RX delay": circuits.BrandPetruccione("delay")}
SHOT_NEURONS = ("BP relaxation", "BP published", "QLIF threshold")
RATES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COMPARED_RATES = (0.2, 0.5, 0.8)
T1_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
SHOTS = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
#: Input rate of the runs with shots and of the example; and of those that vary T1, where the leak has time to act.
INPUT_RATE, SLOW_RATE = 0.4, 0.15
#: The errors of a population scale as a power of the shots from here on.
ASYMPTOTIC = 1_000
#: The fraction of first spikes that must be within one step of the exact one.
ACCURACY = 0.95


@dataclass(frozen=True)
class StudySize:
    """How much is run.

    Args:
        trials: input trains for every condition.
        steps: of each.
        runs: with shots, for every number of them.
        run_steps: of each.
    """

    trials: int
    steps: int
    runs: int
    run_steps: int


PAPER = StudySize(trials=200, steps=2000, runs=1000, run_steps=80)
QUICK = StudySize(trials=64, steps=300, runs=300, run_steps=60)


@dataclass(frozen=True)
class BrandPetruccioneStudy:
    """What the study measured, as tidy tables.

    Args:
        backend: where the shots were drawn.
        seed: the root of all randomness.
        size: how much was run.
        leak: population left after an interval without input, from 0.5.
        gaps: input pulses until the first spike, by the gap between them.
        curve: output rate by input rate.
        statistics: rate, intervals, distance and agreement with QLIF at some input rates.
        t1: output rate where T1 (and QLIF's τ) is another.
        device_t1: output rate where the leak is a real delay on a device with another T1 than was assumed.
        delay: populations after one leak, as a rotation and as a delay.
        delay_backend: where the delay was measured: `backend` with the noise of the delay, or `analytic` where it takes none.
        shots: neurons that decide on estimates against exact ones.
        scaling: slopes of the population's error against the shots, doubly logarithmic, and the fewest shots from which on
            the first spike is within one step in at least `ACCURACY` of the runs.
        resources: what an evaluation costs on the snapshot of a device; None where that is not installed.
        snapshot: the name of the snapshot, or why there is none.
        inputs: an example: input spikes `(time,)`.
        examples: an example: every neuron's response to it.
    """

    backend: Backend
    seed: int
    size: StudySize
    leak: "DataFrame"
    gaps: "DataFrame"
    curve: "DataFrame"
    statistics: "DataFrame"
    t1: "DataFrame"
    device_t1: "DataFrame"
    delay: "DataFrame"
    delay_backend: str
    shots: "DataFrame"
    scaling: "DataFrame"
    resources: "DataFrame | None"
    snapshot: str
    inputs: Floats
    examples: Mapping[str, Response]


def run_brand_petruccione(
    backend: str | Backend = "analytic",
    *,
    snapshot: str = "fake_torino",
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    size: StudySize = PAPER,
    progress: Progress | None = None,
) -> BrandPetruccioneStudy:
    """Compare the two neurons.

    Args:
        backend: where the shots are drawn if populations are estimated, without noise; a name or a `Backend`.
        snapshot: name of the device whose snapshot the circuits are counted on; without the package `qiskit-ibm-runtime` they
            are not.
        seed: root of all randomness; the same seed gives the same tables.
        shots: at least three numbers of shots, rising; slopes need two of at least `ASYMPTOTIC`.
        size: how much is run, `PAPER`, `QUICK` or your own.
        progress: called as `progress(done, total)`.

    Returns:
        A `BrandPetruccioneStudy`.

    Raises:
        QLIFError: before anything runs, if the backend draws no shots or is remote, or an argument cannot be used.
    """
    run = _Run(backend, seed=seed, shots=shots, size=size, progress=progress)
    costs: dict[str, Resources] = {}
    try:
        costs = {name: count_resources(circuit, snapshot, delay_seconds=DEVICE_T1 / T1) for name, circuit in CIRCUITS.items()}
    except MissingPackageError as error:
        # What needs no snapshot is worth having without one; the report says why this part is missing.
        snapshot = str(error)
    return run.study(costs, snapshot)


class _Run(StudyRun):
    """One run of the study; arguments as for `run_brand_petruccione`."""

    def __init__(
        self, backend: str | Backend, *, seed: int, shots: Sequence[int], size: StudySize, progress: Progress | None
    ) -> None:
        super().__init__(backend, seed=seed, shots=shots, progress=progress)
        self.size = size
        self.total = len(RATES) + 2 * len(T1_FACTORS) + len(self.shots) * len(SHOT_NEURONS)

    def study(self, costs: Mapping[str, Resources], snapshot: str) -> BrandPetruccioneStudy:
        """All parts, one after another.

        Args:
            costs: of each circuit on the snapshot; empty where it is not installed.
            snapshot: the name of the snapshot, or why there is none.
        """
        noisy = self.backend.name if self.backend.capabilities.noisy else "analytic"
        inputs = self._poisson(INPUT_RATE, 120, 12)
        examples = {name: self._drive(name, inputs) for name in NEURONS}
        curve, statistics = self._rates()
        shots, scaling = self._shots()
        return BrandPetruccioneStudy(
            backend=self.backend,
            seed=self.seed,
            size=self.size,
            leak=leak_table(),
            gaps=gap_table(),
            curve=curve,
            statistics=statistics,
            t1=self._t1(),
            device_t1=self._device_t1(),
            delay=delay_table(noisy, self.seeds.next_seed()),
            delay_backend=noisy,
            shots=shots,
            scaling=scaling,
            resources=_resources(costs, scaling) if costs else None,
            snapshot=snapshot,
            inputs=inputs[:, 0].numpy(),
            examples=examples,
        )

    def _poisson(self, rate: float, steps: int, trials: int) -> Tensor:
        """Input spikes with a probability per step, `(steps, trials)`; the example repeats one train for every trial."""
        return torch.from_numpy((self.rng.random((steps, trials)) < rate).astype(np.float64))

    def _drive(self, name: str, x: Tensor, t1: float = T1, shots: int | None = None) -> Response:
        return drive(name, x, seed=self.seeds.next_seed(), t1=t1, backend=None if shots is None else self.backend, shots=shots)

    # Rates -----------------------------------------------------------------------------------------------------------------

    def _rates(self) -> "tuple[DataFrame, DataFrame]":
        from pandas import DataFrame

        curve, statistics = [], []
        for rate in RATES:
            x = self._poisson(rate, self.size.steps, self.size.trials)
            responses = {name: self._drive(name, x) for name in NEURONS}
            for name, response in responses.items():
                curve.append(
                    {"input_rate": rate, "neuron": name, **mean(response.spikes.mean(axis=0), self.rng).columns("rate")}
                )
                if rate in COMPARED_RATES:
                    compared = statistics_of(response, responses["QLIF threshold"], self.rng)
                    statistics.append({"input_rate": rate, "neuron": name, **compared})
            self.tick()
        return DataFrame(curve), DataFrame(statistics)

    def _t1(self) -> "DataFrame":
        from pandas import DataFrame

        x = self._poisson(SLOW_RATE, self.size.steps, self.size.trials)
        rows = []
        for factor in T1_FACTORS:
            for name in NEURONS:
                spikes = self._drive(name, x, T1 * factor).spikes
                rows.append({"t1": T1 * factor, "neuron": name, **mean(spikes.mean(axis=0), self.rng).columns("rate")})
            self.tick()
        return DataFrame(rows)

    # A real delay ------------------------------------------------------------------------------------------------------------

    def _device_t1(self) -> "DataFrame":
        """The leak as a delay for a T1 that was assumed, on a device that has another."""
        from pandas import DataFrame

        x = self._poisson(SLOW_RATE, self.size.steps, self.size.trials)[:, :, None]
        theta, tau = torch.full_like(x, THETA), torch.ones_like(x)
        rotated = BrandPetruccione(1, threshold=THRESHOLD, t1=T1)(theta, tau, x)[0][:, :, 0].numpy()
        rows = []
        for factor in T1_FACTORS:
            device = get("analytic", noise=DeviceNoise(t1=DEVICE_T1 * factor))
            layer = BrandPetruccione(1, backend=device, threshold=THRESHOLD, t1=T1, delay_t1=DEVICE_T1)
            spikes = layer(theta, tau, x)[0][:, :, 0].numpy()
            rows.append(
                {
                    "device_t1_us": 1e6 * DEVICE_T1 * factor,
                    "assumed_t1_us": 1e6 * DEVICE_T1,
                    **mean(spikes.mean(axis=0), self.rng).columns("rate"),
                    **mean(spikes.mean(axis=0) - rotated.mean(axis=0), self.rng).columns("change"),
                }
            )
            self.tick()
        return DataFrame(rows)

    # Shots -------------------------------------------------------------------------------------------------------------------

    def _shots(self) -> "tuple[DataFrame, DataFrame]":
        """Decisions in shots against exact ones, each run with an input train of its own."""
        from pandas import DataFrame

        x = self._poisson(INPUT_RATE, self.size.run_steps, self.size.runs)
        rows, scaling = [], []
        for name in SHOT_NEURONS:
            exact = self._drive(name, x)
            first = _first_spike(exact.spikes)
            spiking = first < len(x)
            logs, lows = [], []
            for count in self.shots:
                estimated = self._drive(name, x, shots=count)
                row: dict[str, object] = {"neuron": name, "shots": count}
                # The potential of QLIF is not measured, so it has no error of its own.
                error, log = Interval(math.nan, math.nan, math.nan), None
                if name.startswith("BP"):
                    error, log = self._root_mean_square(squared_errors(estimated.trace, exact.trace, first))
                row |= error.columns("population_error")
                late = np.abs(_first_spike(estimated.spikes) - first)[spiking]
                for column, steps in (("same_step", 0), ("within_one", 1)):
                    hits = int((late <= steps).sum())
                    low, high = binomial(hits, len(late))
                    share = hits / len(late) if len(late) else math.nan
                    row |= Interval(share, float(low), float(high)).columns(column)
                lows.append(cast(float, row["within_one_low"]))
                if count >= ASYMPTOTIC and log is not None:
                    logs.append(log)
                rows.append({**row, "runs": len(late)})
                self.tick()
            slope = Interval(math.nan, math.nan, math.nan)
            if len(logs) > 1:
                fitted = slopes(np.log(self.shots[-len(logs) :]), np.array(logs).T)
                slope = percentile(float(fitted[0]), fitted[1:])
            scaling.append({"neuron": name, **slope.columns("slope"), "needed_shots": enough_shots(self.shots, lows)})
        return DataFrame(rows), DataFrame(scaling)

    def _root_mean_square(self, squares: Floats) -> tuple[Interval, Floats]:
        """The root of the mean square with its interval, and the logarithms of it and of its draws."""
        draws = np.sqrt(np.divide(*resampled_means(squares, self.rng).T))
        value = float(np.sqrt(np.divide(*squares.sum(axis=0))))
        return percentile(value, draws), np.log([value, *draws])


def statistics_of(response: Response, other: Response, rng: np.random.Generator) -> dict[str, float]:
    """Rate, intervals between spikes and distance from another response, each with its interval over trains."""
    spikes = response.spikes
    distance = van_rossum(spikes, other.spikes, KERNEL)
    columns = np.column_stack([spikes.mean(axis=0), distance, interval_sums(spikes)])
    means, draws = columns.mean(axis=0), resampled_means(columns, rng)
    with np.errstate(divide="ignore", invalid="ignore"):
        isi, isi_draws = means[3] / means[2], draws[:, 3] / draws[:, 2]
    cv, cv_draws = float(coefficient_of_variation(means[2:])), coefficient_of_variation(draws[:, 2:])
    return {
        **percentile(float(means[0]), draws[:, 0]).columns("rate"),
        **percentile(float(isi), isi_draws).columns("isi"),
        **percentile(cv, cv_draws).columns("isi_cv"),
        **percentile(float(means[1]), draws[:, 1]).columns("distance"),
        "evaluations": response.evaluations,
    }


def _resources(costs: Mapping[str, Resources], scaling: "DataFrame") -> "DataFrame":
    """Circuits on the snapshot, and the time per step with the shots that each decision needs."""
    from pandas import DataFrame

    needed = dict(zip(scaling["neuron"], scaling["needed_shots"], strict=True))
    shots = {"RY": {"QLIF sample": 1.0, "QLIF threshold": needed["QLIF threshold"]}}
    rows = []
    for name, cost in costs.items():
        pause = math.nan if cost.pause_seconds is None else cost.pause_seconds
        for neuron, count in shots.get(name, {"BP relaxation": needed["BP relaxation"]}).items():
            rows.append(
                {
                    "neuron": neuron,
                    "circuit": name,
                    "gates": cost.gates,
                    "depth": cost.depth,
                    "native": cost.native,
                    "native_depth": cost.native_depth,
                    "pulses": cost.pulses,
                    "circuit_us": 1e6 * cost.circuit_seconds,
                    "pause_us": 1e6 * pause,
                    "shots": count,
                    "step_seconds": count * (cost.circuit_seconds + pause),
                }
            )
    return DataFrame(rows)


def squared_errors(estimated: Floats, exact: Floats, first: Integers) -> Floats:
    """Squared errors of populations `(time, runs)` up to and with the first exact spike, summed, `(runs, 2)` with their number.

    Until then both neurons do the same thing; later they may simply be out of step.
    """
    early = np.arange(len(exact))[:, None] <= first
    return np.column_stack([(np.square(estimated - exact) * early).sum(axis=0), early.sum(axis=0)])


def enough_shots(shots: Sequence[int], lows: Sequence[float]) -> float:
    """The fewest shots from which on every lower bound reaches `ACCURACY`; NaN where the last does not."""
    enough = math.nan
    for count, low in zip(reversed(shots), reversed(lows), strict=True):
        if low < ACCURACY:
            break
        enough = count
    return enough


def _first_spike(spikes: Floats) -> Integers:
    """The first step with a spike, `(trials,)`; the number of steps where there is none."""
    return first_difference(spikes, np.zeros_like(spikes))
