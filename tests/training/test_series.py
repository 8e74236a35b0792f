"""Series to forecast: the generated one follows its equation, and no sample sees what it must not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from qlifq.errors import ArgumentError, FileFormatError, QLIFError
from qlifq.training import forecasts, load_dataset, mackey_glass


def test_the_series_of_mackey_and_glass_follows_its_delay_equation() -> None:
    """By the method of steps: on each interval of length τ the delayed value is known, and the equation an ordinary one."""
    beta, gamma, tau = 0.3, 0.15, 9
    known: list[Any] = [lambda t: np.full((1, *np.shape(t)), 1.2)]
    for number in range(6):
        past, start = known[-1], number * tau

        def slope(t: float, x: Any, past: Any = past) -> Any:
            before = past(t - tau)[0]
            return beta * before / (1 + before**10) - gamma * x

        begin = known[-1](start)
        solved = solve_ivp(slope, (start, start + tau), begin, "DOP853", rtol=1e-11, atol=1e-12, dense_output=True)
        known.append(solved.sol)
    expected = np.concatenate([[1.2], *(known[1 + n](np.arange(n * tau + 1, (n + 1) * tau + 1))[0] for n in range(6))])
    errors = []
    for fine in (5, 10):
        found = mackey_glass(len(expected), beta=beta, gamma=gamma, tau=tau, fine=fine, transient=0)
        errors.append(np.abs(found - expected).max())
    assert errors[1] < 2e-6
    # Fourth order: half the step, a sixteenth of the error.
    assert 10 < errors[0] / errors[1] < 24


def test_the_series_stays_in_its_bounds_and_is_chaotic() -> None:
    series = mackey_glass(1500)
    assert 0.2 < series.min() < 0.5
    assert 1.2 < series.max() < 1.5
    # Two starts 1e-9 apart: here the first lies one integration step of rounding from the other.
    other = mackey_glass(1500, fine=11)
    distance = np.abs(series - other)
    assert distance[:50].max() < 1e-3
    assert distance[-300:].max() > 100 * distance[:50].max()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sample_is_a_window_and_the_value_that_follows_it(channels: int) -> None:
    series = np.random.default_rng(5).normal(size=(200, channels)).cumsum(axis=0)
    data = forecasts("walk", series, window=5, lag=3, horizon=2, source="drawn here")
    assert (data.picture, data.targets, data.classes, data.task) == ((5, channels), channels, 0, "regression")
    first = series[:160]
    low, high = first.min(axis=0), first.max(axis=0)
    scaled = ((series - low) / (high - low)).clip(0, 1)
    expected = (series - first.mean(axis=0)) / first.std(axis=0)
    for part, last in ((data.train, 12), (data.test, 172)):
        for row in (0, len(part) - 1):
            seen = part.read(torch.tensor([row]))[0].reshape(5, channels).numpy()
            assert np.allclose(seen, scaled[[last + row - back for back in (12, 9, 6, 3, 0)]], atol=1e-6)
            assert np.allclose(part.labels[row].numpy(), expected[last + row + 2], atol=1e-5)
    # The last sample to learn from is followed by the last value of its part, that for testing by the last of all.
    assert len(data.train) == 160 - 12 - 2
    assert len(data.test) == 40 - 12 - 2


def test_no_value_for_testing_changes_what_is_learned() -> None:
    series = np.random.default_rng(5).normal(size=(150, 1))
    other = series.copy()
    other[120:] = 7.0
    one, two = (forecasts("x", each, window=3, source="") for each in (series, other))
    assert torch.equal(one.train.read(slice(None)), two.train.read(slice(None)))
    assert torch.equal(one.train.labels, two.train.labels)
    assert not torch.equal(one.test.labels, two.test.labels)


def test_a_file_of_a_series_is_found_by_the_task(tmp_path: Path) -> None:
    place = tmp_path / "wave.npz"
    np.savez(place, series=np.sin(np.arange(150)), window=4, horizon=3)
    data = load_dataset(data=place, task="regression")
    assert (data.name, data.kind, data.picture) == ("wave", "series", (4, 1))
    assert "window 4, lag 1, horizon 3" in data.source
    assert load_dataset(task="regression").kind == "mackey-glass"
    for name, task, needed in (("digits", "regression", "classification"), ("mackey-glass", "classification", "regression")):
        with pytest.raises(ArgumentError, match=f"Argument `task` must be {needed} for data set {name}, but is '{task}'"):
            load_dataset(name, task=task)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(200)}, "must hold `series`, .*; but it holds 'x'"),
        ({"series": np.arange(200.0), "y": np.ones(3)}, "; but it holds 'series', 'y'"),
        ({"series": np.arange(99.0)}, r"but `series` has shape \(99,\) and holds float64"),
        ({"series": np.zeros((200, 2, 2))}, r"but `series` has shape \(200, 2, 2\)"),
        ({"series": np.array(["a"] * 200)}, "array `series`, must hold real numbers, but holds <U1"),
        ({"series": np.full(200, np.nan)}, "but 200 numbers of `series` are infinite, NaN or above 1e30"),
        ({"series": np.linspace(0, 1e31, 200)}, "numbers of `series` are infinite, NaN or above 1e30"),
        ({"series": np.ones(200)}, "but a channel is constant in the part to learn from"),
        ({"series": np.concatenate([np.zeros(160), np.ones(40)])}, "but a channel is constant in the part to learn from"),
        ({"series": np.arange(200.0), "lag": 0}, "but `lag` is 0"),
        ({"series": np.arange(200.0), "window": 2.5}, "but `window` is 2.5"),
        ({"series": np.arange(200.0), "horizon": [1, 2]}, r"but `horizon` is \[1, 2\]"),
        ({"series": np.arange(100.0)}, "window of 24 values with lag 1 and horizon 1: .*, but 80 and 20 values hold 56 and 0"),
        ({"series": np.arange(200.0), "window": 2**62}, "The series must be long enough for a window of"),
    ],
)
def test_a_file_that_holds_no_series_is_one_sentence(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    place = tmp_path / "a.npz"
    np.savez(place, **arrays)
    with pytest.raises(FileFormatError, match=message):
        load_dataset("series", place)


def test_a_damaged_file_of_a_series_is_refused_or_read(tmp_path: Path) -> None:
    """150 random damages escape nothing but `QLIFError`."""
    place = tmp_path / "a.npz"
    np.savez_compressed(place, series=np.sin(np.arange(150)), window=np.array(3))
    whole, source = place.read_bytes(), np.random.default_rng(7)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for spot in source.integers(0, len(whole), 3):
            damaged[spot] = int(source.integers(0, 256))
        place.write_bytes(damaged[: source.integers(1, len(whole) + 1)] if source.random() < 0.2 else damaged)
        try:
            load_dataset("series", place)
        except QLIFError:
            refused += 1
    assert refused > 100
