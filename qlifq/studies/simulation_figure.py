"""Pictures of what a study found."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from qlifq._validation import integer
from qlifq.errors import ArgumentError
from qlifq.reporting.figures import BLACK, BLUE, GREEN, GREY, PALE, VERMILION, column_figure, drawn, put_heading
from qlifq.reporting.panels import heat_map, image, integer_axis, legend_above, over_time, spike_raster, stacked
from qlifq.reporting.wording import counted, estimated
from qlifq.studies.simulation import SimulationRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["simulation_figure"]

Floats = npt.NDArray[np.float32]

#: More points than this in the scatter only make the file larger.
_MOST_POINTS = 5000
#: Of a share of shots in single precision.
_ROUNDING = 1e-5
#: P(1) of a qubit without noise.
_CLOSED_FORM = "closed form"


@drawn
def simulation_figure(
    run: SimulationRun, *, sample: int = 0, neuron: int | None = None, picture: tuple[int, int] | None = None
) -> "Figure":
    """Input, spikes, membrane potential and spike probability of one sample, one above the other in time.

    Beside them: the input and the firing rate of every neuron, and the spike probability against the gap. Where a probability
    was estimated from shots, the closed form of the same angles stands beside it.

    Args:
        run: what `run_simulation` returned.
        sample: which element of the batch.
        neuron: whose potential is drawn; None for the one that spiked most.
        picture: rows and columns where the neurons are the pixels of a picture.

    Returns:
        A matplotlib figure of 183 × 150 mm; it belongs to no window and need not be closed.

    Raises:
        QLIFError: if there is no such sample or neuron, or the picture has another number of pixels.
    """
    _, batch, neurons = run.current.shape
    integer("sample", sample, at_least=0, at_most=batch - 1)
    if picture is not None and picture[0] * picture[1] != neurons:
        raise ArgumentError(f"Argument `picture` must have {neurons} pixels, one per neuron, but is {picture}.")
    current = run.current[:, sample].numpy()
    traces = {name: run.recording[name][:, sample].numpy() for name in run.recording.names}
    rate = traces["spikes"].mean(axis=0)
    shown = int(rate.argmax()) if neuron is None else integer("neuron", neuron, at_least=0, at_most=neurons - 1)
    graded = run.layer.settings.decision == "expectation"
    heights = (1.15, 1.15, 1, 0.9) if "probability" in traces else (1.15, 1.15, 1)
    figure, axes = column_figure(150, len(heights), 2, width_ratios=(3.3, 1), height_ratios=heights)
    for row in range(2, len(heights)):
        axes[row, 1].remove()
    rows = axes[:, 0]

    rows[0].set_title("Input current I")
    heat_map(rows[0], current, label="I (dimensionless)")
    rows[1].set_title(f"{'Graded spikes' if graded else 'Spikes'}: {rate.mean():.3f} per neuron and step")
    spike_raster(rows[1], traces["spikes"])
    _by_neuron(axes[0, 1], current.mean(axis=0), "Blues", BLUE, "Mean input", "I (dimensionless)", picture)
    _by_neuron(axes[1, 1], rate, "Greys", BLACK, "Firing rate", "rate (spikes per step)", picture)
    rows[2].set_title(f"Potential V of neuron {shown}")
    _potential(rows[2], {name: trace[:, shown] for name, trace in traces.items()}, graded=graded)
    if "probability" in traces:
        shots = _shots(run)
        closed = None if shots is None else _closed_form(run, sample)
        rows[3].set_title(f"{estimated(shots)}, neuron {shown}")
        _probability(rows[3], traces["probability"][:, shown], None if closed is None else closed[:, shown])
        beside = figure.add_subplot(axes[0, 0].get_gridspec()[2:, 1])
        beside.set_title(estimated(shots) if shots == 1 else "Response, all neurons")
        _response(beside, traces["potential"] - traces["threshold"], traces["probability"], closed)
    stacked(rows)
    who = f"{counted(neurons, 'QLIF neuron')}, sample {sample + 1} of {batch:,}"
    put_heading(figure, f"{who}: {run.recording.decided_by}")
    return figure


def _shots(run: SimulationRun) -> int | None:
    """The shots behind one estimate of P(1); None where P(1) itself was recorded."""
    settings = run.layer.settings
    if not settings.quantum_mode or run.layer.shots is None:
        return None
    shots = run.layer.shots * settings.quantum_wire
    # A backend in closed form draws the spike of one shot with P(1), which is what is recorded then.
    counts = run.recording["probability"] * shots
    return shots if bool((counts - counts.round()).abs().max() < _ROUNDING * shots) else None


def _closed_form(run: SimulationRun, sample: int) -> Floats:
    """P(1) of the angles of a sample, `(time, neurons)`, on a qubit without noise."""
    with torch.no_grad():
        return np.asarray(run.layer.circuit.probability(run.recording["angle"][:, sample].cpu().unsqueeze(-1)))


def _potential(axes: "Axes", traces: dict[str, Floats], *, graded: bool) -> None:
    """Potential, threshold and spikes of one neuron, `(time,)` each."""
    time = np.arange(len(traces["potential"]))
    axes.plot(time, traces["potential"], color=BLUE, label="V")
    axes.plot(time, traces["threshold"], color=VERMILION, linestyle=(0, (4, 2)), label="threshold")
    if not graded:
        fired = np.flatnonzero(traces["spikes"])
        axes.plot(fired, traces["potential"][fired], "o", color=BLACK, markersize=2.5, label="spike")
    axes.set_ylabel("V (dimensionless)")
    over_time(axes, len(time))
    legend_above(axes)


def _probability(axes: "Axes", probability: Floats, closed: "Floats | None") -> None:
    """P(1) of one neuron, or its estimate beside the closed form, `(time,)` each."""
    time = np.arange(len(probability))
    line = probability if closed is None else closed
    axes.fill_between(time, line, step="mid", color=PALE, linewidth=0)
    axes.step(time, line, where="mid", color=GREEN, label="P(1)" if closed is None else _CLOSED_FORM)
    if closed is not None:
        axes.plot(time, probability, "x", color=BLACK, markersize=2.5, markeredgewidth=0.6, label="measured", clip_on=False)
        legend_above(axes)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("P(1)")
    over_time(axes, len(time))


def _by_neuron(
    axes: "Axes", values: Floats, colours: str, colour: str, title: str, unit: str, picture: tuple[int, int] | None
) -> None:
    """One value for each neuron: as a picture, or as a profile beside the map."""
    axes.set_title(title)
    if picture is not None:
        image(axes, values.reshape(picture), label=unit, colours=colours)
        return
    axes.barh(np.arange(len(values)), values, height=1.0, color=colour)
    axes.set_ylim(-0.5, len(values) - 0.5)
    axes.set_xlim(min(0.0, float(values.min())), max(0.0, float(values.max())) or 1.0)
    axes.set_xlabel(unit)
    axes.locator_params(axis="x", nbins=4)
    axes.set_ylabel("neuron")
    integer_axis(axes, "y")


def _response(axes: "Axes", gap: Floats, probability: Floats, closed: "Floats | None") -> None:
    """The spike probability against the gap, every neuron and step (evenly thinned) of the sample a point."""
    stride = -(-gap.size // _MOST_POINTS)
    sets = [(probability, "P(1)", ".", GREEN, 2.5)]
    if closed is not None:
        sets = [(probability, "measured", "x", GREY, 3.5), (closed, _CLOSED_FORM, ".", GREEN, 2.0)]
    for values, label, marker, colour, size in sets:
        at = gap.reshape(-1)[::stride], values.reshape(-1)[::stride]
        axes.plot(*at, marker, color=colour, markersize=size, alpha=0.5, markeredgewidth=0.5, label=label)
    axes.set_xlabel("gap Δ (dimensionless)")
    axes.set_ylabel("P(1)")
    axes.set_ylim(-0.02, 1.02)
    axes.locator_params(axis="x", nbins=4)
