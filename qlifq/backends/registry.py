"""Backends by name: those of qlifq, and those that other packages register.

A package adds one through the entry-point group `qlifq.backends`, whose name is the backend's and whose object is a
subclass of `Backend`:

    [project.entry-points."qlifq.backends"]
    mine = "my_package.my_module:MyBackend"
"""

import contextlib
import inspect
import sys
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from qlifq._packages import load, refuse_missing
from qlifq._validation import suggestion, unknown
from qlifq.errors import ArgumentError, DtypeError, MissingPackageError, QLIFError

if TYPE_CHECKING:
    from qlifq.backends.interface import Backend, Capabilities

__all__ = ["Summary", "capabilities", "get", "names", "summary", "with_noise"]

GROUP = "qlifq.backends"


class Summary(NamedTuple):
    """What the fronts need of a backend before it is built: of its `Capabilities` what helps to choose one and to build it."""

    exact: bool = False
    shots: bool = True
    noisy: bool = False
    differentiable: bool = False
    remote: bool = False
    max_sites: int | None = None
    snapshots: bool = False
    device: bool = False
    record: bool = False
    sampling: tuple[str, ...] = ()


class BuiltIn(NamedTuple):
    """Where a backend of qlifq lives, what it needs, and what its class declares: to read it off the class takes seconds."""

    module: str
    attribute: str
    package: str = "torch"
    install: str = "torch"
    summary: Summary = Summary()


BUILT_IN = MappingProxyType(
    {
        "analytic": BuiltIn(
            "qlifq.backends.analytic", "AnalyticBackend", summary=Summary(exact=True, noisy=True, differentiable=True)
        ),
        "lightning": BuiltIn(
            "qlifq.backends.lightning",
            "LightningBackend",
            "pennylane_lightning",
            "pennylane-lightning",
            Summary(exact=True),
        ),
        "pennylane": BuiltIn(
            "qlifq.backends.pennylane", "PennyLaneBackend", "pennylane", "pennylane", Summary(exact=True, noisy=True)
        ),
        "qiskit": BuiltIn("qlifq.backends.qiskit", "QiskitBackend", "qiskit_aer", "qiskit-aer"),
        "aer": BuiltIn(
            "qlifq.backends.aer.backend",
            "AerBackend",
            "qiskit_aer",
            "qiskit-aer",
            Summary(noisy=True, snapshots=True, sampling=("shots", "law")),
        ),
        "ibm": BuiltIn(
            "qlifq.backends.ibm.backend", "IBMBackend", "qiskit_ibm_runtime", "'qlifq[ibm]'", Summary(remote=True, device=True)
        ),
        "distributed": BuiltIn(
            "qlifq.backends.distributed.backend",
            "DistributedBackend",
            "distributed",
            "'qlifq[distributed]'",
            Summary(noisy=True, snapshots=True, sampling=("shots", "law")),
        ),
        # Named and not imported, as one of another package is: it stands on the calibrations, which stand on the interface.
        "twin": BuiltIn("qlifq.calibration.twin", "TwinBackend", summary=Summary(exact=True, differentiable=True, record=True)),
        "reference": BuiltIn("qlifq.backends.reference", "ReferenceBackend", summary=Summary(exact=True, noisy=True)),
    }
)


class Foreign(NamedTuple):
    """A kind of object of a vendor that stands for a backend, and the option of which backend it is."""

    module: str
    kind: str
    backend: str
    option: str


#: The first that fits counts. Simulated snapshots go to Aer, which runs their reported noise in small circuits: by themselves
#: they load the noise of the whole device for each parameter set.
FOREIGN = (
    Foreign("qiskit_ibm_runtime.fake_provider.fake_backend", "FakeBackendV2", "aer", "noise"),
    Foreign("qiskit.providers.fake_provider", "GenericBackendV2", "aer", "noise"),
    Foreign("qiskit_ibm_runtime", "IBMBackend", "ibm", "device"),
    Foreign("qiskit.providers", "BackendV2", "qiskit", "target"),
    Foreign("qiskit.primitives", "BaseSamplerV2", "qiskit", "target"),
    Foreign("pennylane.devices", "Device", "pennylane", "device"),
    Foreign("pennylane.devices", "LegacyDevice", "pennylane", "device"),
)


