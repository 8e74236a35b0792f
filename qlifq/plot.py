"""Pictures of a recording, each into axes: `raster`, `membrane`, `response` and `rates`, in the style of the reports."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qlifq import _validation as check
from qlifq.errors import ArgumentError, DtypeError
from qlifq.neurons import Recording
from qlifq.reporting.figures import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["membrane", "raster", "rates", "response"]

_SPIKES, _VOLTAGE, _THRESHOLD, _PROBABILITY = "#1d1d1f", "#14857a", "#d2691e", "#7b4fa3"
#: More points than this in a scatter only make a file larger.
_MOST_POINTS = 5000


def raster(recording: Recording, axes: "Axes | None" = None, *, sample: int = 0) -> "Axes":
    """The spikes of one sample, time to the right and every neuron a row.

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
    axes = _axes(axes)
    time, neuron = np.nonzero(spikes)
    axes.scatter(time, neuron, s=5.0, marker="|", c=_SPIKES, alpha=np.clip(spikes[time, neuron], 0.05, 1.0), linewidths=1.0)
    axes.set_title(f"Spikes: {spikes.mean():.3f} per neuron and step", loc="left", color=_SPIKES)
    axes.set_ylim(spikes.shape[1] - 0.5, -0.5)
    axes.set_ylabel("neuron")
    axes.locator_params(axis="y", integer=True, min_n_ticks=1)
    return _over_time(axes, len(spikes))


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
    axes = _axes(axes)
    symbol = "α" if name == "population" else "V"
    axes.plot(time, potential, color=_VOLTAGE, linewidth=1.3, label=symbol)
    if "threshold" in recording.names:
        threshold = _values(recording, "threshold", sample)[:, shown]
        axes.plot(time, threshold, color=_THRESHOLD, linestyle="--", linewidth=1.2, label="threshold")
    fired = np.flatnonzero(spikes[:, shown] == 1)
    axes.plot(fired, potential[fired], "o", color=_SPIKES, markersize=3.5, label="spike")
    axes.set_title(
        f"{'Population' if name == 'population' else 'Membrane potential'} of neuron {shown}", loc="left", color=_VOLTAGE
    )
    axes.set_ylabel(f"{symbol} (dimensionless)")
    axes.legend(loc="best", ncols=3)
    return _over_time(axes, len(spikes))


def response(recording: Recording, axes: "Axes | None" = None, *, sample: int = 0) -> "Axes":
    """The spike probability against the gap Δ, every neuron and step of a sample a point, evenly thinned.

    Args:
        recording: with "probability", and "gap" or both "potential" and "threshold".
        axes: as for `raster`.
        sample: which element of the batch.

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
    axes = _axes(axes)
    axes.plot(
        gap.ravel()[::stride],
        probability.ravel()[::stride],
        ".",
        color=_PROBABILITY,
        markersize=4,
        alpha=0.4,
        markeredgewidth=0,
    )
    axes.set_title("Response, all neurons", loc="left", color=_PROBABILITY)
    axes.set_xlabel("gap Δ = V − threshold")
    axes.set_ylabel("P(1)")
    axes.set_ylim(-0.02, 1.02)
    return axes


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
    axes = _axes(axes)
    axes.bar(np.arange(len(rate)), rate, width=1.0, color=_SPIKES)
    axes.set_title(f"Firing rates: {rate.mean():.3f} on average", loc="left", color=_SPIKES)
    axes.set_xlim(-0.5, len(rate) - 0.5)
    axes.set_ylim(0.0, float(rate.max()) * 1.05 or 1.0)
    axes.set_xlabel("neuron")
    axes.set_ylabel("spikes per step")
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    return axes


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


def _axes(axes: "Axes | None") -> "Axes":
    """The axes that were given, or those of a new figure."""
    if axes is None:
        with styled():
            from matplotlib.figure import Figure

            return Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained").add_subplot()
    if not hasattr(axes, "plot") or not hasattr(axes, "figure"):
        raise DtypeError(f"Argument `axes` must be matplotlib axes or None, but is {type(axes).__name__}.")
    return axes


def _over_time(axes: "Axes", steps: int) -> "Axes":
    axes.set_xlabel("time (steps)")
    axes.set_xlim(-0.5, steps - 0.5)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    return axes
