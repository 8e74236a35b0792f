"""Pictures of a regression."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from qlifq.reporting.figures import BLACK, column_figure, drawn, series
from qlifq.reporting.panels import integer_axis, marked_line, stacked
from qlifq.training.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["forecast_figure", "seeds_figure"]

#: The first test samples that are drawn, and marks along a curve: more would run into each other.
_SHOWN, _EVERY = 200, 20


@drawn
def forecast_figure(expected: Tensor, answers: Mapping[str, Evaluation]) -> "Figure":
    """The first number to predict of the first test samples, what each model predicts, and by how much it is off."""
    truth = expected[:_SHOWN, 0].numpy()
    figure, axes = column_figure(96, 2, 1, sharex=True)
    above, below = axes[:, 0]
    above.set_title("Forecasts")
    above.plot(truth, color=BLACK, linewidth=1.4, label="to predict")
    for place, (name, tested) in enumerate(answers.items()):
        predicted, look = tested.predicted[:_SHOWN, 0].numpy(), series(place).keywords()
        above.plot(predicted, markevery=(3 * place, _EVERY), label=name, **look)
        below.plot(predicted - truth, markevery=(3 * place, _EVERY), label=f"_{name}", **look)
    above.set_ylabel("value (standard deviations)")
    below.set_title("Predicted less true")
    marked_line(below, 0.0, "exact")
    below.set_ylabel("error (standard deviations)")
    for panel in (above, below):
        panel.set_xlabel("test sample")
        integer_axis(panel, "x")
    stacked((above, below))
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@drawn
def seeds_figure(seeds: Sequence[int], errors: Mapping[str, Sequence[float]], linear: float) -> "Figure":
    """The error of every training by its seed, and that of the linear model."""
    figure, axes = column_figure(70, single=True)
    panel = axes[0][0]
    panel.set_title("Error of every training")
    for place, (name, values) in enumerate(errors.items()):
        # The networks of one seed stand side by side.
        aside = np.array(seeds) + 0.16 * (place - (len(errors) - 1) / 2)
        panel.plot(aside, values, label=name, **{**series(place).keywords(), "linestyle": "none"})
    panel.set_xlabel("seed")
    integer_axis(panel, "x")
    panel.set_ylabel("NRMSE (dimensionless)")
    marked_line(panel, linear, "linear")
    panel.set_ylim(0.0, 1.1 * max(linear, *(max(values) for values in errors.values())))
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
