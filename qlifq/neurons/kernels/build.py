"""Compiles C++ text to a shared library, once for each text, compiler and set of flags, and loads it."""

import atexit
import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

__all__ = ["BUILDING", "TIMEOUT_SECONDS", "Compiler", "cache_folder", "compiler", "library", "module", "warn_once"]

#: No `-ffast-math`: a NaN must stay one, and rounding by adding a large number must not be simplified away.
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fPIC",
    "-shared",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffp-contract=fast",
)
#: How long a compiler may take.
TIMEOUT_SECONDS = 120.0
#: What the name of a folder begins with in which a kernel is being built.
BUILDING = ".building-"


class Compiler(NamedTuple):
    """A C++ compiler as it is used here.

    Args:
        path: the program.
        version: its first line about itself.
        flags: what it is called with.
    """

    path: str
    version: str
    flags: tuple[str, ...]


@functools.cache
def compiler() -> Compiler | None:
    """The C++ compiler of this machine; None where there is none.

    `CXX` names the one that is tried first, and `QLIFQ_CXXFLAGS` holds flags that come last.
    """
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        path = shutil.which(name)
        if path is None:
            continue
        try:
            completed = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
            version = completed.stdout
        except (OSError, subprocess.SubprocessError):
            continue
        # Apple's compiler has no OpenMP of its own.
        openmp = () if sys.platform == "darwin" else ("-fopenmp",)
        vectors = () if "clang" in version else ("-mprefer-vector-width=512",)
        own = tuple(os.environ.get("QLIFQ_CXXFLAGS", "").split())
        return Compiler(path, version.splitlines()[0] if version else name, (*_FLAGS, *vectors, *openmp, *own))
    return None


def cache_folder() -> Path | None:
    """The folder of compiled kernels, private to the user; None where none can be had.

    `QLIFQ_CACHE_DIR` names another one, else it is `qlifq/kernels` in the user's cache directory.
    """
    named = os.environ.get("QLIFQ_CACHE_DIR")
    try:
        of_user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        base = Path(named) if named else of_user / "qlifq" / "kernels"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        return base if _is_private(base) else None
    except (OSError, RuntimeError):
        return None


def _is_private(path: Path) -> bool:
    """Whether nobody else can have put something there: a folder or file of this user that no other can write."""
    found = path.lstat()
    kind = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    owned = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return kind and owned and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def library(text: str) -> ctypes.CDLL | None:
    """The library of a text, from the cache or compiled now.

    Returns:
        None, with one warning, where it cannot be compiled or loaded.
    """
    tool = compiler()
    if tool is None:
        warn_once("no C++ compiler was found (c++, g++ or clang++)")
        return None
    try:
        return ctypes.CDLL(str(_built(text, tool)))
    except subprocess.CalledProcessError as error:
        warn_once(f"{tool.path} failed: {error.stderr.strip().splitlines()[-1] if error.stderr else error}")
    except (OSError, subprocess.SubprocessError) as error:
        warn_once(str(error))
    return None


@functools.cache
def module(text: str) -> ModuleType | None:
    """The Python module of a text; None, with one warning, where it cannot be written or run.

    It has a file of its own, since Triton reads the text of its kernels there.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    try:
        place = _kept(f"{digest}.py", lambda path: path.write_text(text, encoding="utf-8"))
        loader = SourceFileLoader(f"qlifq_kernel_{digest}", str(place))
        made = ModuleType(loader.name)
        made.__file__ = str(place)
        loader.exec_module(made)
    except (OSError, ImportError) as error:
        warn_once(str(error))
        return None
    return made


def _built(text: str, tool: Compiler) -> Path:
    """The library of a text, compiled unless it is there already."""
    digest = hashlib.sha256("\0".join([text, tool.path, tool.version, *tool.flags, _processor()]).encode()).hexdigest()[:32]

    def compile_to(path: Path) -> None:
        written = path.with_suffix(".cpp")
        written.write_text(text, encoding="utf-8")
        command = [tool.path, *tool.flags, "-o", str(path), str(written)]
        subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)

    return _kept(f"{digest}.so", compile_to)


def _kept(name: str, make: Callable[[Path], object]) -> Path:
    """A file of the cache, made where it is not there yet; for this process alone where there is no cache."""
    folder = cache_folder() or _folder_of_process()
    place = folder / name
    if place.is_file() and _is_private(place):
        return place
    with tempfile.TemporaryDirectory(dir=folder, prefix=BUILDING) as building:
        made = Path(building) / name
        make(made)
        made.chmod(0o600)
        # Two processes that make the same one put the same thing there, one after the other.
        os.replace(made, place)
    return place


@functools.cache
def _folder_of_process() -> Path:
    """A folder that goes with this process."""
    path = Path(tempfile.mkdtemp(prefix="qlifq-kernels-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def _processor() -> str:
    """What `-march=native` depends on: a cache may lie on a disk that several machines share."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return line
    return os.uname().machine if hasattr(os, "uname") else ""


@functools.cache
def warn_once(reason: str) -> None:
    """Say why neurons run without a kernel, the first time that this is the reason."""
    warnings.warn(f"qlifq runs neurons step by step, without a compiled kernel: {reason}.", RuntimeWarning, stacklevel=3)
