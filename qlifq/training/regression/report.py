"""What a regression left behind, in a report that claims no more than the intervals over seeds show."""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from qlifq.reporting.figures import figure_files
from qlifq.reporting.intervals import CONFIDENCE, Interval, student_mean
from qlifq.reporting.report import Picture, Report, Section
from qlifq.reporting.wording import counted
from qlifq.training.evaluation import Evaluation
from qlifq.training.experiment import Contender
from qlifq.training.figures import curves_figure
from qlifq.training.regression.experiment import RegressionExperiment, SeededNetwork
from qlifq.training.regression.figures import forecast_figure, seeds_figure
from qlifq.training.report import facts_of, frame

__all__ = ["FILES", "nrmse", "regression_report"]

#: What the report is written to.
FILES = (
    "report.md",
    "models.csv",
    "seeds.csv",
    "epochs.csv",
    "forecasts.csv",
    *figure_files("seeds", "forecasts", "curves"),
)
_LINEAR = "linear model"


def nrmse(tested: Evaluation) -> float:
    """The normalised root mean squared error: what is predicted has standard deviation 1 where the models learn."""
    return math.sqrt(tested.loss)


def regression_report(experiment: RegressionExperiment, setup: Mapping[str, object]) -> Report:
    """The report of `qlifq train` on numbers to predict.

    Args:
        experiment: what was found.
        setup: what else the user chose, names and JSON values.
    """
    first, *others = experiment.networks
    design, repeats = first.design, len(first.seeds)
    found = [f"**{_said(first)}**"]
    for other in others:
        found += [f"{_said(other)}", _compared(first, other.description, _paired(first, other))]
    found += [
        f"Linear model of scikit-learn on the same numbers: NRMSE {nrmse(experiment.linear):.3g}, "
        f"{counted(experiment.linear_parameters, 'parameter')}.",
        _compared(first, "the linear model", _beside_linear(first, experiment)),
    ]
    facts = facts_of(experiment, design, first.description) | {"seeds": ", ".join(map(str, first.seeds))}
    return Report(
        title=f"{first.description} in a network of kind {design.network} on {experiment.data.name}",
        question=(
            f"How well does a spiking network learn to {design.task.goal}, and how well do a classical network with as many "
            "parameters, trained in the same way on the same samples, and a linear model? The error is the root of the mean "
            "squared error over the standard deviation of what is predicted (NRMSE): 1 for whoever predicts the mean."
        ),
        findings=found,
        uncertainty=(
            f"Intervals hold {100 * CONFIDENCE:.0f} % and are about other seeds: the mean over {repeats} trainings, by "
            "Student's t, which takes their errors to be near to normal; two networks are paired by seed. Data and their "
            "division were the same each time: what other samples would give is in no interval here. The linear model has no "
            "seed and one error."
        ),
        setup={**facts, **setup},
        sections=[_models(experiment), _forecasts(experiment), _learning(experiment)],
        source=experiment.decided_by,
        results={
            "nrmse": student_mean(_errors(first)),
            **{f"nrmse of {other.description}": student_mean(_errors(other)) for other in others},
            f"nrmse of the {_LINEAR}": _without_seed(experiment.linear),
        },
    )


def _errors(network: SeededNetwork) -> list[float]:
    return [nrmse(tested) for tested in network.tested]


def _paired(first: SeededNetwork, other: SeededNetwork) -> Interval:
    """The mean difference of the errors, first less other, paired by seed."""
    return student_mean([mine - its for mine, its in zip(_errors(first), _errors(other), strict=True)])


def _beside_linear(first: SeededNetwork, experiment: RegressionExperiment) -> Interval:
    return student_mean([error - nrmse(experiment.linear) for error in _errors(first)])


def _without_seed(tested: Evaluation) -> Interval:
    """The error of what no seed changes."""
    return Interval(*(nrmse(tested),) * 3)


def _said(network: SeededNetwork) -> str:
    return (
        f"{network.description}: NRMSE {student_mean(_errors(network))}, mean of {len(network.seeds)} seeds, "
        f"{counted(network.parameters, 'parameter')}."
    )


