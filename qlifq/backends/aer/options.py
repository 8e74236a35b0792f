"""Aer's own options, checked before anything runs."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from qiskit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit_aer import AerSimulator

from qlifq._validation import choice
from qlifq.errors import ArgumentError, UnsupportedError

__all__ = ["checked_options"]

#: Methods that can rotate a qubit, and with the noise of a qubit written into the circuit.
_METHODS = ("automatic", "statevector", "density_matrix", "matrix_product_state", "tensor_network")
_NOISY_METHODS = ("automatic", "density_matrix")
#: Options that belong to a call, or that an argument of the backend sets.
_SET_HERE = {
    "shots": "belongs to each call",
    "seed_simulator": "belongs to each call, as its seed",
    "memory": "is set by what is run",
    "noise_model": "is the argument `noise`",
    "max_parallel_threads": "is the argument `threads`",
    "runtime_parameter_bind_enable": "is set by what is run",
}


def checked_options(options: Mapping[str, object], backend: type, *, noisy: bool, sampling: str) -> dict[str, Any]:
    """Simulator options that this Aer has and that act here.

    Args:
        options: by Aer's names, such as `method`, `device` or `precision`.
        backend: the class whose own options an error names.
        noisy: whether channels are in the circuits.
        sampling: of the backend; the law is always read off a density matrix.

    Raises:
        QLIFError: for an option that Aer does not have, that another argument sets, or whose value Aer refuses.
    """
    if not options:
        return {}
    simulator = AerSimulator()
    known = set(simulator.options)
    for name, value in options.items():
        if name in _SET_HERE:
            raise ArgumentError(f"Backend aer has no option `{name}`: it {_SET_HERE[name]}.")
        if name not in known:
            own = ", ".join(
                name for name, each in inspect.signature(backend).parameters.items() if each.kind is not each.VAR_KEYWORD
            )
            raise ArgumentError(f"Backend aer has no option `{name}`: its options are {own}, and those of AerSimulator.")
        if name == "method":
            if sampling == "law":
                raise UnsupportedError("Argument `method` would be ignored: sampling='law' always reads a density matrix.")
            _one_of(
                name, value, [each for each in (_NOISY_METHODS if noisy else _METHODS) if each in simulator.available_methods()]
            )
        elif name == "device":
            _one_of(name, value, simulator.available_devices())
        elif name == "precision":
            _one_of(name, value, ("double", "single"))
    _try(options)
    return dict(options)


def _one_of(name: str, value: object, choices: Iterable[str]) -> None:
    choice(name, value, tuple(choices))


def _try(options: Mapping[str, Any]) -> None:
    """Run a rotation with these options: Aer looks at some values only then."""
    circuit = QuantumCircuit(1)
    circuit.ry(0.3, 0)
    circuit.measure_all()
    try:
        result = AerSimulator(**options).run(circuit, shots=1).result()
        reason = "" if result.success else str(result.status)
    except (QiskitError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        reason = str(getattr(error, "message", error))
    if reason:
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ArgumentError(f"Aer cannot run with {listed}: {' '.join(reason.split())}")
