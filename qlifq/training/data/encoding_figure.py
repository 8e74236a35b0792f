"""The figure of the encoders."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qlifq._validation import integer
from qlifq.random import BatchShard
from qlifq.reporting.figures import column_figure, drawn, put_heading
from qlifq.reporting.panels import integer_axis
from qlifq.training.data.encoders import ENCODINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["encodings_figure"]

#: How many values from 0 to 1 are shown.
_VALUES = 41


@dataclass(frozen=True)
class _Shown:
    """What is shown, with the defaults of the encoders."""

    steps: int
    gain: float = 1.0
    rate: float = 0.25
    change: float = 0.1
    bits: int = 8


@drawn
def encodings_figure(steps: int = 32) -> "Figure":
    """What every encoder in `ENCODINGS` sends for the values from 0 to 1, over some steps.

    Args:
        steps: how many, at least 1.

    Returns:
        One map for each encoder: values upwards, steps to the right, the input current as shade.

    Raises:
        ArgumentError: if there is no step.
    """
    shown = _Shown(integer("steps", steps, at_least=1))
    values = torch.linspace(0, 1, _VALUES)[None]
    figure, axes = column_figure(58, 1, len(ENCODINGS), sharey=True)
    for panel, (name, encoding) in zip(axes[0], ENCODINGS.items(), strict=True):
        sent = encoding.encode(values, shown, 0, BatchShard(0, 1))[:, 0].T.numpy()
        picture = panel.imshow(sent, origin="lower", aspect="auto", extent=(0, steps, 0, 1), cmap="Blues", vmin=0, vmax=1)
        panel.set_title(name)
        panel.set_xlabel("time (steps)")
        integer_axis(panel, "x")
    axes[0][0].set_ylabel("value (dimensionless)")
    put_heading(figure, "The input current that each encoder makes of data from 0 to 1")
    figure.colorbar(picture, ax=axes[0][-1], label="input current (gains)")
    return figure
