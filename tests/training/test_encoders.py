"""Encoders turn pixels into currents, and refuse what they cannot encode."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError
from qlifq.random import BatchShard
from qlifq.reporting.figures import panels_of
from qlifq.training import ENCODINGS, current, delta, encodings_figure, latency, phase, poisson
from tests.figure_checks import figure_flaws

FALSE_FAIL = 1e-9


@given(steps=st.integers(1, 5), batch=st.integers(0, 3), neurons=st.integers(0, 4), gain=st.floats(-10, 10))
def test_current_is_the_pixel_times_the_gain_at_every_step(steps: int, batch: int, neurons: int, gain: float) -> None:
    images = torch.rand((batch, neurons), dtype=torch.float64)
    encoded = current(images, steps, gain)
    assert encoded.shape == (steps, batch, neurons)
    assert torch.equal(encoded, (gain * images).expand(steps, batch, neurons))


def test_poisson_spikes_have_the_rate_of_their_pixel() -> None:
    """Exact binomial tails, Bonferroni over 5 pixels: false-fail rate 1e-9; 20,000 steps show a bias of 0.03 in any rate."""
    steps, rate = 20_000, 0.6
    images = torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]])
    counts = (poisson(images, steps, gain=2.0, rate=rate, seed=3) == 2.0).sum(dim=(0, 1))
    for pixel, count in zip(images[0].tolist(), counts.tolist(), strict=True):
        tail = min(binom.cdf(count, steps, rate * pixel), binom.sf(count - 1, steps, rate * pixel))
        assert tail > FALSE_FAIL / (2 * 5), (pixel, count)


def test_poisson_pixels_and_steps_are_independent() -> None:
    """Coincidences of two pixels, and of a pixel with its next step, are Binomial(n, ¼); false-fail rate 1e-9 over both."""
    steps = 20_000
    first, second = poisson(torch.ones(1, 2), steps, rate=0.5, seed=4)[:, 0].T
    # Pairs (t, t + 1) with even t share no step, so their coincidences are independent.
    successive = first.reshape(-1, 2)
    for coincidences, number in [(first * second, steps), (successive[:, 0] * successive[:, 1], steps // 2)]:
        count = int(coincidences.sum())
        assert min(binom.cdf(count, number, 0.25), binom.sf(count - 1, number, 0.25)) > FALSE_FAIL / 4


def test_poisson_at_the_boundaries_is_certain() -> None:
    images = torch.tensor([[0.0, 1.0]])
    assert torch.equal(poisson(images, 500, rate=1.0, seed=0), images.expand(500, 1, 2))
    assert not poisson(torch.ones(1, 3), 500, rate=0.0, seed=0).any()
    assert poisson(torch.ones(0, 3), 5).shape == (5, 0, 3)


def test_poisson_replays_from_its_seed_and_leaves_the_global_generator_alone() -> None:
    images = torch.full((2, 3), 0.5)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = poisson(images, 50, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, poisson(images, 50, seed=1))
    assert not torch.equal(first, poisson(images, 50, seed=2))
    # Seeds that share their low 32 bits are different seeds.
    assert not torch.equal(first, poisson(images, 50, seed=1 + 2**32))
    assert first.dtype == torch.float32
    assert poisson(images.double(), 5, seed=1).dtype == torch.float64


@pytest.mark.parametrize("encode", [current, poisson])
@pytest.mark.parametrize(
    ("images", "steps", "gain", "error", "message"),
    [
        ([[1.0]], 1, 1.0, DtypeError, "Argument `images` must be a torch tensor, but is list"),
        (torch.ones(1, 1, dtype=torch.int64), 1, 1.0, DtypeError, "must have dtype float32 or float64, but has int64"),
        (torch.ones(3), 1, 1.0, ShapeError, r"must have shape \(batch, neurons\), but has shape \(3,\)"),
        (torch.tensor([[float("nan")]]), 1, 1.0, ArgumentError, "must be finite, but 1 of its 1 values"),
        (torch.ones(1, 1), 0, 1.0, ArgumentError, "Argument `steps` must be at least 1, but is 0"),
        (torch.ones(1, 1), 2.0, 1.0, DtypeError, "Argument `steps` must be an integer, but is 2.0"),
        (torch.ones(1, 1), 1, float("inf"), ArgumentError, "Argument `gain` must be finite, but is inf"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    encode: object, images: object, steps: object, gain: object, error: type[QLIFError], message: str
) -> None:
    with pytest.raises(error, match=message):
        encode(images, steps, gain)  # type: ignore[operator]


def test_poisson_refuses_what_is_no_probability() -> None:
    with pytest.raises(ArgumentError, match=r"Argument `rate` must be at least 0 and at most 1, but is 1\.5"):
        poisson(torch.ones(1, 1), 1, rate=1.5)
    with pytest.raises(ArgumentError, match=r"must be from 0 to 1 for Poisson spikes, but goes from -1 to 2"):
        poisson(torch.tensor([[-1.0, 2.0]]), 1)
    with pytest.raises(ArgumentError, match=r"Argument `seed` must be at least 0 and at most \S+, but is -1"):
        poisson(torch.ones(1, 1), 1, seed=-1)


@given(st.integers(1, 9), st.floats(0.1, 5))
def test_a_latency_is_the_earlier_the_brighter(steps: int, gain: float) -> None:
    images = torch.tensor([[0.0, 1e-6, 0.2, 0.7, 1.0]], dtype=torch.float64)
    encoded = latency(images, steps, gain)
    assert encoded.shape == (steps, 1, 5)
    assert ((encoded != 0).sum(dim=0) == torch.tensor([0, 1, 1, 1, 1])).all()
    assert set(encoded.unique().tolist()) <= {0.0, gain}  # type: ignore[no-untyped-call]
    moments = (encoded[:, 0, 1:] != 0).to(torch.int64).argmax(dim=0)
    assert moments[0] == steps - 1
    assert moments[-1] == 0
    assert (moments.diff() <= 0).all()


def test_a_latency_needs_pixels_from_0_to_1() -> None:
    with pytest.raises(ArgumentError, match="must be from 0 to 1 for a latency, but goes from -1 to 2"):
        latency(torch.tensor([[-1.0, 2.0]]), 3)


@given(st.integers(0, 6), st.integers(0, 6))
def test_a_share_of_a_batch_gets_the_spikes_that_it_has_there(first: int, last: int) -> None:
    first, last = sorted((first, last))
    images = torch.rand(6, 4)
    whole = poisson(images, 5, rate=0.5, seed=3)
    part = poisson(images[first:last], 5, rate=0.5, seed=3, shard=BatchShard(first, 6))
    assert torch.equal(part, whole[:, first:last])


@given(st.integers(1, 10), st.integers(1, 3), st.floats(0.1, 5), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_a_period_of_phases_sums_to_the_value_in_binary(bits: int, periods: int, gain: float, values: list[float]) -> None:
    """0 ≤ x − Σ/gain < 2⁻ᴷ below 1, and 1 itself is 1 − 2⁻ᴷ; every step of every period sends 0 or its own weight."""
    images = torch.tensor([values], dtype=torch.float64)
    encoded = phase(images, bits * periods, gain, bits)
    weights = gain * 0.5 ** torch.arange(1, bits + 1, dtype=torch.float64)
    for period in encoded.split(bits):  # type: ignore[no-untyped-call]
        assert torch.equal(period, encoded[:bits])
        assert ((period == 0) | (period == weights[:, None, None])).all()
        rest = images - period.sum(dim=0) / gain
        assert ((rest > -1e-12) & (rest < 2.0**-bits * (1 + (images == 1)) - 1e-15 * (images < 1))).all()
    # Exactly the digits of Python's own binary form.
    for place, value in enumerate(values):
        digits = format(min(int(value * 2**bits), 2**bits - 1), f"0{bits}b")
        assert [int(each > 0) for each in encoded[:bits, 0, place]] == [int(digit) for digit in digits]


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0), st.floats(0.1, 5), st.integers(1, 40))
def test_what_changes_sent_so_far_follows_the_value(seed: int, change: float, gain: float, steps: int) -> None:
    """|x[t] − c Σ s| < c at every step while x moves by at most c per step; the negative value sends the negative spikes."""
    generator = torch.Generator().manual_seed(seed)
    moves = change * (2 * torch.rand((steps, 2, 3), generator=generator, dtype=torch.float64) - 1)
    values = moves.cumsum(dim=0)
    spikes = delta(values, steps, gain, change) / gain
    assert ((spikes == 0) | (spikes.abs() == 1)).all()
    assert ((values - change * spikes.cumsum(dim=0)).abs() < change * (1 + 1e-9)).all()
    assert torch.equal(delta(-values, steps, gain, change), -gain * spikes)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.floats(0.1, 1.0))
def test_a_constant_is_climbed_to_in_spikes_of_one_sign_and_then_silent(values: list[float], change: float) -> None:
    images = torch.tensor([values], dtype=torch.float64)
    steps = 25
    spikes = delta(images, steps, change=change)
    expected = [math.trunc(value / change) for value in values]
    # A quotient that rounding moves over a whole number is one spike more or fewer.
    assert all(abs(found - number) <= 1 for found, number in zip(spikes.sum(dim=0)[0].tolist(), expected, strict=True))
    for place, number in enumerate(spikes.sum(dim=0)[0].to(torch.int64).tolist()):
        assert (spikes[: abs(number), 0, place] != 0).all()
        assert not spikes[abs(number) :, 0, place].any()
    assert torch.equal(spikes, delta(images.expand(steps, 1, len(values)), steps, change=change))


def test_values_in_time_are_encoded_step_by_step() -> None:
    values = torch.stack((torch.full((1, 2), 0.2), torch.full((1, 2), 0.9))).repeat_interleave(8000, dim=0)
    assert torch.equal(current(values, 16_000, 3.0), 3.0 * values)
    spikes = poisson(values, 16_000, rate=0.5, seed=6)
    for part, value in ((spikes[:8000], 0.2), (spikes[8000:], 0.9)):
        # Exact tails of the binomial of 16,000 draws in each half; false-fail rate 1e-9 over both.
        count = int(part.sum())
        assert min(binom.cdf(count, 16_000, 0.5 * value), binom.sf(count - 1, 16_000, 0.5 * value)) > FALSE_FAIL / 4
    for encode in (current, poisson, delta):
        with pytest.raises(ShapeError, match="Argument `steps` must be 16000, as many as `images` has in time, but is 5"):
            encode(values, 5)
    for encode in (latency, phase):
        with pytest.raises(ShapeError, match=r"must have shape \(batch, neurons\), but has shape \(16000, 1, 2\)"):
            encode(values, 16_000)


def test_the_numbers_of_the_encoders_have_their_ranges() -> None:
    ones = torch.ones(1, 1)
    with pytest.raises(ArgumentError, match="Argument `change` must be above 0, but is 0"):
        delta(ones, 3, change=0)
    for bits in (0, 17):
        with pytest.raises(ArgumentError, match=f"Argument `bits` must be at least 1 and at most 16, but is {bits}"):
            phase(ones, 3, bits=bits)
    with pytest.raises(ArgumentError, match="must be from 0 to 1 for phases, but goes from -1 to 2"):
        phase(torch.tensor([[-1.0, 2.0]]), 3)


def test_the_figure_shows_what_every_encoder_sends() -> None:
    figure = encodings_figure(steps=12)
    assert figure_flaws(figure) == []
    drawn = {axes.get_title(loc="left").rpartition(" ")[2]: axes for axes in panels_of(figure)}
    assert list(drawn) == list(ENCODINGS)
    values = torch.linspace(0, 1, 41)[None]
    for name, encoded in (
        ("current", current(values, 12)),
        ("latency", latency(values, 12)),
        ("delta", delta(values, 12)),
        ("phase", phase(values, 12)),
        ("poisson", poisson(values, 12, seed=0)),
    ):
        assert np.allclose(np.asarray(drawn[name].images[0].get_array()), encoded[:, 0].T)
