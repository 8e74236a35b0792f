"""What the tests of the pages share."""

import contextlib
import io
from typing import Any

from qlifq.dashboard.controls import Value
from qlifq.dashboard.neuron.view import PRESETS


def executed(text: str) -> tuple[dict[str, Any], str]:
    """What code leaves, and what it prints."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "downloaded.py", "exec"), names)
    return names, printed.getvalue()


STATES: list[dict[str, Value]] = [
    *(dict(values) for _, values in PRESETS.values()),
    {"mapping": "tanh", "q_scale": 0.7, "theta_max": 1.25, "source": "ramp", "gain": 3.3},
    {"quantum_mode": False, "stochastic": True, "base_alpha": 3.5, "modulation": "pulses", "neuromod_transform": "tanh"},
]
