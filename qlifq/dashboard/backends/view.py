"""The page of the backends: the same run on two of them, what it would cost, and how far they are apart."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from qlifq.backends import Plan
from qlifq.calibration import Calibration
from qlifq.dashboard.charts import COLOURS, Chart, Columns, Line, lines
from qlifq.dashboard.controls import Value, control
from qlifq.dashboard.noise import BACKENDS, CAPABILITIES, IMPORTS, NOISES, backend_code, build, default_noise, noisy, number
from qlifq.dashboard.view import View
from qlifq.neurons import MAPPINGS, QLIF, Recording, simulate
from qlifq.neurons.parameters import DECISIONS, Need
from qlifq.reporting.intervals import CONFIDENCE, Interval, mean, percentile, resampled_means

__all__ = [
    "SIDES",
    "BackendsView",
    "Pair",
    "Side",
    "backends_charts",
    "backends_code",
    "layer_of",
    "plan_of",
    "run_pair",
    "sources",
]

#: The two sides, by the prefix of their controls, and what the page calls them.
SIDES = {"first": "A", "second": "B"}
SHOTS = ("exact", "1", "10", "100", "1000")
_COLOURS = {"first": COLOURS["blue"], "second": COLOURS["orange"]}
#: Steps whose spikes are averaged for a point of the rate.
_WINDOW = 10
#: The columns of the bounds of each side.
_BOUNDS = {side: (f"{side}_low", f"{side}_high") for side in SIDES}
#: Of the bootstrap behind each point of a chart: it is drawn, and never read to three digits.
_DRAWS = 1000


def _noise_of(side: str) -> Need:
    return Need("a backend that takes a noise", lambda view: noisy(getattr(view, f"{side}_backend")))


NUMBERS = Need(
    "noise='numbers'",
    lambda view: any(_noise_of(side).holds(view) and getattr(view, f"{side}_noise") == "numbers" for side in SIDES),
)
DRAWN = Need(
    "decision='sample' or finite shots",
    lambda view: view.decision == "sample" or any(getattr(view, f"{side}_shots") != "exact" for side in SIDES),
)


#: What a page begins to compare with the closed form.
SECOND = "aer"


@dataclass(frozen=True, kw_only=True)
class BackendsView(View):
    """What the page of the backends shows."""

    first_backend: str = control(
        "analytic", "choice", "backend A", "where the spike decisions run", options=BACKENDS, label="Backend A"
    )
    first_shots: str = control(
        "exact", "choice", "backend A", "shots per decision", options=SHOTS, label="Shots per decision of A"
    )
    first_noise: str = control(
        {name: default_noise(name) for name in BACKENDS},
        "choice",
        "backend A",
        "errors of the qubits",
        options=NOISES,
        need=_noise_of("first"),
        by="first_backend",
        label="Noise of A",
    )
    second_backend: str = control(
        SECOND, "choice", "backend B", "where the spike decisions run", options=BACKENDS, label="Backend B"
    )
    second_shots: str = control(
        "1", "choice", "backend B", "shots per decision", options=SHOTS, label="Shots per decision of B"
    )
    second_noise: str = control(
        {name: default_noise(name) for name in BACKENDS},
        "choice",
        "backend B",
        "errors of the qubits",
        options=NOISES,
        need=_noise_of("second"),
        by="second_backend",
        label="Noise of B",
    )
    readout_p01: float = number("readout_p01", "noise", NUMBERS)
    readout_p10: float = number("readout_p10", "noise", NUMBERS)
    gate_error: float = number("gate_error", "noise", NUMBERS)
    gain: float = control(1.2, "real", "run", "constant current, dimensionless", at_least=0.0, label="Current (dimensionless)")
    tau: float = control(
        20.0, "real", "run", "membrane time constant, steps", at_least=1.0, label="Membrane time constant τ (steps)"
    )
    mapping: str = control("sigmoid", "choice", "run", "from the gap to the angle", options=tuple(MAPPINGS), label="Mapping")
    decision: str = control("sample", "choice", "run", "what is made of the probability", options=DECISIONS, label="Decision")
    neurons: int = control(4, "integer", "run", "neurons, each on its own qubit", at_least=1, at_most=32, label="Neurons")
    steps: int = control(100, "integer", "run", "time steps", at_least=10, at_most=500, label="Duration (steps)")
    repeats: int = control(20, "integer", "run", "independent runs side by side", at_least=2, at_most=100, label="Repeats")
    seed: int = control(
        0, "integer", "run", "the same seed gives the same spikes", need=DRAWN, at_least=0, at_most=999, label="Seed"
    )

    def of_side(self, side: str, name: str) -> Any:
        """The value of a control of one side."""
        return getattr(self, f"{side}_{name}")


class Side(NamedTuple):
    """What one backend gave: the layer, and `(time, repeats, neurons)` traces."""

    layer: QLIF
    recording: Recording

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Spikes per neuron and step of each repeat, `(repeats,)`."""
        return self.recording.spikes.mean(dim=(0, 2)).double().numpy()


