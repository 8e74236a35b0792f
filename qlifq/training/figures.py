"""Pictures of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from qlifq.reporting.report import new_figure, styled
from qlifq.training.evaluation import Evaluation
from qlifq.training.experiment import Contender, Example

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_figure", "curves_figure", "raster_figure", "reconstructions_figure"]

_COLOURS = ("#2f6db3", "#d2691e", "#14857a", "#7b4fa3")
_INK = "#1d1d1f"


def curves_figure(contenders: Sequence[Contender]) -> "Figure":
    """Loss, and where there is one accuracy, of every network after every epoch."""
    measures = [name for name in ("loss", "accuracy") if getattr(contenders[0].history[0], name) is not None]
    with styled():
        figure, axes = new_figure(5.4 * len(measures), 3.6, 1, len(measures))
        for place, name in zip(axes[0], measures, strict=True):
            for contender, colour in zip(contenders, _COLOURS, strict=False):
                numbers = [epoch.number for epoch in contender.history]
                values = [getattr(epoch, name) for epoch in contender.history]
                validated = [getattr(epoch, f"validation_{name}") for epoch in contender.history]
                place.plot(numbers, values, "o-", color=colour, markersize=3, linewidth=1.2, label=contender.description)
                if validated[0] is not None:
                    place.plot(numbers, validated, "s--", color=colour, markersize=3, linewidth=1.0)
            place.set_title(f"{name.capitalize()}: training —, validation - -")
            place.set_xlabel("epoch")
            place.locator_params(axis="x", integer=True, min_n_ticks=1)
        axes[0][0].set_ylim(bottom=0.0)
        axes[0][-1].legend()
    return figure


def confusion_figure(tested: Evaluation, classes: int) -> "Figure":
    """How often each class was taken for each, as a share of its images."""
    counts = tested.confusion(classes).numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with styled():
        figure, axes = new_figure(5.6, 5.0)
        place = axes[0][0]
        image = place.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=place, shrink=0.85, label="share of the class")
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else _INK
                place.text(column, row, str(count), ha="center", va="center", fontsize=7.5, color=colour)
        place.set_xticks(range(classes))
        place.set_yticks(range(classes))
        place.set_xlabel("taken for")
        place.set_ylabel("class")
        place.set_title(f"{100 * tested.accuracy:.1f} % of {len(tested.labels):,} test images recognised")
    return figure


def raster_figure(example: Example, picture: tuple[int, int]) -> "Figure":
    """One test image, its input in time, and the spikes of every hidden layer."""
    with styled():
        figure, axes = new_figure(11.0, 2.2 + 1.8 * len(example.spikes), 1 + len(example.spikes), 2, width_ratios=(1, 4.6))
        _image(axes[0][0], example.image, picture, f"Image of class {example.label}")
        _map(axes[0][1], example.signal, "Blues", "Input current", "pixel")
        for number, (left, right) in enumerate(axes[1:]):
            spikes = example.spikes[number]
            _rates(left, spikes)
            _map(right, spikes, "Greys", f"Spikes of hidden layer {number + 1}: {float(spikes.mean()):.3f} per step", "neuron")
        axes[-1][1].set_xlabel("time (steps)")
    return figure


def reconstructions_figure(examples: Sequence[Example], picture: tuple[int, int]) -> "Figure":
    """Test images and what an autoencoder makes of them."""
    with styled():
        figure, axes = new_figure(1.1 * len(examples), 2.6, 2, len(examples))
        for column, example in enumerate(examples):
            _image(axes[0][column], example.image, picture, "")
            _image(axes[1][column], example.scores.sigmoid(), picture, "")
    return figure


def _image(axes: "Axes", pixels: Tensor, picture: tuple[int, int], title: str) -> None:
    axes.imshow(pixels.reshape(picture).numpy(), cmap="Greys", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title)


def _map(axes: "Axes", values: Tensor, colours: str, title: str, row: str) -> None:
    axes.imshow(values.T.numpy(), aspect="auto", cmap=colours, interpolation="nearest", vmin=min(0.0, float(values.min())))
    axes.set_title(title)
    axes.set_ylabel(row)
    axes.locator_params(integer=True, min_n_ticks=1)


def _rates(axes: "Axes", spikes: Tensor) -> None:
    axes.hist(spikes.mean(dim=0).numpy(), bins=20, range=(0, 1), color=_INK)
    axes.set_title("Neurons by rate")
    axes.set_xlabel("spikes per step")
