"""What the backend `ibm` takes for a device, and options of IBM's samplers that it refuses."""

import inspect
from collections.abc import Mapping
from typing import Any

from qlifq.backends.description import is_snapshot
from qlifq.backends.snapshots import load_snapshot, read_qubits
from qlifq.errors import ArgumentError, DtypeError, UnsupportedError

__all__ = ["device_name", "refuse_options", "twirled"]

#: Why an option of a sampler cannot act on the counts of one qubit.
_REFUSED = {
    "dynamical_decoupling": "it acts while a qubit waits, in a Delay, and would undo the decay that a Delay is for",
    "resilience_level": "it corrects expectation values, and a spike is a count",
    "resilience": "it corrects expectation values, and a spike is a count",
    "zne_mitigation": "it extrapolates expectation values, and a spike is a count",
    "pec_mitigation": "it corrects expectation values, and a spike is a count",
    "measure_mitigation": "it corrects expectation values: ReadoutMitigated corrects estimates of P(1) here",
    "gate_twirling": "it acts on gates of two qubits, and there are none",
    "num_randomizations": "it is the argument `twirling`",
    "shots_per_randomization": "it is the shots of a call divided by `twirling`",
}


def refuse_options(options: Mapping[str, object], backend: type) -> None:
    """Refuse each option, with the reason where it is one of IBM's samplers.

    Args:
        options: what is not an argument of the backend.
        backend: the class whose own options an error names.

    Raises:
        QLIFError: for any option.
    """
    for name in options:
        if name in _REFUSED:
            raise UnsupportedError(f"Argument `{name}` must not be given to backend ibm: {_REFUSED[name]}.")
        taken = inspect.signature(backend).parameters.values()
        known = ", ".join(each.name for each in taken if each.kind is not each.VAR_KEYWORD)
        raise ArgumentError(f"Backend ibm has no option `{name}`: its options are {known}.")


def twirled(shots: int, twirling: int) -> dict[str, object]:
    """A sampler's options for measurement twirling, with as many shots as the call has: by itself it rounds them up."""
    return {
        "enable_gates": False,
        "enable_measure": True,
        "num_randomizations": twirling,
        "shots_per_randomization": shots // twirling,
    }


def device_name(device: Any) -> str:
    """The name of a device or snapshot, given so or as a backend object of IBM's client.

    A run is taken up by other processes, which find the device by its name and the account by the one that the client saved.

    Raises:
        QLIFError: for another object, or a snapshot that was changed after it was loaded.
    """
    if isinstance(device, str):
        return device
    kinds = {kind.__name__ for kind in type(device).__mro__}
    if not kinds & {"IBMBackend", "FakeBackendV2"}:
        raise DtypeError(
            f"Argument `device` must be a name such as ibm_boston or fake_torino, or a backend of IBM's client, "
            f"but is {device!r}."
        )
    name = str(device.name)
    if is_snapshot(name) and read_qubits(device) != dict(load_snapshot(name)):
        raise UnsupportedError(
            f"Argument `device` must be {name} as it is saved, but was changed: get('aer', noise=...) runs it."
        )
    return name
