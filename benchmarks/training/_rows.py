"""Rows over several seeds: mean, spread and wall time."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from qlifq.reporting.wording import counted
from qlifq.training import Dataset, Design, Evaluation, Trained, evaluate, load_dataset, resolve_recipe, train

__all__ = ["Row", "arguments", "data_set", "print_row", "trained_row"]


class Row(NamedTuple):
    """What one task gave.

    Args:
        figures: accuracy in percent, or an autoencoder's loss, of every seed.
        seconds: wall time of every training.
    """

    figures: list[float]
    seconds: list[float]


def arguments(text: str | None, **more: tuple[type, Any, str]) -> argparse.Namespace:
    """The command line of a script: where the data are, how many seeds, and what it adds of its own."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder with one folder of IDX files per data set; default OpenML")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--samples", type=int, help="train on the first N images alone, to try the script out")
    for name, (kind, default, words) in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=kind, default=default, help=words)
    return parser.parse_args()


def data_set(name: str, given: argparse.Namespace, samples: int | None = None) -> Dataset:
    """A data set, its training part cut to the first samples."""
    limits = [number for number in (samples, given.samples) if number is not None]
    data = load_dataset(name, None if given.data_dir is None else given.data_dir / name)
    return data.first(min(limits) if limits else None)


def trained_row(
    title: str,
    network: str,
    data: Dataset,
    seeds: int,
    *,
    design: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    then: Callable[[Trained, Design, Evaluation, int], None] | None = None,
) -> Row:
    """Train a network with several seeds, test it on all test images, print as it goes and the row in the end.

    Args:
        title: of the row.
        network: a name in `qlifq.training.NETWORKS`, whose recipe is used.
        data: what it learns and is tested on.
        seeds: how many.
        design: what differs from the recipe.
        settings: the same.
        then: called with what was trained, its design, its test and the seed.
    """
    # Populations that decay for long become numbers so small that processors slow down for them.
    torch.set_flush_denormal(True)
    figures, seconds = [], []
    for seed in range(seeds):
        built, how = resolve_recipe(network, data, design, {**(settings or {}), "seed": seed})
        begun = time.perf_counter()
        trained = train(built, data, how)
        seconds.append(time.perf_counter() - begun)
        tested = evaluate(trained.network, built, data.test)
        figures.append(tested.loss if built.reconstructs else 100 * tested.accuracy)
        missed = [label for label in range(data.classes) if not bool((tested.predicted == label).any())]
        warning = f", never predicted: {missed}" if missed and not built.reconstructs else ""
        epoch = statistics.median(each.seconds for each in trained.history)
        print(f"  seed {seed}: {figures[-1]:.4f}, {seconds[-1]:.1f} s, per epoch {epoch:.2f} s{warning}", flush=True)
        if then is not None:
            then(trained, built, tested, seed)
    row = Row(figures, seconds)
    print_row(title, row, "BCE" if network == "autoencoder" else "%")
    return row


def print_row(title: str, row: Row, unit: str) -> None:
    """One line: mean, standard deviation, least and most over the seeds, and the median wall time."""
    digits = 4 if unit == "BCE" else 2
    spread = f" ± {statistics.stdev(row.figures):.{digits}f}" if len(row.figures) > 1 else ""
    print(
        f"{title}: {statistics.mean(row.figures):.{digits}f}{spread} {unit} "
        f"({min(row.figures):.{digits}f} to {max(row.figures):.{digits}f}), {counted(len(row.figures), 'seed')}, "
        f"{statistics.median(row.seconds):.1f} s each on {torch.get_num_threads()} threads",
        flush=True,
    )
