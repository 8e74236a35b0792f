"""Pictures of a recording, each into axes: `raster`, `membrane`, `response` and `rates`, in the style of the reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from qlifq import _validation as check
from qlifq.circuits import RYSpike, SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError
from qlifq.neurons import Recording
from qlifq.reporting.figures import BLACK, BLUE, GREEN, GREY, VERMILION, column_figure, put_heading, styled
from qlifq.reporting.panels import integer_axis, over_time, spike_raster
from qlifq.reporting.wording import estimated

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["membrane", "raster", "rates", "response"]

#: More points than this in a scatter only make a file larger.
_MOST_POINTS = 5000
#: What a panel keeps free above its curves for its legend, of their height.
_HEAD_ROOM = 0.3


def raster(recording: Recording, axes: "Axes | None" = None, *, sample: int = 0) -> "Axes":
    """The spikes of one sample as ticks, time to the right and every neuron a row, neuron 0 at the bottom.

    Args:
        recording: what `simulate` or `record` kept; the neurons of a shape stand in a row, the last dimension fastest.
        axes: where to draw; None for the axes of a new figure, `axes.figure`, which belongs to no window.
        sample: which element of the batch.

    Returns:
        The axes.

    Raises:
        ArgumentError: if there is no such sample.
        DtypeError: if `recording` is none, or `axes` are no axes.
    """
    spikes = _values(recording, "spikes", sample)
    with _place(axes, recording) as panel:
        spike_raster(panel, spikes)
        panel.set_title(f"Spikes: {spikes.mean():.3f} per neuron and step", loc="left")
    return panel


def membrane(recording: Recording, axes: "Axes | None" = None, *, sample: int = 0, neuron: int | None = None) -> "Axes":
    """The membrane potential of one neuron over time, with its threshold where it was recorded, and its spikes.

    Args:
        recording: with "potential", V at the decision, or "voltage", V after it; of Brand-Petruccione neurons "population".
        axes: as for `raster`.
        sample: which element of the batch.
        neuron: which, counted in a row; None for the one that spiked most.

    Returns:
        The axes.

    Raises:
        ArgumentError: if there is no such sample or neuron, or no potential was recorded.
        DtypeError: as for `raster`.
    """
    spikes = _values(recording, "spikes", sample)
    name = next((name for name in ("potential", "voltage", "population") if name in recording.names), None)
    if name is None:
        raise ArgumentError("Argument `recording` must hold 'potential', 'voltage' or 'population', but holds none of them.")
    most = spikes.shape[1] - 1
    shown = int(spikes.mean(axis=0).argmax()) if neuron is None else check.integer("neuron", neuron, at_least=0, at_most=most)
    potential, time = _values(recording, name, sample)[:, shown], np.arange(len(spikes))
    symbol, word = ("α", "Population") if name == "population" else ("V", "Membrane potential")
    with _place(axes, recording) as panel:
        panel.plot(time, potential, color=BLUE, linewidth=1.3, label=symbol)
        if "threshold" in recording.names:
            threshold = _values(recording, "threshold", sample)[:, shown]
            panel.plot(time, threshold, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.2, label="threshold")
        fired = np.flatnonzero(spikes[:, shown] == 1)
        panel.plot(fired, potential[fired], "o", color=BLACK, markersize=3.5, label="spike")
        panel.set_title(f"{word} of neuron {shown}", loc="left")
        panel.set_ylabel(f"{symbol} (dimensionless)")
        low, high = panel.get_ylim()
        panel.set_ylim(low, high + _HEAD_ROOM * (high - low))
        panel.legend(loc="upper left", ncols=3)
        over_time(panel, len(spikes))
    return panel


def response(
    recording: Recording, axes: "Axes | None" = None, *, sample: int = 0, circuit: SpikeCircuit | None = None
) -> "Axes":
    """The spike probability against the gap Δ, every neuron and step of a sample a point, evenly thinned.

    Where every probability is the outcome of one shot, 0 or 1, the closed form of its angle stands beside it.

    Args:
        recording: with "probability", and "gap" or both "potential" and "threshold"; with "angle" for the closed form.
        axes: as for `raster`.
        sample: which element of the batch.
        circuit: of the layer, whose closed form is drawn; None for `RYSpike`.

    Returns:
        The axes.

    Raises:
        ArgumentError: if there is no such sample, or what is needed was not recorded.
        DtypeError: as for `raster`.
    """
    probability = _values(recording, "probability", sample)
    if "gap" in recording.names:
        gap = _values(recording, "gap", sample)
    else:
        gap = _values(recording, "potential", sample) - _values(recording, "threshold", sample)
    stride = max(1, -(-gap.size // _MOST_POINTS))
    single = bool(np.isin(probability, (0.0, 1.0)).all())
    sets = [(probability, "measured", "x", GREY, 5.0)] if single else [(probability, "P(1)", ".", GREEN, 4.0)]
    if single and "angle" in recording.names:
        angle = torch.from_numpy(_values(recording, "angle", sample))
        closed = (RYSpike() if circuit is None else circuit).probability(angle.unsqueeze(-1)).numpy()
        sets.append((closed, "closed form", ".", GREEN, 4.0))
    with _place(axes, recording) as panel:
        for values, label, marker, colour, size in sets:
            at = gap.ravel()[::stride], values.ravel()[::stride]
            panel.plot(*at, marker, color=colour, markersize=size, alpha=0.5, markeredgewidth=0.7, label=label)
        if len(sets) > 1:
            panel.legend(loc="center left")
        panel.set_title(f"{estimated(1) if single else 'Response'}, all neurons", loc="left")
        panel.set_xlabel("gap Δ (dimensionless)")
        panel.set_ylabel("P(1)")
        panel.set_ylim(-0.02, 1.02)
    return panel


def rates(recording: Recording, axes: "Axes | None" = None) -> "Axes":
    """The firing rate of every neuron in spikes per step, averaged over the batch.

    Args:
        recording: what `simulate` or `record` kept.
        axes: as for `raster`.

    Returns:
        The axes.

    Raises:
        DtypeError: as for `raster`.
    """
    _values(recording, "spikes", 0)
    rate = recording.spikes.detach().cpu().flatten(2).double().mean(dim=(0, 1)).numpy()
    with _place(axes, recording) as panel:
        panel.bar(np.arange(len(rate)), rate, width=1.0, color=BLACK)
        panel.set_title(f"Firing rates: {rate.mean():.3f} on average", loc="left")
        panel.set_xlim(-0.5, len(rate) - 0.5)
        panel.set_ylim(0.0, 1.06 * float(rate.max()) or 1.0)
        panel.set_xlabel("neuron")
        panel.set_ylabel("rate (spikes per step)")
        integer_axis(panel, "x")
    return panel


def _values(recording: Recording, name: str, sample: int) -> npt.NDArray[Any]:
    """What was recorded of a sample, `(time, neurons)`."""
    if not isinstance(recording, Recording):
        raise DtypeError(f"Argument `recording` must be a Recording, but is {type(recording).__name__}.")
    time, batch, *_ = recording.spikes.shape
    if not time:
        raise ArgumentError("Argument `recording` must have at least one step, but has none.")
    check.integer("sample", sample, at_least=0, at_most=batch - 1)
    values: npt.NDArray[Any] = recording[name].detach()[:, sample].flatten(1).cpu().numpy()
    return values


@contextmanager
def _place(axes: "Axes | None", recording: Recording) -> "Iterator[Axes]":
    """The axes that were given, or those of a new figure, which is in the style of the reports and says who decided."""
    if axes is None:
        with styled():
            figure, ((panel,),) = column_figure(75)
            put_heading(figure, recording.decided_by)
            yield panel
    elif hasattr(axes, "plot") and hasattr(axes, "figure"):
        yield axes
    else:
        raise DtypeError(f"Argument `axes` must be matplotlib axes or None, but is {type(axes).__name__}.")
