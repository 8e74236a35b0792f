"""Jobs that run here, on the snapshot of a device: each qubit with its own calibrated noise, and no other qubit."""

import numpy as np
import torch

from qlifq.backends.aer.backend import AerBackend
from qlifq.backends.ibm.channel import Found
from qlifq.backends.ibm.job_spec import Counts, JobSpec
from qlifq.backends.ibm.submissions import DONE, FAILED, Entry

__all__ = ["SnapshotChannel"]


class SnapshotChannel:
    """Runs a job at once when it is submitted. One that died with its process is run again, and gives the same counts.

    Args:
        device: name of the snapshot.
        qubits: the qubits that may be used.
    """

    def __init__(self, device: str, qubits: tuple[int, ...]) -> None:
        self._aer = AerBackend(device, qubits=qubits)
        self._results: dict[str, Counts] = {}

    def submit(self, work: JobSpec, entry: Entry, max_seconds: float | None) -> str:
        """Run it."""
        seed = None
        if work.seed is not None:
            seed = int(np.random.SeedSequence((work.seed, work.part)).generate_state(1, np.uint64)[0] >> 1)
        outcome = self._aer.run(work.circuit, torch.from_numpy(work.values), shots=work.shots, seed=seed)
        assert outcome.ones is not None
        job = f"local-{entry.request}"
        self._results[job] = outcome.ones.numpy()
        return job

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

    def result(self, job: str, entry: Entry) -> Counts:
        """The counts, handed over once."""
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
