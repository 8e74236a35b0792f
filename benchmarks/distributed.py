"""What a Dask cluster adds to a call and takes off a sweep: local workers, one and two, next to the inner backend alone.

    python -m benchmarks.distributed [--quick] [--workers N ...]

The first table is the cost of a call that has next to nothing to do: what it adds is the overhead. The second is the sweep of
`qlifq compare shot-noise` on Aer, a few steps of each part; its contenders take turns, a sweep each, on workers that are warm.
The CPU seconds of the caller bound the speed-up for any number of workers.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks._turns import show, take_turns
from qlifq.backends import Backend, get
from qlifq.circuits import RYSpike
from qlifq.studies.shot_noise.study import StudySize, run_shot_noise
from qlifq.training import digits

SHOTS = (1, 100, 10_000)
#: As many trajectories as the study has, and fewer steps of each.
SIZE = StudySize(repeats=100, runs=200, steps=12, images=24, passes=1, epochs=1, loop_steps=12)
QUICK = StudySize(repeats=40, runs=200, steps=5, images=10, passes=1, epochs=1, loop_steps=5)


def call(backend: Backend, evaluations: int, shots: int) -> None:
    """One call."""
    angles = torch.full((evaluations, 1, 1), 1.2, dtype=torch.float64)
    backend.run(RYSpike(), angles, shots=shots, seed=1)


def sweep(backend: Backend, size: StudySize) -> None:
    """The study, without its report."""
    run_shot_noise(digits(), backend, shots=SHOTS, size=size, seed=1)


def caller_seconds(act: Callable[[], None]) -> float:
    """The CPU seconds of this process alone."""
    before = time.process_time()
    act()
    return time.process_time() - before


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a small sweep instead of three")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of local workers")
    given = parser.parse_args()
    rounds, size = (1, QUICK) if given.quick else (3, SIZE)
    backends: dict[str, Backend] = {"aer alone": get("aer")}
    backends |= {f"{count} worker{'s' * (count > 1)}": get("distributed", workers=count) for count in given.workers}
    for backend in backends.values():
        # Starts the workers, and has each of them import what it needs.
        call(backend, 4096, 1_000)
    single = {name: partial(call, backend, 1, 1) for name, backend in backends.items()}
    show("A call of one evaluation, one block", take_turns(single, 30 if given.quick else 200), "aer alone")
    several = {name: partial(call, backend, 20_000, 1) for name, backend in backends.items()}
    show("A call of 20,000 evaluations with one shot, six blocks", take_turns(several, 5 if given.quick else 30), "aer alone")
    first = f"{given.workers[0]} worker{'s' * (given.workers[0] > 1)}"
    sweeps = {name: partial(sweep, backend, size) for name, backend in backends.items()}
    show(f"compare shot-noise on aer, shots {SHOTS}, {size.steps} steps", take_turns(sweeps, rounds), first)
    seconds = statistics.median(caller_seconds(sweeps[first]) for _ in range(rounds))
    print(f"CPU of the caller in a sweep: {seconds:.2f} s")
    for backend in backends.values():
        backend.close()


if __name__ == "__main__":
    main()
