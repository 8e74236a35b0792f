"""The whole act: plan, measure round by round, fit."""

import math
from collections.abc import Callable

from torch import Tensor

from qlifq import _validation as check
from qlifq.backends import Backend
from qlifq.backends.interface import MAX_SHOTS
from qlifq.calibration.calibration import Calibration
from qlifq.calibration.design import CalibrationDesign
from qlifq.calibration.measurement import Rounds
from qlifq.calibration.models import NEURON
from qlifq.circuits import SpikeCircuit
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError
from qlifq.neurons.mapping import THETA_MAX
from qlifq.random import MAX_SEED

__all__ = ["fit"]


def fit(
    backend: Backend,
    *,
    neurons: int,
    mapping: str = "sigmoid",
    q_scale: Tensor | float | None = None,
    q_bias: Tensor | float | None = None,
    quantum_leak: float = 0.0,
    theta_max: float = THETA_MAX,
    gaps: Tensor | None = None,
    shots: int = 4096,
    rounds: int = 2,
    seed: int | None = None,
    standard_error: float | None = None,
    parameter: str | None = None,
    max_shots: int | None = None,
    circuit: SpikeCircuit | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Measure the response of a backend and fit it.

    Every site runs its readout corners |0⟩ and |1⟩ and the angle of each gap. The counts give, by binomial maximum
    likelihood, the response P(1) = a + b cos θ + c sin θ, and the q_scale, q_bias and readout errors that the qubit shows. The
    shots are spent in rounds, in which every site runs its angles in another order, so that drift and crosstalk show.

    Args:
        backend: what is measured; it must give counts.
        neurons: how many sites side by side, at least 1 (a layer with several wires has neurons × wires).
        mapping: "sigmoid", "linear" or "tanh".
        q_scale: what is programmed, not 0: a number or `(neurons,)`; None for the mapping's default.
        q_bias: same shape.
        quantum_leak: the layer's `quantum_leak`.
        theta_max: the layer's `theta_max`, radians, for `tanh` alone.
        gaps: Δ, `(points,)` or `(points, neurons)`; None for ten whose angles are spread evenly.
        shots: per angle and site, over all rounds; at least `rounds`. With `standard_error`, what is spent at first.
        rounds: how many rounds the shots are spent in, at least 1; one round cannot see drift.
        seed: root of all seeds, 0 to 2⁶³ − 1; None takes one from the system.
        standard_error: goes on until the largest standard error of `parameter` is at most this.
        parameter: "q_scale", "q_bias", "readout_p01" or "readout_p10"; goes with `standard_error`.
        max_shots: the most per angle and site that may be spent on `standard_error`.
        circuit: what runs, a circuit with one angle in one rotation; None for `RYSpike`.
        progress: called as progress(rounds done, shots done) after every round.

    Returns:
        A `Calibration`. What cannot be identified is NaN in it, and `unidentified_reason` gives the reason.

    Raises:
        QLIFError: before anything runs, if an argument cannot be used.

    Example:
        >>> from qlifq.backends import DeviceNoise, get
        >>> device = get("analytic", noise=DeviceNoise(readout_p01=0.03, readout_p10=0.06))
        >>> calibration = fit(device, neurons=2, shots=20_000, seed=1)
        >>> calibration.analysis.neuron.value[:, 2:].round(decimals=2)
        tensor([[0.0300, 0.0600],
                [0.0300, 0.0600]], dtype=torch.float64)
    """
    if not isinstance(backend, Backend):
        raise DtypeError(f"Argument `backend` must be a Backend, but is {type(backend).__name__}.")
    if not backend.capabilities.shots:
        raise UnsupportedError(f"Argument `backend` must give counts, but {backend.name} has no shots.")
    backend.check_bounded("a calibration")
    design = CalibrationDesign(
        mapping,
        neurons,
        q_scale=q_scale,
        q_bias=q_bias,
        quantum_leak=quantum_leak,
        theta_max=theta_max,
        gaps=gaps,
        circuit=circuit,
    )
    check.integer("rounds", rounds, at_least=1)
    check.integer("shots", shots, at_least=rounds)
    check.optional_integer("seed", seed, at_least=0, at_most=MAX_SEED)
    goal = _goal(standard_error, parameter, max_shots, shots)
    measuring = Rounds(backend, design, seed=seed, progress=progress)
    for number in range(rounds):
        measuring.run(shots // rounds + (number < shots % rounds))
    calibration = Calibration(measuring.measurement())
    if goal is None:
        return calibration
    target, place, most = goal
    while (spent := measuring.spent) < most:
        worst = float(calibration.analysis.neuron.standard_error[:, place].max())
        # NaN, where a site does not identify the parameter at all, ends this too: more of the same shots would not help.
        if not worst > target:
            break
        # The error falls as 1/√shots; a hundredth more keeps a last tiny round from following a near miss.
        missing = min(math.ceil(spent * 1.01 * (worst / target) ** 2), most) - spent
        measuring.run(min(missing, backend.capabilities.max_shots or MAX_SHOTS))
        calibration = Calibration(measuring.measurement())
    return calibration


def _goal(
    standard_error: float | None, parameter: str | None, max_shots: int | None, shots: int
) -> tuple[float, int, int] | None:
    """The target standard error, the place of its parameter, and the most shots."""
    given = {"standard_error": standard_error, "parameter": parameter, "max_shots": max_shots}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if standard_error is None or parameter is None or max_shots is None:
        raise ArgumentError(f"Arguments {', '.join(f'`{name}`' for name in given)} go together, but {missing[0]} is None.")
    return (
        check.real("standard_error", standard_error, above=0.0),
        NEURON.index(check.choice("parameter", parameter, NEURON)),
        check.integer("max_shots", max_shots, at_least=shots),
    )
