"""The page of the neuron: its view, its presets, its run and the code that reproduces it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq import training
from qlifq.dashboard.controls import TRANSFORMS, Control, Value, control, controls_of, parameter_controls
from qlifq.dashboard.view import View, settle
from qlifq.errors import ShapeError
from qlifq.neurons import QLIF, Recording, Settings, simulate
from qlifq.neurons.parameters import DETERMINISTIC, QUANTUM, Need
from qlifq.studies.spike_trains import coefficient_of_variation, interval_sums

__all__ = [
    "AS_SET",
    "PRESETS",
    "SOURCES",
    "NeuronRun",
    "NeuronView",
    "Statistics",
    "check_upload",
    "preset_of",
    "python_code",
    "run_neuron",
]

SOURCES = ("constant", "ramp", "staircase", "pulses", "poisson", "digits", "upload")
SHOTS = ("exact", "1", "10", "100", "1000")
_LEARNABLE = tuple(item.name for item in fields(Settings) if item.name.startswith("learnable_"))
#: What a page can show without a wait of seconds.
MOST_STEPS, MOST_NEURONS, MOST_WIRES = 2000, 256, 20


def _source(*names: str) -> Need:
    words = " or ".join(f"source={name!r}" for name in names)
    return Need(words, lambda view: view.source in names)  # type: ignore[attr-defined]


MADE = _source("constant", "ramp", "staircase", "pulses", "poisson")
SEVERAL = Need("neurons above 1", lambda view: view.source in {"digits", "upload"} or view.neurons > 1)  # type: ignore[attr-defined]
SPREAD = Need(f"neurons above 1 and {MADE.words}", lambda view: MADE.holds(view) and view.neurons > 1)  # type: ignore[attr-defined]
MODULATED = Need("a modulation other than 'none'", lambda view: view.modulation != "none")  # type: ignore[attr-defined]
LEARNED = Need(
    f"{DETERMINISTIC.words} and something learnable, since it is the gradient that it changes",
    lambda view: DETERMINISTIC.holds(view) and any(getattr(view, name) for name in _LEARNABLE),
)


def _drawn(view: Any) -> bool:
    asked = view.decision == "sample" or view.shots != "exact"
    return (asked if view.quantum_mode else view.stochastic) or view.noise_std > 0 or view.source in {"poisson", "digits"}


DRAWN = Need(
    "decision='sample', finite shots, stochastic=True, noise_std above 0, or source='poisson' or source='digits'", _drawn
)


@dataclass(frozen=True, kw_only=True)
class NeuronView(View):
    """What the page of the neuron shows."""

    source: str = control("constant", "choice", "input", "what drives the neurons", options=SOURCES)
    gain: float = control(
        {"constant": 1.2, "ramp": 2.0, "staircase": 2.0, "pulses": 2.5, "poisson": 8.0, "digits": 8.0, "upload": 1.0},
        "real",
        "input",
        "highest current, current of an input spike, or factor of an upload",
        by="source",
        at_least=0.0,
    )
    levels: int = control(5, "integer", "input", "stairs", need=_source("staircase"), at_least=1, at_most=50)
    period: int = control(
        100, "integer", "input", "steps from pulse to pulse", need=_source("pulses"), at_least=1, at_most=MOST_STEPS
    )
    width: int = control(40, "integer", "input", "steps of a pulse", need=_source("pulses"), at_least=1, at_most=MOST_STEPS)
    rate: float = control(
        0.25, "real", "input", "input spikes a step", need=_source("poisson", "digits"), at_least=0.0, at_most=1.0
    )
    digit: int = control(0, "integer", "input", "which handwritten digit", need=_source("digits"), at_least=0, at_most=1796)
    sample: int = control(0, "integer", "input", "which sample of the file", need=_source("upload"), at_least=0)
    neurons: int = control(10, "integer", "input", "how many neurons", need=MADE, at_least=1, at_most=64)
    spread: float = control(
        0.3, "real", "input", "how much less the first neuron gets than the last", need=SPREAD, at_least=0.0, at_most=1.0
    )
    steps: int = control(
        500,
        "integer",
        "input",
        "time steps",
        need=_source(*SOURCES[:-1]),
        at_least=10,
        at_most=MOST_STEPS,
    )
    seed: int = control(0, "integer", "input", "the same seed gives the same spikes", need=DRAWN, at_least=0, at_most=999)
    shown: int = control(
        0,
        "integer",
        "input",
        "the neuron whose traces are drawn",
        need=SEVERAL,
        at_least=0,
        at_most=MOST_NEURONS - 1,
    )
    modulation: str = control(
        "none", "choice", "neuromodulation", "modulation m over time", options=("none", "step", "ramp", "pulses")
    )
    modulation_height: float = control(
        0.5, "real", "neuromodulation", "greatest modulation", need=MODULATED, at_least=-10.0, at_most=10.0
    )
    shots: str = control("exact", "choice", "quantum decision", "shots per qubit and step", options=SHOTS, need=QUANTUM)
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def controls(cls) -> tuple[Control, ...]:
        """Those of the fields, and what the page asks of some of them beyond what the neuron does."""
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
            item = replace(item, bounds={**item.bounds, "at_most": MOST_WIRES})  # noqa: PLW2901
        found.append(item)
    # The input first, then the mechanisms as the table has them.
    groups = ["input", *dict.fromkeys(item.group for item in parameter_controls())]
    return tuple(sorted(found, key=lambda item: groups.index(item.group)))


#: Named places to start from, and what each one shows.
PRESETS: Mapping[str, tuple[str, Mapping[str, Value]]] = MappingProxyType(
    {
        "irregular, stochastic": ("A qubit is asked at every step: the same current gives spikes at irregular intervals.", {}),
        "regular, deterministic": (
            "The estimate is held against ½: the neuron spikes as soon as V passes the threshold, at even intervals.",
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


class _Call(NamedTuple):
    """A function of `qlifq.training` and its arguments: it is run for the page and written out for the user."""

    function: str
    arguments: Mapping[str, object]

    def run(self) -> Tensor:
        return getattr(training, self.function)(**self.arguments)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"training.{self.function}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


@dataclass(frozen=True)
class NeuronRun:
    """A view that ran.

    Args:
        view: the view, its sample one that the upload has.
        layer: the layer.
        current: its input, `(time, 1, neurons)`.
        modulation: its modulation, `(time, 1, 1)`, or None.
        recording: what was kept.
        gradients: of the firing rate, by the name of the trained constant.
        seconds: wall time.
    """

    view: NeuronView
    layer: QLIF
    current: Tensor
    modulation: Tensor | None
    recording: Recording
    gradients: Mapping[str, float]
    seconds: float

    @property
    def shown(self) -> int:
        """The neuron whose traces are drawn, one that there is."""
        return min(self.view.shown, self.current.shape[2] - 1)

    def trace(self, name: str) -> npt.NDArray[np.float32]:
        """A trace of the neuron that is shown, `(time,)`; "current" is its input."""
        values = self.current if name == "current" else self.recording[name]
        return values[:, 0, self.shown].detach().numpy()


class Statistics(NamedTuple):
    """What is counted of a run.

    Args:
        rate: spikes (or their expectation) per neuron and step.
        spikes: per neuron, `(neurons,)`.
        interval: mean of the intervals between spikes of all neurons, steps; NaN without any.
        variation: coefficient of variation of the intervals, the mean over neurons that have at least two; NaN without any.
        intervals: all intervals, steps.
        evaluations: spike decisions asked of a qubit.
    """

    rate: float
    spikes: npt.NDArray[np.float64]
    interval: float
    variation: float
    intervals: npt.NDArray[np.int64]
    evaluations: int

    @classmethod
    def of(cls, run: NeuronRun) -> "Statistics":
        """Count the spikes of a run; graded ones have no intervals."""
        spikes = run.recording.spikes[:, 0].detach().numpy().astype(np.float64)
        graded = run.view.settings.quantum_mode and run.view.settings.decision == "expectation"
        trains = np.zeros_like(spikes) if graded else spikes
        intervals = np.concatenate([np.diff(np.flatnonzero(train)) for train in trains.T])
        sums = interval_sums(trains)
        enough = sums[:, 0] >= 2
        return cls(
            rate=float(spikes.mean()),
            spikes=spikes.sum(axis=0),
            interval=float(intervals.mean()) if len(intervals) else float("nan"),
            variation=float(coefficient_of_variation(sums[enough]).mean()) if enough.any() else float("nan"),
            intervals=intervals.astype(np.int64),
            evaluations=run.recording.evaluations,
        )


def check_upload(current: Tensor) -> Tensor:
    """Refuse an uploaded current that would take too long to show.

    Raises:
        ShapeError: if it has too many steps or neurons.
    """
    steps, _, neurons = current.shape
    if steps > MOST_STEPS or neurons > MOST_NEURONS:
        raise ShapeError(
            f"The file must have at most {MOST_STEPS} steps and {MOST_NEURONS} neurons to be shown, "
            f"but has {steps} and {neurons}: `qlifq simulate --input` takes it."
        )
    return current


def run_neuron(view: NeuronView, upload: Tensor | None = None) -> NeuronRun:
    """Run what a view shows.

    Args:
        view: the view.
        upload: `(time, batch, neurons)`, for the source "upload".

    Returns:
        A `NeuronRun`.

    Raises:
        QLIFError: if it cannot be run.
    """
    start = time.perf_counter()
    if upload is not None:
        view = replace(view, sample=min(view.sample, upload.shape[1] - 1))
    current = _current(view, upload)
    modulation = _modulation(view, len(current))
    layer = QLIF(current.shape[2], **_layer_arguments(view))
    learning = any(True for _ in layer.parameters())
    with torch.enable_grad() if learning else torch.inference_mode():
        recording = simulate(layer, current, recorded(view), modulation=modulation)
    gradients: dict[str, float] = {}
    if learning:
        recording.spikes.mean().backward()  # type: ignore[no-untyped-call]
        gradients = {name: 0.0 if value.grad is None else float(value.grad.sum()) for name, value in layer.named_parameters()}
    return NeuronRun(view, layer, current, modulation, recording, gradients, time.perf_counter() - start)


def recorded(view: NeuronView) -> tuple[str, ...]:
    """The names of the traces that a view shows."""
    settings = view.settings
    uses = {
        "angle": settings.quantum_mode,
        "probability": settings.quantum_mode or settings.stochastic,
        "adaptation": settings.spike_increase > 0,
        "efficiency": settings.depression_rate > 0,
        "ahp": settings.use_ahp,
        "dynamic": settings.allow_dynamic_spike_probability,
        "rate": settings.homeostasis_enabled,
    }
    return ("potential", "threshold", *(name for name, used in uses.items() if used))


def python_code(view: NeuronView, file_name: str = "current.npy") -> str:
    """The lines that give what the page shows, ready to run.

    Args:
        view: the view.
        file_name: of the uploaded file.
    """
    lines = ["import torch", "", "import qlifq", "from qlifq import training", ""]
    scale = f"torch.linspace({1 - view.spread!r}, 1.0, {view.neurons})" if view.neurons > 1 else "torch.ones(1)"
    if view.source == "upload":
        lines += [f"current = {view.gain!r} * training.load_current({file_name!r})[:, {view.sample}:{view.sample + 1}]"]
    elif view.source in {"ramp", "staircase", "pulses"}:
        lines += [f"current = {_wave(view)}[:, None, None] * {scale}"]
    else:
        images = f"training.digits().images[{view.digit}:{view.digit + 1}]" if view.source == "digits" else f"{scale}[None]"
        call = _encoder(view)
        rest = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        lines += [f"current = training.{call.function}({images}, {rest})"]
    modulated = _modulation_call(view, view.steps)
    if modulated is not None:
        text = (
            str(modulated) if view.source != "upload" else str(modulated).replace(f"steps={view.steps}", "steps=len(current)")
        )
        lines += [f"modulation = {text}[:, None, None]"]
    written = ", ".join(f"{name}={_literal(value)}" for name, value in _layer_arguments(view).items())
    lines += [f"layer = qlifq.QLIF(current.shape[2], {written})"]
    end = ", modulation=modulation" if modulated is not None else ""
    lines += [f"recording = qlifq.simulate(layer, current, {recorded(view)!r}{end})", "print(recording)"]
    if any(getattr(view.settings, name) for name in _LEARNABLE):
        lines += [
            "recording.spikes.mean().backward()",
            "print({name: float(value.grad.sum()) for name, value in layer.named_parameters()})",
        ]
    if not any("torch." in line for line in lines):
        lines = lines[2:]
    return "\n".join(lines) + "\n"


def _literal(value: object) -> str:
    transform = next((name for name, function in TRANSFORMS.items() if function is value), None)
    return repr(value) if value is None or transform is None else f"torch.{transform}"


def _layer_arguments(view: NeuronView) -> dict[str, Any]:
    """What `QLIF` is given, beside the number of neurons."""
    changed = {
        item.name: getattr(view.settings, item.name)
        for item in fields(Settings)
        if getattr(view.settings, item.name) != item.default
    }
    shots = {"shots": int(view.shots)} if view.shots != "exact" and view.settings.quantum_mode else {}
    return {"seed": view.seed, **shots, **changed}


def _current(view: NeuronView, upload: Tensor | None) -> Tensor:
    if view.source == "upload":
        if upload is None:
            raise ShapeError("The source 'upload' needs a .npy file of shape (time, batch, neurons): choose one under input.")
        return view.gain * upload[:, view.sample : view.sample + 1]
    scale = torch.linspace(1 - view.spread, 1.0, view.neurons) if view.neurons > 1 else torch.ones(1)
    if view.source in {"ramp", "staircase", "pulses"}:
        return _wave(view).run()[:, None, None] * scale
    images = training.digits().images[view.digit : view.digit + 1] if view.source == "digits" else scale[None]
    call = _encoder(view)
    return _Call(call.function, {"images": images, **call.arguments}).run()


def _wave(view: NeuronView) -> _Call:
    if view.source == "pulses":
        return _Call("pulses", {"steps": view.steps, "period": view.period, "width": view.width, "height": view.gain})
    levels = {"levels": view.levels} if view.source == "staircase" else {}
    return _Call(view.source, {"steps": view.steps, **levels, "start": 0.0, "end": view.gain})


def _encoder(view: NeuronView) -> _Call:
    if view.source == "constant":
        return _Call("current", {"steps": view.steps, "gain": view.gain})
    return _Call("poisson", {"steps": view.steps, "gain": view.gain, "rate": view.rate, "seed": view.seed})


def _modulation_call(view: NeuronView, steps: int) -> _Call | None:
    if view.modulation == "none":
        return None
    height = view.modulation_height
    if view.modulation == "pulses":
        return _Call("pulses", {"steps": steps, "period": 100, "width": 50, "height": height})
    if view.modulation == "step":
        return _Call("staircase", {"steps": steps, "levels": 2, "start": 0.0, "end": height})
    return _Call("ramp", {"steps": steps, "start": 0.0, "end": height})


def _modulation(view: NeuronView, steps: int) -> Tensor | None:
    call = _modulation_call(view, steps)
    return None if call is None else call.run()[:, None, None]
