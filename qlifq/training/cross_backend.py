"""A trained network asked elsewhere than where it was trained: on circuits, with shots, on a device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from qlifq._validation import integer
from qlifq.backends import Backend, Plan
from qlifq.errors import FileFormatError
from qlifq.neurons.description import describe_layers
from qlifq.reporting.intervals import CONFIDENCE, large_sample_mean, paired_difference
from qlifq.reporting.report import Picture, Report, Section
from qlifq.reporting.wording import duration
from qlifq.training.data.datasets import Dataset, LabelledImages
from qlifq.training.evaluation import Evaluation
from qlifq.training.figures import confusion_figure
from qlifq.training.networks import Design, Network, build
from qlifq.training.report import class_rows, compared, frame, measured, percent

__all__ = [
    "FILES",
    "BackendEvaluation",
    "cross_backend_report",
    "describe_evaluation",
    "evaluation_images",
    "load_network",
    "whole_plan",
]

#: What the report is written to.
FILES = ("report.md", "places.csv", "classes.csv", "confusion.png")


@dataclass(frozen=True, eq=False)
class BackendEvaluation:
    """What a network said in one place.

    Args:
        where: the place, in words.
        tested: its answers.
        evaluations: how many spike decisions were asked.
    """

    where: str
    tested: Evaluation
    evaluations: int


def load_network(
    content: Mapping[str, Any], design: Design, backend: str | Backend | Sequence[Backend], shots: int | None
) -> Network:
    """A trained network, its decisions asked of a backend.

    Args:
        content: its checkpoint.
        design: what it was built from.
        backend: where, or one for each layer of neurons, as for `build`.
        shots: as for `qlifq.QLIF`.

    Raises:
        QLIFError: if the backend cannot answer it, or the checkpoint does not hold its weights.
    """
    network = build(design, backend=backend, shots=shots, seed=0)
    try:
        network.load_state_dict(content["best"] or content["network"])
    except RuntimeError as error:
        raise FileFormatError("The checkpoint does not hold the weights of its own design: it was changed.") from error
    return network


def evaluation_images(content: Mapping[str, Any], data: Dataset, samples: int | None) -> LabelledImages:
    """The test images that a trained network is asked about.

    Args:
        content: its checkpoint.
        data: what it was trained on.
        samples: the first so many of its test images alone; None for all.

    Raises:
        QLIFError: if the data set is another than it was trained on, or has not so many test images.
    """
    if data.fingerprint() != content["identity"]["fingerprint"]:
        raise FileFormatError(f"Data set {data.name} must be the one of the run, but its images or labels are others.")
    if samples is not None:
        integer("samples", samples, at_least=1, at_most=len(data.test.images))
    return LabelledImages(*(values[:samples] for values in data.test))


def whole_plan(network: Network, design: Design, images: int, batch: int) -> Plan:
    """What it costs to ask the network about some images, over all layers, steps and batches; spends nothing."""
    integer("batch", batch, at_least=1)
    sizes = [min(batch, images - start) for start in range(0, images, batch)]
    once = {size: Plan.total(network.plans(size)) for size in set(sizes)}
    return Plan.total([once[size] for size in sizes]).times(design.steps)


def describe_evaluation(network: Network, **options: str | None) -> str:
    """Where a network is asked, such as "aer, noise of the snapshot fake_torino, 1 shot, sampling law".

    Args:
        network: the network.
        **options: what else the user chose; those that are None are left out.
    """
    words = [describe_layers(network.neurons())]
    return ", ".join([*words, *(f"{name} {value}" for name, value in options.items() if value is not None)])


def cross_backend_report(
    design: Design, data: Dataset, tested: LabelledImages, answers: list[BackendEvaluation], setup: Mapping[str, object]
) -> Report:
    """The report of `qlifq evaluate`.

    Args:
        design: of the network.
        data: what it was trained on.
        tested: the images that it was asked about.
        answers: the closed form first.
        setup: names and plain values.
    """
    first, *others = answers
    found = [f"{first.where}: {_figure(first, design)}."]
    for other in others:
        found.append(f"**{other.where}: {_figure(other, design)}, {duration(other.tested.seconds)}.**")
        found.append(compared(other.where, other.tested, first.where, first.tested, design.reconstructs))
    columns = {"ahead_by": "this figure less that of the closed form, on the same images"}
    sections = [
        Section(
            title="Where it was asked",
            question="The same weights, the same images; only who answers the spike decisions differs.",
            findings=[],
            tables={"places": frame([_row(each, first, design) for each in answers])},
            columns=columns,
        )
    ]
    if not design.reconstructs:
        last = answers[-1]
        caption = f"Asked of {last.where}. Rows: what the images show. Columns: what the network says."
        sections.append(
            Section(
                title="Classes",
                question=f"How often is each class recognised, asked of {last.where}?",
                findings=[],
                pictures={"confusion": Picture(partial(confusion_figure, last.tested, data.classes), caption, last.where)},
                tables={"classes": frame(class_rows(last.tested, data.classes))},
            )
        )
    return Report(
        title=f"A trained network of kind {design.network} on {data.name}, asked of {answers[-1].where}",
        question="What becomes of the answers of a trained network when its spike decisions are asked elsewhere?",
        findings=found,
        uncertainty=(
            f"Intervals hold {100 * CONFIDENCE:.0f} % and are about the {len(tested.images):,} images. The spikes are drawn "
            "anew in every place, so two places differ a little even where both answer perfectly."
        ),
        setup=setup,
        sections=sections,
        source="; ".join(answer.where for answer in answers),
    )


def _figure(answer: BackendEvaluation, design: Design) -> str:
    judged = measured(answer.tested, design.reconstructs)
    return f"binary cross entropy {judged}" if design.reconstructs else percent(judged)


def _row(answer: BackendEvaluation, first: BackendEvaluation, design: Design) -> dict[str, object]:
    tested, base = answer.tested, first.tested
    row: dict[str, object] = {"asked of": answer.where}
    row |= measured(tested, design.reconstructs).columns("loss" if design.reconstructs else "accuracy")
    if answer is not first:
        difference = (
            large_sample_mean((tested.losses - base.losses).numpy())
            if design.reconstructs
            else paired_difference(tested.correct.numpy(), base.correct.numpy())
        )
        row |= difference.columns("ahead_by")
    return {
        **row,
        "spikes": " ".join(f"{rate:.3f}" for rate in tested.rates),
        "evaluations": answer.evaluations,
        "seconds": tested.seconds,
    }
