"""The counter-based generator: known answers, its distributions, and that a number depends on its place alone."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from qlifq import QLIF
from qlifq.random import BatchShard, SeedStream, philox
from qlifq.random.philox import NORMAL, UNIFORM, Place, words

FALSE_FAIL = 1e-9
DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        # The digits of π.
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_known_answers_of_its_authors(counter: tuple[int, ...], key: tuple[int, int], answer: str) -> None:
    c0, c1, c2, c3 = counter
    # A place is a signed number.
    place = torch.tensor([(c1 << 32 | c0) - (c1 >> 31 << 64)])
    # The kind stands in the highest byte of the counter.
    found = words(place, (c3 & 0xFFFFFF) << 32 | c2, c3 >> 24, key[1] << 32 | key[0])
    assert " ".join(f"{int(word):08x}" for word in found) == answer


def draws(kind: int, dtype: torch.dtype, *, key: int = 11, position: int = 0, first: int = 0, count: int = 50_000) -> Tensor:
    """Numbers of one step."""
    place, like = Place(key, position, first), torch.zeros(count, dtype=dtype)
    return place.uniform(like) if kind == UNIFORM else place.normal(like)


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "distribution"), [(UNIFORM, stats.uniform), (NORMAL, stats.norm)])
def test_the_numbers_of_a_step_follow_their_distribution(
    kind: int, distribution: stats.rv_continuous, dtype: torch.dtype, position: int
) -> None:
    """Kolmogorov-Smirnov, false-fail rate 1e-9; a shift of 0.02 is seen for certain."""
    found = draws(kind, dtype, position=position).double().numpy()
    assert stats.kstest(found, distribution.cdf).pvalue > FALSE_FAIL
    assert stats.kstest(found + 0.02 * (1 + kind), distribution.cdf).pvalue < FALSE_FAIL


def test_the_numbers_of_a_place_over_time_follow_their_distribution() -> None:
    """Kolmogorov-Smirnov over 500 steps of 8 places, false-fail rate 1e-9 each."""
    over_time = torch.stack([draws(UNIFORM, torch.float64, position=step, count=8) for step in range(500)])
    assert all(stats.kstest(over_time[:, place].numpy(), stats.uniform.cdf).pvalue > FALSE_FAIL for place in range(8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_uniform_number_is_never_one_and_a_normal_one_never_infinite(dtype: torch.dtype) -> None:
    extreme = torch.tensor([0, 0xFFFFFFFF])
    uniform = philox._unit(extreme, dtype)
    assert uniform[0] == 0
    assert 1 - 1e-6 < uniform[1] < 1
    assert draws(NORMAL, dtype, count=400_000).isfinite().all()


def test_neighbours_are_independent() -> None:
    """Lanes, steps within a block and across blocks, kinds and keys: the correlation of 50,000 pairs, and of their squares.

    Within what chance allows, false-fail rate 1e-9 over all pairs together; a correlation of 0.05 is seen.
    """
    similar = {
        "the place itself": draws(UNIFORM, torch.float64),
        "the next place": draws(UNIFORM, torch.float64, first=1),
        "a far place": draws(UNIFORM, torch.float64, first=2**32),
        **{f"step {step}": draws(UNIFORM, torch.float64, position=step) for step in (1, 2, 3, 4, 4 * 2**32)},
        "the other kind": ranked(draws(NORMAL, torch.float64)),
        "the other kind, next step": ranked(draws(NORMAL, torch.float64, position=1)),
        **{f"key {key}": draws(UNIFORM, torch.float64, key=key) for key in (10, 12, 11 + 2**32, 11 + 2**63)},
    }
    pairs = list(itertools.combinations(similar, 2))
    bar = stats.norm.isf(FALSE_FAIL / 4 / len(pairs)) / 50_000**0.5
    assert bar < 0.05
    for first, second in pairs:
        one, other = similar[first].numpy() - 0.5, similar[second].numpy() - 0.5
        assert abs(np.corrcoef(one, other)[0, 1]) < bar, (first, second)
        assert abs(np.corrcoef(one**2, other**2)[0, 1]) < bar, (first, second)


def ranked(normal: Tensor) -> Tensor:
    """Normal numbers as the uniform ones of the same rank."""
    ranks: Tensor = torch.special.ndtr(normal)
    return ranks


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [UNIFORM, NORMAL])
def test_a_number_does_not_depend_on_how_many_are_drawn_with_it(kind: int, dtype: torch.dtype) -> None:
    whole = draws(kind, dtype, position=6, count=1000)
    parts = [draws(kind, dtype, position=6, first=first, count=count) for first, count in ((0, 1), (1, 600), (601, 399))]
    assert torch.equal(whole, torch.cat(parts))
    place, like = Place(11, 6, 0), torch.zeros(10, 100, dtype=dtype)
    assert torch.equal(whole, (place.uniform(like) if kind == UNIFORM else place.normal(like)).flatten())


@pytest.mark.parametrize("kernel", ["auto", "off"])
def test_spikes_do_not_depend_on_how_batch_and_time_are_divided(kernel: str) -> None:
    """Neither on shards nor on chunks in time, in either route: noise, draws of spikes and all."""
    current = 2 * torch.rand(11, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def layer(shard: BatchShard | None = None) -> QLIF:
        made = QLIF(5, seed=8, noise_std=0.4, refractory_period=1, kernel=kernel).double()
        made.seeds = SeedStream(8, shard)
        return made

    whole, last = layer()(current)
    assert 0.05 < whole.mean() < 0.95
    shards = [layer(BatchShard(first, 6))(current[:, first:end])[0] for first, end in ((0, 1), (1, 4), (4, 6))]
    assert torch.equal(whole, torch.cat(shards, dim=1))
    chunked, state, spikes = layer(), None, []
    for first, end in ((0, 1), (1, 3), (3, 8), (8, 11)):
        found, state = chunked(current[first:end], state)
        spikes.append(found)
    assert torch.equal(whole, torch.cat(spikes))
    assert state is not None
    assert torch.equal(last.voltage, state.voltage)