class Pair(NamedTuple):
    """The same run on two backends.

    Args:
        view: what was run.
        sides: what each gave, by name.
        rates: spikes per neuron and step, with the interval of the bootstrap over repeats.
        difference: of the rates, second less first, same shape.
        record: of the twin, where there was one.
        file: its name.
    """

    view: BackendsView
    sides: dict[str, Side]
    rates: dict[str, Interval]
    difference: Interval
    record: Calibration | None = None
    file: str = "calibration.json"

    def shows(self, view: BackendsView, record: Calibration | None) -> bool:
        """Whether this is what a view gives with a record, which matters to the twin alone."""
        return self.view == view and (self.record is record or not _twinned(view))


def layer_of(view: BackendsView, side: str, record: Calibration | None = None) -> QLIF:
    """The layer on one of the backends.

    Raises:
        QLIFError: if it cannot be built.
    """
    backend = build(view.of_side(side, "backend"), view.of_side(side, "noise"), view, record)
    shots = view.of_side(side, "shots")
    return QLIF(
        view.neurons,
        backend=backend,
        shots=None if shots == "exact" else int(shots),
        seed=view.seed,
        decision=view.decision,
        mapping=view.mapping,
        tau=view.tau,
    )


def plan_of(view: BackendsView, layer: QLIF) -> Plan:
    """What the whole run costs on a layer's backend; spends nothing."""
    return layer.plan(view.repeats).times(view.steps)


def remote(view: BackendsView) -> list[str]:
    """The chosen backends that run on another machine."""
    chosen = [str(view.of_side(side, "backend")) for side in SIDES]
    return [name for name in dict.fromkeys(chosen) if CAPABILITIES[name].remote]


def _twinned(view: BackendsView) -> bool:
    return any(CAPABILITIES[view.of_side(side, "backend")].record for side in SIDES)


def run_pair(
    view: BackendsView, layers: dict[str, QLIF], record: Calibration | None = None, file: str = "calibration.json"
) -> Pair:
    """Run both.

    Args:
        view: what is run.
        layers: the layer of each side.
        record: of the twin, that its layer was built with.
        file: its name.

    Raises:
        QLIFError: if one cannot run.
    """
    # Repeats are rows of one batch, so that a backend gets as few calls as for one.
    current = torch.full((view.steps, view.repeats, view.neurons), view.gain)
    sides = {}
    with torch.no_grad():
        for side, layer in layers.items():
            sides[side] = Side(layer, simulate(layer, current, ("potential", "probability", "angle")))
    rng = np.random.default_rng(view.seed)
    first, second = (sides[side].rates for side in SIDES)
    # The repeats of both sides are independent: each is drawn again by itself.
    draws = resampled_means(second, rng) - resampled_means(first, rng)
    difference = percentile(float(second.mean() - first.mean()), draws)
    return Pair(view, sides, {side: mean(sides[side].rates, rng) for side in SIDES}, difference, record, file)


def sources(pair: Pair) -> str:
    """What each side ran on."""
    return " · ".join(f"{letter}: {pair.sides[side].recording.decided_by}" for side, letter in SIDES.items())


