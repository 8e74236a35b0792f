"""What runs kernels on this machine, and which were built: `qlifq kernels`."""

import contextlib
import importlib.metadata
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from qlifq.neurons.kernels import build

__all__ = ["Inventory", "clear_cache", "inventory"]

#: A library of C++ or a module of Triton, by the digest of what it was made of; nothing else in the folder is ours.
_KERNEL = re.compile(r"[0-9a-f]{32}\.(so|py)")


class Inventory(NamedTuple):
    """What there is for kernels on this machine.

    Args:
        compiler: the C++ compiler and its flags; None where there is none, and neurons run step by step.
        folder: where built kernels are kept; None where no folder is private to the user, and each process builds its own.
        kernels: how many are kept there.
        size_bytes: their size.
        triton: its version, which GPUs need; None where it is not installed.
        gpus: the names of the GPUs that torch sees.
    """

    compiler: build.Compiler | None
    folder: Path | None
    kernels: int
    size_bytes: int
    triton: str | None
    gpus: tuple[str, ...]


def inventory() -> Inventory:
    """Look what compiles and runs kernels here, and what was built; builds nothing."""
    folder = build.cache_folder()
    sizes = [path.stat().st_size for path in _kernels(folder)]
    triton = None
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        triton = importlib.metadata.version("triton")
    gpus = tuple(torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count()))
    return Inventory(build.compiler(), folder, len(sizes), sum(sizes), triton, gpus)


def clear_cache() -> int:
    """Delete the built kernels, and no other file; those that a process has loaded go on working.

    Returns:
        How many were deleted.
    """
    folder = build.cache_folder()
    deleted = 0
    for path in list(_kernels(folder)):
        path.unlink(missing_ok=True)
        for compiled in path.parent.joinpath("__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        deleted += 1
    for abandoned in folder.glob(f"{build.BUILDING}*") if folder is not None else ():
        # A build that was killed leaves its folder; one that still runs is younger than it may take.
        if (
            time.time() - abandoned.lstat().st_mtime > build.TIMEOUT_SECONDS
            and abandoned.is_dir()
            and not abandoned.is_symlink()
        ):
            shutil.rmtree(abandoned, ignore_errors=True)
    return deleted


def _kernels(folder: Path | None) -> Iterator[Path]:
    for path in folder.iterdir() if folder is not None else ():
        if _KERNEL.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path
