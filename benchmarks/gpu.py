"""What QLIF costs on a GPU, and the tests that need one; at most 8 minutes, from the source tree.

    python -m benchmarks.gpu [--quick] [--device cpu]

It needs torch, Triton and pytest, and SpikingJelly, snnTorch and Norse where they are to take part. `--device cpu` tries the
script where there is no GPU; its figures then say nothing of one.

The bandwidth of the card is that of a copy of a large tensor. The bytes that a sequence must move are the current read and the
spikes written, 8 per neuron and step, and the states once: a kernel at 100 % of the bandwidth costs no more than these.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import qlifq
from benchmarks._opponents import layers
from benchmarks._turns import show, take_turns
from benchmarks.step import KINDS, first, train, training

TESTS = Path(__file__).parent.parent / "tests" / "neurons" / "kernels" / "test_cuda.py"
#: How long the tests may take, in seconds; compiling their kernels is most of it.
TESTS_SECONDS = 240


def _tests() -> None:
    """Run the tests that need a GPU, without the configuration of the project, whose plugins may not be here."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider", "--noconftest", str(TESTS)]
    status: int | str
    try:
        status = subprocess.run(command, timeout=TESTS_SECONDS, check=False, cwd=TESTS.parent.parent.parent.parent).returncode
    except subprocess.TimeoutExpired:
        status = f"stopped after {TESTS_SECONDS} s"
    print(f"tests: exit status {status}", flush=True)


def _training(device: str, rounds: int, quick: bool) -> None:
    steps, batch, neurons = (5, 4, 32) if quick else (20, 128, 512)
    current, modulation = (torch.rand(steps, batch, neurons, device=device) for _ in range(2))
    contenders = training(2 * current, modulation, layers(device))
    for name, parameters in KINDS.items():
        layer = qlifq.QLIF(neurons, seed=1, kernel="off", **parameters).to(device)
        run = first(layer, modulation if parameters else None)
        contenders[f"qlifq, {name}, step by step"] = partial(train, run, 2 * current)
    title = f"Training step, T = {steps}, B = {batch}, N = {neurons}"
    show(title, take_turns(contenders, rounds, _waiter(device)), next(iter(contenders)))


def _large(device: str, rounds: int, quick: bool) -> None:
    """Sixteen million neurons for 100 steps, in pieces of time that fit the memory."""
    neurons, steps, piece = (20_000, 20, 10) if quick else (16_000_000, 100, 50)
    bandwidth = _bandwidth(device, 1_000_000 if quick else 256_000_000)
    print(f"\n{neurons:,} neurons × {steps} steps, no_grad; a copy moves {bandwidth / 1e9:,.0f} GB/s")
    wait = _waiter(device)
    current = 3 * torch.rand(piece, 1, neurons, device=device)
    modulation = torch.rand(piece, 1, 1, device=device).expand(piece, 1, neurons)
    for name, parameters in KINDS.items():
        layer = qlifq.QLIF(neurons, seed=1, **parameters).to(device)
        given = modulation if parameters else None

        def sequence(layer: qlifq.QLIF = layer, given: torch.Tensor | None = given) -> None:
            state = None
            for _ in range(steps // piece):
                _, state = layer(current, state, given)

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with torch.no_grad():
            (seconds,) = take_turns({name: sequence}, rounds, wait).values()
        median = statistics.median(seconds)
        decisions = neurons * steps / median
        # Live states are read and written once a piece; nine of them at most.
        states = 1 if not parameters else 9
        moved = neurons * (8 * steps + 8 * states * (steps // piece))
        memory = f", peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device == "cuda" else ""
        print(
            f"{name:20s} {median * 1e3:9.1f} ms, {decisions:9.3g} decisions/s, {moved / median / 1e9:7.1f} GB/s, "
            f"{moved / median / bandwidth:4.0%} of the copy{memory}",
            flush=True,
        )


def _bandwidth(device: str, elements: int) -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.ones(elements, device=device)
    target = torch.empty_like(source)
    (seconds,) = take_turns({"copy": lambda: target.copy_(source)}, 10, _waiter(device)).values()
    return 8 * elements / min(seconds)


def _waiter(device: str) -> Callable[[], object]:
    return torch.cuda.synchronize if device == "cuda" else (lambda: None)


def main() -> int:
    """Run the tests and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("There is no GPU that torch can use: nothing was measured. `--device cpu --quick` tries the script.")
        return 0
    begun = time.perf_counter()
    card = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}, qlifq {qlifq.__version__}", flush=True)
    rounds = 3 if given.quick else 30
    _training(given.device, rounds, given.quick)
    _large(given.device, min(rounds, 5), given.quick)
    # Last, so that figures stand even where a test takes all the time that is left.
    _tests()
    print(f"in all {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
