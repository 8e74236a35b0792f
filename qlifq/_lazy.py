"""Names of a package that are imported when first used: torch takes a second, and a table or a help text needs none."""

import importlib
from collections.abc import Callable, Mapping

__all__ = ["lazy"]


def lazy(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package, which type checkers do not see: they read the imports beside it.

    Args:
        package: its `__name__`.
        places: the module that holds each name; a module of the package is its own place.

    Example:
        >>> get, names = lazy("qlifq", {"errors": "qlifq.errors", "ArgumentError": "qlifq.errors"})
        >>> get("errors").ArgumentError is get("ArgumentError")
        True
    """

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(places[name])
        return module if places[name] == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *places})

    return get, names