def names() -> tuple[str, ...]:
    """Every registered name, those of qlifq first."""
    return (*BUILT_IN, *sorted(set(_third_party()) - set(BUILT_IN)))


def get(name: object, **options: object) -> "Backend":
    """Build a backend.

    Args:
        name: one of `names()`, or an object of Qiskit or PennyLane to run on: a backend, a sampler or a device.
        **options: what this backend's constructor takes, such as `noise`.

    Returns:
        A new backend.

    Raises:
        ArgumentError: for an unknown name or option, or a value that the backend does not take.
        DtypeError: for what is neither a name nor such an object, or a registered object that is no backend.
        MissingPackageError: if the package that the backend needs is absent or cannot be imported.

    Example:
        >>> get("analytic").capabilities.differentiable
        True
    """
    if not isinstance(name, str):
        foreign = _foreign(name)
        return get(foreign.backend, **{foreign.option: name}, **options)
    factory = _factory(name)
    accepted = inspect.signature(factory).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for option in options:
        if option not in accepted and not open_ended:
            known = ", ".join(accepted) or "none"
            like = suggestion(option, accepted)
            raise ArgumentError(f"Backend {name} has no option `{option}`: its options are {known}.{like}")
    try:
        return factory(**options)
    except TypeError as error:
        if isinstance(error, DtypeError):
            raise
        raise ArgumentError(f"Backend {name} cannot be built: {error}.") from error


def capabilities(name: str) -> "Capabilities":
    """What a backend can do, without building it.

    Args:
        name: one of `names()`.

    Raises:
        ArgumentError: for an unknown name.
        DtypeError: for a backend whose class does not declare what it can do.
        MissingPackageError: if the package that the backend needs is absent or cannot be imported.

    Example:
        >>> capabilities("twin").differentiable
        True
    """
    from qlifq.backends.interface import Capabilities

    declared = getattr(_factory(name), "capabilities", None)
    if not isinstance(declared, Capabilities):
        raise DtypeError(f"Backend {name} must declare `capabilities` on its class, but declares {declared!r}.")
    return declared


def summary(name: str) -> Summary:
    """What the fronts need of a backend before it is built; one of qlifq's own is not imported for it.

    Args:
        name: one of `names()`.

    Raises:
        MissingPackageError: if the package that the backend needs is absent.
        QLIFError: of another package's backend, as `capabilities` does.
    """
    if name in BUILT_IN:
        entry = BUILT_IN[name]
        refuse_missing(entry.package, feature=f"Backend {name}", install=entry.install)
        return entry.summary
    declared = capabilities(name)
    return Summary(*(getattr(declared, field) for field in Summary._fields))


def with_noise() -> tuple[str, ...]:
    """The names of the installed backends that can be built with a noise model."""
    found = []
    for name in names():
        with contextlib.suppress(QLIFError):
            if summary(name).noisy:
                found.append(name)
    return tuple(found)


def _foreign(given: object) -> Foreign:
    """What an object stands for; the module of its kind is imported already, since it is there."""
    for row in FOREIGN:
        kind = getattr(sys.modules.get(row.module), row.kind, None)
        if isinstance(kind, type) and isinstance(given, kind):
            return row
    said = f"Argument `backend` must be a name, a Backend, or an object of Qiskit or PennyLane, but is {given!r}."
    if type(given).__name__ == "NoiseModel":
        said += " A noise model goes into get('aer', noise=...) or get('pennylane', noise=...)."
    raise DtypeError(said)


def _factory(name: str) -> "type[Backend]":
    from qlifq.backends.interface import Backend

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
