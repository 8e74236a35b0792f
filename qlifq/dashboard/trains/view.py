"""The page of spike trains in one circuit: its view, the circuit that it compiles, and the Python of both."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qlifq.backends import Backend, DeviceNoise, get
from qlifq.circuits import SpikeTrainCircuit
from qlifq.circuits.trains.moments import TrainMoments
from qlifq.dashboard.controls import control
from qlifq.dashboard.noise import CAPABILITIES, number
from qlifq.dashboard.view import View
from qlifq.errors import UnsupportedError
from qlifq.neurons import MAPPINGS, QLIF
from qlifq.neurons.parameters import Need

__all__ = ["DEVICE", "LOCAL", "Compiled", "TrainsView", "backend_of", "compiled", "lags_of", "layer_of", "trains_code"]

#: Those that run a whole train from this page.
LOCAL = tuple(name for name, can in CAPABILITIES.items() if can.trains and not can.remote)
#: The device whose costs can be looked up beside those of the chosen backend.
DEVICE = "fake_torino"
#: Largest errors of an angle that are offered, radians: none, the library's own, and ever fewer rotations.
TOLERANCES = ("0", "0.0002", "0.01", "0.05", "0.2")
_LAGS = (1, 2, 3, 4, 6, 8)

_HARD = Need("reset='hard'", lambda view: view.reset == "hard")
_ADDITIVE = Need("reset='hard' and mapping='linear'", lambda view: view.reset == "hard" and view.mapping == "linear")
_NUMBERS = Need("noise='numbers'", lambda view: view.noise == "numbers")


@dataclass(frozen=True, kw_only=True)
class TrainsView(View):
    """What the page of the trains shows: one neuron, on one qubit."""

    reset: str = control(
        "hard", "choice", "neuron", "to zero, or down by the threshold", options=("hard", "soft"), label="Reset (reset)"
    )
    mapping: str = control(
        # The only one with which the angles of a soft reset add up.
        {"hard": "sigmoid", "soft": "linear"},
        "choice",
        "neuron",
        "from the gap to the angle",
        options=tuple(MAPPINGS),
        by="reset",
        label="Mapping (mapping)",
    )
    tau: float = control(
        8.0, "real", "neuron", "membrane time constant", at_least=1.0, label="Membrane time constant τ (tau, steps)"
    )
    refractory_period: int = control(
        0,
        "integer",
        "neuron",
        "steps after a spike in which no spike is possible",
        need=_HARD,
        at_least=0,
        at_most=10,
        label="Refractory period (refractory_period, steps)",
    )
    eta: float = control(
        0.0,
        "real",
        "neuron",
        "rise of an adaptive threshold at a spike; 0 for a threshold that stays",
        need=_ADDITIVE,
        at_least=0.0,
        at_most=0.1,
        label="Rise of the threshold at a spike (eta)",
    )
    gain: float = control(2.0, "real", "input", "constant current", at_least=0.0, at_most=20.0, label="Current (dimensionless)")
    steps: int = control(12, "integer", "input", "length of a train", at_least=2, at_most=40, label="Duration (steps)")
    tolerance: str = control(
        "0.0002",
        "choice",
        "circuit",
        "conditional rotations are left out as long as no angle is off by more; P(1) changes by half of it at most",
        options=TOLERANCES,
        label="Largest error of an angle (radians)",
    )
    backend: str = control("aer", "choice", "run", "where both loops run", options=LOCAL, label="Backend")
    trains: int = control(400, "integer", "run", "trains of each loop", at_least=20, at_most=2000, label="Trains of each loop")
    seed: int = control(0, "integer", "run", "the same seed gives the same trains", at_least=0, at_most=999, label="Seed")
    noise: str = control("none", "choice", "noise", "errors of the qubit", options=("none", "numbers"), label="Noise")
    readout_p01: float = number("readout_p01", "noise", _NUMBERS)
    readout_p10: float = number("readout_p10", "noise", _NUMBERS)
    gate_error: float = number("gate_error", "noise", _NUMBERS)
    reset_error: float = number("reset_error", "noise", _NUMBERS)


class Compiled(NamedTuple):
    """A view whose neuron was compiled.

    Args:
        view: the view.
        train: the circuit.
        law: the exact moments of its trains under the noise; None where they are not to be had.
        refused: why not; empty where they are.
    """

    view: TrainsView
    train: SpikeTrainCircuit
    law: TrainMoments | None
    refused: str


def noise_of(view: TrainsView) -> DeviceNoise | None:
    """The noise of a view in numbers."""
    return DeviceNoise(**_numbers(view)) if view.noise == "numbers" else None


def backend_of(view: TrainsView) -> Backend:
    """The backend of both loops.

    Raises:
        QLIFError: if it cannot be had.
    """
    noise = noise_of(view)
    return get(view.backend) if noise is None else get(view.backend, noise=noise)


def layer_of(view: TrainsView, backend: Backend | str = "analytic") -> QLIF:
    """The neuron of a view, whose host loop draws one shot per decision.

    Raises:
        QLIFError: if its parameters do not go together.
    """
    return QLIF(1, backend=backend, **_arguments(view))


def current_of(view: TrainsView, batch: int = 1) -> Tensor:
    """The input, `(time, batch, 1)`."""
    return torch.full((view.steps, batch, 1), view.gain)


def lags_of(view: TrainsView) -> list[int]:
    """The lags of the autocovariance, steps."""
    return [lag for lag in _LAGS if lag < view.steps]


def compiled(view: TrainsView) -> Compiled:
    """Compile the neuron of a view and work out the exact law of its trains.

    Raises:
        QLIFError: for a neuron that no circuit holds, by the name of the parameter that stands in the way.
    """
    train = layer_of(view).train_circuit(current_of(view), tolerance=float(view.tolerance))
    noise = noise_of(view)
    known = None if noise is None else noise.of_trains(train.base.dtype, train.base.device)
    try:
        return Compiled(view, train, train.moments(max(lags_of(view)), noise=known), "")
    except UnsupportedError as error:
        # The circuit runs all the same; only its moments are not to be had by recursion.
        return Compiled(view, train, None, str(error))


def _numbers(view: TrainsView) -> dict[str, float]:
    names = ("readout_p01", "readout_p10", "gate_error", "reset_error")
    return {name: getattr(view, name) for name in names}


def _arguments(view: TrainsView) -> dict[str, Any]:
    """What `QLIF` is given, beside the number of neurons and the backend."""
    # Only what has an effect: `QLIF` refuses the rest.
    adaptive = {"use_adaptive_threshold": True, "eta": view.eta} if view.eta > 0 else {}
    waiting = {"refractory_period": view.refractory_period} if view.refractory_period else {}
    own = {"reset": view.reset, "mapping": view.mapping, "tau": view.tau}
    return {"shots": 1, "seed": view.seed, "gradient": "none", **own, **waiting, **adaptive}


def trains_code(view: TrainsView) -> str:
    """The lines that give what the page shows, ready to run."""
    given = ", ".join(f"{name}={value!r}" for name, value in _numbers(view).items())
    noisy = view.noise == "numbers"
    known = "noise.of_trains(train.base.dtype, train.base.device)" if noisy else "None"
    lines = [
        "import torch",
        "",
        "import qlifq",
        "from qlifq.backends import DeviceNoise, get" if noisy else "from qlifq.backends import get",
        "",
        *([f"noise = DeviceNoise({given})"] if noisy else []),
        f"backend = get({view.backend!r}, noise=noise)" if noisy else f"backend = get({view.backend!r})",
        f"layer = qlifq.QLIF(1, backend=backend, {', '.join(f'{name}={value!r}' for name, value in _arguments(view).items())})",
        f"current = torch.full(({view.steps}, 1, 1), {view.gain!r})",
        f"train = layer.train_circuit(current, tolerance={view.tolerance})",
        "print(train)",
        "print(train.draw())",
        f'print("exact", train.moments(noise={known}).rate.mean().item())',
        f"circuit = backend.run_train(train, shots={view.trains}, seed={view.seed}).spikes",
        'print("circuit", circuit.double().mean().item())',
        "with torch.no_grad():",
        f"    host = layer(current.expand(-1, {view.trains}, -1))[0]",
        'print("host", host.double().mean().item())',
    ]
    return "\n".join(lines) + "\n"
