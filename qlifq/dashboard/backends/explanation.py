"""What explains a difference between two backends: their noise at the same angles, their shots, or chance."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qlifq.backends import Backend
from qlifq.dashboard.backends.view import SIDES, BackendsView, Pair
from qlifq.dashboard.charts import COLOURS, Chart, Line, lines
from qlifq.dashboard.noise import CAPABILITIES, build, noisy
from qlifq.reporting.intervals import Floats

__all__ = ["Explanation", "explain", "noise_of", "response_chart"]

_POINTS = 121
#: Rows of angles that are evaluated again: enough for a mean, and soon done.
_MOST_ROWS = 4000


class Explanation(NamedTuple):
    """What a pair of runs shows, and the responses behind it.

    Args:
        sentences: the difference, the noise, and the shots.
        angle: θ, `(points,)`, radians.
        first: P(1) there with the noise of A and no shot noise, the mean over its qubits, same shape.
        second: the same with the noise of B.
        at_angles: with the noise of A and of B the mean P(1) at the angles that A's neurons took.
    """

    sentences: tuple[str, ...]
    angle: Floats
    first: Floats
    second: Floats
    at_angles: tuple[float, float]


def noise_of(view: BackendsView, side: str) -> str:
    """The noise of a side as it can be compared with that of the other."""
    name = view.of_side(side, "backend")
    if CAPABILITIES[name].record:
        return "that of the calibration record"
    return "none" if not noisy(name) or view.of_side(side, "noise") == "none" else f"{view.of_side(side, 'noise')}"


def explain(pair: Pair) -> Explanation:
    """Why the rates of a pair differ, or why nothing says that they do."""
    view = pair.view
    backends = [_exact(pair, side) for side in SIDES]
    circuit = pair.sides["first"].layer.circuit

    def respond(angles: Tensor) -> list[Tensor]:
        return [backend.run(circuit, angles.unsqueeze(-1), shots=None, seed=None).probability for backend in backends]

    # A's angles alone: those of B already follow from the spikes that its noise made.
    taken = pair.sides["first"].recording["angle"].double().flatten(0, 1)
    # Every so many rows, so that all steps count.
    a, b = (float(found.mean()) for found in respond(taken[:: -(-len(taken) // _MOST_ROWS)]))
    grid = torch.linspace(0.0, torch.pi, _POINTS, dtype=torch.float64)
    first, second = (found.mean(1).numpy() for found in respond(grid[:, None].expand(-1, view.neurons)))
    sentences = (_verdict(pair), *_about_noise(pair, a, b), *_about_shots(view))
    return Explanation(sentences, grid.numpy(), first, second, (a, b))


def _exact(pair: Pair, side: str) -> Backend:
    """What gives probabilities without shot noise under the noise of a side."""
    # The closed form even where the backend is exact itself: the reference is slow, and both agree.
    name = pair.view.of_side(side, "backend")
    if CAPABILITIES[name].record:
        return pair.sides[side].layer.backend
    return build("analytic", pair.view.of_side(side, "noise") if noisy(name) else "none", pair.view, None)


def _verdict(pair: Pair) -> str:
    found = pair.difference
    reach = f"{found.value:+.4f} spikes per step, 99 % interval {found.low:+.4f} to {found.high:+.4f}"
    if found.holds(0.0):
        return f"The rates do not differ beyond chance: B − A is {reach}, which holds 0."
    return f"The rates differ beyond chance: B − A is {reach}."


def _about_noise(pair: Pair, a: float, b: float) -> list[str]:
    view = pair.view
    first, second = (noise_of(view, side) for side in SIDES)
    if first == second:
        equal = "Neither backend has noise" if first == "none" else f"Both backends have the same noise ({first})"
        shots_matter = view.decision == "threshold" and view.first_shots != view.second_shots
        if pair.difference.holds(0.0) or shots_matter:
            return [f"{equal}, so noise makes no difference."]
        return [
            f"{equal}, so noise does not explain it. One such interval in a hundred misses the truth: another seed or more "
            "repeats would show whether this one does."
        ]
    return [
        "The noise differs: "
        + ", ".join(f"{letter} is {pair.sides[side].layer.backend.description}" for side, letter in SIDES.items())
        + ".",
        f"At the angles that A's neurons took, P(1) is {a:.4f} with the noise of A and {b:.4f} with that of B: {b - a:+.4f} "
        "per decision by noise alone.",
        f"The other {pair.difference.value - (b - a):+.4f} is chance and what follows: one more spike resets the potential, "
        "which makes the next one later.",
    ]


def _about_shots(view: BackendsView) -> list[str]:
    if view.first_shots == view.second_shots:
        return []
    about = {
        "sample": "do not matter here: with decision='sample' a spike has the probability P(1), which one shot draws",
        "threshold": "matter here: with decision='threshold' an estimate from few shots exceeds the limit by chance, an exact "
        "one does not",
        "expectation": "do not change the mean of an estimate: with decision='expectation' few shots only make it scatter",
    }
    return [f"The shots differ (A {view.first_shots}, B {view.second_shots}), and {about[view.decision]}."]


def response_chart(explanation: Explanation) -> Chart:
    """P(1) over the angle with the noise of each side."""
    chart = lines(
        "response",
        "Closed form of P(1) with the noise of each",
        {"angle": explanation.angle, "first": explanation.first, "second": explanation.second},
        # Dashed, so that one that lies on the other hides nothing.
        [Line("first", "noise of A", COLOURS["blue"]), Line("second", "noise of B", COLOURS["orange"], dash=True)],
        across=("angle", "angle θ (radians)"),
        x_domain=(0.0, float(np.pi)),
        y_title="P(1)",
        y_domain=(0.0, 1.0),
        height=170,
    )
    return chart._replace(source="closed form, exact, the mean over the qubits")
