"""Pictures of calibrations: one with its check, one of given data, and the history of several."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq.calibration import Calibration, Correction, History
from qlifq.circuits import SinusoidalResponse
from qlifq.errors import DtypeError
from qlifq.neurons.mapping import MAPPINGS
from qlifq.reporting.figures import BLACK, BLUE, GREEN, PALE, VERMILION, column_figure, drawn, put_heading, series
from qlifq.reporting.intervals import binomial
from qlifq.reporting.panels import from_zero, integer_axis, legend_below, marked_line
from qlifq.reporting.wording import counted
from qlifq.studies.calibration_check import CalibrationCheck

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_figure", "history_figure", "response_figure"]

Floats = npt.NDArray[np.float64]

_MEASURED, _TARGET, _CORRECTED, _READOUT = BLUE, BLACK, GREEN, VERMILION
_DASHED = (0, (3, 1.5))
_POINTS: dict[str, Any] = {"capsize": 1.5, "elinewidth": 0.7}
_GAP = "gap Δ (dimensionless)"
#: The sites that a history names, those that changed most.
_NAMED = 6


@drawn
def calibration_figure(result: CalibrationCheck) -> "Figure":
    """The picture of a calibration.

    Above, the neuron that was farthest from its target: points with 95 % intervals, the fitted response, the target, and the
    points after correction; beside it the readout errors of all sites. Below, how far all neurons are from the target
    before and after, and the root mean square of each.

    Args:
        result: what `check_correction` returned.

    Returns:
        A matplotlib figure; it belongs to no window and need not be closed.
    """
    figure, axes = column_figure(135, 2, 3)
    distance = [(ones / result.shots - result.target).square().mean(0).sqrt() for ones in (result.before, result.after)]
    worst = int(distance[0].argmax())
    axes[0][0].set_title(f"Neuron {worst}, farthest off: its qubit")
    _calibrated(axes[0][0], result.calibration, worst)
    _checked(axes[0][1], result, worst)
    _readout(axes[0][2], result.calibration)
    limit = 1.15 * float((result.before / result.shots - result.target).abs().max())
    _deviations(axes[1][0], result, result.before, f"Before: RMS {result.rms_before:.4f}", _MEASURED, limit)
    _deviations(axes[1][1], result, result.after, f"After: RMS {result.rms_after:.4f}", _CORRECTED, limit)
    _distances(axes[1][2], distance[0], distance[1], result.shot_noise)
    measured = result.calibration.measurement
    put_heading(
        figure,
        f"Calibration of {measured.source}, {counted(measured.sites, 'neuron')}, mapping {measured.design.mapping}, "
        f"{measured.data.describe()}, {measured.time_utc}",
    )
    return figure


@drawn
def response_figure(calibration: Calibration, correction: Correction) -> "Figure":
    """The picture of a calibration that nothing is measured again for, such as one from counts of somebody else.

    The site whose response fits worst: its points with 95 % intervals and the fitted response against the angle, and against
    the gap the target beside what the fit predicts before and after the correction. Then the readout errors of all sites.

    Args:
        calibration: the calibration.
        correction: its correction, one row per site.

    Returns:
        A matplotlib figure; it belongs to no window and need not be closed.
    """
    figure, axes = column_figure(75, 1, 3)
    worst = int(calibration.analysis.p_value.nan_to_num(1.0).argmin())
    axes[0][0].set_title(f"Site {worst}, the worst fit: its qubit")
    _calibrated(axes[0][0], calibration, worst)
    _predicted(axes[0][1], calibration, correction, worst)
    _readout(axes[0][2], calibration)
    measured = calibration.measurement
    put_heading(
        figure,
        f"Calibration of {measured.source}, {counted(measured.sites, 'site')}, mapping {measured.design.mapping}, "
        f"{measured.data.describe()}, {measured.time_utc}",
    )
    return figure


@drawn
def history_figure(history: History) -> "Figure":
    """The picture of a history: the change of P(1) since the first record at θ = 0, π/2 and π.

    Bars are the 95 % intervals of the records themselves. For `RYSpike` the first and the last panel show the readout errors
    of |0⟩ and |1⟩. The sites that changed most are named, the others stay grey.

    Args:
        history: what `qlifq.calibration.compare` returned for a list.

    Returns:
        A matplotlib figure; it belongs to no window and need not be closed.

    Raises:
        DtypeError: for anything else.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    if not isinstance(history, History):
        raise DtypeError(f"Argument `history` must be a History, but is {type(history).__name__}.")
    times = [datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ") for time in history.times]
    order = history.p_value.nan_to_num(1.0).argsort().tolist()
    drifted = history.drifted().tolist()
    figure, axes = column_figure(75, 1, 3)
    for panel, (label, theta) in zip(axes[0], (("0", 0.0), ("π/2", torch.pi / 2), ("π", torch.pi)), strict=True):
        at = torch.tensor([1.0, np.cos(theta), np.sin(theta)], dtype=torch.float64)
        change = (history.value - history.value[0]) @ at
        error = torch.einsum("rsij,i,j->rs", history.covariance, at, at).sqrt()
        for rank, site in reversed(list(enumerate(order))):
            style = (
                {**series(rank).keywords(), "label": f"site {site}{', drifted' if drifted[site] else ''}"}
                if rank < _NAMED
                else {"color": PALE, "linewidth": 0.8, "label": "other sites"}
            )
            panel.errorbar(times, change[:, site], 1.96 * error[:, site], **_POINTS, **style)
        marked_line(panel, 0.0, "no change")
        panel.set_title(f"Angle θ = {label}")
        panel.set_xlabel("time (UTC)", loc="left")
        dates = AutoDateLocator(minticks=2, maxticks=4)  # type: ignore[no-untyped-call]
        panel.xaxis.set_major_locator(dates)
        panel.xaxis.set_major_formatter(ConciseDateFormatter(dates))  # type: ignore[no-untyped-call]
        panel.set_ylabel("change of P(1)")
    handles, labels = axes[0][2].get_legend_handles_labels()
    named = dict(reversed(list(zip(labels, handles, strict=True))))
    figure.legend(named.values(), named, loc="outside lower center", ncols=4)
    put_heading(figure, str(history))
    return figure


def _calibrated(axes: "Axes", calibration: Calibration, site: int) -> None:
    """What the calibration measured on one site, against the angle."""
    design, data = calibration.measurement.design, calibration.measurement.data
    share = data.estimate[:, site]
    known = ~share.isnan()
    theta, share = design.angles[known, site], share[known]
    bars = torch.stack([(end[known, site] - share).abs() for end in data.interval(0.95)])
    turn = torch.linspace(float(theta.min()), float(theta.max()), 200, dtype=torch.float64)
    a, b, c = (part[site] for part in calibration.response)
    axes.plot(turn, a + b * turn.cos() + c * turn.sin(), color=_MEASURED, linewidth=1.6, label="fit a + b cos θ + c sin θ")
    axes.plot(turn, design.ideal.probability(turn), color=_TARGET, linestyle=_DASHED, label="closed form without errors")
    axes.errorbar(theta, share, bars, fmt="o", color=_MEASURED, label="measured, 95 %", **_POINTS)
    axes.set_xlabel("angle θ (radians)")
    axes.set_ylabel("P(1)")
    legend_below(axes)


def _estimate(ones: Tensor, shots: int) -> tuple[Floats, Floats]:
    """Proportions `(n,)` and how far their exact intervals reach below and above, `(2, n)`."""
    share = ones.numpy() / shots
    return share, np.abs(np.stack(binomial(ones.numpy(), shots, 0.95)) - share)


def _checked(axes: "Axes", result: CalibrationCheck, site: int) -> None:
    """The same site against the gap, before and after."""
    axes.set_title(f"Neuron {site}: response to the gap")
    axes.plot(result.gaps, result.target[:, site], color=_TARGET, linestyle=_DASHED, label="target, closed form")
    # Where the correction changes little, a small mark stands inside a hollow one.
    sets = (
        ("before", result.before, _MEASURED, "o", 5.5, "none"),
        ("corrected", result.after, _CORRECTED, "s", 2.5, _CORRECTED),
    )
    for label, ones, colour, marker, size, inside in sets:
        share, bars = _estimate(ones[:, site], result.shots)
        look: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": size, "markerfacecolor": inside}
        axes.errorbar(result.gaps, share, bars, label=f"{label}, 95 %", **look, **_POINTS)
    axes.set_xlabel(_GAP)
    axes.set_ylabel("P(1)")
    legend_below(axes)


def _predicted(axes: "Axes", calibration: Calibration, correction: Correction, site: int) -> None:
    """The response of one site to the gap as the fit predicts it, before and after."""
    design, target = calibration.measurement.design, correction.target
    response = SinusoidalResponse(*(part[site] for part in calibration.response))
    gaps = torch.linspace(-1.0, 1.0, 201, dtype=torch.float64)
    axes.set_title(f"Site {site}: predicted response")
    sets = (
        ("before", target.q_scale, target.offset, _MEASURED, 2.6),
        ("corrected", correction.q_scale, correction.q_bias - design.quantum_leak, _CORRECTED, 1.0),
    )
    for label, q_scale, offset, colour, width in sets:
        angle = MAPPINGS[design.mapping].angle(gaps, q_scale[site], offset[site], design.theta_max)
        axes.plot(gaps, response.probability(angle), color=colour, linewidth=width, label=label)
    axes.plot(gaps, target.probability(gaps[:, None])[:, site], color=_TARGET, linestyle=_DASHED, label="target, closed form")
    axes.set_xlabel(_GAP)
    axes.set_ylabel("P(1)")
    legend_below(axes)


def _readout(axes: "Axes", calibration: Calibration) -> None:
    """The readout errors of all sites, in the order of their sum."""
    fits = calibration.analysis.neuron
    order = (fits.value[:, 2] + fits.value[:, 3]).argsort()
    axes.set_title("Readout errors, 95 %")
    sets = ((2, _READOUT, "s", "readout_p01: |0⟩ read as 1"), (3, _MEASURED, "o", "readout_p10: |1⟩ read as 0"))
    for place, colour, marker, label in sets:
        value, error = fits.value[order, place], 1.96 * fits.standard_error[order, place]
        axes.errorbar(range(len(order)), value, error, fmt=marker, color=colour, label=label, elinewidth=0.7, markersize=2.5)
    axes.set_xlabel("sites, best first")
    axes.set_ylabel("probability")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    integer_axis(axes, "x")
    legend_below(axes)


def _deviations(axes: "Axes", result: CalibrationCheck, ones: Tensor, title: str, colour: str, limit: float) -> None:
    """Estimate − target of every neuron, with the band that shot noise alone would fill in 95 %."""
    from matplotlib.collections import LineCollection

    axes.set_title(title)
    noise = 1.96 * (result.target * (1 - result.target) / result.shots).sqrt().mean(1)
    axes.fill_between(result.gaps, -noise, noise, color=PALE, linewidth=0, label="shot noise, 95 %")
    strength = max(0.12, min(0.8, 12 / ones.shape[1]))
    deviation = ones / result.shots - result.target
    lines = [np.column_stack((result.gaps, each)) for each in deviation.T]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.6, alpha=strength, label="each neuron"))
    if len(lines) > 1:
        axes.plot(result.gaps, deviation.mean(1), color=BLACK, linewidth=1.6, label="mean of all neurons")
    axes.set_ylim(-limit, limit)
    axes.set_xlabel(_GAP)
    axes.set_ylabel("P(1) − target")
    legend_below(axes)


def _distances(axes: "Axes", before: Tensor, after: Tensor, shot_noise: float) -> None:
    """The root mean square of each neuron before and after, joined."""
    order = before.argsort()
    axes.set_title("Distance of each neuron")
    axes.vlines(range(len(order)), after[order], before[order], color=PALE, linewidth=0.8)
    axes.plot(before[order], "o", color=_MEASURED, markersize=3.5, label="before")
    axes.plot(after[order], "s", color=_CORRECTED, markersize=2.5, label="corrected")
    axes.axhline(shot_noise, color=_TARGET, linestyle=(0, (1, 1)), label="shot noise alone")
    from_zero(axes)
    axes.set_xlabel("neurons, best first")
    axes.set_ylabel("RMS of P(1) − target")
    integer_axis(axes, "x")
    legend_below(axes)
