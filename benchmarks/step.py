"""What a QLIF step costs: in training and inference, next to other projects' neurons and to drawing random numbers alone.

    python -m benchmarks.step [--quick] [--opponents] [--threads 1 2] [--cpu-time]

The opponents, `benchmarks/requirements.txt`, run their plain leaky neuron, which draws nothing. All contenders of a table take
turns in one process; the figures are medians and minima over the rounds. Memory is the peak of the resident set of a process of
its own (VmHWM of Linux), beyond what it held with the layer, its kernel and the current in place.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import qlifq
from benchmarks._opponents import layers
from benchmarks._turns import Turns, add_clock, show, turns_by

__all__ = ["EVERYTHING", "KINDS", "TRAINED", "first", "train", "training"]

#: Every mechanism that a layer can have at once.
EVERYTHING: dict[str, Any] = {
    "noise_std": 0.1,
    "refractory_period": 2,
    "use_adaptive_threshold": True,
    "homeostasis_enabled": True,
    "spike_increase": 0.1,
    "use_ahp": True,
    "depression_rate": 0.1,
    "allow_dynamic_spike_probability": True,
    "neuromod_mode": "gain",
}
TRAINED: dict[str, Any] = {f"learnable_{name}": True for name in ("threshold", "tau", "qscale", "qbias")}
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "every mechanism": EVERYTHING}


def train(run: Callable[[Tensor], Tensor], current: Tensor) -> None:
    """A forward and a backward pass, to the current and to all parameters."""
    run(current.detach().requires_grad_()).sum().backward()  # type: ignore[no-untyped-call]


def first(layer: qlifq.QLIF, modulation: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """The spikes of a layer as a function of the current."""
    return lambda current: layer(current, modulation=modulation)[0]


def training(
    current: Tensor, modulation: Tensor, others: dict[str, Callable[[Tensor], Tensor]]
) -> dict[str, Callable[[], None]]:
    """The contenders of a training step, opponents first."""
    neurons, device = current.shape[-1], current.device
    build = partial(qlifq.QLIF, neurons, seed=1)
    runs = {
        **others,
        "qlifq, plain": first(build().to(device)),
        "qlifq, trained constants": first(build(**TRAINED).to(device)),
        "qlifq, every mechanism": first(build(**EVERYTHING).to(device), modulation),
    }
    return {name: partial(train, run, current) for name, run in runs.items()}


def _training(turns: Turns, rounds: int, opponents: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    current, modulation = (torch.rand(20, 128, 512, generator=generator) for _ in range(2))
    contenders = training(2 * current, modulation, layers() if opponents else {})
    show("Training step, T = 20, B = 128, N = 512", turns(contenders, rounds), next(iter(contenders)))


def _inference(turns: Turns, rounds: int) -> None:
    steps, neurons = 100, 100_000
    current, modulation = 3 * torch.rand(steps, 1, neurons), torch.rand(steps, 1, neurons)
    plain, every = first(qlifq.QLIF(neurons, seed=1)), first(qlifq.QLIF(neurons, seed=1, **EVERYTHING), modulation)
    uniform, normal = (partial(draw, steps, 1, neurons) for draw in (torch.rand, torch.randn))
    with torch.no_grad():
        one: dict[str, Callable[[], object]] = {"torch.rand": uniform, "qlifq, plain": lambda: plain(current)}
        show("Inference, N = 100,000, T = 100", turns(one, rounds), "torch.rand")
        two: dict[str, Callable[[], object]] = {
            "torch.rand + torch.randn": lambda: (uniform(), normal()),
            "qlifq, every mechanism": lambda: every(current),
        }
        show("Inference, N = 100,000, T = 100", turns(two, rounds), "torch.rand + torch.randn")


def _small(turns: Turns, rounds: int) -> None:
    current = 3 * torch.rand(500, 1, 10)
    kernel, stepwise = (first(qlifq.QLIF(10, seed=1, kernel=kernel)) for kernel in ("auto", "off"))
    with torch.no_grad():
        contenders = {"step by step": lambda: stepwise(current), "kernel": lambda: kernel(current)}
        show("Small layer, B = 1, N = 10, T = 500, whole call", turns(contenders, rounds), "step by step")


def _sizes(turns: Turns, rounds: int, largest: int) -> None:
    print(f"\nNanoseconds per neuron and step, no_grad ({torch.get_num_threads()} threads, medians of {rounds} rounds)")
    print(f"{'neurons':>12s} {'steps':>6s} {'plain':>8s} {'every mechanism':>16s}")
    for neurons in (10, 100, 1_000, 10_000, 100_000, 1_000_000, 16_000_000):
        if neurons > largest:
            continue
        steps = max(3, min(500, 10_000_000 // neurons))
        current, modulation = 3 * torch.rand(steps, 1, neurons), torch.rand(steps, 1, neurons)
        runs = {
            "plain": first(qlifq.QLIF(neurons, seed=1)),
            "every": first(qlifq.QLIF(neurons, seed=1, **EVERYTHING), modulation),
        }
        with torch.no_grad():
            found = turns({name: partial(run, current) for name, run in runs.items()}, rounds)
        plain, every = (statistics.median(values) / (neurons * steps) * 1e9 for values in found.values())
        print(f"{neurons:12,d} {steps:6d} {plain:8.2f} {every:16.2f}", flush=True)


def resident(kind: str, neurons: int) -> None:
    """Print the bytes per neuron that a loop over `layer.step` adds at its peak, as JSON; runs in a process of its own."""
    with torch.no_grad():
        layer = qlifq.QLIF(neurons, seed=1, **KINDS[kind])
        current = torch.full((1, neurons), 1.5)
        small = qlifq.QLIF(8, seed=1, **KINDS[kind])
        small.step(current[:, :8])
        # Forgets the peak so far, which was that of imports or of the parent.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _resident("VmRSS")
        state = None
        for _ in range(5):
            _, state = layer.step(current, state)
    print(json.dumps((_resident("VmHWM") - before) / neurons))


def _resident(name: str) -> int:
    """A size of this process in bytes, from Linux: VmRSS now, VmHWM at its peak since it was last forgotten."""
    (line,) = (line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def _memory(neurons: int) -> None:
    print(f"\nPeak memory that a loop of layer.step adds, {neurons:,} neurons")
    for kind in KINDS:
        code = f"from benchmarks.step import resident; resident({kind!r}, {neurons})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        print(f"{kind:34s} {json.loads(done.stdout.splitlines()[-1]):6.1f} bytes per neuron", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, and at most a million neurons")
    parser.add_argument("--opponents", action="store_true", help="with the neurons of SpikingJelly, snnTorch and Norse")
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()], help="numbers of threads")
    add_clock(parser)
    given = parser.parse_args()
    turns, rounds = turns_by(given), 5 if given.quick else 31
    for threads in given.threads:
        torch.set_num_threads(threads)
        _training(turns, rounds, given.opponents)
        _inference(turns, max(3, rounds // 3))
        _small(turns, rounds)
        _sizes(turns, max(3, rounds // 6), 1_000_000 if given.quick else 16_000_000)
    _memory(1_000_000 if given.quick else 4_000_000)


if __name__ == "__main__":
    main()
