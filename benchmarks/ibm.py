"""What a step of 100 neurons costs on a device and its snapshot, and how far calibrated neurons are from their prediction.

    python -m benchmarks.ibm [--quick]

The overhead of a call is its whole time without the time in Aer, in the client and in pauses between two looks at a job.
The client's own run on a snapshot is its `SamplerV2` on one packed circuit, as its users write it.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from qiskit import transpile
from qiskit_ibm_runtime import SamplerV2

from qlifq import QLIF
from qlifq.backends import get
from qlifq.backends.ibm import requests, snapshot
from qlifq.backends.ibm.backend import IBMBackend
from qlifq.backends.snapshots import load_backend
from qlifq.calibration import fit
from qlifq.circuits import RYSpike
from qlifq.studies.calibration_check import check_correction
from qlifq.studies.replay import run_replay
from tests.backends.ibm.loopback import DEVICE, Loopback, connected

NEURONS = 100
LARGE = ("fake_brisbane", "fake_torino", "fake_fez")
SNAPSHOTS = ("fake_brisbane", "fake_sherbrooke", "fake_kyiv", "fake_torino", "fake_fez", "fake_marrakesh")


@contextmanager
def not_ours(owner: Any, name: str) -> Iterator[list[float]]:
    """The seconds that go by in a method, one number per call."""
    spent: list[float] = []
    real = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        try:
            return real(*arguments, **options)
        finally:
            spent.append(time.perf_counter() - begun)

    with mock.patch.object(owner, name, timed):
        yield spent


def steps(backend: Any, rounds: int, others: tuple[list[float], ...]) -> tuple[float, float]:
    """Median milliseconds of a step of ten samples, and of what is ours of it, after two steps that are not counted."""
    whole, ours = [], []
    for seed in range(rounds + 2):
        angles = torch.rand(1, NEURONS, 1) * 3
        before = sum(map(sum, others))
        begun = time.perf_counter()
        outcome = backend.run(RYSpike(), angles, shots=1, seed=seed)
        spent = time.perf_counter() - begun
        assert len(outcome.metadata["jobs"]) == 1
        if seed > 1:
            whole.append(1e3 * spent)
            ours.append(1e3 * (spent - (sum(map(sum, others)) - before)))
    return statistics.median(whole), statistics.median(ours)


def overhead(rounds: int) -> None:
    print(f"one step of {NEURONS} neurons, 1 shot, one submission per step; median of {rounds} steps, milliseconds")
    print(f"{'device':<32} {'qubits':>6} {'call':>9} {'of it ours':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for name in LARGE:
            backend = IBMBackend(name, run="bench", journal=Path(folder, name))
            with not_ours(snapshot.SnapshotChannel, "submit") as aer:
                call, ours = steps(backend, rounds, (aer,))
            print(f"{name + ', run here':<32} {len(backend.qubits):6} {call:9.1f} {ours:11.1f}", flush=True)
        with Loopback("fake_brisbane") as service, connected(service.url):
            for sampler in ("service", "client"):
                journal = Path(folder, "jobs")
                backend = IBMBackend(DEVICE, run=sampler, sampler=sampler, journal=journal, poll_seconds=0.05)
                with not_ours(requests.ServiceRequests, "send") as sent, not_ours(time, "sleep") as slept:
                    call, ours = steps(backend, max(3, rounds // 4), (sent, slept))
                label = f"service on loopback, {sampler} sampler"
                print(f"{label:<32} {len(backend.qubits):6} {call:9.1f} {ours:11.1f}", flush=True)


def plain_client() -> None:
    print("\nthe client alone on the snapshot, 1 shot of a packed circuit, seconds")
    for name in LARGE[:1]:
        device = load_backend(name)
        for neurons in (1, 10):
            native = transpile(RYSpike().to_qiskit(neurons), device, optimization_level=1, seed_transpiler=0)
            sampler = SamplerV2(mode=device)
            spent = timed(lambda: sampler.run([(native, torch.rand(1, neurons).numpy())], shots=1).result())  # noqa: B023
            print(f"{name:<32} {neurons:3} neurons {spent:8.2f}", flush=True)


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def deviation(shots: int, time_steps: int) -> None:
    """Two comparisons: estimates along a trajectory, and the response of neurons whose angles were corrected."""
    print(
        f"\nmean |measured − predicted| of {NEURONS} neurons, {shots:,} shots; a trajectory of {time_steps} steps without and"
    )
    print("with readout errors taken off, and the response to 13 gaps before and after its angles were corrected")
    print(f"{'':<16} {'trajectory':^31} {'response':^31}")
    print(f"{'snapshot':<16} {'as it is':>9} {'calibrated':>11} {'shots':>9} {'as it is':>9} {'calibrated':>11} {'shots':>9}")
    current = 1.2 + 0.6 * torch.rand(time_steps, 1, NEURONS, generator=torch.Generator().manual_seed(0))
    for name in SNAPSHOTS:
        backend = get("ibm", device=name)
        calibration = fit(backend, neurons=NEURONS, shots=shots, seed=1)
        found = [
            run_replay(QLIF(NEURONS, seed=2), current, backend, shots=shots, seed=3, calibration=record)
            for record in (None, calibration)
        ]
        check = check_correction(backend, calibration, shots=shots, seed=4)
        before, after = (float((ones / shots - check.target).abs().mean()) for ones in (check.before, check.after))
        alone = float((check.target * (1 - check.target) / shots * 2 / torch.pi).sqrt().mean())
        row = (found[0].mean_deviation, found[1].mean_deviation, found[1].shot_noise, before, after, alone)
        print(
            f"{name:<16} " + " ".join(f"{value:{width}.2%}" for value, width in zip(row, (9, 11, 9) * 2, strict=True)),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer shots and rounds")
    quick = parser.parse_args().quick
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    overhead(12 if quick else 40)
    plain_client()
    deviation(1024 if quick else 4096, 10 if quick else 20)


if __name__ == "__main__":
    main()
