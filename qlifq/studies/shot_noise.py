"""Shot noise against the model: what a finite number of shots does to one evaluation, one trajectory and one network.

Every comparison is with `analytic`, exact and without noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from qlifq import _validation as check
from qlifq.backends import Backend, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.backends.interface import MAX_SEED
from qlifq.circuits import RYSpike
from qlifq.errors import UnsupportedError
from qlifq.neurons import QLIF, SpikingSequential
from qlifq.neurons.parameters import DECISIONS
from qlifq.neurons.seeds import SeedStream
from qlifq.studies.intervals import DRAWS, Floats, Interval, binomial, percentile, resampled_means, slopes
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
        scaling: slopes of the error against the shots, doubly logarithmic.
        floor: what is left at the most shots, and what the noise model or a calibration predicts.
        trajectory: one row for every decision and number of shots: rate, intervals between spikes, distance from the model.
        trajectory_exact: the same without shots.
        network: accuracy for every decision and number of shots.
        change: from the fewest to the most shots, for every decision and quantity.
    """

    backend: Backend
    shots: tuple[int, ...]
    seed: int
    extent: Extent
    trained: int
    evaluation: "DataFrame"
    scaling: "DataFrame"
    floor: "DataFrame"
    trajectory: "DataFrame"
    trajectory_exact: "DataFrame"
    network: "DataFrame"
    change: "DataFrame"


