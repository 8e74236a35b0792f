"""Shot noise against the model: what a finite number of shots does to one evaluation, one trajectory and one network.

Every comparison is with `analytic`, exact and without noise. Beside them one closed loop runs on the host and in one circuit,
and the three run on other backends too, such as one with the noise of a device.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq.backends import Backend
from qlifq.errors import ArgumentError, ShapeError
from qlifq.neurons.parameters import DECISIONS
from qlifq.reporting.intervals import Floats, percentile, resampled_means
from qlifq.studies.run import Progress
from qlifq.studies.shot_noise.beside import beside_rows
from qlifq.studies.shot_noise.evaluation import evaluations, floors
from qlifq.studies.shot_noise.loops import loops
from qlifq.studies.shot_noise.network import SmallNetwork
from qlifq.studies.shot_noise.run import Run
from qlifq.studies.shot_noise.trajectory import trajectories

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["PAPER", "QUICK", "SHOTS", "ShotNoiseStudy", "StudySize", "run_shot_noise"]

SHOTS = (1, 10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class StudySize:
    """How much is run.

    Args:
        repeats: of every single evaluation.
        runs: trajectories of every decision and number of shots.
        steps: of a trajectory.
        images: digits that the network is tested on.
        passes: how often each of them is shown.
        epochs: of training.
        loop_steps: of a train whose loop runs on the host, in one circuit, and as a replay. The conditional rotations of a
            circuit grow with its square.
    """

    repeats: int
    runs: int
    steps: int
    images: int
    passes: int
    epochs: int
    loop_steps: int = 60


PAPER = StudySize(repeats=1000, runs=200, steps=1000, images=597, passes=10, epochs=30, loop_steps=100)
QUICK = StudySize(repeats=200, runs=64, steps=300, images=297, passes=3, epochs=15)


@dataclass(frozen=True)
class ShotNoiseStudy:
    """What the study measured, as tidy tables.

    Args:
        backend: where the decisions ran.
        shots: the numbers of shots.
        seed: the root of all noise.
        size: how much was run.
        trained: how many digits the networks were trained on.
        evaluation: one row for every P(1) and number of shots: error and bias of the estimate.
        pooled: the error of all P(1) together, each in the unit of its own √(p(1 − p)/shots).
        scaling: slopes of the error against the shots, doubly logarithmic.
        floor: what is left at the most shots, and what a calibration predicts.
        trajectory: one row for every decision and number of shots: rate, intervals between spikes, distance from the model.
        trajectory_exact: the same without shots.
        network: accuracy for every decision and number of shots.
        beside: one row for every backend, quantity and number of shots, those of `backend` first: what another backend changes.
        change: from the fewest to the most shots, for every decision and quantity.
        loop: one row for every way to run the loop and quantity of its trains; the exact value where it is known.
        loop_test: one row for every quantity: whether host loop and circuit loop follow one law.
        loop_cost: one row for every way: what a backend plans for it.
        loop_refused: the decisions that no circuit loop runs, and why.
        trains: spikes of one run by decision, `(1 + len(shots), steps)`, first those of the model.
    """

    backend: Backend
    shots: tuple[int, ...]
    seed: int
    size: StudySize
    trained: int
    evaluation: "DataFrame"
    pooled: "DataFrame"
    scaling: "DataFrame"
    floor: "DataFrame"
    trajectory: "DataFrame"
    trajectory_exact: "DataFrame"
    network: "DataFrame"
    beside: "DataFrame"
    change: "DataFrame"
    loop: "DataFrame"
    loop_test: "DataFrame"
    loop_cost: "DataFrame"
    loop_refused: Mapping[str, str]
    trains: dict[str, Floats]


def run_shot_noise(
    data: Iterable[Tensor],
    backend: str | Backend = "analytic",
    *,
    seed: int = 0,
    shots: Sequence[int] = SHOTS,
    size: StudySize = PAPER,
    beside: Sequence[str | Backend] = (),
    progress: Progress | None = None,
) -> ShotNoiseStudy:
    """Measure shot noise on a backend.

    Args:
        data: images `(samples, pixels)` float32 and their labels `(samples,)` int64, such as `qlifq.training.digits()`; the
            network learns from those that it is not tested on.
        backend: a name, or a `Backend` that draws shots; noise is its own.
        seed: root of all noise; the same seed gives the same tables.
        shots: at least three numbers of shots, rising.
        size: how much is run, `PAPER`, `QUICK` or your own.
        beside: other backends that evaluation, trajectory and network run on too, such as the same one with a device's noise.
        progress: called as `progress(done, total)`.

    Returns:
        A `ShotNoiseStudy`.

    Raises:
        QLIFError: before anything runs, if the backend draws no shots or is remote, or an argument cannot be used.
    """
    run = Run(backend, seed=seed, shots=shots, progress=progress)
    # The same seed on every backend: the same current, images and networks.
    others = [Run(each, seed=seed, shots=shots, progress=lambda done, total: run.tick()) for each in beside]
    if len({each.backend.description for each in (run, *others)}) <= len(others):
        raise ArgumentError("Argument `beside` must hold backends that differ from each other and from `backend`.")
    images, labels = data
    check.shape_of("images", check.tensor("images", images, dtypes=(torch.float32,)), ("samples", "pixels"))
    check.shape_of("labels", check.tensor("labels", labels, dtypes=(torch.int64,)), (len(images),))
    if len(images) < 2 * size.images:
        raise ShapeError(
            f"Argument `images` must hold at least {2 * size.images} samples, half of them to train on, "
            f"but holds {len(images)}."
        )
    with _one_thread():
        run.total = len(run.shots) * (1 + 2 * len(DECISIONS)) * (1 + len(others)) + len(DECISIONS) + 2
        return _study(run, others, size, (images, labels))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: the tensors are small, and sums over several threads would differ between machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _study(run: Run, others: Sequence[Run], size: StudySize, data: tuple[Tensor, Tensor]) -> ShotNoiseStudy:
    from pandas import DataFrame

    evaluation, pooled, scaling = evaluations(run, size.repeats)
    trajectory, exact, trains = trajectories(run, size.runs, size.steps)
    networks, trained = _networks([run, *others], data, size)
    floor = floors(run, evaluation[evaluation["shots"] == run.shots[-1]], size.repeats)
    # After all of its own, so that nothing else draws other numbers for it.
    ways = loops(run, size.runs, size.loop_steps)
    rows = beside_rows(run.backend, pooled, trajectory, networks[0])
    for other, its_network in zip(others, networks[1:], strict=True):
        rows += beside_rows(
            other.backend, evaluations(other, size.repeats)[1], trajectories(other, size.runs, size.steps)[0], its_network
        )
    return ShotNoiseStudy(
        backend=run.backend,
        shots=run.shots,
        seed=run.seed,
        size=size,
        trained=trained,
        evaluation=evaluation,
        pooled=pooled,
        scaling=scaling,
        floor=floor,
        trajectory=trajectory,
        trajectory_exact=exact,
        network=networks[0],
        beside=DataFrame(rows),
        change=DataFrame(run.changes),
        **ways._asdict(),
        trains=trains,
    )


def _networks(runs: Sequence[Run], data: tuple[Tensor, Tensor], size: StudySize) -> tuple[list["DataFrame"], int]:
    """The table `network` of every run, and on how many images the networks learned; the first run trains them."""
    from pandas import DataFrame

    (images, labels), run = data, runs[0]
    order = torch.from_numpy(np.random.default_rng([run.seed, 2]).permutation(len(images)))
    test, kept = order[: size.images], order[size.images :]
    tables: list[list[dict[str, object]]] = [[] for _ in runs]
    for decision in DECISIONS:
        network = SmallNetwork(images[kept], labels[kept], decision, epochs=size.epochs, seed=run.seeds.next_seed())
        run.tick()
        for each, rows in zip(runs, tables, strict=True):
            rows.extend(_tested(each, network, (images[test], labels[test]), size.passes))
    return [DataFrame(rows) for rows in tables], len(kept)


def _tested(run: Run, network: SmallNetwork, test: tuple[Tensor, Tensor], passes: int) -> list[dict[str, object]]:
    """One row for every number of shots: the accuracy, and what is lost of that with exact probabilities."""
    correct, decision = [], network.decision
    places: list[tuple[Backend, int | None]] = [(run.ideal, None), *((run.backend, count) for count in run.shots)]
    for backend, count in places:
        seed = run.seeds.next_seed()
        correct.append(network.recognised(*test, backend, count, passes=passes, seed=seed))
        if count is not None:
            run.tick()
    # One image is one run: it is drawn together with all its answers, so that differences are paired.
    each = np.stack(correct, axis=1)
    means, draws = each.mean(axis=0), resampled_means(each, run.rng)
    accuracies = [(percentile(float(means[i]), draws[:, i]), draws[:, i]) for i in range(len(means))]
    run.changed(decision, "accuracy", accuracies[1], accuracies[-1])
    rows = []
    for index, shots in enumerate(run.shots, start=1):
        loss = percentile(float(means[0] - means[index]), draws[:, 0] - draws[:, index])
        row = {"decision": decision, "shots": shots, **accuracies[index][0].columns("accuracy"), "exact": means[0]}
        rows.append(row | loss.columns("loss"))
    return rows
