"""What a training left behind, in a report that claims no more than its intervals show."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qlifq.reporting.figures import figure_files
from qlifq.reporting.intervals import CONFIDENCE, Interval, binomial
from qlifq.reporting.report import Picture, Report, Section
from qlifq.reporting.wording import duration
from qlifq.training.evaluation import Evaluation
from qlifq.training.experiment import Contender, Experiment
from qlifq.training.figures import confusion_figure, curves_figure, raster_figure, reconstructions_figure
from qlifq.training.judges import JUDGES
from qlifq.training.networks import Design

if TYPE_CHECKING:
    from pandas import DataFrame

    from qlifq.training.regression.experiment import RegressionExperiment

__all__ = ["FILES", "class_rows", "facts_of", "frame", "interval_results", "training_report"]

#: What the report is written to; which of them depends on the network.
FILES = (
    "report.md",
    "networks.csv",
    "epochs.csv",
    "classes.csv",
    *figure_files("curves", "confusion", "images", "raster"),
)


def training_report(experiment: Experiment, setup: Mapping[str, object]) -> Report:
    """The report of `qlifq train`.

    Args:
        experiment: what was found.
        setup: what else the user chose, names and JSON values.
    """
    network = experiment.contenders[0]
    design, data, judge = network.design, experiment.data, JUDGES[network.design.task.name]
    found = [_said(network, first=True)]
    for other in experiment.contenders[1:]:
        found += [
            _said(other, first=False),
            judge.compared(network.description, network.tested, other.description, other.tested),
        ]
    facts = {**facts_of(experiment, design, network.description), **setup}
    return Report(
        title=f"{network.description} in a network of kind {design.network} on {data.name}",
        question=(
            f"How well does a spiking network learn to {design.task.goal}, and how well do classical networks with as many "
            "parameters, trained in the same way on the same samples?"
        ),
        findings=found,
        uncertainty=(
            f"Intervals hold {100 * CONFIDENCE:.0f} %. They are about the test samples: what these trained networks would do "
            "on others like them. Each network was trained once, with one seed, and another training gives other weights; what "
            "differs between trainings is in no interval here."
        ),
        setup=facts,
        sections=[_beside(experiment), _learning(experiment), *_answers(experiment), _inside(experiment)],
        source=experiment.decided_by,
        results=_results(experiment),
    )


def interval_results(row: Mapping[str, Any], suffix: str = "") -> dict[str, Interval]:
    """The figures of a table's row that have an interval, but no differences from another row."""
    names = [name for name in row if f"{name}_low" in row and name != "ahead_by"]
    return {f"{name}{suffix}": Interval.of(row, name) for name in names}


def _results(experiment: Experiment) -> dict[str, Interval]:
    first, *others = experiment.contenders
    found = interval_results(_row(first, first))
    for other in others:
        found |= interval_results(_row(other, first), f" of {other.description}")
    return found


def facts_of(experiment: "Experiment | RegressionExperiment", design: Design, description: str) -> dict[str, object]:
    """How an experiment was made, as names with numbers or text.

    Args:
        experiment: what was run.
        design: of the network itself.
        description: of its neuron.
    """
    data, settings = experiment.data, experiment.settings
    return {
        "data": f"{data.name}: {data.source}",
        "training samples": len(data.train),
        "test samples": len(data.test),
        "network": f"{design.network}, hidden {', '.join(map(str, design.hidden))}, {description}",
        "encoding": f"{design.encoding}, gain {design.gain:g}, {design.steps} steps",
        "neuron parameters": ", ".join(f"{name}={value}" for name, value in design.parameters.items()) or "their defaults",
        "backend": experiment.decided_by,
        "epochs": settings.epochs,
        "batch": settings.batch,
        "learning rate": f"{settings.learning_rate:g}, {settings.schedule}",
        "weight decay": settings.weight_decay,
        "label smoothing": settings.smoothing,
        "validation": settings.validation,
        "patience": "none" if settings.patience is None else settings.patience,
        "precision": settings.precision,
        "seed": settings.seed,
    }


