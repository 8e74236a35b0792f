"""The folder of a training: one that was killed goes on, a finished one begins anew only by force."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from qlifq._files import PathLike, as_path
from qlifq.backends import Backend
from qlifq.errors import ArgumentError, FileError, FileFormatError
from qlifq.reporting.reading import read_text
from qlifq.reporting.run_folder import RunFolder, run_folder
from qlifq.training.checkpoint import load_checkpoint
from qlifq.training.data.datasets import load_dataset
from qlifq.training.data.interface import Dataset
from qlifq.training.earlier import as_of_today
from qlifq.training.experiment import CHECKPOINT, CHECKPOINTS
from qlifq.training.loop import Epoch
from qlifq.training.networks import Design, Network, build
from qlifq.training.regression.experiment import CHECKPOINTS as REGRESSION_CHECKPOINTS
from qlifq.training.regression.report import FILES as REGRESSION_FILES
from qlifq.training.report import FILES
from qlifq.training.settings import TrainingSettings

__all__ = ["EVENTS", "TrainedRun", "load_run", "open_run"]

#: What a training of any task may leave, each once.
_CHECKPOINTS = tuple(dict.fromkeys((*CHECKPOINTS, *REGRESSION_CHECKPOINTS)))
_FILES = tuple(dict.fromkeys((*_CHECKPOINTS, *FILES, *REGRESSION_FILES)))
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
        FileError: if it holds something else, or a finished run without `force`, or another process has it.
    """
    with run_folder(folder, command=command, files=_FILES, force=force) as run:
        if (run.path / EVENTS).is_symlink():
            raise FileError(f"Folder {run.path / EVENTS} cannot be written: it is a link, and a run writes into its own alone.")
        run.begin(_CHECKPOINTS, keep=run.goes_on)
        yield run


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished training, read back from its folder.

    Args:
        folder: the folder.
        design: what its network is built from.
        settings: how it was trained.
        history: its epochs.
        weights: the trained ones, by the names of the network's state: the best where it was stopped early.
        source: where its data set is from: the name in `DATASETS`, None for one that was given in Python, and the path.
        identity: what the training is of: the data set and its fingerprint, the backend and its options, JSON values.
        report: the text of `report.md`; None where the classical networks beside it are not trained yet.
    """

    folder: Path
    design: Design
    settings: TrainingSettings
    history: tuple[Epoch, ...]
    weights: Mapping[str, Tensor]
    source: Mapping[str, Any]
    identity: Mapping[str, Any]
    report: str | None

    def network(self, backend: str | Backend | Sequence[Backend] = "analytic", shots: int | None = None) -> Network:
        """The trained network, its spike decisions run on a backend.

        Args:
            backend: which one, or one for each layer of neurons, as for `build`.
            shots: as for `qlifq.QLIF`.

        Raises:
            QLIFError: if the backend cannot run it, or the checkpoint does not hold its weights.
        """
        network = build(self.design, backend=backend, shots=shots, seed=0)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            raise FileFormatError("The checkpoint does not hold the weights of its own design: it was changed.") from error
        return network

    def data(self, data: PathLike | Dataset | None = None) -> Dataset:
        """The data set that it was trained on.

        Args:
            data: the data set itself, where it was given in Python; or its file or folder, where it lies elsewhere now.

        Raises:
            QLIFError: if it cannot be loaded, or its samples or labels are others than those of the training.
        """
        if not isinstance(data, Dataset):
            if self.source["kind"] is None:
                raise ArgumentError(
                    f"Argument `data` must be the data set {self.identity['data']}, which the run was given in Python, "
                    f"but is {data!r}."
                )
            data = load_dataset(self.source["kind"], data or self.source["path"], steps=self.design.steps)
        data = data.first(self.identity["images"])
        if data.fingerprint() != self.identity["fingerprint"]:
            raise FileFormatError(f"Data set {data.name} must be the one of the run, but its samples or labels are others.")
        return data


def load_run(folder: PathLike) -> TrainedRun:
    """Read a finished training back.

    Args:
        folder: what `train_run` or `qlifq train` wrote.

    Returns:
        A `TrainedRun`.

    Raises:
        QLIFError: if there is none, it is not finished, or its checkpoint is damaged.
    """
    path = as_path("run", folder)
    if not os.path.isdir(path):
        raise FileError(f"Folder {path} must be a run of `qlifq train`, but does not exist.")
    content = as_of_today(load_checkpoint(path / CHECKPOINT))
    if not content["finished"]:
        raise FileError(f"Folder {path} must hold a finished training: the same `qlifq train` command goes on with it.")
    identity = content["identity"]
    return TrainedRun(
        folder=path,
        design=Design.from_dict(identity["design"]),
        settings=TrainingSettings(**{item.name: identity[item.name] for item in fields(TrainingSettings)}),
        history=tuple(Epoch(**epoch) for epoch in content["history"]),
        weights=content["best"] or content["network"],
        # Checkpoints of earlier versions know data sets by name alone.
        source=content.get("source", {"kind": identity["data"], "path": None}),
        identity=identity,
        report=read_text(path / "report.md") if (path / "report.md").is_file() else None,
    )
