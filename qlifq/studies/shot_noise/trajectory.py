"""Shot noise on a trajectory: rates, intervals between spikes, and the distance from the model's spike train."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.neurons import QLIF
from qlifq.neurons.parameters import DECISIONS
from qlifq.reporting.intervals import DRAWS, Floats, Interval, binomial, percentile, resampled_means
from qlifq.studies.shot_noise.run import Run
from qlifq.studies.spike_trains import coefficient_of_variation, first_difference, interval_sums, van_rossum

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["GRADED_TOLERANCE", "KERNEL", "driving_current", "trajectories"]

#: Time constant of the kernel of van Rossum, steps.
KERNEL = 10.0
#: Graded spikes that differ by less count as equal.
GRADED_TOLERANCE = 0.1


def trajectories(run: Run, runs: int, steps: int) -> tuple["DataFrame", "DataFrame", dict[str, Floats]]:
    """Spike trains of a neuron that is driven the same in every run.

    Args:
        run: the run of the study.
        runs: trajectories of every decision and number of shots.
        steps: of a trajectory.

    Returns:
        The tables `trajectory` and `trajectory_exact`, and the `trains`, of a `ShotNoiseStudy`.
    """
    from pandas import DataFrame

    current = driving_current(run, runs, steps)
    rows, exact_rows = [], []
    trains_of: dict[str, Floats] = {}
    for decision in DECISIONS:
        reference = _spikes(run, run.ideal, None, decision, current)
        # A second run with exact probabilities and other draws: how far the model is from itself, before any shot noise.
        other = _spikes(run, run.ideal, None, decision, current)
        exact_rows.append({"decision": decision, **_columns(_measured(run, decision, reference, other))})
        by_shots, trains = [], [reference[:, 0]]
        for count in run.shots:
            spikes = _spikes(run, run.backend, count, decision, current)
            measured = _measured(run, decision, spikes, reference)
            rows.append({"decision": decision, "shots": count, **_columns(measured)})
            by_shots.append(measured)
            trains.append(spikes[:, 0])
            run.tick()
        trains_of[decision] = np.stack(trains)
        for quantity in by_shots[0]:
            if quantity not in {"differing", "first_difference"}:
                run.changed(decision, quantity, by_shots[0][quantity], by_shots[-1][quantity])
    return DataFrame(rows), DataFrame(exact_rows), trains_of


def driving_current(run: Run, runs: int, steps: int) -> Tensor:
    """A fluctuating current, the same for every run: around threshold, correlated over some steps, `(steps, runs, 1)`."""
    white = np.random.default_rng([run.seed, 1]).normal(size=steps)
    # Ornstein-Uhlenbeck with 5 steps: x ← ρ x + √(1 − ρ²) ξ with ρ = e^(−1/5) has variance 1 once its start is forgotten.
    kept = np.exp(-1 / 5.0)
    fluctuation = np.zeros(steps)
    for step in range(1, steps):
        fluctuation[step] = kept * fluctuation[step - 1] + np.sqrt(1 - kept**2) * white[step]
    return torch.tensor(1.3 + 0.8 * fluctuation, dtype=torch.float32)[:, None, None].expand(-1, runs, 1)


def _spikes(run: Run, backend: Backend, shots: int | None, decision: str, current: Tensor) -> Floats:
    layer = QLIF(1, backend=backend, shots=shots, seed=run.seeds.next_seed(), decision=decision, gradient="none")
    with torch.no_grad():
        spikes, _ = layer(current)
    return np.asarray(spikes[:, :, 0].numpy(), dtype=np.float64)


def _measured(run: Run, decision: str, spikes: Floats, reference: Floats) -> "dict[str, tuple[Interval, Floats]]":
    """Every quantity of a set of runs: its interval, and the draws behind it."""
    graded = decision == "expectation"
    steps = len(spikes)
    first = first_difference(spikes, reference, GRADED_TOLERANCE if graded else 0.5)
    sums = np.full((spikes.shape[1], 3), np.nan) if graded else interval_sums(spikes)
    columns = np.column_stack([spikes.mean(axis=0), van_rossum(spikes, reference, KERNEL), sums])
    draws = resampled_means(columns, run.rng)
    means = columns.mean(axis=0)

    def isi(draw: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(draw[..., 3] / draw[..., 2])

    functions: dict[str, Callable[[Floats], Floats]] = {
        "rate": lambda draw: draw[..., 0],
        "distance": lambda draw: draw[..., 1],
        "isi": isi,
        "isi_cv": lambda draw: coefficient_of_variation(draw[..., 2:]),
    }
    found = {}
    for name, function in functions.items():
        if graded and name.startswith("isi"):
            continue
        value, drawn = float(function(means)), function(draws)
        found[name] = (percentile(value, drawn), drawn)
    differing = int((first < steps).sum())
    low, high = binomial(differing, len(first))
    found["differing"] = (Interval(differing / len(first), float(low), float(high)), np.empty(0))
    # A bootstrap of its own: a median is no function of means, which `resampled_means` draws.
    medians = np.median(first[run.rng.integers(0, len(first), (DRAWS, len(first)))], axis=1)
    found["first_difference"] = (percentile(float(np.median(first)), medians), medians)
    return found


def _columns(measured: "dict[str, tuple[Interval, Floats]]") -> dict[str, float]:
    return {key: value for name, (interval, _) in measured.items() for key, value in interval.columns(name).items()}
