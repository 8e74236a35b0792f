"""Backends by name: those of qlifq, and those that other packages register.

A package adds one through the entry-point group `qlifq.backends`, whose name is the backend's and whose object is a
subclass of `Backend`:

    [project.entry-points."qlifq.backends"]
    mine = "my_package.my_module:MyBackend"
"""

import contextlib
import inspect
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import NamedTuple

from qlifq._packages import load
from qlifq._validation import unknown
from qlifq.backends.interface import Backend, Capabilities
from qlifq.errors import ArgumentError, DtypeError, MissingPackageError, QLIFError

__all__ = ["capabilities", "get", "names", "with_noise"]

GROUP = "qlifq.backends"


class BuiltIn(NamedTuple):
    """Where a backend of qlifq lives, and what it needs."""

    module: str
    attribute: str
    package: str = "torch"
    install: str = "torch"


BUILT_IN = MappingProxyType(
    {
        "analytic": BuiltIn("qlifq.backends.analytic", "AnalyticBackend"),
        "lightning": BuiltIn("qlifq.backends.lightning", "LightningBackend", "pennylane_lightning", "pennylane-lightning"),
        "aer": BuiltIn("qlifq.backends.aer.backend", "AerBackend", "qiskit_aer", "qiskit-aer"),
        "ibm": BuiltIn("qlifq.backends.ibm.backend", "IBMBackend", "qiskit_ibm_runtime", "'qlifq[ibm]'"),
        # Named and not imported, as one of another package is: it stands on the calibrations, which stand on the interface.
        "twin": BuiltIn("qlifq.calibration.twin", "TwinBackend"),
        "reference": BuiltIn("qlifq.backends.reference", "ReferenceBackend"),
    }
)


def names() -> tuple[str, ...]:
    """Every registered name, those of qlifq first."""
    return (*BUILT_IN, *sorted(set(_third_party()) - set(BUILT_IN)))


def get(name: str, **options: object) -> Backend:
    """Build a backend.

    Args:
        name: one of `names()`.
        **options: what this backend's constructor takes, such as `noise`.

    Returns:
        A new backend.

    Raises:
        QLIFError: for an unknown name or option, a missing package, or a registered object that is no backend.

    Example:
        >>> get("analytic").capabilities.differentiable
        True
    """
    if not isinstance(name, str):
        raise DtypeError(f"Argument `backend` must be a name, but is {name!r}.")
    factory = _factory(name)
    accepted = inspect.signature(factory).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for option in options:
        if option not in accepted and not open_ended:
            known = ", ".join(accepted) or "none"
            raise ArgumentError(f"Backend {name} has no option `{option}`: its options are {known}.")
    try:
        return factory(**options)
    except TypeError as error:
        if isinstance(error, DtypeError):
            raise
        raise ArgumentError(f"Backend {name} cannot be built: {error}.") from error


def capabilities(name: str) -> Capabilities:
    """What a backend can do, without building it.

    Args:
        name: one of `names()`.

    Raises:
        QLIFError: for an unknown name, a missing package, or a backend whose class does not declare what it can do.

    Example:
        >>> capabilities("twin").differentiable
        True
    """
    declared = getattr(_factory(name), "capabilities", None)
    if not isinstance(declared, Capabilities):
        raise DtypeError(f"Backend {name} must declare `capabilities` on its class, but declares {declared!r}.")
    return declared


def with_noise() -> tuple[str, ...]:
    """The names of the installed backends that can be built with a noise model."""
    found = []
    for name in names():
        with contextlib.suppress(QLIFError):
            if capabilities(name).noisy:
                found.append(name)
    return tuple(found)


def _factory(name: str) -> type[Backend]:
    if name in BUILT_IN:
        entry = BUILT_IN[name]
        module = load(entry.module, package=entry.package, feature=f"Backend {name}", install=entry.install)
        found: object = getattr(module, entry.attribute)
    else:
        third_party = _third_party()
        if name not in third_party:
            raise unknown("backend", name, names())
        if len(third_party[name]) > 1:
            owners = ", ".join(sorted(point.value for point in third_party[name]))
            raise ArgumentError(f"Backend {name} is registered more than once, by {owners}.")
        point = third_party[name][0]
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise MissingPackageError(f"Backend {name}, registered as {point.value}, cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise DtypeError(f"Backend {name} must be a subclass of qlifq.backends.Backend, but is {found!r}.")
    return found


def _third_party() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found
