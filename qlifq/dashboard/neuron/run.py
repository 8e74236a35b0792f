"""The page of the neuron: its run, and the code that reproduces it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qlifq import training
from qlifq.dashboard.controls import TRANSFORMS
from qlifq.dashboard.neuron.view import LEARNABLE, MOST_NEURONS, MOST_STEPS, NeuronView
from qlifq.errors import ShapeError
from qlifq.neurons import QLIF, Recording, Settings, simulate, value_gradients
from qlifq.studies.spike_trains import coefficient_of_variation, interval_sums

__all__ = ["NeuronRun", "Statistics", "check_upload", "python_code", "run_neuron"]


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
        gradients: of the firing rate by a trained constant, that of all neurons together; by its name.
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
        evaluations: spike decisions on a qubit.
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


def check_upload(current: Tensor, file: str) -> Tensor:
    """Refuse an uploaded current that would take too long to show.

    Args:
        current: `(time, batch, neurons)`.
        file: what it is called in an error.

    Raises:
        ShapeError: if it has too many steps or neurons.
    """
    steps, _, neurons = current.shape
    if steps > MOST_STEPS or neurons > MOST_NEURONS:
        raise ShapeError(
            f"File {file} must have at most {MOST_STEPS} steps and {MOST_NEURONS} neurons to be shown, "
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
    # An address may name a sample that this file has not.
    if upload is not None:
        view = replace(view, sample=min(view.sample, upload.shape[1] - 1))
    current = _current(view, upload)
    modulation = _modulation(view, len(current))
    layer = QLIF(current.shape[2], **_layer_arguments(view))
    # A graph takes as long as the run itself: only where a gradient is shown.
    learning = any(True for _ in layer.parameters())
    with torch.enable_grad() if learning else torch.inference_mode():
        recording = simulate(layer, current, recorded(view), modulation=modulation)
    gradients: dict[str, float] = {}
    if learning:
        recording.spikes.mean().backward()  # type: ignore[no-untyped-call]
        gradients = {name: float(value.sum()) for name, value in value_gradients(layer).items()}
    return NeuronRun(view, layer, current, modulation, recording, gradients, time.perf_counter() - start)


def recorded(view: NeuronView) -> tuple[str, ...]:
    """The names of the traces that a view shows."""
    settings = view.settings
    uses = {
        "angle": settings.quantum_mode,
        "probability": settings.quantum_mode or settings.stochastic,
        "adaptation": settings.uses("spike_increase"),
        "efficiency": settings.uses("depression_rate"),
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
    if any(getattr(view.settings, name) for name in LEARNABLE):
        lines += [
            "recording.spikes.mean().backward()",
            "print({name: float(value.sum()) for name, value in qlifq.neurons.value_gradients(layer).items()})",
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
