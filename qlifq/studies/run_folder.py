"""The folder that a run leaves: its facts, its data and its picture."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qlifq._files import PathLike, as_path, atomic_write, is_temporary, read_json, stamp, write_json
from qlifq.errors import FileError, FileFormatError
from qlifq.studies.figures import simulation_figure
from qlifq.studies.simulation import SimulationRun

__all__ = ["FORMAT", "VERSION", "check_folder", "make_folder", "write_simulation"]

FORMAT = "qlifq run"
VERSION = 1


def check_folder(folder: PathLike, *, force: bool = False) -> Path:
    """Refuse, before anything runs, a folder that a run must not be written to.

    Args:
        folder: a folder that is not there yet, is empty but for what a killed write left, or with `force` holds an earlier
            run.
        force: whether an earlier run is overwritten.

    Returns:
        The folder.

    Raises:
        FileError: if it holds something else, or is no folder.
    """
    path = as_path("out", folder)
    try:
        exists = path.exists()
    except OSError as error:
        raise FileError(f"Folder {path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    if not exists:
        # Found out now, and not when a long run is over.
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise FileError(f"Folder {path} cannot be made: {above} is not a folder that can be written to.")
        return path
    if not path.is_dir():
        raise FileError(f"Folder {path} cannot be written: it is a file.")
    if all(is_temporary(left) for left in path.iterdir()):
        return path
    try:
        earlier = read_json(path / "summary.json").get("format") == FORMAT
    except FileFormatError:
        earlier = False
    if not earlier:
        raise FileError(f"Folder {path} cannot be written: it holds files that are not of a run.")
    if not force:
        raise FileError(f"Folder {path} cannot be written: it holds an earlier run, which only --force overwrites.")
    return path


def make_folder(folder: PathLike, *, force: bool = False) -> Path:
    """Make the folder of a run, once `check_folder` has nothing against it."""
    path = check_folder(folder, force=force)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Folder {path} cannot be made: {(error.strerror or str(error)).lower()}.") from error
    return path


def write_simulation(
    folder: PathLike,
    run: SimulationRun,
    *,
    command: str,
    details: Mapping[str, object],
    picture: tuple[int, int] | None = None,
    force: bool = False,
) -> Path:
    """Write `spikes.npz`, `figure.png` and, last, `summary.json`, each atomically.

    Args:
        folder: where; made if it is not there.
        run: the run.
        command: the command line that made it.
        details: what else the summary tells, plain values.
        picture: as for `simulation_figure`.
        force: as for `check_folder`.

    Returns:
        The folder.

    Raises:
        QLIFError: if the folder cannot be written.
    """
    path = make_folder(folder, force=force)
    arrays = {name: run.recording[name].numpy() for name in run.recording.names}
    if run.layer.settings.decision != "expectation":
        arrays["spikes"] = arrays["spikes"].astype(np.bool_)
    with atomic_write(path / "spikes.npz") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    with atomic_write(path / "figure.png") as file:
        simulation_figure(run, picture=picture).savefig(file, format="png")
    facts = {"format": FORMAT, "format_version": VERSION, **stamp(), "command": command, **details, **run.facts()}
    write_json(path / "summary.json", facts)
    return path
