"""Shot noise against the model: what a finite number of shots does to one evaluation, one trajectory and one network.

Every comparison is with `analytic`, exact and without noise.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from qlifq import _validation as check
from qlifq.backends import Backend, get
from qlifq.backends.interface import MAX_SEED
from qlifq.calibration import fit
from qlifq.circuits import RYSpike
from qlifq.errors import ShapeError
from qlifq.neurons import QLIF
from qlifq.neurons.parameters import DECISIONS
from qlifq.neurons.seeds import SeedStream
from qlifq.studies.asking import local_backend, rising_shots
from qlifq.studies.intervals import CONFIDENCE, DRAWS, Floats, Interval, binomial, percentile, resampled_means, slopes
from qlifq.studies.small_network import SmallNetwork
from qlifq.studies.spike_trains import coefficient_of_variation, first_difference, interval_sums, van_rossum

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["PAPER", "QUICK", "SHOTS", "Extent", "ShotNoiseStudy", "run_shot_noise"]

SHOTS = (1, 10, 100, 1_000, 10_000, 100_000)
PROBABILITIES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
#: Time constant of the kernel of van Rossum, steps.
KERNEL = 10.0
#: Graded spikes that differ by less count as equal.
GRADED_TOLERANCE = 0.1

#: The calibration spends, per angle, this many times the most shots of the study.
CALIBRATION_ROUNDS = 10
#: Half width of a normal interval in standard errors.
NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Extent:
    """How much is run.

    Args:
        repeats: of every single evaluation.
        runs: trajectories of every decision and number of shots.
        steps: of a trajectory.
        images: digits that the network is tested on.
        passes: how often each of them is shown.
        epochs: of training.
    """

    repeats: int
    runs: int
    steps: int
    images: int
    passes: int
    epochs: int


PAPER = Extent(repeats=1000, runs=200, steps=1000, images=597, passes=10, epochs=30)
QUICK = Extent(repeats=200, runs=64, steps=300, images=297, passes=3, epochs=15)


@dataclass(frozen=True)
class ShotNoiseStudy:
    """What the study measured, as tidy tables.

    Args:
        backend: who was asked.
        shots: the numbers of shots.
        seed: the root of all noise.
        extent: how much was run.
        trained: how many digits the networks were trained on.
        evaluation: one row for every P(1) and number of shots: error and bias of the estimate.
        pooled: the error of all P(1) together, each in the unit of its own √(p(1 − p)/shots).
        scaling: slopes of the error against the shots, doubly logarithmic.
        floor: what is left at the most shots, and what a calibration predicts.
        trajectory: one row for every decision and number of shots: rate, intervals between spikes, distance from the model.
        trajectory_exact: the same without shots.
        network: accuracy for every decision and number of shots.
        change: from the fewest to the most shots, for every decision and quantity.
        trains: spikes of one run by decision, `(1 + len(shots), steps)`, first those of the model.
    """

    backend: Backend
    shots: tuple[int, ...]
    seed: int
    extent: Extent
    trained: int
    evaluation: "DataFrame"
    pooled: "DataFrame"
    scaling: "DataFrame"
    floor: "DataFrame"
    trajectory: "DataFrame"
    trajectory_exact: "DataFrame"
    network: "DataFrame"
    change: "DataFrame"
    trains: dict[str, Floats]


def run_shot_noise(
    data: tuple[Tensor, Tensor],
    backend: str | Backend = "analytic",
    *,
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    extent: Extent = PAPER,
    progress: Progress | None = None,
) -> ShotNoiseStudy:
    """Measure shot noise on a backend.

    Args:
        data: images `(samples, pixels)` float32 and their labels `(samples,)` int64, such as `qlifq.training.digits()`; the
            network learns from those that it is not tested on.
        backend: a name, or a `Backend` that draws shots; noise is its own.
        seed: root of all noise; the same seed gives the same tables.
        shots: at least three numbers of shots, rising.
        extent: how much is run, `PAPER`, `QUICK` or your own.
        progress: called as `progress(done, total)`.

    Returns:
        A `ShotNoiseStudy`.

    Raises:
        QLIFError: before anything runs, if the backend draws no shots or is remote, or an argument cannot be used.
    """
    asked = local_backend(backend)
    check.integer("seed", seed, at_least=0, at_most=MAX_SEED)
    counts = rising_shots(shots, asked)
    images, labels = data
    check.shape_of("images", check.tensor("images", images, dtypes=(torch.float32,)), ("samples", "pixels"))
    check.shape_of("labels", check.tensor("labels", labels, dtypes=(torch.int64,)), (len(images),))
    if len(images) < 2 * extent.images:
        raise ShapeError(
            f"Argument `images` must hold at least {2 * extent.images} samples, half of them to train on, "
            f"but holds {len(images)}."
        )
    with _one_thread():
        return _Run(asked, counts, seed, extent, (images, labels), progress).study()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: the tensors are small, and sums over several threads would differ between machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Run:
    """One run of the study: its seeds, its resampling and its progress."""

    def __init__(
        self,
        backend: Backend,
        shots: tuple[int, ...],
        seed: int,
        extent: Extent,
        data: tuple[Tensor, Tensor],
        progress: Progress | None,
    ) -> None:
        self.backend, self.shots, self.seed, self.extent, self.data = backend, shots, seed, extent, data
        self.ideal = get("analytic")
        self.seeds = SeedStream(seed)
        self.rng = np.random.default_rng(seed)
        self.progress = progress
        self.done = 0
        self.total = len(shots) * (1 + 2 * len(DECISIONS)) + len(DECISIONS) + 1
        self.changes: list[dict[str, object]] = []
        self.trains: dict[str, Floats] = {}

    def study(self) -> ShotNoiseStudy:
        from pandas import DataFrame

        evaluation, pooled, scaling = self._evaluations()
        trajectory, exact = self._trajectories()
        network, trained = self._networks()
        return ShotNoiseStudy(
            backend=self.backend,
            shots=self.shots,
            seed=self.seed,
            extent=self.extent,
            trained=trained,
            evaluation=evaluation,
            pooled=pooled,
            scaling=scaling,
            floor=self._floor(evaluation[evaluation["shots"] == self.shots[-1]]),
            trajectory=trajectory,
            trajectory_exact=exact,
            network=network,
            change=DataFrame(self.changes),
            trains=self.trains,
        )

    def _tick(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)

    # One evaluation ------------------------------------------------------------------------------------------------------

    def _evaluations(self) -> tuple["DataFrame", "DataFrame", "DataFrame"]:
        from pandas import DataFrame

        ideal = np.array(PROBABILITIES)
        spread = np.sqrt(ideal * (1 - ideal))
        rows, pooled_rows = [], []
        log_error = np.zeros((len(self.shots), len(ideal) + 1, DRAWS + 1))
        for index, count in enumerate(self.shots):
            ones = self._ones(ideal, count)
            squared = (ones / count - ideal) ** 2
            # The last column pools all P(1), each in the unit of its own expected error.
            pooled = (squared / spread**2).mean(axis=1, keepdims=True)
            squares = np.concatenate([squared, pooled], axis=1)
            draws = resampled_means(squares, self.rng)
            with np.errstate(divide="ignore"):
                log_error[index] = np.log(np.concatenate([squares.mean(axis=0)[None], draws])).T / 2
            with_unit = np.sqrt(draws[:, -1] * count)
            pooled_rows.append(
                {"shots": count, **percentile(float(np.sqrt(pooled.mean() * count)), with_unit).columns("ratio")}
            )
            low, high = binomial(ones.sum(axis=0), count * len(ones))
            for place, p in enumerate(ideal):
                rmse = percentile(float(np.sqrt(squares[:, place].mean())), np.sqrt(draws[:, place]))
                rows.append(
                    {
                        "p": p,
                        "shots": count,
                        "repeats": len(ones),
                        "expected": spread[place] / np.sqrt(count),
                        **rmse.columns("rmse"),
                        "bias": ones[:, place].mean() / count - p,
                        "bias_low": low[place] - p,
                        "bias_high": high[place] - p,
                    }
                )
            self._tick()
        fitted = slopes(np.log(self.shots), log_error.transpose(1, 2, 0))
        names = [*(f"{p:g}" for p in ideal), "all"]
        scaling = DataFrame(
            [
                {"p": name, **percentile(float(each[0]), each[1:]).columns("slope")}
                for name, each in zip(names, fitted, strict=True)
            ]
        )
        return DataFrame(rows), DataFrame(pooled_rows), scaling

    def _ones(self, ideal: Floats, count: int) -> Floats:
        """Counts of every repeat, `(repeats, probabilities)`, all asked of one site."""
        angles = torch.tensor(2 * np.arcsin(np.sqrt(ideal))).repeat(self.extent.repeats)
        outcome = self.backend.run(RYSpike(), angles.reshape(-1, 1, 1), shots=count, seed=self.seeds.take())
        return cast(Tensor, outcome.ones).numpy().reshape(self.extent.repeats, len(ideal)).astype(np.float64)

    def _floor(self, most: "DataFrame") -> "DataFrame":
        """The bias that no number of shots takes away, beside the bias that a calibration predicts."""
        from pandas import DataFrame

        floor = DataFrame({name: most[name].to_numpy() for name in ("p", "shots", "bias", "bias_low", "bias_high")})
        calibration = fit(
            self.backend,
            neurons=1,
            shots=CALIBRATION_ROUNDS * self.shots[-1],
            rounds=CALIBRATION_ROUNDS,
            seed=self.seeds.take(),
        )
        self._tick()
        law = calibration.analysis.law
        p, bias = floor["p"].to_numpy(), floor["bias"].to_numpy()
        theta = 2 * np.arcsin(np.sqrt(p))
        design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
        predicted = design @ law.value[0].numpy() - p
        variance = np.einsum("ij,jk,ik->i", design, law.covariance[0].numpy(), design)
        measured = np.clip(p + bias, 0.0, 1.0)
        own = measured * (1 - measured) / (self.shots[-1] * self.extent.repeats)
        for name, value, spread in (("predicted", predicted, variance), ("difference", bias - predicted, variance + own)):
            reach = NORMAL * np.sqrt(spread)
            floor[name], floor[f"{name}_low"], floor[f"{name}_high"] = value, value - reach, value + reach
        # Where p (1 − p)/shots, the variance of shots, is the square of the bias.
        seen = (floor["bias_low"] > 0) | (floor["bias_high"] < 0)
        floor["shots_at_floor"] = np.where(seen, p * (1 - p) / np.where(seen, bias, 1.0) ** 2, np.nan)
        return floor

    # One trajectory ------------------------------------------------------------------------------------------------------

    def _trajectories(self) -> tuple["DataFrame", "DataFrame"]:
        from pandas import DataFrame

        current = self._current()
        rows, exact_rows = [], []
        for decision in DECISIONS:
            reference = self._spikes(self.ideal, None, decision, current)
            other = self._spikes(self.ideal, None, decision, current)
            exact_rows.append({"decision": decision, **self._told(self._measured(decision, reference, other))})
            by_shots, trains = [], [reference[:, 0]]
            for count in self.shots:
                spikes = self._spikes(self.backend, count, decision, current)
                measured = self._measured(decision, spikes, reference)
                rows.append({"decision": decision, "shots": count, **self._told(measured)})
                by_shots.append(measured)
                trains.append(spikes[:, 0])
                self._tick()
            self.trains[decision] = np.stack(trains)
            for quantity in by_shots[0]:
                if quantity not in {"differing", "first_difference"}:
                    self._changed(decision, quantity, by_shots[0][quantity], by_shots[-1][quantity])
        return DataFrame(rows), DataFrame(exact_rows)

    def _current(self) -> Tensor:
        """A fluctuating current, the same for every run: around threshold, correlated over some steps, `(steps, runs, 1)`."""
        white = np.random.default_rng([self.seed, 1]).normal(size=self.extent.steps)
        kept = np.exp(-1 / 5.0)
        fluctuation = np.zeros(self.extent.steps)
        for step in range(1, self.extent.steps):
            fluctuation[step] = kept * fluctuation[step - 1] + np.sqrt(1 - kept**2) * white[step]
        return torch.tensor(1.3 + 0.8 * fluctuation, dtype=torch.float32)[:, None, None].expand(-1, self.extent.runs, 1)

    def _spikes(self, backend: Backend, shots: int | None, decision: str, current: Tensor) -> Floats:
        layer = QLIF(1, backend=backend, shots=shots, seed=self.seeds.take(), decision=decision, gradient="none")
        with torch.no_grad():
            spikes, _ = layer(current)
        return np.asarray(spikes[:, :, 0].numpy(), dtype=np.float64)

    def _measured(self, decision: str, spikes: Floats, reference: Floats) -> "dict[str, tuple[Interval, Floats]]":
        """Every quantity of a set of runs: its interval, and the draws behind it."""
        graded = decision == "expectation"
        steps = len(spikes)
        first = first_difference(spikes, reference, GRADED_TOLERANCE if graded else 0.5)
        sums = np.full((spikes.shape[1], 3), np.nan) if graded else interval_sums(spikes)
        columns = np.column_stack([spikes.mean(axis=0), van_rossum(spikes, reference, KERNEL), sums])
        draws = resampled_means(columns, self.rng)
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
        medians = np.median(first[self.rng.integers(0, len(first), (DRAWS, len(first)))], axis=1)
        found["first_difference"] = (percentile(float(np.median(first)), medians), medians)
        return found

    @staticmethod
    def _told(measured: "dict[str, tuple[Interval, Floats]]") -> dict[str, float]:
        return {key: value for name, (interval, _) in measured.items() for key, value in interval.columns(name).items()}

    def _changed(self, decision: str, quantity: str, fewest: tuple[Interval, Floats], most: tuple[Interval, Floats]) -> None:
        difference = percentile(most[0].value - fewest[0].value, most[1] - fewest[1])
        self.changes.append(
            {
                "decision": decision,
                "quantity": quantity,
                "at_fewest": fewest[0].value,
                "at_most": most[0].value,
                **difference.columns("change"),
            }
        )

    # One network ---------------------------------------------------------------------------------------------------------

    def _networks(self) -> tuple["DataFrame", int]:
        from pandas import DataFrame

        images, labels = self.data
        order = torch.from_numpy(np.random.default_rng([self.seed, 2]).permutation(len(images)))
        test, kept = order[: self.extent.images], order[self.extent.images :]
        rows = []
        for decision in DECISIONS:
            network = SmallNetwork(images[kept], labels[kept], decision, epochs=self.extent.epochs, seed=self.seeds.take())
            self._tick()
            correct = []
            asked: list[tuple[Backend, int | None]] = [(self.ideal, None), *((self.backend, count) for count in self.shots)]
            for backend, count in asked:
                seed = self.seeds.take()
                correct.append(
                    network.recognised(images[test], labels[test], backend, count, passes=self.extent.passes, seed=seed)
                )
                if count is not None:
                    self._tick()
            # One image is one run: it is drawn together with all its answers, so that differences are paired.
            each = np.stack(correct, axis=1)
            means, draws = each.mean(axis=0), resampled_means(each, self.rng)
            told = [(percentile(float(means[i]), draws[:, i]), draws[:, i]) for i in range(len(means))]
            for index, shots in enumerate(self.shots, start=1):
                loss = percentile(float(means[0] - means[index]), draws[:, 0] - draws[:, index])
                rows.append(
                    {
                        "decision": decision,
                        "shots": shots,
                        **told[index][0].columns("accuracy"),
                        "exact": means[0],
                        **loss.columns("loss"),
                    }
                )
            self._changed(decision, "accuracy", told[1], told[-1])
        return DataFrame(rows), len(kept)
