"""The loop on the host and the loop in the circuit, run side by side, and their charts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from qlifq.backends import Backend
from qlifq.circuits.trains.law import likelihood
from qlifq.dashboard.charts import COLOURS, Chart, Columns, Line, lines, raster
from qlifq.dashboard.trains.view import Compiled, backend_of, current_of, lags_of, layer_of, noise_of
from qlifq.reporting.intervals import CONFIDENCE, Interval, binomial
from qlifq.studies.same_law import measured, p_values

__all__ = ["LOOPS", "TrainsRun", "drawn", "frequent", "run_trains", "trains_charts"]

#: What a loop is called, and drawn in.
LOOPS = {"host": ("host loop", COLOURS["orange"]), "circuit": ("circuit loop", COLOURS["blue"])}
#: Trains whose spikes are drawn, and rows of the table of trains.
_DRAWN, _LISTED = 30, 10

Spikes = npt.NDArray[np.bool_]


class TrainsRun(NamedTuple):
    """Trains of both loops.

    Args:
        compiled: what ran.
        spikes: of each loop, `(trains, time)`.
        autocovariance: of each loop, at each lag.
        tests: p-values of "both loops have one law", by what is compared.
        source: what the trains were drawn on.
    """

    compiled: Compiled
    spikes: Mapping[str, Spikes]
    autocovariance: Mapping[str, list[Interval]]
    tests: Mapping[str, float]
    source: str


def run_trains(made: Compiled) -> TrainsRun:
    """Run both loops, each as many trains.

    Raises:
        QLIFError: if one cannot run.
    """
    view, backend = made.view, backend_of(made.view)
    spikes = drawn(made, backend)
    rng, lags = np.random.default_rng(view.seed), lags_of(view)
    found = {loop: measured(each[:, :, None], lags, rng) for loop, each in spikes.items()}
    tests = p_values(spikes["host"][:, :, None], spikes["circuit"][:, :, None], lags, rng)
    return TrainsRun(
        made,
        spikes,
        {loop: [each[f"autocovariance {lag}"].interval for lag in lags] for loop, each in found.items()},
        {name: p for name, (_, p) in tests.items()},
        f"{backend.description}, {view.trains:,} trains of each loop",
    )


def drawn(made: Compiled, backend: Backend) -> dict[str, Spikes]:
    """Trains of each loop, `(trains, time)`.

    Raises:
        QLIFError: if one cannot run.
    """
    view = made.view
    outcome = backend.run_train(made.train, shots=view.trains, seed=view.seed)
    layer = layer_of(view, backend)
    with torch.no_grad():
        host = layer(current_of(view, view.trains))[0]
    return {"host": host[..., 0].T.bool().numpy(), "circuit": outcome.spikes[:, :, 0, 0].numpy()}


def trains_charts(made: Compiled, ran: TrainsRun | None) -> list[Chart]:
    """Rate and autocovariance, exact and as they were drawn, and the first trains of each loop."""
    steps = np.arange(made.view.steps)
    rates: dict[str, tuple[npt.NDArray[Any], ...]] = {}
    covariances: dict[str, tuple[npt.NDArray[Any], ...]] = {}
    exact: list[npt.NDArray[Any] | None] = [None, None]
    if made.law is not None:
        lags = lags_of(made.view)
        exact = [made.law.rate[:, 0, 0].numpy(), np.array([float(made.law.covariances[lag].mean()) for lag in lags])]
    if ran is not None:
        for loop, spikes in ran.spikes.items():
            rates[loop] = (spikes.mean(axis=0), *binomial(spikes.sum(axis=0), len(spikes), CONFIDENCE))
            covariances[loop] = tuple(np.array(ran.autocovariance[loop]).T)
    compared = [
        _compared("rate", "Rate", steps, exact[0], rates, ("time", "time (steps)"), "spikes per step"),
        _compared(
            "autocovariance",
            "Autocovariance",
            np.array(lags_of(made.view)),
            exact[1],
            covariances,
            ("lag", "lag (steps)"),
            "Cov[s(t), s(t + lag)]",
        ),
    ]
    charts = [chart for chart in compared if chart is not None]
    for loop, spikes in ran.spikes.items() if ran is not None else ():
        first = spikes[:_DRAWN].T.astype(np.float32)
        charts.append(raster(loop, f"First {first.shape[1]} trains of the {LOOPS[loop][0]}", first, rows="train"))
    return charts


def _compared(
    name: str,
    title: str,
    x: npt.NDArray[Any],
    exact: npt.NDArray[Any] | None,
    found: Mapping[str, tuple[npt.NDArray[Any], ...]],
    across: tuple[str, str],
    y_title: str,
) -> Chart | None:
    """The exact values as a line, and for each loop points with error bars a little beside theirs; None for neither."""
    if exact is None and not found:
        return None
    nothing = np.full(len(x), np.nan)
    apart = 0.006 * (x[-1] - x[0] + 1)
    blocks: list[Columns] = [{across[0]: x}]
    for place, (loop, values) in zip((-apart, apart), found.items(), strict=False):
        blocks.append({across[0]: x + place, **dict(zip((loop, f"{loop}_low", f"{loop}_high"), values, strict=True))})
    names = list(dict.fromkeys(column for block in blocks for column in block))
    columns = {column: np.concatenate([block.get(column, nothing) for block in blocks]) for column in names}
    order = np.argsort(columns[across[0]], kind="stable")
    columns = {column: each[order] for column, each in columns.items()}
    if exact is not None:
        # A number in every row: the browser would end a line at the first that has none.
        columns["exact"] = np.interp(columns[across[0]], x, exact)
    return lines(
        name,
        f"{title}{'' if exact is None else ', exact' if not found else ', exact and drawn'}",
        columns,
        [] if exact is None else [Line("exact", "exact", COLOURS["grey"])],
        marks=[Line(loop, *LOOPS[loop]) for loop in found],
        spans={loop: (f"{loop}_low", f"{loop}_high") for loop in found},
        across=across,
        x_domain=(float(x[0]) - 2 * apart, float(x[-1]) + 2 * apart),
        y_title=y_title,
        height=170,
    )


def frequent(ran: TrainsRun) -> pd.DataFrame:
    """The trains that both loops drew most often, with their exact probability in the circuit."""
    train = ran.compiled.train
    both = np.concatenate(list(ran.spikes.values()))
    kinds, which = np.unique(both, axis=0, return_inverse=True)
    loop = np.repeat(np.arange(len(ran.spikes)), [len(each) for each in ran.spikes.values()])
    counts = np.zeros((len(kinds), len(ran.spikes)), dtype=np.int64)
    np.add.at(counts, (which.reshape(-1), loop), 1)
    # Stable, so that equally frequent ones stand in one order whatever the platform.
    order = np.argsort(-counts.sum(axis=1), kind="stable")[:_LISTED]
    noise = noise_of(ran.compiled.view)
    known = None if noise is None else noise.of_trains(train.base.dtype, train.base.device)
    exact = likelihood(train, torch.from_numpy(kinds[order])[:, :, None, None], known)[:, 0, 0].numpy()
    shares = {
        f"share in the {LOOPS[name][0]}": counts[order, place] / len(each)
        for place, (name, each) in enumerate(ran.spikes.items())
    }
    written = ["".join("1" if spike else "0" for spike in kind) for kind in kinds[order]]
    return pd.DataFrame({"train": written, "exact probability": exact, **shares})
