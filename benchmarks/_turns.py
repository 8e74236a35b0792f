"""Contenders that take turns, and the table of what they took."""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Mapping

import torch

__all__ = ["Turns", "add_clock", "show", "take_turns", "turns_by"]

#: Contenders and rounds to the seconds of each.
Turns = Callable[[Mapping[str, Callable[[], object]], int], dict[str, list[float]]]


def add_clock(parser: argparse.ArgumentParser) -> None:
    """The option that `turns_by` reads."""
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of all threads and not elapsed time, where other work takes the cores"
    )


def turns_by(given: argparse.Namespace) -> Turns:
    """`take_turns` by the clock that was chosen on the command line."""
    print(f"Seconds of {'CPU time' if given.cpu_time else 'elapsed time'}")
    return functools.partial(take_turns, clock=time.process_time if given.cpu_time else time.perf_counter)


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    synchronise: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every contender, one figure per round, in turn, after one call each that is not counted.

    Args:
        contenders: what takes part, by name.
        rounds: how many figures each gives.
        synchronise: waits for an accelerator.
        clock: measures them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for function in contenders.values():
        function()
    for _ in range(rounds):
        for name, function in contenders.items():
            synchronise()
            start = clock()
            function()
            synchronise()
            seconds[name].append(clock() - start)
    return seconds


def show(title: str, seconds: Mapping[str, list[float]], against: str) -> dict[str, float]:
    """Print a table.

    Args:
        title: what was done.
        seconds: as `take_turns` returns them.
        against: the contender that the others are divided by.

    Returns:
        The median of every contender over that of `against`.
    """
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    least = {name: min(values) for name, values in seconds.items()}
    rounds = len(seconds[against])
    print(f"\n{title} ({torch.get_num_threads()} threads, {rounds} rounds; ratios to {against})")
    print(f"{'':34s} {'median':>11s} {'ratio':>7s} {'least':>11s} {'ratio':>7s}")
    for name, median in medians.items():
        ratios = median / medians[against], least[name] / least[against]
        print(f"{name:34s} {median * 1e3:8.3f} ms {ratios[0]:7.2f} {least[name] * 1e3:8.3f} ms {ratios[1]:7.2f}", flush=True)
    return {name: median / medians[against] for name, median in medians.items()}