def run_shot_noise(
    backend: str | Backend = "analytic",
    *,
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    extent: Extent = PAPER,
    progress: Progress | None = None,
) -> ShotNoiseStudy:
    """Measure shot noise on a backend.

    Args:
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
    asked = backend if isinstance(backend, Backend) else get(backend)
    check.integer("seed", seed, at_least=0, at_most=MAX_SEED)
    counts = tuple(check.integer("shots", count, at_least=1) for count in shots)
    if len(counts) < 3 or sorted(set(counts)) != list(counts):
        raise check.ArgumentError(f"Argument `shots` must hold at least 3 rising numbers, but is {counts}.")
    for count in counts:
        asked.check_size(1, 1, count)
    if asked.capabilities.remote:
        raise UnsupportedError(
            f"Argument `backend` must be a simulator for this study of {len(counts)} numbers of shots, but {asked.name} is remote."
        )
    return _Run(asked, counts, seed, extent, progress).study()


class _Run:
    """One run of the study: its seeds, its resampling and its progress."""

    def __init__(self, backend: Backend, shots: tuple[int, ...], seed: int, extent: Extent, progress: Progress | None) -> None:
        self.backend, self.shots, self.seed, self.extent = backend, shots, seed, extent
        self.ideal = get("analytic")
        self.seeds = SeedStream(seed)
        self.rng = np.random.default_rng(seed)
        self.progress = progress
        self.done = 0
        self.total = len(shots) * (1 + 2 * len(DECISIONS)) + len(DECISIONS)
        self.changes: list[dict[str, object]] = []

    def study(self) -> ShotNoiseStudy:
        evaluation, scaling, floor = self._evaluations()
        trajectory, exact = self._trajectories()
        network, trained = self._networks()
        from pandas import DataFrame

        change = DataFrame(self.changes)
        return ShotNoiseStudy(
            self.backend,
            self.shots,
            self.seed,
            self.extent,
            trained,
            evaluation,
            scaling,
            floor,
            trajectory,
            exact,
            network,
            change,
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
        rows, ones = [], np.zeros(len(ideal))
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
            low, high = binomial(ones.sum(axis=0), count * len(ones))
            for place, p in enumerate(ideal):
                rmse = percentile(float(np.sqrt(squares[:, place].mean())), np.sqrt(draws[:, place]))
                rows.append(
                    {
                        "p": p,
                        "shots": count,
                        "repeats": len(ones),
                        "expected": spread[place] / np.sqrt(count),
                        **_named("rmse", rmse),
                        "bias": ones[:, place].mean() / count - p,
                        "bias_low": low[place] - p,
                        "bias_high": high[place] - p,
                    }
                )
            self._tick()
        evaluation = DataFrame(rows)
        fitted = slopes(np.log(self.shots), log_error.transpose(1, 2, 0))
        names = [*(f"{p:g}" for p in ideal), "all"]
        scaling = DataFrame(
            [{"p": name, **_named("slope", percentile(float(each[0]), each[1:]))} for name, each in zip(names, fitted, strict=True)]
        )
        return evaluation, scaling, self._floor(evaluation[evaluation["shots"] == self.shots[-1]])

    def _ones(self, ideal: Floats, count: int) -> Floats:
        """Counts of every repeat, `(repeats, probabilities)`, all asked of one site."""
        angles = torch.tensor(2 * np.arcsin(np.sqrt(ideal))).repeat(self.extent.repeats)
        outcome = self.backend.run(RYSpike(), angles.reshape(-1, 1, 1), shots=count, seed=self.seeds.take())
        assert outcome.ones is not None  # asked with shots
        return outcome.ones.numpy().reshape(self.extent.repeats, len(ideal)).astype(np.float64)

    def _floor(self, most: "DataFrame") -> "DataFrame":
        """The bias that no number of shots takes away, beside what is known of the noise."""
        from pandas import DataFrame

        floor = DataFrame({name: most[name].to_numpy() for name in ("p", "shots", "bias", "bias_low", "bias_high")})
        if isinstance(self.backend, AnalyticBackend):
            angles = torch.tensor(2 * np.arcsin(np.sqrt(floor["p"].to_numpy())))[:, None]
            law = self.backend.probability(RYSpike(), angles[:, None])[:, 0].numpy()
            floor["predicted"] = law - floor["p"].to_numpy()
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
            by_shots = []
            for count in self.shots:
                measured = self._measured(decision, self._spikes(self.backend, count, decision, current), reference)
                rows.append({"decision": decision, "shots": count, **self._told(measured)})
                by_shots.append(measured)
                self._tick()
            for quantity in by_shots[0]:
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
        return spikes[:, :, 0].numpy().astype(np.float64)

    def _measured(self, decision: str, spikes: Floats, reference: Floats) -> "dict[str, tuple[Interval, Floats]]":
        """Every quantity of a set of runs: its interval, and the draws behind it."""
        graded = decision == "expectation"
        steps = len(spikes)
        first = first_difference(spikes, reference, GRADED_TOLERANCE if graded else 0.5)
        sums = np.full((spikes.shape[1], 3), np.nan) if graded else interval_sums(spikes)
        columns = np.column_stack([spikes.mean(axis=0), van_rossum(spikes, reference, KERNEL), first < steps, sums])
        draws = resampled_means(columns, self.rng)
        means = columns.mean(axis=0)

        def interval(draw: Floats) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(draw[..., 4] / draw[..., 3])

        functions: dict[str, Callable[[Floats], Floats]] = {
            "rate": lambda draw: draw[..., 0],
            "distance": lambda draw: draw[..., 1],
            "differing": lambda draw: draw[..., 2],
            "interval": interval,
            "interval_cv": lambda draw: coefficient_of_variation(draw[..., 3:]),
        }
        found = {}
        for name, function in functions.items():
            if graded and name.startswith("interval"):
                continue
            value, drawn = float(function(means)), function(draws)
            found[name] = (percentile(value, drawn), drawn)
        medians = np.median(first[self.rng.integers(0, len(first), (DRAWS, len(first)))], axis=1)
        found["first_difference"] = (percentile(float(np.median(first)), medians), medians)
        return found

    @staticmethod
    def _told(measured: "dict[str, tuple[Interval, Floats]]") -> dict[str, float]:
        return {key: value for name, (interval, _) in measured.items() for key, value in _named(name, interval).items()}

    def _changed(
        self, decision: str, quantity: str, fewest: tuple[Interval, Floats], most: tuple[Interval, Floats]
    ) -> None:
        difference = percentile(most[0].value - fewest[0].value, most[1] - fewest[1])
        self.changes.append(
            {
                "decision": decision,
                "quantity": quantity,
                "at_fewest": fewest[0].value,
                "at_most": most[0].value,
                **_named("change", difference),
            }
        )

    # One network ---------------------------------------------------------------------------------------------------------

    def _networks(self) -> tuple["DataFrame", int]:
        from pandas import DataFrame

        from qlifq.training import digits

        data = digits()
        order = torch.from_numpy(np.random.default_rng([self.seed, 2]).permutation(len(data.images)))
        held_out, kept = order[: self.extent.images], order[self.extent.images :]
        rows = []
        for decision in DECISIONS:
            trained = _train(data.images[kept], data.labels[kept], decision, self.extent.epochs, self.seeds.take())
            self._tick()
            images, labels = data.images[held_out], data.labels[held_out]
            correct = [self._correct(trained, self.ideal, None, decision, images, labels)]
            for count in self.shots:
                correct.append(self._correct(trained, self.backend, count, decision, images, labels))
                self._tick()
            # One image is one run: it is drawn together with all its answers, so that differences are paired.
            each = np.stack(correct, axis=1)
            means, draws = each.mean(axis=0), resampled_means(each, self.rng)
            told = [(percentile(float(means[i]), draws[:, i]), draws[:, i]) for i in range(len(means))]
            for index, count in enumerate(self.shots, start=1):
                loss = percentile(float(means[0] - means[index]), draws[:, 0] - draws[:, index])
                rows.append(
                    {
                        "decision": decision,
                        "shots": count,
                        **_named("accuracy", told[index][0]),
                        "exact": means[0],
                        **_named("loss", loss),
                    }
                )
            self._changed(decision, "accuracy", told[1], told[-1])
        return DataFrame(rows), len(kept)

    def _correct(
        self, trained: SpikingSequential, backend: Backend, shots: int | None, decision: str, images: Tensor, labels: Tensor
    ) -> Floats:
        """How often each image was recognised, `(images,)`, between 0 and 1."""
        network = _network(decision, backend, shots, self.seeds.take())
        network.load_state_dict(trained.state_dict())
        with torch.no_grad():
            shown = images.repeat(self.extent.passes, 1)
            answers = network(shown.expand(NETWORK_STEPS, *shown.shape))[0].mean(dim=0).argmax(dim=1)
        right = (answers.reshape(self.extent.passes, -1) == labels).to(torch.float64)
        return right.mean(dim=0).numpy()


HIDDEN, NETWORK_STEPS, NETWORK_TAU, TRAINING_BATCH = 48, 8, 4.0, 100


def _network(decision: str, backend: Backend, shots: int | None, seed: int) -> SpikingSequential:
    hidden = QLIF(HIDDEN, backend=backend, shots=shots, seed=seed, decision=decision, gradient="auto", tau=NETWORK_TAU)
    return SpikingSequential(nn.Linear(64, HIDDEN), hidden, nn.Linear(HIDDEN, 10))


def _train(images: Tensor, labels: Tensor, decision: str, epochs: int, seed: int) -> SpikingSequential:
    """A network trained on exact probabilities with this decision; the read-out is the mean over time."""
    with torch.random.fork_rng(devices=[]):
        # torch draws initial weights from its global generator alone.
        torch.manual_seed(seed)
        network = _network(decision, get("analytic"), None, seed)
        optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(images)).split(TRAINING_BATCH):
                shown = images[batch].expand(NETWORK_STEPS, *images[batch].shape)
                loss = nn.functional.cross_entropy(network(shown)[0].mean(dim=0), labels[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return network


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
