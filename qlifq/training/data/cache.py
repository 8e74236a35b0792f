"""Arrays that were unpacked or binned once, as files of which only what is used is read."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from qlifq._files import atomic_write, check_ordinary, named_errors

__all__ = ["cache_folder", "cached", "digest_of"]


def cache_folder() -> Path:
    """The folder of the cache, `data` in `QLIFQ_CACHE_DIR`, else in `qlifq` of the user's cache; it can be deleted any time.

    Raises:
        FileError: if there can be none.
    """
    named = os.environ.get("QLIFQ_CACHE_DIR")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qlifq"
    folder = base / "data"
    with named_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def cached(key: str, write: Callable[[BinaryIO], object]) -> Path:
    """A file of the cache, written where it is not there yet; a crash leaves none or the whole.

    Args:
        key: what it depends on: two files with the same key are the same.
        write: writes it.

    Returns:
        Where it lies.

    Raises:
        QLIFError: if it cannot be written, or `write` refuses.
    """
    place = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not place.is_file():
        with atomic_write(place) as file:
            write(file)
    return place


def digest_of(path: Path) -> str:
    """The SHA-256 of an ordinary file, whose content is not kept in memory.

    Raises:
        FileFormatError: if there is no such file, it is of another kind, or cannot be read.
    """
    check_ordinary(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
