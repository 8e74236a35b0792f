"""A trained network on other backends than the one that it was trained on: on circuits, with shots, on a device."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypedDict, Unpack

import torch

from qlifq._files import PathLike
from qlifq._validation import integer
from qlifq.backends import Backend, Plan
from qlifq.calibration import Calibration, Correction
from qlifq.errors import UnsupportedError
from qlifq.neurons import SeedStream
from qlifq.neurons.description import describe_layers
from qlifq.reporting.figures import figure_files
from qlifq.reporting.intervals import CONFIDENCE, Interval
from qlifq.reporting.report import Picture, Report, Section
from qlifq.reporting.wording import duration
from qlifq.training.correction import calibrate_layers, calibration_plan, correct_layers
from qlifq.training.data.interface import Dataset, Samples
from qlifq.training.evaluation import Evaluation, evaluate, shots_per_decision
from qlifq.training.experiment import Progress
from qlifq.training.figures import confusion_figure
from qlifq.training.judges import JUDGES
from qlifq.training.networks import Design, Network
from qlifq.training.regression.figures import forecast_figure
from qlifq.training.report import class_rows, frame, interval_results
from qlifq.training.run_folder import TrainedRun, load_run

__all__ = [
    "FILES",
    "BackendEvaluation",
    "CrossBackendEvaluation",
    "EvaluationPlan",
    "cross_backend_report",
    "describe_evaluation",
    "evaluate_run",
    "plan_evaluation",
    "whole_plan",
]

#: What the report is written to.
FILES = ("report.md", "backends.csv", "classes.csv", *figure_files("confusion", "forecasts"))


@dataclass(frozen=True, eq=False)
class BackendEvaluation:
    """The answers of a network on one backend.

    Args:
        where: the backend, with its device, noise and shots.
        tested: the answers.
        evaluations: how many spike decisions ran.
    """

    where: str
    tested: Evaluation
    evaluations: int


@dataclass(frozen=True, eq=False)
class CrossBackendEvaluation:
    """A trained network evaluated on other backends than the one that it was trained on.

    Args:
        design: of the network.
        answers: one for each way to decide, the closed form first.
        corrections: what a calibration changed, one for each layer of neurons; empty without one.
        report: with its tables and figures; `qlifq.reporting.report.write_report` writes it to a folder.
    """

    design: Design
    answers: tuple[BackendEvaluation, ...]
    corrections: tuple[Correction, ...]
    report: Report


@dataclass(frozen=True, eq=False)
class EvaluationPlan:
    """An evaluation on another backend that is checked and ready, but of which nothing has run.

    Args:
        run: the trained network.
        data: what it was trained on.
        tested: the test samples that it is evaluated on.
        networks: the same weights under the name of who decides their spikes: the closed form, the backend, and where there
            is a calibration the corrected network.
        shots: as for `qlifq.QLIF`.
        calibrate: with how many shots per angle and neuron the last network is calibrated before it runs; None if not.
        corrections: those that are applied already.
        batch: samples side by side.
        seed: of all spikes, and of the shots of the calibration.
    """

    run: TrainedRun
    data: Dataset
    tested: Samples
    networks: Sequence[tuple[str, Network]]
    shots: int | None
    calibrate: int | None
    corrections: tuple[Correction, ...]
    batch: int
    seed: int

    @property
    def source(self) -> str:
        """The backend of the spike decisions, such as "aer, noise of the snapshot fake_torino, 1 shot"."""
        return self.networks[1][0]

    def cost(self) -> Plan:
        """What it costs; the closed form is free. Spends nothing."""
        others = [network for _, network in self.networks[1:]]
        plans = [whole_plan(each, self.run.design, len(self.tested), self.batch) for each in others]
        if self.calibrate is not None:
            plans.append(calibration_plan(others[-1], shots=self.calibrate))
        return Plan.total(plans)

    def execute(
        self, setup: Mapping[str, object] = MappingProxyType({}), *, progress: Progress | None = None
    ) -> CrossBackendEvaluation:
        """Calibrate where `calibrate` says so, evaluate every network on the same samples, and report.

        Args:
            setup: what else the report lists of how it was made, names and JSON values.
            progress: makes a context with a `progress(done, samples)` for one network, given its name.

        Raises:
            QLIFError: if the backend fails.
        """
        corrections = self.corrections
        if self.calibrate is not None:
            corrected = self.networks[-1][1]
            corrections = tuple(correct_layers(corrected, calibrate_layers(corrected, shots=self.calibrate, seed=self.seed)))
        answers = [self._answer(name, network, progress) for name, network in self.networks]
        network = self.networks[1][1]
        facts = {
            "run": str(self.run.folder),
            "backend": next(network.neurons()).backend.name,
            "shots": shots_per_decision(network, self.shots),
            **setup,
            "test samples": len(self.tested),
            "batch": self.batch,
            "seed": self.seed,
        }
        report = cross_backend_report(self.run.design, self.data, self.tested, answers, facts)
        return CrossBackendEvaluation(self.run.design, tuple(answers), corrections, report)

    def _answer(self, name: str, network: Network, progress: Progress | None) -> BackendEvaluation:
        design, samples = self.run.design, len(self.tested)
        with progress(name) if progress is not None else nullcontext() as update:
            tested = evaluate(network, design, self.tested, batch=self.batch, seed=self.seed, progress=update)
        return BackendEvaluation(name, tested, whole_plan(network, design, samples, self.batch).evaluations)


class EvaluationOptions(TypedDict, total=False):
    """The keywords of `plan_evaluation`, which explains them."""

    shots: int | None
    calibration: Sequence[Calibration]
    calibrate: int | None
    data: PathLike | Dataset | None
    samples: int | None
    batch: int
    seed: int
    options: Mapping[str, str | None]


def plan_evaluation(
    run: PathLike | TrainedRun,
    backend: str | Backend | Sequence[Backend],
    *,
    shots: int | None = None,
    calibration: Sequence[Calibration] = (),
    calibrate: int | None = None,
    data: PathLike | Dataset | None = None,
    samples: int | None = None,
    batch: int = 500,
    seed: int = 1,
    options: Mapping[str, str | None] = MappingProxyType({}),
) -> EvaluationPlan:
    """Check and prepare the evaluation of a trained network on another backend; spends nothing.

    Args:
        run: the training, or its folder.
        backend: where its spike decisions run, or one for each layer of neurons, from the input on.
        shots: shots per decision, as for `qlifq.QLIF`.
        calibration: records that correct the network: one for each layer of neurons, or one for all.
        calibrate: instead of records, calibrate every layer first with this many shots per angle and neuron.
        data: what it was trained on, where that was given in Python or lies elsewhere now: the data set, or its file or folder.
        samples: the first test samples alone; None for all.
        batch: samples side by side in one call.
        seed: the same seed gives the same spikes.
        options: what else names the backend in the report, such as its sampling; what is None is left out.

    Returns:
        An `EvaluationPlan`.

    Raises:
        QLIFError: if the run, the backend, the calibration and the data do not go together.
    """
    trained = run if isinstance(run, TrainedRun) else load_run(run)
    # A bad seed is refused here, before the first layer is measured.
    SeedStream(seed)
    if calibration and calibrate is not None:
        raise UnsupportedError(f"Argument `calibrate` would be ignored: `calibration` is given, but it is {calibrate}.")
    integer("batch", batch, at_least=1)
    learned = trained.data(data)
    tested = learned.test
    if samples is not None:
        tested = tested.select(torch.arange(integer("samples", samples, at_least=1, at_most=len(tested))))
    network = trained.network(backend, shots)
    source = describe_evaluation(network, **options)
    networks = [("analytic, exact", trained.network()), (source, network)]
    corrections: list[Correction] = []
    if calibration or calibrate is not None:
        networks.append((f"{source}, calibrated", trained.network(backend, shots)))
    if calibration:
        corrections = correct_layers(networks[-1][1], calibration)
    return EvaluationPlan(
        run=trained,
        data=learned,
        tested=tested,
        networks=networks,
        shots=shots,
        calibrate=calibrate,
        corrections=tuple(corrections),
        batch=batch,
        seed=seed,
    )


def evaluate_run(
    run: PathLike | TrainedRun,
    backend: str | Backend | Sequence[Backend],
    *,
    progress: Progress | None = None,
    **options: Unpack[EvaluationOptions],
) -> CrossBackendEvaluation:
    """Evaluate a trained network on another backend beside the closed form, with the same weights and samples.

    Args, Returns and Raises as for `plan_evaluation` and `EvaluationPlan.execute`, which this does in one.

    Example:
        >>> from qlifq.backends import get
        >>> result = evaluate_run("runs/mlp", get("aer", noise="fake_torino"), samples=100)  # doctest: +SKIP
        >>> print(result.report.findings[0])  # doctest: +SKIP
    """
    return plan_evaluation(run, backend, **options).execute(progress=progress)


def whole_plan(network: Network, design: Design, samples: int, batch: int) -> Plan:
    """The cost of evaluating a network on some samples, over all layers, steps and batches; spends nothing."""
    integer("batch", batch, at_least=1)
    sizes = [min(batch, samples - start) for start in range(0, samples, batch)]
    once = {size: Plan.total(network.plans(size)) for size in set(sizes)}
    return Plan.total([once[size] for size in sizes]).times(design.steps)


def describe_evaluation(network: Network, **options: str | None) -> str:
    """Where the spike decisions of a network run, such as "aer, noise of the snapshot fake_torino, 1 shot, sampling law".

    Args:
        network: the network.
        **options: what else the user chose; those that are None are left out.
    """
    words = [describe_layers(network.neurons())]
    return ", ".join([*words, *(f"{name} {value}" for name, value in options.items() if value is not None)])


def cross_backend_report(
    design: Design, data: Dataset, tested: Samples, answers: list[BackendEvaluation], setup: Mapping[str, object]
) -> Report:
    """The report of `qlifq evaluate`.

    Args:
        design: of the network.
        data: what it was trained on.
        tested: the samples that it was evaluated on.
        answers: the closed form first.
        setup: names and JSON values.
    """
    first, *others = answers
    judge = JUDGES[design.task.name]
    found = [f"{first.where}: {_figure(first, design)}."]
    for other in others:
        found.append(f"**{other.where}: {_figure(other, design)}, {duration(other.tested.seconds)}.**")
        found.append(judge.compared(other.where, other.tested, first.where, first.tested))
    columns = {"ahead_by": "this figure less that of the closed form, on the same samples"}
    sections = [
        Section(
            title="Backends",
            question="The same weights and the same samples: only the backend that decides the spikes differs.",
            findings=[],
            tables={"backends": frame([_row(each, first, design) for each in answers])},
            columns=columns,
        )
    ]
    if (section := _SECTIONS.get(design.task.name)) is not None:
        sections.append(section(data, tested, answers))
    return Report(
        title=f"A trained network of kind {design.network} on {data.name}, run on {answers[-1].where}",
        question="How do the answers of a trained network change when its spike decisions run on another backend?",
        findings=found,
        uncertainty=(
            f"Intervals hold {100 * CONFIDENCE:.0f} % and are about the {len(tested):,} samples. The spikes are drawn "
            "anew on every backend, so two backends differ a little even where both have exact probabilities."
        ),
        setup=setup,
        sections=sections,
        source="; ".join(answer.where for answer in answers),
        results=_results(answers, design),
    )


def _results(answers: list[BackendEvaluation], design: Design) -> dict[str, Interval]:
    """Those of the backend first, then of the closed form and of the corrected network."""
    first, evaluated, *corrected = answers
    found = interval_results(_row(evaluated, first, design))
    found |= interval_results(_row(first, first, design), " of analytic, exact")
    for each in corrected:
        found |= interval_results(_row(each, first, design), " when calibrated")
    return found


def _classes(data: Dataset, tested: Samples, answers: Sequence[BackendEvaluation]) -> Section:
    last = answers[-1]
    caption = f"Run on {last.where}. Rows: what the samples are. Columns: what the network says."
    return Section(
        title="Classes",
        question=f"How often is each class recognised, run on {last.where}?",
        findings=[],
        pictures={"confusion": Picture(partial(confusion_figure, last.tested, data.classes), caption, last.where)},
        tables={"classes": frame(class_rows(last.tested, data.classes))},
    )


def _forecasts(data: Dataset, tested: Samples, answers: Sequence[BackendEvaluation]) -> Section:
    draw = partial(forecast_figure, tested.labels, {answer.where: answer.tested for answer in answers})
    return Section(
        title="Forecasts",
        question="What does the network predict on the test samples?",
        findings=[],
        pictures={"forecasts": Picture(draw, "Above: the first test samples. Below: predicted less true.")},
    )


#: What a report shows of the answers to each task.
_SECTIONS = {"classification": _classes, "regression": _forecasts}


def _figure(answer: BackendEvaluation, design: Design) -> str:
    judge = JUDGES[design.task.name]
    return judge.words(judge.measured(answer.tested))


def _row(answer: BackendEvaluation, first: BackendEvaluation, design: Design) -> dict[str, object]:
    tested, judge = answer.tested, JUDGES[design.task.name]
    row: dict[str, object] = {"run on": answer.where, **judge.measured(tested).columns(judge.column)}
    if answer is not first:
        row |= judge.difference(tested, first.tested).columns("ahead_by")
    return {
        **row,
        "spikes": " ".join(f"{rate:.3f}" for rate in tested.rates),
        "evaluations": answer.evaluations,
        "seconds": tested.seconds,
    }
