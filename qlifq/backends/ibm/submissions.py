"""What the journal of jobs holds: submissions in one of five states, and the runs that they belong to."""

from dataclasses import dataclass

__all__ = ["CANCELLED", "DONE", "FAILED", "INTENT", "STATES", "SUBMITTED", "Entry", "Run"]

STATES = INTENT, SUBMITTED, DONE, FAILED, CANCELLED = "INTENT", "SUBMITTED", "DONE", "FAILED", "CANCELLED"


@dataclass(frozen=True)
class Entry:
    """One submission, as the journal has it.

    Args:
        request: its id, which the job carries as a tag.
        run: the run that it belongs to.
        attempt: 1 for the first; a job that failed is followed by another.
        created: UTC time of the intent.
        device: name of the device.
        circuit: what ran on each qubit, drawn.
        qubits: physical qubits.
        sets: parameter sets.
        shots: per set.
        state: INTENT, SUBMITTED, DONE, FAILED or CANCELLED.
        job: the service's id, None before one is known.
        estimated_seconds: device seconds that were expected, None where nothing is paid.
        cap_seconds: the most device seconds that it may take while it is open, None for no bound and once that is over.
        usage_seconds: device seconds that were charged, None where that is not known.
        duplicates: further jobs with the same tag, which were cancelled.
        error: why it failed.
    """

    request: str
    run: str
    attempt: int
    created: str
    device: str
    circuit: str
    qubits: tuple[int, ...]
    sets: int
    shots: int
    state: str
    job: str | None
    estimated_seconds: float | None
    cap_seconds: float | None
    usage_seconds: float | None
    duplicates: int
    error: str | None

    @property
    def tag(self) -> str:
        """What the job is found by at the service."""
        return f"qlifq-{self.request}"


@dataclass(frozen=True)
class Run:
    """One run: what a command or a layer runs on one device.

    Args:
        name: its name.
        device: its device.
        qubits: the qubits that it began with, best first; it keeps them when the device is calibrated anew.
        budget_seconds: the most device seconds that it may use, None for no bound.
        session: id of its open session or batch, None without.
        command: the command line that goes on with it, None where none is known.
        finished: UTC time at which its command had written what it was for; None before.
    """

    name: str
    device: str
    qubits: tuple[int, ...]
    budget_seconds: float | None
    session: str | None
    command: str | None
    finished: str | None = None
