"""Packing evaluations on circuits and back loses nothing and mixes nothing."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlifq.circuits import Packing
from qlifq.errors import ArgumentError, DtypeError, ShapeError

counts = st.integers(0, 40)
widths = st.integers(1, 9)


@given(counts, widths, st.integers(0, 3))
def test_what_is_packed_comes_back_in_order(evaluations: int, width: int, num_angles: int) -> None:
    packing = Packing(evaluations, width)
    angles = np.arange(1.0, evaluations * num_angles + 1).reshape(evaluations, num_angles)
    packed = packing.pack(angles)
    assert packed.shape == (packing.circuits, width, num_angles)
    assert packing.circuits * width - evaluations in range(width)
    assert packed.sum() == angles.sum()
    for slot in range(num_angles):
        assert packing.unpack(packed[..., slot]).tolist() == angles[:, slot].tolist()


@given(counts, widths)
def test_an_evaluation_lies_where_it_is_said_to(evaluations: int, width: int) -> None:
    packed = Packing(evaluations, width).pack(np.arange(1.0, evaluations + 1)[:, None])
    for index in range(evaluations):
        assert packed[index // width, index % width, 0] == index + 1


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 10**6))
def test_marginals_are_sums_over_the_outcomes_with_that_bit(evaluations: int, width: int, seed: int) -> None:
    packing = Packing(evaluations, width)
    distribution = np.random.default_rng(seed).dirichlet(np.ones(2**width), size=packing.circuits)
    found = packing.marginals(distribution)
    assert found.shape == (evaluations,)
    for index in range(evaluations):
        circuit, qubit = divmod(index, width)
        expected = sum(
            distribution[circuit, outcome]
            for outcome, bits in enumerate(itertools.product((0, 1), repeat=width))
            if bits[qubit]
        )
        assert found[index] == pytest.approx(expected, abs=1e-14)


def test_the_first_qubit_is_the_most_significant_bit() -> None:
    assert Packing(3, 3).marginals(np.eye(8)[[4]]).tolist() == [1.0, 0.0, 0.0]


def test_nothing_needs_no_circuit() -> None:
    assert Packing(0, 4).circuits == 0
    assert Packing(0, 4).pack(np.zeros((0, 2))).shape == (0, 4, 2)
    assert Packing(0, 4).marginals(np.zeros((0, 16))).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 2), ArgumentError, "`evaluations` must be at least 0, but is -1"),
        ((2, 0), ArgumentError, "`width` must be at least 1, but is 0"),
        ((2.0, 1), DtypeError, "`evaluations` must be an integer, but is 2.0"),
    ],
)
def test_bad_sizes_are_refused(arguments: tuple[int, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Packing(*arguments)


def test_bad_shapes_are_refused() -> None:
    packing = Packing(5, 2)
    with pytest.raises(ShapeError, match=re.escape("`angles` must have shape (5, num_angles), but has shape (4, 1)")):
        packing.pack(np.zeros((4, 1)))
    with pytest.raises(ShapeError, match=re.escape("`angles` must have shape (5, num_angles), but has shape (5,)")):
        packing.pack(np.zeros(5))
    with pytest.raises(ShapeError, match=re.escape("`values` must have shape (3, 2), but has shape (2, 3)")):
        packing.unpack(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=re.escape("`distribution` must have shape (3, 4), but has shape (3, 2)")):
        packing.marginals(np.zeros((3, 2)))
