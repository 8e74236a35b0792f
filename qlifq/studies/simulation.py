"""One layer, one input: the run, its facts and its summary."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from qlifq.backends import Plan
from qlifq.neurons import QLIF, Recording, simulate
from qlifq.neurons.description import describe_decisions
from qlifq.reporting.intervals import Interval
from qlifq.reporting.wording import counted, duration

__all__ = ["SimulationRun", "describe_loops", "describe_plan", "loop_plans", "run_simulation", "simulation_plans"]


@dataclass(frozen=True)
class SimulationRun:
    """What a simulation took and gave; printed, a compact summary.

    Args:
        layer: the layer that ran.
        current: its input, `(time, batch, num_neurons)`.
        recording: the spikes, and "potential", "threshold" and (where the decision has one) "probability" at the decision; of
            a decision by shots also "angle", from which the closed form of its probability follows.
        seconds: wall time of the run.
    """

    layer: QLIF
    current: Tensor
    recording: Recording
    seconds: float

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step."""
        return float(self.recording.spikes.mean())

    def facts(self) -> dict[str, object]:
        """The run as numbers and text, as a file keeps them."""
        steps, batch, neurons = self.current.shape
        settings = asdict(self.layer.settings)
        # A function cannot be written to the file; its name shows at least that there was one.
        transform = settings["neuromod_transform"]
        settings["neuromod_transform"] = None if transform is None else repr(transform)
        return {
            "backend": self.layer.backend.name,
            "decided_by": self.recording.decided_by,
            "shots": self.layer.shots,
            "seed": self.layer.seeds.root,
            "neurons": neurons,
            "steps": steps,
            "samples": batch,
            "firing_rate": self.firing_rate,
            # Without bounds: spikes of one neuron and sample are not independent.
            "results": {"firing rate": Interval(self.firing_rate, math.nan, math.nan).to_dict()},
            "evaluations": self.recording.evaluations,
            "seconds": self.seconds,
            "settings": settings,
        }

    def __str__(self) -> str:
        steps, batch, neurons = self.current.shape
        evaluations = self.recording.evaluations
        settings = self.layer.settings
        decision = f"{settings.decision} decision, {settings.mapping} mapping" if settings.quantum_mode else "classic decision"
        each = f", {duration(self.seconds / evaluations)} per evaluation" if evaluations else ""
        rows = {
            "backend": self.recording.decided_by,
            "neurons": f"{neurons:,} ({settings.membrane} membrane, {decision})",
            "steps": f"{steps:,} × {counted(batch, 'sample')}",
            "firing rate": f"{self.firing_rate:.4f} spikes per neuron and step",
            "evaluations": f"{evaluations:,}",
            "time": f"{duration(self.seconds)}{each}",
        }
        return "\n".join(f"{name:<12} {value}" for name, value in rows.items())


def run_simulation(layer: QLIF, current: Tensor, *, progress: Callable[[int, int], None] | None = None) -> SimulationRun:
    """Run a layer on an input, without gradients, and keep what its figure shows.

    Args:
        layer: the layer.
        current: `(time, batch, num_neurons)`, with at least one element.
        progress: called as `progress(done, steps)` after every step.

    Returns:
        A `SimulationRun`.

    Raises:
        QLIFError: if the input cannot be used.

    Example:
        >>> run = run_simulation(QLIF(4, seed=0), torch.full((50, 2, 4), 1.2))
        >>> print(run)
        backend      analytic, exact
        neurons      4 (leaky membrane, sample decision, sigmoid mapping)
        steps        50 × 2 samples
        firing rate  ... spikes per neuron and step
        evaluations  400
        time         ... per evaluation
    """
    drawn = layer.settings.quantum_mode or layer.settings.stochastic
    estimated = layer.settings.quantum_mode and layer.shots is not None
    names = ("potential", "threshold", *(("probability",) if drawn else ()), *(("angle",) if estimated else ()))
    start = time.perf_counter()
    with torch.no_grad():
        recording = simulate(layer, current, names, progress=progress)
    return SimulationRun(layer, current, recording, time.perf_counter() - start)


def simulation_plans(layer: QLIF, *, steps: int, batch: int) -> dict[str, Plan]:
    """The plans of one step and of all of them, by what `describe_plan` calls them; empty where no circuit runs."""
    if not layer.settings.quantum_mode:
        return {}
    step = layer.plan(batch)
    return {"one step": step, f"all {steps:,}": step.times(steps)}


def describe_plan(layer: QLIF, *, steps: int, batch: int) -> str:
    """What a run would cost, one step and all of them; spends nothing.

    Args:
        layer: the layer that would run.
        steps: time steps.
        batch: samples side by side.

    Returns:
        The backend and two lines of costs, a third for a device, or one line where no circuit runs.
    """
    plans = simulation_plans(layer, steps=steps, batch=batch)
    if not plans:
        return f"{'plan':<12} no circuit runs: quantum_mode=False"
    lines = [f"{name:<12} {value}" for name, value in {"backend": describe_decisions(layer), **plans}.items()]
    if plans["one step"].device_seconds is not None:
        lines.append(f"{'in turn':<12} {counted(steps, 'step')}, each of which waits for the spikes of the one before")
    return "\n".join(lines)


def loop_plans(layer: QLIF, current: Tensor) -> dict[str, Plan]:
    """The plans of a sequence by each way that a backend offers, see `describe_loops`; spends nothing."""
    steps, batch, neurons = current.shape
    return {
        "circuit loop": layer.backend.plan_train(layer.train_circuit(current), shots=1),
        "host loop": layer.plan(batch).times(steps),
        "replay": layer.backend.plan(layer.circuit, steps * batch, neurons, shots=1),
    }


def describe_loops(layer: QLIF, current: Tensor) -> str:
    """What a sequence would cost by each way that a backend offers; spends nothing.

    Args:
        layer: the layer that would run.
        current: its input, `(time, batch, num_neurons)`.

    Returns:
        The backend and a line for each: the closed loop in one circuit, the closed loop on the host, which waits at every step
        for the spikes of the one before, and the replay of a trajectory that is known, which is no closed loop.

    Raises:
        QLIFError: for a neuron or a backend that runs no spike trains.
    """
    plans = loop_plans(layer, current)
    within = f"angles within {layer.train_circuit(current).error:.1g}"
    rows = {
        "backend": describe_decisions(layer),
        "circuit loop": f"{plans['circuit loop']} · steps in turn 0 · {within}",
        "host loop": f"{plans['host loop']} · steps in turn {len(current):,}",
        "replay": f"{plans['replay']} · steps in turn 0",
    }
    return "\n".join(f"{name:<12} {value}" for name, value in rows.items())
