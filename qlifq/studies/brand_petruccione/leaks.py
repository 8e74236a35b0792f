"""The leak of the neuron of Brand and Petruccione by itself: what it leaves, what it does to pulses, and as a real delay."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qlifq.backends import DeviceNoise, get
from qlifq.neurons import BrandPetruccione
from qlifq.neurons.brand_petruccione import BrandPetruccioneState
from qlifq.reporting.intervals import Floats, binomial
from qlifq.studies.brand_petruccione.matched_input import LEAKS, NEURONS, T1, THETA, THRESHOLD, drive
from qlifq.studies.spike_trains import first_difference

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DELAY_SHOTS", "DEVICE_T1", "MOST_PULSES", "delay_table", "gap_table", "leak_table"]

#: T1 of the qubit on which the leak is a real delay, seconds; one step is T1 / 60 of it.
DEVICE_T1 = 120e-6
DELAY_SHOTS = 10_000
INTERVALS = (0, 1, 3, 6, 15, 30, 60, 120, 180, 300, 600)
#: Steps between two pulses; the longest run as one leak alone.
GAPS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 120, 240, 600)
MOST_STEPS_OF_GAP = 45
MOST_PULSES = 40


def leak_table() -> "DataFrame":
    """From α = 0.5 without input: one leak of the whole interval, and the same in leaks of one step.

    Returns:
        Columns "interval" (steps), "decay" (0.5 e^(−τ/T1)), and for each leak its population after one leak and after leaks of
        one step ("…_steps").
    """
    from pandas import DataFrame

    intervals = np.array(INTERVALS)
    table: dict[str, object] = {"interval": intervals, "decay": 0.5 * np.exp(-intervals / T1)}
    for leak in LEAKS:
        whole = torch.from_numpy(intervals.astype(np.float64))[None, :, None]
        table[leak] = _without_input(leak, whole)[0]
        # After no step at all the population is what it was.
        stepwise = np.concatenate([[0.5], _without_input(leak, torch.ones(max(INTERVALS), 1, 1, dtype=torch.float64))[:, 0]])
        table[f"{leak}_steps"] = stepwise[intervals]
    return DataFrame(table)


def gap_table() -> "DataFrame":
    """Input pulses until the first spike where they stand some steps apart.

    Returns:
        Columns "neuron", "leak" ("steps": a gap is leaks of one step; "whole": one leak), "gap" (steps between two pulses) and
        "pulses", NaN where none of `MOST_PULSES` makes a spike.
    """
    from pandas import DataFrame

    gaps = np.array(GAPS)
    stepwise = gaps[gaps <= MOST_STEPS_OF_GAP]
    time = np.arange(MOST_PULSES * (stepwise[-1] + 1))[:, None]
    x = torch.from_numpy((time % (stepwise + 1) == 0).astype(np.float64))
    pulses = {(name, "steps"): _pulses(drive(name, x, seed=0).spikes, x.numpy()) for name in NEURONS if name != "QLIF sample"}
    # A pulse, then one leak of the whole gap, in turn: two steps for each, whatever the gap is.
    pulse = (torch.arange(2 * MOST_PULSES) % 2 == 0).to(torch.float64)[:, None, None].expand(-1, len(gaps), 1)
    whole = torch.from_numpy(gaps.astype(np.float64))[None, :, None].expand_as(pulse)
    for leak in LEAKS:
        spikes, _ = BrandPetruccione(1, t1=T1, leak=leak, threshold=THRESHOLD)(torch.full_like(pulse, THETA), whole, pulse)
        pulses[f"BP {leak}", "whole"] = _pulses(spikes[:, :, 0].numpy(), pulse[:, :, 0].numpy())
    return DataFrame(
        [
            {"neuron": neuron, "leak": coding, "gap": gap, "pulses": number}
            for (neuron, coding), numbers in pulses.items()
            for gap, number in zip(gaps[: len(numbers)], numbers, strict=True)
        ]
    )


def delay_table(backend: str, seed: int) -> "DataFrame":
    """One relaxing leak from several populations: as a rotation, as a delay, and as a delay in shots.

    Args:
        backend: who gives the shots; it must take a `DeviceNoise`.
        seed: of the shots.

    Returns:
        Columns "before" (population), "interval" (steps), "rotation", "delay" and "measured" with its exact interval.
    """
    from pandas import DataFrame

    before, tau = (
        torch.from_numpy(values.ravel())[None, :, None]
        for values in np.meshgrid([0.1, 0.4, 0.7], [0.0, 15.0, 60.0, 120.0], indexing="ij")
    )
    noise = DeviceNoise(t1=DEVICE_T1)
    exact = get("analytic", noise=noise)
    measuring = get(backend, noise=noise)
    layers = {
        "rotation": BrandPetruccione(1, threshold=THRESHOLD, t1=T1),
        "delay": BrandPetruccione(1, threshold=THRESHOLD, t1=T1, delay_t1=DEVICE_T1, backend=exact),
        "measured": BrandPetruccione(
            1, threshold=THRESHOLD, t1=T1, delay_t1=DEVICE_T1, backend=measuring, shots=DELAY_SHOTS, seed=seed
        ),
    }
    none, state = torch.zeros_like(tau), BrandPetruccioneState(before[0])
    table: dict[str, object] = {"before": before.flatten().numpy(), "interval": tau.flatten().numpy()}
    for name, layer in layers.items():
        population, _, _ = layer.run(none, tau, none, state)
        table[name] = population.flatten().numpy()
    ones = np.round(np.asarray(table["measured"]) * DELAY_SHOTS)
    table["measured_low"], table["measured_high"] = binomial(ones, DELAY_SHOTS)
    return DataFrame(table)


def _without_input(leak: str, tau: Tensor) -> Floats:
    """Populations from 0.5 on, `(time, trials)`."""
    half = BrandPetruccioneState(torch.full(tau.shape[1:], 0.5, dtype=torch.float64))
    none = torch.zeros_like(tau)
    population, _, _ = BrandPetruccione(1, t1=T1, leak=leak, threshold=THRESHOLD).run(none, tau, none, half)
    return np.asarray(population[:, :, 0].numpy())


def _pulses(spikes: Floats, x: Floats) -> Floats:
    """How many input pulses had come when the first spike came, `(trials,)`; NaN where none came within `MOST_PULSES`."""
    first, come = first_difference(spikes, np.zeros_like(spikes)), x.cumsum(axis=0)
    number = come[np.minimum(first, len(spikes) - 1), np.arange(spikes.shape[1])]
    return np.where((first < len(spikes)) & (number <= MOST_PULSES), number, np.nan)