def _said(contender: Contender, *, first: bool) -> str:
    """One network's result."""
    judge = JUDGES[contender.design.task.name]
    figure = judge.words(judge.measured(contender.tested))
    text = f"{contender.description}: {figure}, {contender.parameters:,} parameters, {duration(contender.seconds)}."
    return f"**{text}**" if first else text


def _row(contender: Contender, first: Contender) -> dict[str, Any]:
    judge, tested = JUDGES[contender.design.task.name], contender.tested
    row: dict[str, Any] = {
        "neuron": contender.description,
        "hidden": " ".join(map(str, contender.design.hidden)),
        "parameters": contender.parameters,
    }
    # The loss stands beside any other figure.
    row |= {**judge.measured(tested).columns(judge.column), **({} if judge.column == "loss" else {"loss": tested.loss})}
    if contender is not first:
        row |= judge.difference(first.tested, tested).columns("ahead_by")
    return {**row, "spikes": " ".join(f"{rate:.3f}" for rate in tested.rates), "training_seconds": contender.seconds}


def _beside(experiment: Experiment) -> Section:
    first = experiment.contenders[0]
    judge = JUDGES[first.design.task.name]
    return Section(
        title="Beside classical networks",
        question=(
            "The same network with classical neurons in place of its own, its last hidden layer so wide that it has the "
            "nearest number of parameters, trained with the same settings and seed."
        ),
        findings=[
            judge.compared(first.description, first.tested, other.description, other.tested)
            for other in experiment.contenders[1:]
        ],
        tables={"networks": frame([_row(contender, first) for contender in experiment.contenders])},
        columns={
            "ahead_by": "the first network's figure less this one's, on the same samples",
            "spikes": "per neuron and step, of each hidden layer",
        },
    )


def _learning(experiment: Experiment) -> Section:
    rows = [
        {"neuron": contender.description, **{name: value for name, value in vars(epoch).items() if value is not None}}
        for contender in experiment.contenders
        for epoch in contender.history
    ]
    return Section(
        title="Learning",
        question="Loss and accuracy of every epoch: over the training samples as they were seen, and those for validation.",
        findings=[],
        pictures={"curves": Picture(partial(curves_figure, experiment.contenders), "Every epoch of every network.")},
        tables={"epochs": frame(rows)},
    )


def _answers(experiment: Experiment) -> list[Section]:
    """What the network says about the test images."""
    network, data = experiment.contenders[0], experiment.data
    if network.design.reconstructs:
        draw = partial(reconstructions_figure, experiment.examples, data.picture)
        caption = "Above: the first test image of every class. Below: what the network gives back."
        return [Section("Images given back", "What comes back of test images?", [], {"images": Picture(draw, caption)})]
    return [
        Section(
            title="Classes",
            question="How often is each class recognised, and what is it taken for?",
            findings=[],
            pictures={
                "confusion": Picture(
                    partial(confusion_figure, network.tested, data.classes),
                    "Rows: what the samples are. Columns: what the network says.",
                )
            },
            tables={"classes": frame(class_rows(network.tested, data.classes))},
        )
    ]


def class_rows(tested: Evaluation, classes: int) -> list[dict[str, Any]]:
    """One row per class: how many images, and the share that is recognised."""
    counts = tested.confusion(classes)
    rows = []
    for label, row in enumerate(counts.tolist()):
        if sum(row):
            low, high = binomial(row[label], sum(row))
            recall = Interval(row[label] / sum(row), float(low), float(high))
            rows.append({"class": label, "samples": sum(row), **recall.columns("recognised")})
    return rows


def _inside(experiment: Experiment) -> Section:
    example = experiment.examples[0]
    return Section(
        title="Inside",
        question="What do the hidden layers do? Their spikes are 0 or 1.",
        findings=[],
        pictures={
            "raster": Picture(partial(raster_figure, example, experiment.data.picture), "One test image in the network.")
        },
    )


def frame(rows: Sequence[Mapping[str, Any]]) -> "DataFrame":
    """Rows as a table."""
    import pandas as pd

    return pd.DataFrame([dict(row) for row in rows])
