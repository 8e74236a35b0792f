"""Jobs that run here, on the snapshot of a device: each qubit with its own calibrated noise, and no other qubit."""

import numpy as np

from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.ibm.channel import Found
from qlifq.backends.ibm.job_spec import JobSpec, Result
from qlifq.backends.ibm.submissions import DONE, FAILED, Entry

__all__ = ["SnapshotChannel"]


class SnapshotChannel:
    """Runs a job at once when it is submitted. One that died with its process is run again, and gives the same counts.

    Args:
        device: name of the snapshot.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._backends: dict[tuple[int, ...], AerBackend] = {}
        self._results: dict[str, Result] = {}

    def submit(self, work: JobSpec, entry: Entry, max_seconds: float | None) -> str:
        """Run it."""
        seed = None
        if work.seed is not None:
            seed = int(np.random.SeedSequence((work.seed, work.part)).generate_state(1, np.uint64)[0] >> 1)
        job = f"local-{entry.request}"
        self._results[job] = work.simulate(self._on(work.qubits), seed)
        return job

    def _on(self, qubits: tuple[int, ...]) -> AerBackend:
        """The simulator of some qubits, site by site."""
        if qubits not in self._backends:
            self._backends[qubits] = AerBackend(self._device, qubits=qubits)
        return self._backends[qubits]

    def find(self, entry: Entry) -> list[Found]:
        """What this process ran and did not hand over yet."""
        job = f"local-{entry.request}"
        return [Found(job, DONE)] if job in self._results else []

    def runs(self, job: str, entry: Entry) -> bool:
        """A job here has the name of its entry."""
        return True

    def state(self, job: str) -> str:
        """Done, while the process that ran it lives."""
        return DONE if job in self._results else FAILED

    def result(self, job: str, entry: Entry) -> Result:
        """What came of it, handed over once."""
        return self._results.pop(job)

    def usage(self, job: str) -> float | None:
        """Nothing is charged."""
        return None

    def reason(self, job: str) -> tuple[str, bool]:
        """No job fails for another reason."""
        return "ended with the process that ran it", True

    def cancel(self, job: str) -> bool:
        """Every job is over."""
        return False
