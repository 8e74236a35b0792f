"""q_scale and q_bias from the response that is wanted, in closed form or from measurements."""

from qlifq.calibration.calibration import Calibration
from qlifq.calibration.closed_form import response, solve
from qlifq.calibration.comparison import Comparison, compare
from qlifq.calibration.correction import Correction, Target
from qlifq.calibration.design import shots_for
from qlifq.calibration.fitting import fit
from qlifq.calibration.record import load, save

__all__ = [
    "Calibration",
    "Comparison",
    "Correction",
    "Target",
    "compare",
    "fit",
    "load",
    "response",
    "save",
    "shots_for",
    "solve",
]
