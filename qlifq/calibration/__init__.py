"""q_scale and q_bias from the response that is wanted, in closed form or from measurements."""

from qlifq.calibration.closed_form import response, solve

__all__ = ["response", "solve"]
