"""The state of a training as a file, so that one that was killed goes on as if nothing had happened."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qlifq._files import PathLike, as_path, atomic_write, stamp
from qlifq.errors import FileFormatError

__all__ = ["FORMAT", "VERSION", "differences", "load_checkpoint", "save_checkpoint"]

FORMAT = "qlifq checkpoint"
VERSION = 1


def save_checkpoint(path: PathLike, identity: Mapping[str, object], content: Mapping[str, object]) -> None:
    """Write a checkpoint; a crash leaves the old one or the new one.

    Args:
        path: where.
        identity: what the training is of, plain values; another training cannot go on from it.
        content: its state: tensors and plain values.

    Raises:
        QLIFError: if the file cannot be written.
    """
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "format_version": VERSION, **stamp(), "identity": dict(identity), **content}, file)


def load_checkpoint(path: PathLike, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain values is ever unpickled.

    Args:
        path: a file that `save_checkpoint` wrote.
        device: where its tensors go.

    Returns:
        What was written.

    Raises:
        FileFormatError: if it cannot be read, is damaged, or is something else.
    """
    file: Path = as_path("path", path)
    try:
        content = torch.load(file, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise FileFormatError(f"File {file} cannot be read: there is none.") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise FileFormatError(f"File {file} must be a checkpoint of qlifq, but cannot be read as one.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileFormatError(f"File {file} must be a checkpoint of qlifq, but is none.")
    if content.get("format_version") != VERSION:
        raise FileFormatError(
            f"File {file} must be a checkpoint of version {VERSION}, but is of version {content.get('format_version')}."
        )
    return content


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """In which settings two identities differ, in words."""
    return [
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    ]
