"""What a calibration gains and costs: responses on device snapshots, speed of twin and fit, coverage of its intervals.

    python -m benchmarks.calibration [--quick]

The twin and `analytic` take turns in one process, after one call that is not counted; the ratio is that of the medians over
the rounds. The snapshots answer through Aer's own density matrix of every qubit (`sampling="law"`).
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from qlifq.backends import Backend, DeviceNoise, get
from qlifq.backends.analytic import AnalyticBackend
from qlifq.calibration import fit, from_counts
from qlifq.calibration.models import NEURON
from qlifq.circuits import RYSpike, SinusoidalResponse, SpikeCircuit
from qlifq.neurons import MAPPINGS
from qlifq.studies.calibration_check import check_correction

SNAPSHOTS = ("fake_torino", "fake_brisbane", "fake_fez", "fake_sherbrooke")
NEURONS = 64


class Measured(NamedTuple):
    """What the twin needs of a calibration."""

    circuit: SpikeCircuit
    response: SinusoidalResponse


def snapshots(shots: int) -> None:
    """The root mean square of response − target, of 64 neurons on the best qubits and on those that come first."""
    print(f"{NEURONS} neurons, {shots:,} shots per angle of the fit, 4,096 per gap of the check")
    print(f"{'snapshot':<16} {'qubits':<6} {'mapping':<8} {'before':>8} {'after':>8} {'shot noise':>11} {'after/noise':>12}")
    for name in SNAPSHOTS:
        for label, qubits in (("best", None), ("first", tuple(range(NEURONS)))):
            backend = get("aer", noise=name, sampling="law", qubits=qubits)
            for mapping in ("sigmoid", "linear"):
                calibration = fit(backend, neurons=NEURONS, mapping=mapping, shots=shots, seed=1)
                result = check_correction(backend, calibration, shots=4096, seed=2)
                print(
                    f"{name:<16} {label:<6} {mapping:<8} {result.rms_before:8.4f} {result.rms_after:8.4f} "
                    f"{result.shot_noise:11.4f} {result.rms_after / result.shot_noise:12.2f}"
                )


def twin(rounds: int) -> None:
    """Median time of a call of the twin as a multiple of that of `analytic`, without noise and with noise per site."""
    print(f"\n{'twin against analytic':<34} {'batch × sites':<14} {'ideal':>8} {'noisy':>8}")
    for batch, sites in ((1, 1000), (64, 1000), (1, 100_000), (100, 10_000)):
        noise = DeviceNoise(readout_p01=(0.02,) * sites, readout_p10=(0.04,) * sites)
        law = AnalyticBackend(noise).law(RYSpike(), torch.device("cpu"))
        ours = get("twin", record=Measured(RYSpike(), law))
        theirs = (AnalyticBackend(), AnalyticBackend(noise))
        angles = torch.rand(batch, sites, 1) * 3
        for label, act in (("exact", exact), ("one shot", one_shot), ("exact with gradient", with_gradient)):
            # Pair by pair: a third contender would leave a cold cache to whoever follows it.
            pairs = [medians([partial(act, backend, angles) for backend in (ours, other)], rounds) for other in theirs]
            ratios = [mine / other for mine, other in pairs]
            print(f"{label:<34} {f'{batch} × {sites:,}':<14} {ratios[0]:8.2f} {ratios[1]:8.2f}")


def exact(backend: Backend, angles: torch.Tensor) -> None:
    backend.run(RYSpike(), angles, shots=None, seed=None)


def one_shot(backend: Backend, angles: torch.Tensor) -> None:
    backend.run(RYSpike(), angles, shots=1, seed=1)


def with_gradient(backend: Backend, angles: torch.Tensor) -> None:
    leaf = angles.clone().requires_grad_()
    torch.autograd.grad(backend.run(RYSpike(), leaf, shots=None, seed=None).probability.sum(), leaf)


def medians(acts: list[Callable[[], None]], rounds: int) -> list[float]:
    """Seconds of each, taking turns, so that a busy machine slows all equally."""
    spent: list[list[float]] = [[] for _ in acts]
    for act in acts:
        act()
    for _ in range(rounds):
        for place, act in enumerate(acts):
            begun = time.perf_counter()
            act()
            spent[place].append(time.perf_counter() - begun)
    return [statistics.median(each) for each in spent]


def fitting(neurons: int) -> None:
    """How long measuring and fitting this many neurons takes."""
    device = get("analytic", noise=DeviceNoise(readout_p01=0.02, readout_p10=0.04))
    print(f"\n{'fit':<10} {'neurons':>8} {'measure s':>10} {'fit s':>8}")
    for mapping in ("sigmoid", "linear", "tanh"):
        begun = time.perf_counter()
        calibration = fit(device, neurons=neurons, mapping=mapping, shots=4096, seed=1)
        measured = time.perf_counter()
        converged = bool(calibration.analysis.neuron.converged.all())
        done = time.perf_counter()
        note = "" if converged else "  not all converged"
        print(f"{mapping:<10} {neurons:8,} {measured - begun:10.3f} {done - measured:8.3f}{note}")


def coverage(draws: int) -> None:
    """How often the 95 % intervals hold what was planted: CSV files of 3 sites, unequal shots, readout errors up to 15 %."""
    truth = torch.tensor([[4.3, 0.05, 0.02, 0.05], [3.8, -0.1, 0.06, 0.1], [4.0, 0.0, 0.01, 0.15]], dtype=torch.float64)
    q_scale, q_bias, p01, p10 = truth.unbind(-1)
    gaps = torch.linspace(-0.8, 0.8, 10, dtype=torch.float64)
    turned = MAPPINGS["sigmoid"].angle(gaps[:, None], q_scale, q_bias, math.pi)
    corners = torch.tensor([0.0, math.pi], dtype=torch.float64)[:, None].expand(-1, 3)
    chance = p01 + (1 - p01 - p10) * (torch.cat((corners, turned)) / 2).sin().square()
    shots = torch.tensor([4000, 1500, 800]) + 250 * torch.arange(12)[:, None]
    generator = torch.Generator().manual_seed(1)
    covered = torch.zeros(4)
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(draws):
            ones = torch.binomial(shots.double(), chance, generator=generator).long()
            lines = ["site,angle,gap,shots,ones"]
            for site in range(3):
                for cell in range(12):
                    place = f"{float(corners[cell, site])!r}," if cell < 2 else f",{float(gaps[cell - 2])!r}"
                    lines.append(f"{site},{place},{shots[cell, site]},{ones[cell, site]}")
            path = Path(folder) / f"{draw}.csv"
            path.write_text("\n".join(lines))
            found = from_counts(path, measured_by="the benchmark").analysis.neuron
            covered += ((found.value - truth).abs() < 1.959964 * found.standard_error).sum(0)
    print(f"\ncoverage of the 95 % intervals, {draws} CSV files of 3 sites: ", end="")
    print(" · ".join(f"{name} {float(part) / (3 * draws):.1%}" for name, part in zip(NEURON, covered, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer shots and rounds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    snapshots(2048 if quick else 16_384)
    twin(5 if quick else 41)
    fitting(100 if quick else 1000)
    coverage(300)


if __name__ == "__main__":
    main()
