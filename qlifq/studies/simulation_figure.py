"""Pictures of what a study found."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qlifq._validation import integer
from qlifq.errors import ArgumentError
from qlifq.reporting.figures import put_heading, styled
from qlifq.reporting.wording import counted
from qlifq.studies.simulation import SimulationRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["simulation_figure"]

Floats = npt.NDArray[np.float32]

_INPUT, _SPIKES, _VOLTAGE, _THRESHOLD, _PROBABILITY = "#2f6db3", "#1d1d1f", "#14857a", "#d2691e", "#7b4fa3"
#: More points than this in the scatter only make the file larger.
_MOST_POINTS = 5000


def simulation_figure(
    run: SimulationRun, *, sample: int = 0, neuron: int | None = None, picture: tuple[int, int] | None = None
) -> "Figure":
    """Input, spikes, membrane potential and spike probability of one sample, one above the other in time.

    Beside them: the input and the firing rate of every neuron, and the spike probability against the gap.

    Args:
        run: what `run_simulation` returned.
        sample: which element of the batch.
        neuron: whose potential is drawn; None for the one that spiked most.
        picture: rows and columns where the neurons are the pixels of a picture.

    Returns:
        A matplotlib figure of 12.8 × 9 inches; it belongs to no window and need not be closed.

    Raises:
        QLIFError: if there is no such sample or neuron, or the picture has another number of pixels.
    """
    steps, batch, neurons = run.current.shape
    integer("sample", sample, at_least=0, at_most=batch - 1)
    if picture is not None and picture[0] * picture[1] != neurons:
        raise ArgumentError(f"Argument `picture` must have {neurons} pixels, one per neuron, but is {picture}.")
    current = run.current[:, sample].numpy()
    traces = {name: run.recording[name][:, sample].numpy() for name in run.recording.names}
    spikes = traces["spikes"]
    rate = spikes.mean(axis=0)
    shown = int(rate.argmax()) if neuron is None else integer("neuron", neuron, at_least=0, at_most=neurons - 1)
    graded = run.layer.settings.decision == "expectation"
    has_probability = "probability" in traces
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12.8, 9.0), dpi=100, layout="constrained")
        heights = (1.15, 1.15, 1, 0.8) if has_probability else (1.15, 1.15, 1)
        grid = figure.add_gridspec(len(heights), 2, width_ratios=(4.2, 1), height_ratios=heights)
        rows = [figure.add_subplot(grid[row, 0]) for row in range(len(heights))]
        for row in rows[1:]:
            row.sharex(rows[0])
        for row in rows[:-1]:
            row.tick_params(labelbottom=False)
        rows[-1].set_xlabel("time (steps)")
        rows[-1].locator_params(axis="x", integer=True, min_n_ticks=1)

        _over_time(rows[0], current, "Blues")
        rows[0].set_title("Input current (dimensionless)", color=_INPUT)
        _over_time(rows[1], spikes, "Greys")
        kind = "Graded spikes" if graded else "Spikes"
        rows[1].set_title(f"{kind}: {rate.mean():.3f} per neuron and step", color=_SPIKES)

        time = np.arange(steps)
        rows[2].set_title(f"Membrane potential V of neuron {shown} (dimensionless)", color=_VOLTAGE)
        rows[2].plot(time, traces["potential"][:, shown], color=_VOLTAGE, linewidth=1.3, label="V")
        rows[2].plot(time, traces["threshold"][:, shown], color=_THRESHOLD, linestyle="--", linewidth=1.2, label="threshold")
        if not graded:
            fired = np.flatnonzero(spikes[:, shown])
            rows[2].plot(fired, traces["potential"][fired, shown], "o", color=_SPIKES, markersize=3.5, label="spike")
        rows[2].legend(loc="lower left", bbox_to_anchor=(0.5, 0.97), ncols=3, borderaxespad=0.0)
        rows[2].set_ylabel("V")

        _by_neuron(figure.add_subplot(grid[0, 1]), current.mean(axis=0), "Blues", _INPUT, "Mean input", picture)
        _by_neuron(figure.add_subplot(grid[1, 1]), rate, "Greys", _SPIKES, "Spikes per step", picture)
        if has_probability:
            probability = traces["probability"]
            rows[3].set_title(f"Spike probability of neuron {shown}", color=_PROBABILITY)
            rows[3].fill_between(time, probability[:, shown], step="mid", color=_PROBABILITY, alpha=0.25, linewidth=0)
            rows[3].step(time, probability[:, shown], where="mid", color=_PROBABILITY, linewidth=1.1)
            rows[3].set_ylim(0, 1.02)
            rows[3].set_ylabel("P(1)")
            _response(figure.add_subplot(grid[2:, 1]), traces["potential"] - traces["threshold"], probability)
        rows[0].set_xlim(-0.5, steps - 0.5)
        who = f"{counted(neurons, 'QLIF neuron')}, sample {sample + 1} of {batch:,}"
        put_heading(figure, f"{who}: {run.recording.decided_by}")
    return figure


def _over_time(axes: "Axes", values: Floats, colours: str) -> None:
    """Values `(time, neurons)` as a map with time to the right."""
    top = float(np.abs(values).max()) or 1.0
    axes.imshow(values.T, aspect="auto", cmap=colours, vmin=min(0.0, float(values.min())), vmax=top)
    axes.set_ylabel("neuron")
    axes.locator_params(axis="y", integer=True, min_n_ticks=1)


def _by_neuron(axes: "Axes", values: Floats, colours: str, colour: str, title: str, picture: tuple[int, int] | None) -> None:
    """One value for each neuron: as a picture, or as a profile beside the map."""
    axes.set_title(title, color=colour)
    if picture is not None:
        image = axes.imshow(values.reshape(picture), cmap=colours, vmin=min(0.0, float(values.min())))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.figure.colorbar(image, ax=axes, shrink=0.85, pad=0.03)
        return
    axes.barh(np.arange(len(values)), values, height=1.0, color=colour)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(min(0.0, float(values.min())), max(0.0, float(values.max())) or 1.0)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelleft=False)


def _response(axes: "Axes", gap: Floats, probability: Floats) -> None:
    """The spike probability against the gap, every neuron and step (evenly thinned) of the sample a point."""
    stride = -(-gap.size // _MOST_POINTS)
    points = gap.reshape(-1)[::stride], probability.reshape(-1)[::stride]
    axes.plot(*points, ".", color=_PROBABILITY, markersize=4, alpha=0.4, markeredgewidth=0)
    axes.set_title("Response, all neurons", color=_PROBABILITY)
    axes.set_xlabel("gap Δ = V − threshold")
    axes.set_ylabel("P(1)")
    axes.set_ylim(-0.02, 1.02)
    axes.locator_params(axis="x", nbins=4)
