"""q_scale and q_bias from the target response, in closed form or from measurements.

`solve` and `response` are for a qubit without errors. `fit` measures a backend, `from_counts` and `from_probabilities` take
what somebody else measured, and what they return serves three ends:

- `Calibration.apply_to` corrects the *spikes*: it sets q_scale and q_bias so that each neuron spikes, on its own qubit, as
  often as it was designed to. One shot is one spike, so nothing can be put right afterwards.
- `Calibration.mitigate` corrects *estimates*: it takes the readout errors off P(1) where it is averaged, as in graded
  spikes, gradients and studies. It needs many shots, and it goes with the numbers as designed: never with a correction.
- `qlifq.backends.get("twin", record=...)` stands in for the device, exactly and differentiably: train there, run here.

All this holds for spike trains of one circuit too, where a bit that is read is a spike. What is new there is the reset:
`reset_errors` measures it.
"""

from qlifq.calibration.calibration import Calibration
from qlifq.calibration.closed_form import response, solve
from qlifq.calibration.comparison import Comparison, History, compare
from qlifq.calibration.correction import Correction, Target
from qlifq.calibration.design import shots_for
from qlifq.calibration.fitting import fit
from qlifq.calibration.given import from_counts, from_probabilities
from qlifq.calibration.record import load, save
from qlifq.calibration.reset import ResetErrors, reset_errors

__all__ = [
    "Calibration",
    "Comparison",
    "Correction",
    "History",
    "ResetErrors",
    "Target",
    "compare",
    "fit",
    "from_counts",
    "from_probabilities",
    "load",
    "reset_errors",
    "response",
    "save",
    "shots_for",
    "solve",
]
