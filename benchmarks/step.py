"""What a full-featured QLIF step costs, next to drawing its random numbers with torch.

    python -m benchmarks.step [--quick]

The opponent draws one uniform and one normal number per neuron: no stochastic neuron can do without the first, no noisy one
without the second. All contenders take turns in one process; the figures are medians over the rounds.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

import qlifq

NEURONS = 100_000
STEPS = 10
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


def contenders() -> dict[str, Callable[[], object]]:
    """What takes part, each a function that does `STEPS` steps."""
    generator = torch.Generator().manual_seed(0)
    current = 3 * torch.rand(STEPS, 1, NEURONS, generator=generator)
    modulation = torch.rand(STEPS, 1, NEURONS, generator=generator)

    def draws() -> None:
        for _ in range(STEPS):
            torch.rand(1, NEURONS)
            torch.randn(1, NEURONS)

    def sequence(layer: qlifq.QLIF, modulated: torch.Tensor | None) -> Callable[[], object]:
        _, state = layer(current, modulation=modulated)
        # The steps themselves: `layer(...)` would also stack the spikes of all steps into one tensor.
        return lambda: deque(layer.steps(current, state, modulated), maxlen=0)

    return {
        "one uniform and one normal draw": draws,
        "plain QLIF step": sequence(qlifq.QLIF(NEURONS, seed=1), None),
        "full-featured step": sequence(qlifq.QLIF(NEURONS, seed=1, **EVERYTHING), modulation),
        "full-featured step, compiled": sequence(qlifq.QLIF(NEURONS, seed=1, compile=True, **EVERYTHING), modulation),
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds per step of every contender, one figure a round, in turn."""
    seconds: dict[str, list[float]] = {}
    with torch.no_grad():
        everybody = contenders()
        for function in everybody.values():
            function()
        for _ in range(rounds):
            for name, function in everybody.items():
                start = time.perf_counter()
                function()
                seconds.setdefault(name, []).append((time.perf_counter() - start) / STEPS)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 rounds instead of 200")
    rounds = 20 if parser.parse_args().quick else 200
    medians = {name: statistics.median(values) for name, values in measure(rounds).items()}
    opponent = next(iter(medians.values()))
    print(f"{NEURONS:,} neurons, float32, no_grad, {torch.get_num_threads()} threads, median of {rounds} rounds")
    for name, value in medians.items():
        print(f"{name:34s} {value * 1e6:8.0f} µs   {value / opponent:5.2f} ×")


if __name__ == "__main__":
    main()