def _compared(first: SeededNetwork, other: str, difference: Interval) -> str:
    """What the seeds say about which has the lower error, and no more."""
    words = f"{difference.value:+.3g} in NRMSE ({difference.low:+.3g} to {difference.high:+.3g})"
    if difference.holds(0.0):
        return f"Between {first.description} and {other} these seeds show no difference: {words}."
    side = "ahead of" if difference.high < 0 else "behind"
    return f"{first.description} is {side} {other} over these seeds: {words}."


def _models(experiment: RegressionExperiment) -> Section:
    first = experiment.networks[0]
    rows: list[dict[str, object]] = []
    for network in experiment.networks:
        row: dict[str, object] = {"model": network.description, "parameters": network.parameters}
        row |= student_mean(_errors(network)).columns("nrmse")
        if network is not first:
            row |= _paired(first, network).columns("ahead_by")
        rows.append(row)
    linear: dict[str, object] = {"model": _LINEAR, "parameters": experiment.linear_parameters}
    linear |= _without_seed(experiment.linear).columns("nrmse")
    linear |= _beside_linear(first, experiment).columns("ahead_by")
    seeds = [
        {
            "model": network.description,
            "seed": seed,
            "nrmse": nrmse(tested),
            "loss": tested.loss,
            "spikes": " ".join(f"{rate:.3f}" for rate in tested.rates),
            "training_seconds": sum(epoch.seconds for epoch in history),
        }
        for network in experiment.networks
        for seed, tested, history in zip(network.seeds, network.tested, network.histories, strict=True)
    ]
    errors = {network.description: _errors(network) for network in experiment.networks}
    draw = partial(seeds_figure, first.seeds, errors, nrmse(experiment.linear))
    return Section(
        title="Models",
        question=(
            "The same network with classical neurons in place of its own, trained with the same settings and seeds, and least "
            "squares on the same numbers."
        ),
        findings=[],
        pictures={"seeds": Picture(draw, "The error of every training by its seed. Dashed: the linear model.")},
        tables={"models": frame([*rows, linear]), "seeds": frame(seeds)},
        columns={
            "nrmse": "root of the mean squared error over the standard deviation of what is predicted",
            "ahead_by": "the first network's error less this one's: below 0 the first one is ahead",
            "spikes": "per neuron and step, of each hidden layer",
        },
    )


def _forecasts(experiment: RegressionExperiment) -> Section:
    from pandas import DataFrame

    answers = {network.description: network.tested[0] for network in experiment.networks} | {_LINEAR: experiment.linear}
    expected = experiment.data.test.labels
    samples, targets = expected.shape
    table = DataFrame(
        {
            "sample": np.repeat(np.arange(samples), targets),
            "target": np.tile(np.arange(targets), samples),
            "to predict": expected.flatten().numpy(),
            **{name: tested.predicted.flatten().numpy() for name, tested in answers.items()},
        }
    )
    return Section(
        title="Forecasts",
        question=f"What do the models predict on the test samples, the networks after the training with seed "
        f"{experiment.settings.seed}?",
        findings=[],
        pictures={
            "forecasts": Picture(
                partial(forecast_figure, expected, answers), "Above: the first test samples. Below: predicted less true."
            )
        },
        tables={"forecasts": table},
    )


def _learning(experiment: RegressionExperiment) -> Section:
    rows = [
        {
            "model": network.description,
            "seed": seed,
            **{name: value for name, value in vars(epoch).items() if value is not None},
        }
        for network in experiment.networks
        for seed, history in zip(network.seeds, network.histories, strict=True)
        for epoch in history
    ]
    curves = [Contender(each.design, each.parameters, each.histories[0], each.tested[0]) for each in experiment.networks]
    return Section(
        title="Learning",
        question="The loss of every epoch, a mean squared error, of the training with the first seed.",
        findings=[],
        pictures={"curves": Picture(partial(curves_figure, curves), "Every epoch of every network.")},
        tables={"epochs": frame(rows)},
    )
