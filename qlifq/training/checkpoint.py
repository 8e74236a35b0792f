"""The state of a training as a file, so that one that was killed goes on as if nothing had happened."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qlifq._files import PathLike, as_path, stamp, write_bytes
from qlifq.errors import FileFormatError

__all__ = ["FORMAT", "VERSION", "differences", "load_checkpoint", "save_checkpoint"]

FORMAT = "qlifq checkpoint"
#: Files of version 1 have no checksum; until version 2 networks had other names for their weights, see `earlier.py`.
VERSION = 3
#: What follows the archive that torch wrote: this, its SHA-256 in hexadecimal, a line feed.
_SEAL = b"\nqlifq sha256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1


def save_checkpoint(path: PathLike, identity: Mapping[str, object], content: Mapping[str, object]) -> None:
    """Write a checkpoint with its checksum; a crash or a full disk leaves the old one or the new one.

    Args:
        path: where.
        identity: what the training is of, JSON values; another training cannot go on from it.
        content: its state: tensors and JSON values.

    Raises:
        FileError: if the file cannot be written.
    """
    archive = io.BytesIO()
    torch.save({"format": FORMAT, "format_version": VERSION, **stamp(), "identity": dict(identity), **content}, archive)
    written = archive.getvalue()
    write_bytes(path, written + _seal(written))


def load_checkpoint(path: PathLike, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and JSON values is ever unpickled.

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
        written = file.read_bytes()
    except FileNotFoundError as error:
        raise FileFormatError(f"File {file} cannot be read: there is none.") from error
    except OSError as error:
        raise FileFormatError(f"File {file} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    archive, seal = written[:-_SEAL_LENGTH], written[-_SEAL_LENGTH:]
    sealed = seal.startswith(_SEAL)
    if sealed and seal != _seal(archive):
        raise _damaged(file)
    try:
        content = torch.load(io.BytesIO(archive if sealed else written), map_location=device, weights_only=True)
    # What is not an archive of torch leads its readers to errors of any kind.
    except Exception as error:
        raise FileFormatError(f"File {file} must be a checkpoint of qlifq, but cannot be read as one.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileFormatError(f"File {file} must be a checkpoint of qlifq, but is none.")
    version = content.get("format_version", 0)
    if version not in range(1, VERSION + 1):
        raise FileFormatError(f"File {file} must be a checkpoint of version 1 to {VERSION}, but is of version {version}.")
    if sealed != (version > 1):
        raise _damaged(file)
    return content


def _seal(archive: bytes) -> bytes:
    return _SEAL + hashlib.sha256(archive).hexdigest().encode() + b"\n"


def _damaged(file: Path) -> FileFormatError:
    return FileFormatError(
        f"File {file} must be as it was written, but its checksum does not hold: delete it, and this network is trained anew, "
        "or begin the whole training anew with --force."
    )


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """A clause for each setting in which two identities differ."""
    return [
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    ]