def backends_charts(pair: Pair) -> list[Chart]:
    """Rate, potential and probability over time, both backends over each other, with the 99 % intervals of their means."""
    view = pair.view
    labels = {side: f"{letter}: {view.of_side(side, 'backend')}" for side, letter in SIDES.items()}
    domain = (0.0, float(view.steps - 1))
    across = ("time", "time (steps)")
    drawn = [Line(side, labels[side], _COLOURS[side]) for side in SIDES]
    charts = [
        lines(
            "rate",
            f"Firing rate, mean of {view.repeats} runs, {view.neurons} neurons and {_WINDOW} steps",
            _rates(pair),
            (),
            marks=drawn,
            spans=_BOUNDS,
            across=across,
            x_domain=domain,
            y_title="spikes per step",
            height=170,
        )
    ]
    titles: dict[str, tuple[str, str, tuple[float, float] | None]] = {
        "potential": ("Potential, mean of all runs and neurons", "V (dimensionless)", None),
        "probability": ("Estimate of P(1), mean of all runs and neurons", "P(1)", (0.0, 1.0)),
    }
    for name, (title, y_title, y_domain) in titles.items():
        columns: dict[str, npt.NDArray[Any]] = {"time": np.arange(view.steps)}
        for side in SIDES:
            columns |= _with_bounds(side, pair.sides[side].recording[name].mean(dim=2).T.double().numpy(), view.seed)
        charts.append(
            lines(
                name,
                title,
                columns,
                drawn,
                spans=_BOUNDS,
                across=across,
                x_domain=domain,
                y_title=y_title,
                y_domain=y_domain,
                height=170,
            )
        )
    return charts


def _rates(pair: Pair) -> Columns:
    """The rate of both sides in windows of time, those of B a little later, so that the error bars stand beside each other."""
    view = pair.view
    # Only whole windows: a short one at the end would scatter more than its neighbours.
    count = view.steps // _WINDOW
    middle = np.arange(count) * _WINDOW + (_WINDOW - 1) / 2
    apart = 0.004 * view.steps
    columns: dict[str, npt.NDArray[Any]] = {"time": np.concatenate([middle - apart, middle + apart])}
    nothing = np.full(count, np.nan)
    for side in SIDES:
        spikes = pair.sides[side].recording.spikes[: count * _WINDOW].double().mean(dim=2).numpy()
        values = spikes.reshape(count, _WINDOW, view.repeats).mean(axis=1).T
        for name, column in _with_bounds(side, values, view.seed).items():
            columns[name] = np.concatenate([column, nothing] if side == "first" else [nothing, column])
    return columns


def _with_bounds(side: str, values: npt.NDArray[np.float64], seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """The mean over runs, `(runs, points)` to `(points,)`, with the ends of its interval."""
    draws = resampled_means(values, np.random.default_rng(seed), _DRAWS)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return dict(zip((side, *_BOUNDS[side]), (values.mean(axis=0), low, high), strict=True))


def backends_code(view: BackendsView, record: str = "calibration.json") -> str:
    """The lines that give the two rates, ready to run."""
    backends = {side: backend_code(view.of_side(side, "backend"), view.of_side(side, "noise"), view, record) for side in SIDES}
    lines_ = ["import torch", "", "import qlifq", IMPORTS]
    if _twinned(view):
        lines_[2:2] = ["from qlifq import calibration"]
    arguments: dict[str, Value] = {
        "seed": view.seed,
        "decision": view.decision,
        "mapping": view.mapping,
        "tau": view.tau,
    }
    written = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    lines_ += ["", f"current = torch.full(({view.steps}, {view.repeats}, {view.neurons}), {view.gain!r})"]
    for side in SIDES:
        shots = view.of_side(side, "shots")
        shots_argument = "None" if shots == "exact" else shots
        lines_ += [
            f"{side} = qlifq.QLIF({view.neurons}, backend={backends[side]}, shots={shots_argument}, {written})",
            "with torch.no_grad():",
            f"    print({side!r}, {side}(current)[0].mean().item())",
        ]
    return "\n".join(lines_) + "\n"
