"""Data, encoders and networks that learn."""

from qlifq.training.datasets import LabelledImages, digits, load_current
from qlifq.training.encoders import current, poisson
from qlifq.training.waveforms import pulses, ramp, staircase

__all__ = ["LabelledImages", "current", "digits", "load_current", "poisson", "pulses", "ramp", "staircase"]
