"""The folder of a training: one that was killed is opened again, a finished one only by force."""

from pathlib import Path
from typing import Any

from qlifq._files import PathLike, as_path, is_temporary, read_json, stamp, write_json
from qlifq.errors import FileError, FileFormatError
from qlifq.studies.run_folder import FORMAT, VERSION, check_folder, make_folder
from qlifq.training.checkpoint import load_checkpoint
from qlifq.training.experiment import CHECKPOINT
from qlifq.training.networks import Design

__all__ = ["open_run", "read_run"]


def open_run(folder: PathLike, *, command: str, force: bool = False) -> Path:
    """Make the folder of a training, or open one that was killed, so that it goes on.

    Args:
        folder: where.
        command: the command line.
        force: begin anew, whatever run is there.

    Returns:
        The folder.

    Raises:
        QLIFError: if it holds something else, or a finished run without `force`.
    """
    path = as_path("out", folder)
    goes_on = not force and _unfinished(path)
    if not goes_on:
        path = make_folder(check_folder(path, force=force), force=force)
    for left in list(path.iterdir()):
        if is_temporary(left) or (left.suffix == ".pt" and not goes_on):
            left.unlink()
    if goes_on:
        return path
    write_json(
        path / "summary.json", {"format": FORMAT, "format_version": VERSION, **stamp(), "command": command, "finished": False}
    )
    return path


def _unfinished(path: Path) -> bool:
    try:
        content = read_json(path / "summary.json")
    except FileFormatError:
        return False
    return content.get("format") == FORMAT and content.get("finished") is False


def read_run(folder: PathLike) -> tuple[dict[str, Any], Design]:
    """The checkpoint of a finished training and the design of its network.

    Args:
        folder: what `qlifq train` wrote.

    Raises:
        QLIFError: if there is none, or it is not finished.
    """
    path = as_path("run", folder)
    if not path.is_dir():
        raise FileError(f"Folder {path} must be a run of `qlifq train`, but does not exist.")
    content = load_checkpoint(path / CHECKPOINT)
    if not content["finished"]:
        raise FileError(f"Folder {path} must hold a finished training: the same `qlifq train` command goes on with it.")
    return content, Design.from_plain(content["identity"]["design"])
