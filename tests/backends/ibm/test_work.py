"""What one job holds: sets within the limits, sites on qubits in turn, delays as the device has them."""

import numpy as np
import pytest

from qlifq.backends.ibm.job_spec import MAX_EXECUTIONS, DecisionJob, DelayGrid, job_sizes, laid_out
from qlifq.circuits import Gate, Slot, SpikeCircuit
from tests.backends.ibm.conftest import RY


@pytest.mark.parametrize(
    ("sets", "shots", "width"), [(1, 1, 1), (10, 10_000_000, 5), (9_765_000, 1, 100), (3, 10_000_000, 127)]
)
def test_jobs_hold_every_set_within_the_limits(sets: int, shots: int, width: int) -> None:
    sizes = job_sizes(sets, shots, width)
    assert sum(sizes) == sets
    assert max(sizes) * shots <= MAX_EXECUTIONS


def test_sites_lie_on_qubits_in_turn() -> None:
    values = np.arange(14.0).reshape(2, 7, 1)
    laid = laid_out(values, 3)
    assert laid.shape == (6, 3, 1)
    assert laid[..., 0].tolist()[:3] == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
    assert np.array_equal(laid.reshape(2, 9, 1)[:, :7], values)


def test_constant_delays_are_rounded_too_and_count_as_time() -> None:
    circuit = SpikeCircuit("Waits", (Gate("RY", Slot(0)), Gate("Delay", 1.04e-6)))
    grid = DelayGrid(1e-7, None)
    rounded = grid.constants(circuit)
    assert rounded.gates[1].angle == pytest.approx(1e-6)
    work = DecisionJob(rounded, np.zeros((1, 1, 1)), (0,), 1, 0, 0, "x")
    assert work.longest_delay == pytest.approx(1e-6)
    assert grid.rounded(RY, np.zeros((1, 1, 1)))[1] is None
