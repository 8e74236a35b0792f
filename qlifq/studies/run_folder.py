"""The folder that a simulation leaves: its facts, its data and its picture."""

import io
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from qlifq._files import PathLike, write_bytes
from qlifq.reporting.figures import figure_files, figure_writers
from qlifq.reporting.run_folder import Contents, run_folder
from qlifq.studies.simulation import SimulationRun
from qlifq.studies.simulation_figure import simulation_figure

__all__ = ["FILES", "simulation_contents", "write_simulation"]

#: What `simulation_contents` writes.
FILES = ("spikes.npz", *figure_files("figure"))


def simulation_contents(
    run: SimulationRun, *, details: Mapping[str, object], picture: tuple[int, int] | None = None
) -> Contents:
    """What a simulation leaves: `spikes.npz`, `figure.png`, `figure.pdf` and its facts.

    Args:
        run: the run.
        details: further entries of the summary, numbers and text.
        picture: as for `simulation_figure`.
    """
    return Contents(
        facts={**details, **run.facts()},
        results={"spikes.npz": partial(_write_spikes, run)},
        pictures=figure_writers("figure", partial(simulation_figure, run, picture=picture)),
    )


def write_simulation(
    folder: PathLike,
    run: SimulationRun,
    *,
    command: str,
    details: Mapping[str, object],
    picture: tuple[int, int] | None = None,
    force: bool = False,
) -> Path:
    """Write `spikes.npz`, `figure.png`, `figure.pdf` and `summary.json`, each atomically.

    `summary.json` comes first and says that the run is not finished, the figure comes after the results, and then the summary
    says that it is. A figure that cannot be drawn is a warning.

    Args:
        folder: where; made if it is not there.
        run: the run.
        command: the command line that made it.
        details: further entries of the summary, numbers and text.
        picture: as for `simulation_figure`.
        force: as for `check_folder`.

    Returns:
        The folder.

    Raises:
        QLIFError: if the folder cannot be written.
    """
    with run_folder(folder, command=command, files=FILES, force=force) as place:
        for problem in place.write(simulation_contents(run, details=details, picture=picture)):
            warnings.warn(problem, stacklevel=2)
    return place.path


def _write_spikes(run: SimulationRun, path: Path) -> None:
    arrays = {name: run.recording[name].numpy() for name in run.recording.names}
    if run.layer.settings.decision != "expectation":
        arrays["spikes"] = arrays["spikes"].astype(np.bool_)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    write_bytes(path, packed.getvalue())
