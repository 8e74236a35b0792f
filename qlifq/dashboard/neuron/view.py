"""The page of the neuron: its view and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from qlifq.dashboard.controls import Control, Value, control, controls_of, parameter_controls
from qlifq.dashboard.view import View, settle
from qlifq.neurons import Settings
from qlifq.neurons.parameters import DETERMINISTIC, QUANTUM, Need

__all__ = ["AS_SET", "LEARNABLE", "MOST_NEURONS", "MOST_STEPS", "PRESETS", "SOURCES", "NeuronView", "preset_of"]

SOURCES = ("constant", "ramp", "staircase", "pulses", "poisson", "digits", "upload")
SHOTS = ("exact", "1", "10", "100", "1000")
LEARNABLE = tuple(item.name for item in fields(Settings) if item.name.startswith("learnable_"))
#: What a page can show without a wait of seconds.
MOST_STEPS, MOST_NEURONS, MOST_WIRES = 2000, 256, 20


def _source(*names: str) -> Need:
    words = " or ".join(f"source={name!r}" for name in names)
    return Need(words, lambda view: view.source in names)


MADE = _source("constant", "ramp", "staircase", "pulses", "poisson")
SEVERAL = Need("neurons above 1", lambda view: view.source in {"digits", "upload"} or view.neurons > 1)
SPREAD = Need(f"neurons above 1 and {MADE.words}", lambda view: MADE.holds(view) and view.neurons > 1)
MODULATED = Need("a modulation other than 'none'", lambda view: view.modulation != "none")
LEARNED = Need(
    f"{DETERMINISTIC.words} and something learnable, since it is the gradient that it changes",
    lambda view: DETERMINISTIC.holds(view) and any(getattr(view, name) for name in LEARNABLE),
)


def _drawn(view: Any) -> bool:
    sampled = view.decision == "sample" or view.shots != "exact"
    return (sampled if view.quantum_mode else view.stochastic) or view.noise_std > 0 or view.source in {"poisson", "digits"}


POOLED = Need(f"{QUANTUM.words} and finite shots", lambda view: QUANTUM.holds(view) and view.shots != "exact")
DRAWN = Need(
    "decision='sample', finite shots, stochastic=True, noise_std above 0, or source='poisson' or source='digits'", _drawn
)


@dataclass(frozen=True, kw_only=True)
class NeuronView(View):
    """What the page of the neuron shows."""

    source: str = control("constant", "choice", "input", "what drives the neurons", options=SOURCES, label="Input")
    gain: float = control(
        {"constant": 1.2, "ramp": 2.0, "staircase": 2.0, "pulses": 2.5, "poisson": 8.0, "digits": 8.0, "upload": 1.0},
        "real",
        "input",
        "highest current, current of an input spike, or factor of an upload",
        by="source",
        at_least=0.0,
        label="Current (dimensionless)",
    )
    levels: int = control(5, "integer", "input", "stairs", need=_source("staircase"), at_least=1, at_most=50, label="Levels")
    period: int = control(
        100,
        "integer",
        "input",
        "steps from pulse to pulse",
        need=_source("pulses"),
        at_least=1,
        at_most=MOST_STEPS,
        label="Period (steps)",
    )
    width: int = control(
        40,
        "integer",
        "input",
        "steps of a pulse",
        need=_source("pulses"),
        at_least=1,
        at_most=MOST_STEPS,
        label="Pulse width (steps)",
    )
    rate: float = control(
        0.25,
        "real",
        "input",
        "input spikes per step",
        need=_source("poisson", "digits"),
        at_least=0.0,
        at_most=1.0,
        label="Input rate (spikes per step)",
    )
    digit: int = control(
        0, "integer", "input", "which handwritten digit", need=_source("digits"), at_least=0, at_most=1796, label="Digit"
    )
    sample: int = control(0, "integer", "input", "which sample of the file", need=_source("upload"), at_least=0, label="Sample")
    neurons: int = control(10, "integer", "input", "how many neurons", need=MADE, at_least=1, at_most=64, label="Neurons")
    spread: float = control(
        0.3,
        "real",
        "input",
        "how much less the first neuron gets than the last",
        need=SPREAD,
        at_least=0.0,
        at_most=1.0,
        label="Spread of the current (fraction)",
    )
    steps: int = control(
        500,
        "integer",
        "input",
        "time steps",
        need=_source(*SOURCES[:-1]),
        at_least=10,
        at_most=MOST_STEPS,
        label="Duration (steps)",
    )
    seed: int = control(
        0, "integer", "input", "the same seed gives the same spikes", need=DRAWN, at_least=0, at_most=999, label="Seed"
    )
    shown: int = control(
        0,
        "integer",
        "input",
        "the neuron whose traces are drawn",
        need=SEVERAL,
        at_least=0,
        at_most=MOST_NEURONS - 1,
        label="Neuron shown",
    )
    modulation: str = control(
        "none",
        "choice",
        "neuromodulation",
        "modulation m over time",
        options=("none", "step", "ramp", "pulses"),
        label="Modulation m",
    )
    modulation_height: float = control(
        0.5,
        "real",
        "neuromodulation",
        "greatest modulation",
        need=MODULATED,
        at_least=-10.0,
        at_most=10.0,
        label="Greatest modulation (dimensionless)",
    )
    shots: str = control(
        "exact",
        "choice",
        "quantum decision",
        "shots per qubit and step",
        options=SHOTS,
        need=QUANTUM,
        label="Shots per decision",
    )
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def controls(cls) -> tuple[Control, ...]:
        """Those of the fields, and the page's own bounds on some of them, beyond the neuron's."""
        return _controls()


@lru_cache
def _controls() -> tuple[Control, ...]:
    found = []
    for item in controls_of(NeuronView):
        if item.group == "neuromodulation" and item.name != "modulation":
            # Off is what modulation='none' is for.
            options = tuple(name for name in item.options if name != "off")
            item = replace(item, need=MODULATED, options=options)  # noqa: PLW2901
        elif item.name in {"alpha", "surrogate_gradient_function"}:
            item = replace(item, need=LEARNED)  # noqa: PLW2901
        elif item.name == "quantum_wire":
            item = replace(item, bounds={**item.bounds, "at_most": MOST_WIRES}, need=POOLED)  # noqa: PLW2901
        found.append(item)
    # The input first, then the mechanisms as the table has them.
    groups = ["input", *dict.fromkeys(item.group for item in parameter_controls())]
    return tuple(sorted(found, key=lambda item: groups.index(item.group)))


#: Named places to start from, and what each one shows.
PRESETS: Mapping[str, tuple[str, Mapping[str, Value]]] = MappingProxyType(
    {
        "irregular, stochastic": ("A qubit decides at every step: the same current gives spikes at irregular intervals.", {}),
        "regular, deterministic": (
            "The estimate is compared with ½: the neuron spikes as soon as V passes the threshold, at even intervals.",
            {"decision": "threshold", "gain": 1.8},
        ),
        "adapting threshold": (
            "Every spike raises the threshold, which decays back: the intervals grow until both are in balance.",
            {
                "decision": "threshold",
                "gain": 2.5,
                "use_adaptive_threshold": True,
                "eta": 0.15,
                "tau_threshold": 100.0,
            },
        ),
        "self-limiting probability": (
            "Recent spikes D flatten the mapping, q_scale / (1 + D), which holds the probability near that of gap 0.",
            {"gain": 4.0, "tau": 5.0, "q_bias": -1.5, "allow_dynamic_spike_probability": True, "tau_adapt": 60.0},
        ),
        "neuromodulated": (
            "In the second half modulation multiplies the input by 1 + k m, and the neurons spike more.",
            {"gain": 0.9, "spread": 0.1, "modulation": "step", "modulation_height": 0.8},
        ),
    }
)

#: Stands for the presets where the view is none of them.
AS_SET = "as set below"


def preset_of(values: Mapping[str, Value]) -> str:
    """The preset that shows what these values show, or `AS_SET`."""
    settled = settle(NeuronView, values)
    same = (name for name, (_, preset) in PRESETS.items() if settle(NeuronView, preset) == settled)
    return next(same, AS_SET)
