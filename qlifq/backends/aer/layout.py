"""How evaluations are laid on Aer circuits and circuits on submissions: arithmetic that runs nothing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["JOB_SHOTS", "LAYOUTS", "Column", "Layout", "Piece", "arrange", "jobs"]

#: The most shots in one submission, since Aer holds all of them in memory, and the most counts that come back from one.
JOB_SHOTS = 2**16
_JOB_COUNTS = 2**19


class Layout(NamedTuple):
    """How lanes lie on a circuit, and how long one evaluation takes there.

    Args:
        method: Aer's simulation method.
        lanes: the most lanes of one circuit.
        qubits: the most qubits that they lie on.
        microseconds: per evaluation, as `python -m benchmarks.backends` prints it for an RY on one core.
        shot_microseconds: what each shot of a circuit adds to that.
        lane_shot_microseconds: what each shot adds for each lane of the circuit.
    """

    method: str
    lanes: int
    qubits: int
    microseconds: float
    shot_microseconds: float
    lane_shot_microseconds: float


#: By (one shot, noisy). One shot is fastest on one qubit that is reset between 32 evaluations: a circuit's result costs
#: more than 32 measurements. For many shots Aer simulates once and draws, and a draw of ten bits costs twice one of a
#: single bit; but each further qubit doubles the state, and doubles a density matrix twice.
LAYOUTS = {
    (True, False): Layout("statevector", 32, 1, 4.8, 0.0, 0.0),
    (True, True): Layout("density_matrix", 32, 1, 7.0, 0.0, 0.0),
    (False, False): Layout("statevector", 10, 10, 9.0, 0.5, 0.05),
    (False, True): Layout("density_matrix", 4, 4, 18.0, 0.5, 0.05),
}


class Column(NamedTuple):
    """What one lane runs: of one kind of evaluation every `step`-th from `start`, `length` in all."""

    kind: int
    start: int
    step: int
    length: int


class Piece(NamedTuple):
    """Parameter sets `first` to `last` of a circuit, which is a list of columns."""

    columns: tuple[Column, ...]
    first: int
    last: int


def arrange(counts: Sequence[int], lanes: int) -> list[tuple[Column, ...]]:
    """The columns of each circuit, for so many evaluations of each kind.

    A lane holds one kind. Where there are fewer kinds than lanes each gets several; columns of like length share a circuit,
    since the longest decides how many parameter sets it takes.
    """
    columns = []
    for kind, count in enumerate(counts):
        step = min(max(1, lanes // len(counts)), count)
        columns += [Column(kind, start, step, -(-(count - start) // step)) for start in range(step)]
    columns.sort(key=lambda column: -column.length)
    return [tuple(columns[start : start + lanes]) for start in range(0, len(columns), lanes)]


def jobs(circuits: Sequence[tuple[Column, ...]], shots: int) -> Iterator[list[Piece]]:
    """The submissions: pieces of circuits, no more in one than memory should hold."""
    job: list[Piece] = []
    room = _JOB_COUNTS
    for columns in circuits:
        first = 0
        while first < columns[0].length:
            each = min(shots, 2 ** len(columns))
            if job and room < each:
                yield job
                job, room = [], _JOB_COUNTS
            last = min(columns[0].length, first + max(1, room // each))
            job.append(Piece(columns, first, last))
            room -= (last - first) * each
            first = last
    if job:
        yield job
