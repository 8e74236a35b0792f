"""A call is cut into blocks by its size alone, and put together again whatever the order of the answers."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qlifq.backends import Call, get
from qlifq.backends.distributed.blocks import block_size, cut, put_together
from qlifq.backends.reference import ReferenceBackend
from qlifq.circuits import LeakySpike, RYSpike

INNER = ReferenceBackend()


def call_of(batch: int, sites: int, *, shots: int | None, seed: int | None = 5, where: Tensor | None = None) -> Call:
    angles = torch.rand(batch, sites, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    return Call(RYSpike(), angles, shots, seed, where)


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 9),
    sites=st.integers(1, 9),
    size=st.integers(1, 40),
    masked=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_every_wanted_evaluation_runs_once_with_its_angle(
    batch: int, sites: int, size: int, masked: bool, order: random.Random
) -> None:
    """Exact probabilities are those of the inner backend alone; an evaluation outside of `where` is 0."""
    where = torch.rand(batch, sites, generator=torch.Generator().manual_seed(batch)) < 0.4 if masked else None
    call = call_of(batch, sites, shots=None, where=where)
    blocks = cut(call, size)
    assert all(last - first <= size for first, last in (block.places for block in blocks))
    answers = [block.run(INNER) for block in blocks]
    order.shuffle(answers)
    found = put_together(call, answers)
    alone = INNER.run(call.circuit, call.angles, shots=None, seed=None, where=where)
    assert torch.equal(found.probability, alone.probability)
    assert found.ones is None


@pytest.mark.parametrize("where", [None, torch.arange(12).reshape(4, 3) % 2 == 0])
@pytest.mark.parametrize("inner", ["analytic", "lightning", "aer", "reference"])
def test_a_call_of_one_block_has_the_counts_of_the_inner_backend_alone(inner: str, where: Tensor | None) -> None:
    call = call_of(4, 3, shots=50, where=where)
    alone = get(inner).run(call.circuit, call.angles, shots=50, seed=5, where=where)
    found = get("distributed", inner=inner, scheduler="synchronous").run(
        call.circuit, call.angles, shots=50, seed=5, where=where
    )
    assert alone.ones is not None
    assert found.ones is not None
    assert torch.equal(found.ones, alone.ones)


def test_the_seeds_of_blocks_are_distinct_and_follow_from_the_seed_and_the_number() -> None:
    blocks = cut(call_of(64, 1, shots=3), 2)
    seeds = [block.seed for block in blocks]
    assert len(set(seeds)) == len(seeds) == 32
    assert seeds[0] == 5
    # Fewer evaluations, or other angles, leave the seeds of the first blocks as they are.
    assert [block.seed for block in cut(call_of(20, 1, shots=3), 2)] == seeds[:10]
    assert {block.seed for block in cut(call_of(64, 1, shots=3, seed=None), 2)} == {None}
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(("shots", "size"), [(None, 4096), (1, 3971), (1000, 127), (6209, 21), (6210, 20), (2**32, 20)])
def test_the_size_of_a_block_follows_from_the_shots(shots: int | None, size: int) -> None:
    assert block_size(shots) == size


def test_blocks_that_hold_nothing_wanted_do_not_run() -> None:
    where = torch.zeros(40, 1, dtype=torch.bool)
    where[33] = True
    (block,) = cut(call_of(40, 1, shots=2, where=where), 10)
    assert block.places == (30, 40)
    assert block.seed == cut(call_of(40, 1, shots=2), 10)[3].seed


def test_only_metadata_that_all_blocks_agree_on_are_reported() -> None:
    call = call_of(4, 1, shots=None)
    first, second = (block.run(INNER) for block in cut(call, 2))
    changed = second._replace(metadata={**second.metadata, "jobs": ("b",)})
    found = put_together(call, [first._replace(metadata={**first.metadata, "jobs": ("a",)}), changed])
    assert dict(found.metadata) == {"noise": "none"}


def test_a_circuit_of_two_angles_is_cut_along_the_evaluations() -> None:
    angles = torch.rand(7, 3, 2, dtype=torch.float64)
    call = Call(LeakySpike(), angles, None, None, None)
    found = put_together(call, [block.run(INNER) for block in cut(call, 4)])
    assert torch.equal(found.probability, INNER.run(LeakySpike(), angles, shots=None, seed=None).probability)
