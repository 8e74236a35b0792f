"""The data sets by name: one class in one file for each kind, and those that other packages bring."""

from pathlib import Path

from qlifq._files import PathLike, as_path
from qlifq._registry import Registry
from qlifq._validation import choice, optional_integer
from qlifq.errors import ArgumentError
from qlifq.training.data.arrays import ArrayFile
from qlifq.training.data.digits import Digits, digits
from qlifq.training.data.interface import Dataset, DatasetKind, LabelledImages
from qlifq.training.data.mackey_glass import MackeyGlass
from qlifq.training.data.published import Published, load_idx
from qlifq.training.data.sensor_folders import SensorFolders
from qlifq.training.data.series import SeriesFile
from qlifq.training.data.spike_files import SpikeFiles

__all__ = ["DATASETS", "Dataset", "DatasetKind", "LabelledImages", "digits", "load_dataset", "load_idx"]

#: What each of them reads.
DATASETS: Registry[DatasetKind] = Registry(
    "data set",
    {
        "digits": Digits(),
        "mnist": Published("mnist", 554, "70,000 handwritten digits of 28 × 28 pixels"),
        "fashion-mnist": Published("fashion-mnist", 40996, "70,000 clothes of 28 × 28 pixels"),
        "kmnist": Published("kmnist", 41982, "70,000 cursive kana of 28 × 28 pixels"),
        "arrays": ArrayFile(),
        "shd": SpikeFiles(),
        "nmnist": SensorFolders(34, 34),
        "dvs128": SensorFolders(128, 128),
        "series": SeriesFile(),
        "mackey-glass": MackeyGlass(),
    },
    group="qlifq.datasets",
    of=DatasetKind,
)


def load_dataset(
    name: str | None = None, data: PathLike | None = None, *, steps: int | None = None, task: str | None = None
) -> Dataset:
    """A data set by name, or by the file that it lies in.

    "digits" is bundled, and every fifth image of a class is for testing. MNIST and its relatives come from a folder of IDX
    files, or else from OpenML through scikit-learn, which keeps a copy in its own cache. All others are read from `data`.

    Args:
        name: a name in `DATASETS`; None for the kind that reads files of this ending, and without a file for "digits".
        data: the file or folder to read.
        steps: into how many time steps events are binned.
        task: "classification" or "regression", where the data set must be of that; for a regression a file without a `name` is
            a "series", and without a file it is "mackey-glass".

    Returns:
        The data set, checked; what its samples hold is read when it is used.

    Raises:
        QLIFError: if there is none, or a file is damaged or holds what cannot be used.

    Example:
        >>> data = load_dataset("digits")
        >>> len(data.train), len(data.test), data.picture, data.classes
        (1442, 355, (8, 8), 10)
    """
    path = None if data is None else as_path("data", data)
    optional_integer("steps", steps, at_least=1)
    if name is None and task == "regression":
        name = "mackey-glass" if path is None else "series"
    # The names of other packages are looked for only where it is none of ours.
    known = isinstance(name, str) and name in DATASETS
    chosen = _of_ending(path) if name is None else name if known else choice("dataset", name, DATASETS)
    loaded = DATASETS[chosen].load(path, steps)._replace(kind=chosen, path=path)
    if task is not None and choice("task", task, ("classification", "regression")) != loaded.task:
        raise ArgumentError(f"Argument `task` must be {loaded.task} for data set {loaded.name}, but is {task!r}.")
    return loaded


def _of_ending(path: Path | None) -> str:
    """The kind that reads files of this ending."""
    if path is None:
        return "digits"
    for name in DATASETS:
        if path.suffix.lower() in DATASETS[name].suffixes:
            return name
    endings = ", ".join(suffix for kind in DATASETS.values() for suffix in kind.suffixes)
    raise ArgumentError(
        f"Argument `dataset` must say what {path} holds, one of {', '.join(DATASETS)}: only files that end with {endings} "
        "say so themselves."
    )
