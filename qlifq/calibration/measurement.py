"""Measuring the response of a backend, round by round, each site in an order of its own."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import Tensor

from qlifq import _validation as check
from qlifq._files import stamp
from qlifq.backends import Backend, Plan, describe_source
from qlifq.calibration.data import Counts, Probabilities
from qlifq.calibration.design import CalibrationDesign
from qlifq.circuits import SpikeCircuit
from qlifq.errors import BackendError, UnsupportedError

__all__ = ["Measurement", "Rounds", "json_values", "library_versions", "round_plan"]

_LIBRARIES = ("torch", "numpy", "pennylane", "pennylane-lightning", "qiskit", "qiskit-aer", "qiskit-ibm-runtime")


@dataclass(frozen=True, eq=False)
class Measurement:
    """The data of a calibration, and all that is needed to understand them.

    Args:
        backend: name of the backend that was measured; None for data that somebody else measured.
        details: what the backend reported of itself, such as its qubits; `measured_by` for the data of somebody else.
        design: what was set on the neurons.
        data: the counts of every round, or estimates; cell by cell as `design.angles`.
        seed: root of the shots' seeds and of the order; None for data that somebody else measured.
        time_utc: when it began.
        versions: of qlifq and of the libraries under it.
    """

    backend: str | None
    details: Mapping[str, object]
    design: CalibrationDesign
    data: Counts | Probabilities
    seed: int | None
    time_utc: str
    versions: Mapping[str, str]

    @property
    def sites(self) -> int:
        """How many sites were measured."""
        return self.design.neurons

    @property
    def counts(self) -> Counts:
        """The data as counts.

        Raises:
            UnsupportedError: where only probabilities are known.
        """
        if not isinstance(self.data, Counts):
            raise UnsupportedError("The calibration holds probabilities, of which no counts are known.")
        return self.data

    @property
    def source(self) -> str:
        """Description of what was measured: the backend, the device or snapshot and the noise, or whose data they are."""
        if self.backend is None:
            return f"data measured by {self.details.get('measured_by')}"
        return describe_source(self.backend, self.details)


class Rounds:
    """Runs the design again and again, and keeps the counts.

    In every round each site runs its angles in a random order of its own. So an answer that depends on the neighbours, or
    on the time, cannot hide in the response.

    Args:
        backend: what is measured.
        design: what is set on the neurons.
        seed: root of all seeds; None takes one from the system.
        progress: called as progress(rounds done, shots done) after every round.
    """

    def __init__(
        self,
        backend: Backend,
        design: CalibrationDesign,
        *,
        seed: int | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.backend, self.design, self.progress = backend, design, progress
        self.seed = secrets.randbits(63) if seed is None else seed
        self._stamp = stamp()
        self._details: Mapping[str, object] = {}
        self._shots: list[int] = []
        self._ones: list[Tensor] = []
        self._order: list[Tensor] = []

    def run(self, shots: int) -> None:
        """One round of this many shots per angle."""
        cells, sites = self.design.angles.shape
        # Seeds are functions of the root and the round's number alone: a round is the same whatever ran before it.
        order_seed, shot_seed = np.random.SeedSequence((self.seed, len(self._shots))).generate_state(2, np.uint64)
        # What sorts uniform draws is a random permutation, one for each site (column).
        shuffled = np.random.default_rng(order_seed).random((cells, sites)).argsort(axis=0)
        at_time = torch.from_numpy(shuffled)
        angles = self.design.angles.gather(0, at_time).unsqueeze(-1)
        outcome = self.backend.run(self.design.circuit, angles, shots=shots, seed=int(shot_seed >> 1), where=None)
        if outcome.ones is None:
            raise BackendError(f"Backend {self.backend.name} was run with {shots} shots, but gave no counts.")
        # The order that undoes the shuffle is also when each cell ran.
        when = at_time.argsort(dim=0)
        self._ones.append(outcome.ones.detach().cpu().gather(0, when))
        self._order.append(when)
        self._shots.append(shots)
        self._details = outcome.metadata
        if self.progress is not None:
            self.progress(len(self._shots), self.spent)

    @property
    def spent(self) -> int:
        """Shots per angle and site until now."""
        return sum(self._shots)

    def measurement(self) -> Measurement:
        """What was measured until now."""
        ones = torch.stack(self._ones)
        shots = torch.tensor(self._shots)[:, None, None].expand_as(ones)
        return Measurement(
            backend=self.backend.name,
            details=json_values(self._details),
            design=self.design,
            data=Counts(ones, shots, torch.stack(self._order)),
            seed=self.seed,
            time_utc=self._stamp["time_utc"],
            versions=library_versions(self._stamp["qlifq_version"]),
        )


def library_versions(own: str) -> dict[str, str]:
    """The versions of qlifq, which is `own`, and of the libraries under it that are installed."""
    found = {"qlifq": own}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def json_values(value: Mapping[str, object]) -> dict[str, object]:
    """Tuples as lists, so that a calibration is the same before and after it was a file."""
    return {name: list(item) if isinstance(item, tuple) else item for name, item in value.items()}


def round_plan(backend: Backend, neurons: int, *, shots: int, rounds: int, circuit: SpikeCircuit | None = None) -> Plan:
    """What each round of `qlifq.calibration.fit` would cost; spends nothing."""
    design = CalibrationDesign("sigmoid", neurons, circuit=circuit)
    per_round = -(-check.integer("shots", shots, at_least=1) // check.integer("rounds", rounds, at_least=1))
    return backend.plan(design.circuit, len(design.angles), neurons, shots=per_round)
