"""A snapshot of a device, read off the two files that Qiskit's runtime client keeps of it.

The client itself imports the whole of IBM's service before it hands one out, which takes longer than all else that a noisy
simulation needs. What is made here has of Qiskit's `BackendV2` what `qlifq.backends.snapshots` reads, and no more.
"""

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from qlifq._packages import load

__all__ = ["SnapshotFiles", "read_files"]

Places = dict[tuple[int, ...] | None, "Offered | None"]


class Offered(NamedTuple):
    """An instruction at a place: seconds and the probability of an error, None where it is not said."""

    duration: float | None
    error: float | None


class Times(NamedTuple):
    """Of one qubit, in seconds, None where it is not said."""

    t1: float | None
    t2: float | None


class Operation(NamedTuple):
    """A native gate; its angles, if any, are open."""

    name: str
    params: tuple[float, ...] = ()


class Properties(NamedTuple):
    """What was measured of each qubit, each a value and no date."""

    qubits: list[dict[str, tuple[float]]]

    def faulty_qubits(self) -> list[int]:
        """Those that do not work."""
        return [number for number, values in enumerate(self.qubits) if not _works(values)]

    def qubit_property(self, qubit: int) -> dict[str, tuple[float]]:
        """Of one qubit."""
        return self.qubits[qubit]


@dataclass(frozen=True)
class Target:
    """Where each instruction of one qubit is offered, and how well; the place None stands for every qubit."""

    num_qubits: int
    places: dict[str, Places]
    qubit_properties: list[Times]

    @property
    def operation_names(self) -> list[str]:
        """The instructions."""
        return list(self.places)

    def operation_from_name(self, name: str) -> Operation:
        """One of them."""
        return Operation(name)

    def __getitem__(self, name: str) -> Places:
        return self.places[name]


class SnapshotFiles(NamedTuple):
    """What `qlifq.backends.snapshots.read_qubits` takes for a Qiskit backend."""

    name: str
    target: Target
    measured: Properties

    def properties(self) -> Properties:
        """What was measured of each qubit."""
        return self.measured


def read_files(name: str, gates: Iterable[str]) -> SnapshotFiles | None:
    """The snapshot of that name, or None where the client keeps no files of that name and form: then the client must load it.

    Args:
        name: such as "fake_torino".
        gates: the gates of one qubit that are looked for.
    """
    # Its folder without the package: to find a module in one imports the one around it.
    package = importlib.util.find_spec("qiskit_ibm_runtime")
    device = re.fullmatch(r"fake_([a-z0-9_]+)", name)
    if package is None or package.origin is None or device is None:
        return None
    folder = Path(package.origin).parent / "fake_provider" / "backends" / device[1]
    try:
        if "def " in (folder / f"fake_{device[1]}.py").read_text("utf-8"):
            # It does more than to name its files, such as to warn of what they hold.
            return None
        conf, props = (json.loads((folder / f"{part}_{device[1]}.json").read_text("utf-8")) for part in ("conf", "props"))
        return _snapshot(name, conf, props, gates)
    except (OSError, ValueError, LookupError, TypeError):
        # What a later client keeps there in another form, it can still read itself.
        return None


def _snapshot(name: str, configuration: Any, properties: Any, gates: Iterable[str]) -> SnapshotFiles:
    measured = Properties([_values(each) for each in properties["qubits"]])
    faulty = set(measured.faulty_qubits())
    reported: dict[str, dict[tuple[int, ...], dict[str, tuple[float]]]] = {}
    for gate in properties["gates"]:
        reported.setdefault(gate["gate"], {})[tuple(gate["qubits"])] = _values(gate["parameters"])
    coupled = {gate["name"]: gate.get("coupling_map") for gate in configuration["gates"]}
    offered: dict[str, Places] = {}
    for gate in gates:
        if gate in configuration["basis_gates"]:
            places: Places = {tuple(place): None for place in coupled.get(gate) or ()}
            for place, values in reported.get(gate, {}).items():
                if faulty.isdisjoint(place) and _works(values):
                    places[place] = Offered(_value(values, "gate_length"), _value(values, "gate_error"))
                else:
                    places.pop(place, None)
            offered[gate] = places if gate in reported or coupled.get(gate) else {None: None}
    if "measure" in configuration.get("supported_instructions", ["measure"]):
        offered["measure"] = {
            (number,): Offered(_value(values, "readout_length"), _value(values, "readout_error"))
            for number, values in enumerate(measured.qubits)
            if number not in faulty
        }
    times = [Times(_value(values, "T1"), _value(values, "T2")) for values in measured.qubits]
    return SnapshotFiles(name, Target(configuration["n_qubits"], offered, times), measured)


def _values(entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float]]:
    """By name, in SI units: as in the client, times are given with a prefix."""
    utils = load("qiskit.utils", package="qiskit", feature="Reading a snapshot", install="qiskit")
    return {entry["name"]: (utils.apply_prefix(entry["value"], entry["unit"]),) for entry in entries}


def _value(values: Mapping[str, tuple[float]], name: str) -> float | None:
    return values[name][0] if name in values else None


def _works(values: Mapping[str, tuple[float]]) -> bool:
    return bool(values.get("operational", (True,))[0])
