"""The page of the calibration: what is measured, and what a record says of a site."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from qlifq.backends import Plan
from qlifq.calibration import Calibration, Correction, fit, save
from qlifq.calibration.given import parse_counts
from qlifq.calibration.measurement import round_plan
from qlifq.calibration.models import NEURON
from qlifq.calibration.record import parse
from qlifq.dashboard.charts import COLOURS, Chart, Line, lines
from qlifq.dashboard.controls import control
from qlifq.dashboard.noise import CAPABILITIES, IMPORTS, NOISES, backend_code, build, noisy, number
from qlifq.dashboard.view import View
from qlifq.errors import QLIFError
from qlifq.neurons import MAPPINGS
from qlifq.neurons.parameters import Need
from qlifq.reporting.intervals import CONFIDENCE
from qlifq.reporting.wording import counted

__all__ = [
    "CalibrationView",
    "calibration_charts",
    "calibration_code",
    "described",
    "is_counts",
    "measure",
    "opened",
    "planned",
    "table",
    "written",
]

#: Those that can be measured from a page: they draw counts, here.
LOCAL = tuple(name for name, can in CAPABILITIES.items() if can.shots and not (can.remote or can.record))
_NOISE = Need("a backend that takes a noise", lambda view: noisy(view.backend))
_NUMBERS = Need("noise='numbers'", lambda view: noisy(view.backend) and view.noise == "numbers")

#: What the table calls the numbers that were fitted to a neuron.
_WORDS = ("slope q_scale", "offset q_bias", "readout P(1 | 0)", "readout P(0 | 1)")


@dataclass(frozen=True, kw_only=True)
class CalibrationView(View):
    """What the page of the calibration shows."""

    backend: str = control("aer", "choice", "measurement", "what is measured", options=LOCAL, label="Backend")
    noise: str = control(
        {name: "numbers" if noisy(name) else "none" for name in LOCAL},
        "choice",
        "measurement",
        "errors of the qubits",
        options=NOISES,
        need=_NOISE,
        by="backend",
        label="Noise",
    )
    readout_p01: float = number("readout_p01", "measurement", _NUMBERS)
    readout_p10: float = number("readout_p10", "measurement", _NUMBERS)
    gate_error: float = number("gate_error", "measurement", _NUMBERS)
    neurons: int = control(
        3, "integer", "measurement", "neurons, each on its own qubit", at_least=1, at_most=16, label="Neurons"
    )
    mapping: str = control(
        "sigmoid", "choice", "measurement", "from the gap to the angle", options=tuple(MAPPINGS), label="Mapping"
    )
    shots: int = control(
        2000, "integer", "measurement", "over all rounds", at_least=10, at_most=20000, label="Shots per angle and neuron"
    )
    rounds: int = control(
        2, "integer", "measurement", "in how many rounds they are spent", at_least=1, at_most=8, label="Rounds"
    )
    seed: int = control(
        0, "integer", "measurement", "the same seed gives the same counts", at_least=0, at_most=999, label="Seed"
    )
    p0: float = control(
        0.5, "real", "target", "target P(1) at the threshold, gap 0", above=0.0, below=1.0, label="Target P(1) at gap 0"
    )
    slope: float = control(
        1.5, "real", "target", "target slope dP(1)/dΔ there", above=0.0, label="Target slope at gap 0 (per unit of gap)"
    )
    site: int = control(0, "integer", "target", "the neuron that is drawn", at_least=0, label="Neuron shown")


def planned(view: CalibrationView) -> dict[str, tuple[str, Plan]]:
    """What measuring would cost, all rounds together: where it runs and the plan; spends nothing."""
    backend = build(view.backend, view.noise, view, None)
    plan = round_plan(backend, view.neurons, shots=view.shots, rounds=view.rounds).times(view.rounds)
    return {counted(view.rounds, "round"): (backend.description, plan)}


def measure(view: CalibrationView) -> Calibration:
    """Measure what a view's controls are set to.

    Raises:
        QLIFError: if it cannot be measured.
    """
    return fit(
        build(view.backend, view.noise, view, None),
        neurons=view.neurons,
        mapping=view.mapping,
        shots=view.shots,
        rounds=view.rounds,
        seed=view.seed,
    )


def is_counts(file: str) -> bool:
    """Whether a file is one of counts and no record, by its name."""
    return file.lower().endswith(".csv")


def opened(content: bytes, file: str, mapping: str) -> Calibration:
    """A calibration from the bytes of a file: a record, or a CSV file of counts, which is fitted with that mapping.

    Raises:
        QLIFError: if the file is neither; the message names it, and the line of a CSV file.
    """
    try:
        if is_counts(file):
            return parse_counts(content, file, measured_by=_whose(file), mapping=mapping)
        return parse(content, file)
    except QLIFError as error:
        # What is wrong with all counts together is found where no file is known.
        if file in str(error):
            raise
        raise type(error)(f"File {file}: {error}") from error


def written(calibration: Calibration) -> bytes:
    """A record as the bytes of its file."""
    # `save` writes files alone, atomically: the format has one place.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.json"
        save(calibration, path)
        return path.read_bytes()


def table(calibration: Calibration, correction: Correction) -> pd.DataFrame:
    """What was fitted to every site with its standard error, and what to design for the target."""
    fits = calibration.analysis.neuron
    columns: dict[str, object] = {"neuron": np.arange(calibration.sites)}
    for place, name in enumerate(NEURON):
        columns[name] = fits.value[:, place].numpy()
        columns[f"{name} ±"] = fits.standard_error[:, place].numpy()
    columns["p fit"] = calibration.analysis.p_value.numpy()
    columns["p drift"] = calibration.analysis.drift_p_value.numpy()
    columns["q_scale for target"] = correction.q_scale.numpy()
    columns["q_bias for target"] = correction.q_bias.numpy()
    return pd.DataFrame(columns)


def described(rows: pd.DataFrame) -> pd.DataFrame:
    """A table with every number beside its error, under names that can be read."""
    shown: dict[str, object] = {"neuron": rows["neuron"]}
    for name, words in zip(NEURON, _WORDS, strict=True):
        shown[words] = [_with_error(*each) for each in zip(rows[name], rows[f"{name} ±"], strict=True)]
    others = {
        "p of fit": "p fit",
        "p of drift": "p drift",
        "q_scale to set": "q_scale for target",
        "q_bias to set": "q_bias for target",
    }
    return pd.DataFrame({**shown, **{words: rows[name] for words, name in others.items()}})


def _with_error(value: float, error: float) -> str:
    """A number and its error, as many digits as the error has two of."""
    if not math.isfinite(value):
        # Angles that were set directly say nothing of a slope and an offset.
        return "not measured"
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def calibration_charts(calibration: Calibration, correction: Correction, site: int) -> list[Chart]:
    """One site against the angle, as measured and fitted, and against the gap, with the target and the corrected numbers."""
    measured = calibration.measurement
    design, site = measured.design, min(site, calibration.sites - 1)
    theta = design.angles[:, site].numpy()
    share = measured.data.estimate[:, site].numpy()
    # Sites of a file may have other angles each: there is none where nothing was measured.
    known = ~np.isnan(share)
    theta, share = theta[known], share[known]
    low, high = (end[:, site].numpy()[known] for end in measured.data.interval(CONFIDENCE))
    fitted = calibration.response
    # The curve on an even grid, the points where they were measured: one column of angles for both.
    grid = np.linspace(theta.min(), theta.max(), 121)
    angle = np.concatenate([grid, theta])
    order = np.argsort(angle, kind="stable")
    between = np.full(len(grid), np.nan)
    columns = {
        "angle": angle,
        "ideal": design.ideal.probability(torch.from_numpy(angle)).numpy(),
        "fit": float(fitted.a[site]) + float(fitted.b[site]) * np.cos(angle) + float(fitted.c[site]) * np.sin(angle),
        "measured": np.concatenate([between, share]),
        "low": np.concatenate([between, low]),
        "high": np.concatenate([between, high]),
    }
    answer = lines(
        "answer",
        f"Qubit of neuron {site}, with 99 % intervals",
        {name: values[order] for name, values in columns.items()},
        [
            Line("ideal", "ideal", COLOURS["grey"], dash=True),
            Line("fit", "fitted", COLOURS["blue"]),
        ],
        across=("angle", "angle θ (radians)"),
        y_title="P(1)",
        y_domain=(0.0, 1.0),
        marks=[Line("measured", "measured", COLOURS["red"])],
        spans={"measured": ("low", "high")},
        height=240,
    )
    gaps = torch.linspace(-1.0, 1.0, 101, dtype=torch.float64)
    target = correction.target
    angles = {
        "before": MAPPINGS[design.mapping].angle(gaps, target.q_scale[site], target.offset[site], design.theta_max),
        "after": MAPPINGS[design.mapping].angle(
            gaps, correction.q_scale[site], correction.q_bias[site] - design.quantum_leak, design.theta_max
        ),
    }
    respond = {
        name: (fitted.a[site] + fitted.b[site] * angle.cos() + fitted.c[site] * angle.sin()).numpy()
        for name, angle in angles.items()
    }
    response = lines(
        "response",
        f"Response of neuron {site} on its qubit",
        {"gap": gaps.numpy(), "target": target.probability(gaps[:, None])[:, site].numpy(), **respond},
        [
            Line("target", "target", COLOURS["grey"], dash=True),
            Line("before", "uncorrected", COLOURS["orange"]),
            Line("after", "corrected", COLOURS["green"]),
        ],
        across=("gap", "gap Δ = V − threshold (dimensionless)"),
        y_title="P(1)",
        y_domain=(0.0, 1.0),
        height=240,
    )
    return [answer, response]


def calibration_code(view: CalibrationView, record: str | None) -> str:
    """The lines that give the table, ready to run; `record` is the file that was opened, or None where it was measured."""
    head = ["from qlifq import calibration"]
    if record is not None and is_counts(record):
        made = f"calibration.from_counts({record!r}, measured_by={_whose(record)!r}, mapping={view.mapping!r})"
    elif record is not None:
        made = f"calibration.load({record!r})"
    else:
        backend = backend_code(view.backend, view.noise, view, "")
        head.append(IMPORTS)
        rest = f"mapping={view.mapping!r}, shots={view.shots}, rounds={view.rounds}, seed={view.seed}"
        made = f"calibration.fit({backend}, neurons={view.neurons}, {rest})"
    rest_lines = ["", f"measured = {made}", "print(measured)", f"print(measured.correct(p0={view.p0!r}, slope={view.slope!r}))"]
    return "\n".join([*head, *rest_lines]) + "\n"


def _whose(file: str) -> str:
    return f"the file {file}"
