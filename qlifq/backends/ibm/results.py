"""What a job brought back, from the client's objects to the arrays that the journal keeps."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from qlifq._text import one_line
from qlifq.backends.ibm.job_spec import Result
from qlifq.backends.ibm.submissions import Entry
from qlifq.circuits.trains.to_qiskit import register_names
from qlifq.errors import ServiceError

__all__ = ["read_result"]


def read_result(answer: Any, job: str, entry: Entry) -> Result:
    """What came of every set, once shape, shots and request are those of the entry."""
    if answer is None:
        raise ServiceError(f"Job {job} is done, but the service gave an empty result; the same command requests it again.")
    found: Result | None = None
    lacking = np.ones(entry.sets, dtype=np.bool_)
    for part in answer:
        stated: Mapping[str, Any] = part.metadata.get("circuit_metadata") or {}
        if stated.get("qlifq_request") != entry.request:
            request = one_line(str(stated.get("qlifq_request")), 80)
            raise ServiceError(f"Job {job} gave the result of another request, {request}.", again=False)
        steps = stated.get("steps")
        bits = part.data.spike if steps is None else part.join_data(chain(*register_names(steps, len(entry.qubits))))
        sets = list(stated.get("sets", range(entry.sets)))
        count = len(entry.qubits) * (steps or 1)
        if (bits.num_shots, bits.num_bits, bits.size) != (entry.shots, count, len(sets)):
            raise ServiceError(
                f"Job {job} gave {bits.size} sets of {bits.num_shots} shots of {bits.num_bits} bits, instead of "
                f"{len(sets)} of {entry.shots} of {count}.",
                again=False,
            )
        own = _ones(bits) if steps is None else _packed(bits)
        found = np.zeros((entry.sets, *own.shape[1:]), dtype=own.dtype) if found is None else found
        found[sets], lacking[sets] = own, False
    if found is None or lacking.any():
        raise ServiceError(f"Job {job} gave no result for {int(lacking.sum())} sets.", again=False)
    return found


def _bits(bits: Any) -> npt.NDArray[np.uint8]:
    """The bits of each set and shot, `(sets, shots, bits)`, from packed ones, the last bit first."""
    unpacked = np.unpackbits(bits.array.reshape(bits.size, bits.num_shots, -1), axis=-1)
    return np.asarray(unpacked[..., ::-1][..., : bits.num_bits])


def _ones(bits: Any) -> Result:
    """How often each qubit was read as 1 in each set, `(sets, width)`."""
    return np.asarray(_bits(bits).sum(axis=-2, dtype=np.int64))


def _packed(bits: Any) -> Result:
    """The bits of each set and shot, eight to a byte, the first bit first."""
    return np.packbits(_bits(bits), axis=-1)
