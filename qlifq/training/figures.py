"""Pictures of a training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qlifq.reporting.figures import BLACK, column_figure, drawn, series
from qlifq.reporting.panels import from_zero, heat_map, image, integer_axis, spike_raster, stacked
from qlifq.training.evaluation import Evaluation
from qlifq.training.experiment import Contender, Example

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_figure", "curves_figure", "raster_figure", "reconstructions_figure"]

#: Marks along a curve; more would run into each other.
_MARKS = 20


@drawn
def curves_figure(contenders: Sequence[Contender]) -> "Figure":
    """Loss, and where there is one accuracy, of every network after every epoch."""
    units = {"loss": "loss (dimensionless)", "accuracy": "accuracy (share of samples)"}
    measures = [name for name in units if getattr(contenders[0].history[0], name) is not None]
    figure, axes = column_figure(72, 1, len(measures), single=len(measures) == 1)
    for panel, name in zip(axes[0], measures, strict=True):
        for place, contender in enumerate(contenders):
            numbers = [epoch.number for epoch in contender.history]
            look, every = series(place), max(1, len(numbers) // _MARKS)
            sets = (("training", name, False), ("validation", f"validation_{name}", True))
            for kind, key, hollow in sets:
                values = [getattr(epoch, key) for epoch in contender.history]
                if values[0] is not None:
                    style = {**look.keywords(hollow=hollow), "linewidth": 0.8 if hollow else 1.4}
                    panel.plot(numbers, values, markevery=every, label=f"{contender.description}, {kind}", **style)
        panel.set_title(name.capitalize())
        panel.set_xlabel("epoch")
        panel.set_ylabel(units[name])
        integer_axis(panel, "x")
    from_zero(axes[0][0])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(measures))
    return figure


@drawn
def confusion_figure(tested: Evaluation, classes: int) -> "Figure":
    """How often each class was taken for each, as a share of its images."""
    counts = tested.confusion(classes).numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = column_figure(80, single=True)
    place = axes[0][0]
    picture = place.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=place, label="share (of the class)")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "white" if shares[row, column] > 0.65 else BLACK
            place.text(column, row, str(count), ha="center", va="center", fontsize=min(6.5, 65 / classes), color=ink)
    place.set_xticks(range(classes))
    place.set_yticks(range(classes))
    place.set_xlabel("taken for (class)")
    place.set_ylabel("shown (class)")
    place.set_title(f"{100 * tested.accuracy:.1f} % of {len(tested.labels):,} test samples recognised")
    return figure


@drawn
def raster_figure(example: Example, picture: tuple[int, int]) -> "Figure":
    """One test image, its input in time, and the spikes of every hidden layer."""
    layers = len(example.spikes)
    figure, axes = column_figure(20 + 36 * (1 + layers), 1 + layers, 2, width_ratios=(1, 3.6))
    image(axes[0][0], example.image.reshape(picture).numpy(), top=1.0)
    axes[0][0].set_title(f"Image of class {example.label}")
    heat_map(axes[0][1], example.signal.numpy(), label="I (dimensionless)", row="pixel")
    axes[0][1].set_title("Input current I")
    for number, (left, right) in enumerate(axes[1:]):
        spikes = example.spikes[number].numpy()
        left.hist(spikes.mean(axis=0), bins=20, range=(0, 1), color=BLACK)
        left.set_title("Neurons by rate")
        left.set_xlabel("rate (spikes per step)")
        left.set_ylabel("neurons")
        integer_axis(left, "y")
        spike_raster(right, spikes)
        right.set_title(f"Spikes of hidden layer {number + 1}: {float(spikes.mean()):.3f} per neuron and step")
    stacked(axes[:, 1])
    return figure


@drawn
def reconstructions_figure(examples: Sequence[Example], picture: tuple[int, int]) -> "Figure":
    """Test images and what an autoencoder makes of them."""
    height, width = picture
    rows = [[example.image for example in examples], [example.scores.sigmoid() for example in examples]]
    mosaic = np.vstack([np.hstack([pixels.reshape(picture).numpy() for pixels in row]) for row in rows])
    figure, axes = column_figure(45)
    panel = axes[0, 0]
    panel.imshow(mosaic, cmap="Greys", vmin=0, vmax=1)
    panel.set_title("Test images and what the network gives back")
    panel.set_xticks([width * (place + 0.5) - 0.5 for place in range(len(examples))], [str(each.label) for each in examples])
    panel.set_yticks([height / 2 - 0.5, 3 * height / 2 - 0.5], ["shown", "given back"])
    panel.set_xlabel("label (class)")
    panel.set_ylabel("image")
    panel.tick_params(length=0)
    return figure
