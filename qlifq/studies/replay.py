"""Replay: the angles of an exact trajectory, all in one call of a backend, and how far its answers are from the prediction.

A closed loop sends a device one job per step, one after the other. To measure how exact a device is, the trajectory can be
computed first: its angles are known before anything runs, and one job takes them all.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qlifq._validation import integer
from qlifq.backends import Backend, describe_shots, describe_source
from qlifq.backends.mitigation import ReadoutMitigated
from qlifq.calibration import Calibration
from qlifq.circuits import RYSpike, excitation
from qlifq.errors import UnsupportedError
from qlifq.neurons import QLIF, simulate
from qlifq.reporting.figures import BLUE, PALE, VERMILION, column_figure, drawn, figure_files
from qlifq.reporting.panels import legend_above, legend_below, over_time
from qlifq.reporting.report import Picture, Report, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["FILES", "Replay", "replay_report", "run_replay"]

#: What the report is written to.
FILES = ("report.md", "steps.csv", *figure_files("replay"))

#: More points than this only make the file larger.
_MOST_POINTS = 5000


@dataclass(frozen=True, eq=False)
class Replay:
    """What a replay measured.

    Args:
        backend: name of the backend.
        details: what it reports of itself, such as device, qubits and jobs.
        predicted: P(1) of the trajectory, `(steps, batch, neurons)` float64.
        measured: estimates of P(1), same shape; where it was calibrated, readout errors are taken off, and they may leave
            [0, 1].
        readout_p01: the readout errors that were taken off, P(read as 1) in |0⟩, `(neurons,)`; 0 where none were.
        readout_p10: P(read as 0) in |1⟩, same shape.
        shots: per evaluation.
        spikes: of the trajectory, same shape.
        calibrated: whether readout errors were taken off.
    """

    backend: str
    details: dict[str, object]
    predicted: Tensor
    measured: Tensor
    readout_p01: Tensor
    readout_p10: Tensor
    shots: int
    spikes: Tensor
    calibrated: bool

    @property
    def source(self) -> str:
        """What was measured, with the shots."""
        return f"{describe_source(self.backend, self.details)}, {describe_shots(self.shots)}"

    @property
    def mean_deviation(self) -> float:
        """Mean of |measured − predicted| over all evaluations."""
        return float((self.measured - self.predicted).abs().mean())

    @property
    def shot_noise(self) -> float:
        """The mean of |measured − predicted| that shots alone would give, by the normal approximation."""
        return float(self._noise().mean())

    @property
    def bias(self) -> float:
        """Mean over neurons of |mean over steps of measured − predicted|, which shots bring to 0 as steps grow."""
        return float((self.measured - self.predicted).mean(dim=(0, 1)).abs().mean())

    def table(self) -> "DataFrame":
        """One row per step: predicted and measured P(1), mean |deviation|, and what shots alone give."""
        from pandas import DataFrame

        return DataFrame(
            {
                "step": range(len(self.predicted)),
                "predicted": self.predicted.mean(dim=(1, 2)).numpy(),
                "measured": self.measured.mean(dim=(1, 2)).numpy(),
                "deviation": (self.measured - self.predicted).abs().mean(dim=(1, 2)).numpy(),
                "shot_noise": self._noise().mean(dim=(1, 2)).numpy(),
            }
        )

    def facts(self) -> dict[str, object]:
        """What `str` prints, as numbers and text."""
        steps, batch, neurons = self.predicted.shape
        return {
            "source": self.source,
            "steps": steps,
            "samples": batch,
            "neurons": neurons,
            "calibrated": self.calibrated,
            "mean_deviation": self.mean_deviation,
            "shot_noise": self.shot_noise,
            "bias": self.bias,
        }

    def _noise(self) -> Tensor:
        """The mean of |deviation| by shots alone of every evaluation."""
        return self.standard_error(self.predicted) * math.sqrt(2 / math.pi)

    def standard_error(self, probability: Tensor) -> Tensor:
        """Of an estimate by shots alone, `(..., neurons)`: the shots draw what is read, and the correction widens it."""
        contrast = 1 - self.readout_p01 - self.readout_p10
        # A readout error that was measured may be below 0 by its own error.
        read = (self.readout_p01 + contrast * probability).clamp(0.0, 1.0)
        return (read * (1 - read) / self.shots).sqrt() / contrast

    def __str__(self) -> str:
        steps, batch, neurons = self.predicted.shape
        return (
            f"replay on {self.source} · {steps:,} steps × {batch} × {neurons} neurons · "
            f"{'calibrated' if self.calibrated else 'not calibrated'}\n"
            f"mean |measured − predicted| {self.mean_deviation:.4f}, of which shot noise {self.shot_noise:.4f} · "
            f"mean bias of a neuron {self.bias:.4f}"
        )


def run_replay(
    layer: QLIF, current: Tensor, backend: Backend, *, shots: int, seed: int, calibration: Calibration | None = None
) -> Replay:
    """Compute the trajectory of a layer, run all of its decisions on a backend at once, and compare.

    Args:
        layer: the layer that is driven; its own backend must be exact.
        current: `(time, batch, num_neurons)`.
        backend: who is measured.
        shots: per evaluation.
        seed: of the shots.
        calibration: of that backend; the readout errors that it measured are taken off the estimates. (A closed loop, whose
            single shots are spikes, corrects its angles instead, which cannot undo the floor of a readout.)

    Returns:
        A `Replay`.

    Raises:
        QLIFError: if an argument cannot be used.

    Example:
        >>> from qlifq.backends import get
        >>> replay = run_replay(QLIF(3, seed=1), torch.full((5, 1, 3), 1.2), get("reference"), shots=1000, seed=1)
        >>> replay.measured.shape
        torch.Size([5, 1, 3])
    """
    settings = layer.settings
    integer("shots", shots, at_least=1)
    if not settings.quantum_mode or settings.quantum_wire > 1 or settings.refractory_period:
        raise UnsupportedError(
            "Argument `layer` must run one qubit per neuron at every step to be replayed: quantum_mode=True, "
            "quantum_wire=1 and refractory_period=0."
        )
    if not layer.backend.capabilities.exact:
        raise UnsupportedError(f"Argument `layer` must have an exact backend, but has {layer.backend.name}.")
    with torch.no_grad():
        recording = simulate(layer, current, ("gap", "angle"))
    angles = recording["angle"].double()
    predicted = excitation(angles)
    resolved = backend if calibration is None else calibration.mitigate(backend)
    steps, batch, neurons = angles.shape
    outcome = resolved.run(RYSpike(), angles.reshape(steps * batch, neurons, 1), shots=shots, seed=seed)
    measured = outcome.probability.detach().cpu().reshape(steps, batch, neurons)
    readout_p01 = readout_p10 = torch.zeros(neurons, dtype=torch.float64)
    if isinstance(resolved, ReadoutMitigated):
        readout_p01, readout_p10 = resolved.readout_p01.expand(neurons), resolved.readout_p10.expand(neurons)
    details = {name: value for name, value in outcome.metadata.items() if name != "error_inflation"}
    predicted, spikes = predicted.cpu(), recording.spikes.cpu()
    return Replay(backend.name, details, predicted, measured, readout_p01, readout_p10, shots, spikes, calibration is not None)


def replay_report(replay: Replay, setup: dict[str, object]) -> Report:
    """The report of a replay: a table along the trajectory and its figure."""
    found = [*str(replay).splitlines()[1:]]
    section = Section(
        "Along the trajectory",
        "Every decision of the trajectory ran on the backend with the angle that it had there.",
        found,
        {
            "replay": Picture(
                partial(replay_figure, replay),
                "Predicted and measured P(1) over the steps, and the measured against the predicted of every evaluation.",
            )
        },
        {"steps": replay.table()},
        {"deviation": "mean of |measured − predicted|", "shot_noise": "what it would be by shots alone"},
    )
    described = {"backend": replay.backend, **{name: value for name, value in replay.details.items() if name != "qubits"}}
    return Report(
        "Replay of a trajectory",
        "How far the probabilities that a backend measures are from those that the model predicts, along a trajectory that "
        "was computed exactly and then run in one call.",
        found,
        f"{replay.shots:,} shots per evaluation; the share that they alone explain stands beside each deviation.",
        {**setup, **described, "calibrated": replay.calibrated},
        [section],
        replay.source,
    )


@drawn
def replay_figure(replay: Replay) -> "Figure":
    """Predicted and measured P(1) over time, and one against the other."""
    figure, axes = column_figure(75, 1, 2, width_ratios=(1.6, 1.0))
    table = replay.table()
    left, right = axes[0]
    left.set_title("Mean P(1) of all neurons")
    left.plot(table["step"], table["measured"], color=BLUE, linewidth=1.8, label="measured")
    left.plot(table["step"], table["predicted"], color=VERMILION, linestyle=(0, (3, 1.5)), label="predicted, closed form")
    left.set_ylabel("P(1)")
    over_time(left, len(table))
    legend_above(left)
    right.set_title("Outcome of one shot" if replay.shots == 1 else f"Mean |deviation| {replay.mean_deviation:.4f}")
    even = torch.linspace(0, 1, 101, dtype=torch.float64)
    # One shot is 0 or 1, which no interval around P(1) describes.
    if replay.shots > 1:
        band = 1.96 * replay.standard_error(even.unsqueeze(-1)).mean(dim=-1)
        right.fill_between(even, even - band, even + band, color=PALE, linewidth=0, label="shot noise, 95 %")
    right.plot(
        replay.predicted.flatten()[:_MOST_POINTS],
        replay.measured.flatten()[:_MOST_POINTS],
        "x" if replay.shots == 1 else ".",
        color=BLUE,
        alpha=0.5,
        markersize=3,
        markeredgewidth=0.5,
        label="measured",
    )
    right.plot(even, even, color=VERMILION, linestyle=(0, (3, 1.5)), label="closed form")
    right.set_xlabel("predicted P(1)")
    right.set_ylabel("measured P(1)")
    legend_below(right)
    return figure
