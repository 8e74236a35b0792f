"""The folder of a training: one that was killed goes on, a finished one begins anew only by force."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qlifq._files import PathLike, as_path
from qlifq.errors import FileError
from qlifq.reporting.run_folder import RunFolder, run_folder
from qlifq.training.checkpoint import load_checkpoint
from qlifq.training.experiment import CHECKPOINT, CHECKPOINTS
from qlifq.training.networks import Design
from qlifq.training.report import FILES

__all__ = ["EVENTS", "open_run", "read_run"]

#: The folder of TensorBoard's events, in that of the run.
EVENTS = "events"


@contextmanager
def open_run(folder: PathLike | None, *, command: str, force: bool = False) -> Iterator[RunFolder]:
    """Make the folder of a training, or open one that was killed, so that it goes on; no other process has it meanwhile.

    Args:
        folder: where; None for one of its own under `runs`.
        command: the command line.
        force: begin anew, whatever run is there.

    Yields:
        The folder, with the marker of an unfinished run.

    Raises:
        QLIFError: if it holds something else, or a finished run without `force`, or another process has it.
    """
    with run_folder(folder, command=command, files=[*CHECKPOINTS, *FILES], force=force) as run:
        if (run.path / EVENTS).is_symlink():
            raise FileError(f"Folder {run.path / EVENTS} cannot be written: it is a link, and a run writes into its own alone.")
        run.begin(CHECKPOINTS, keep=run.goes_on)
        yield run


def read_run(folder: PathLike) -> tuple[dict[str, Any], Design]:
    """The checkpoint of a finished training and the design of its network.

    Args:
        folder: what `qlifq train` wrote.

    Raises:
        QLIFError: if there is none, or it is not finished.
    """
    path = as_path("run", folder)
    if not os.path.isdir(path):
        raise FileError(f"Folder {path} must be a run of `qlifq train`, but does not exist.")
    content = load_checkpoint(path / CHECKPOINT)
    if not content["finished"]:
        raise FileError(f"Folder {path} must hold a finished training: the same `qlifq train` command goes on with it.")
    return content, Design.from_dict(content["identity"]["design"])
