"""Importing a package only where it is used, with an error that says what to do."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

from qlifq.errors import MissingPackageError

__all__ = ["load", "refuse_missing"]


def load(module: str, *, package: str, feature: str, install: str) -> ModuleType:
    """Import `module`, which needs `package`.

    Args:
        module: dotted name of what to import.
        package: top-level import name of the package that may be missing.
        feature: what the user requested, as the error sentence names it.
        install: what follows `pip install`.

    Raises:
        MissingPackageError: with different sentences for a package that is absent and one that is broken.
    """
    try:
        with _any_window():
            return importlib.import_module(module)
    except ImportError as error:
        refuse_missing(package, feature=feature, install=install)
        message = f"{feature} needs the package `{package}`, which is installed but cannot be imported: {error}"
        raise MissingPackageError(message) from error


def refuse_missing(package: str, *, feature: str, install: str) -> None:
    """Refuse a package that is not installed, without importing one that is; arguments as for `load`.

    Raises:
        MissingPackageError: if there is no such package.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(f"{feature} needs the package `{package}`, which is not installed: pip install {install}")


@contextmanager
def _any_window() -> Iterator[None]:
    """Import matplotlib, or what imports it, whatever window the user's environment names for its figures.

    It does not load where MPLBACKEND names a window that is not installed, such as a notebook's in another environment. A
    window that can be used is still the one that the user named.
    """
    named, before = os.environ.pop("MPLBACKEND", None), "matplotlib" in sys.modules
    try:
        yield
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
        if named and not before and "matplotlib" in sys.modules:
            with suppress(ValueError):
                sys.modules["matplotlib"].rcParams["backend"] = named
