"""DeviceNoise: what it accepts, how it is kept, and every sentence with which it refuses."""

import math
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from qlifq.backends import DeviceNoise
from qlifq.backends.noise import SiteNoise, describe_noise
from qlifq.circuits.gates import Gate
from qlifq.errors import ArgumentError, DtypeError, QLIFError, ShapeError


def test_the_default_is_no_noise() -> None:
    assert DeviceNoise().at(0) == SiteNoise(math.inf, math.inf, 0.0, 0.0, 0.0, 0.0)
    assert DeviceNoise().sites is None


def test_equal_noise_has_the_same_words_and_another_has_others() -> None:
    assert (
        describe_noise(None) == describe_noise(DeviceNoise()) == describe_noise(DeviceNoise(readout_p01=(0.0, 0.0))) == "none"
    )
    assert describe_noise(DeviceNoise(readout_p01=0.02, t1=1e-4, gate_time=5e-8)) == (
        "t1=0.0001, t2=0.0002, gate_time=5e-08, readout_p01=0.02"
    )
    # A gate takes time from a qubit that decays alone.
    assert describe_noise(DeviceNoise(readout_p01=0.02, gate_time=5e-8)) == "readout_p01=0.02"
    assert describe_noise(DeviceNoise(t1=1e-4)) == describe_noise(DeviceNoise(t1=1e-4, t2=2e-4)) == "t1=0.0001, t2=0.0002"
    assert describe_noise(DeviceNoise(readout_p01=0.3)) == describe_noise(DeviceNoise(readout_p01=(0.1 + 0.2, 0.3)))
    several = [(0.1, 0.3, 0.2), (0.1, 0.2, 0.3), (0.1, 0.3, 0.2 + 1e-11), (0.1, 0.3)]
    words = [describe_noise(DeviceNoise(readout_p01=values, readout_p10=0.1)) for values in several]
    for each in words:
        assert re.fullmatch(r"readout_p01=0\.1 to 0\.3, readout_p10=0\.1, sha256 [0-9a-f]{16}", each)
    assert len(set(words)) == len(words)
    assert words[0] == describe_noise(DeviceNoise(readout_p01=[0.1, 0.1 + 0.2, 0.2], readout_p10=(0.1, 0.1, 0.1)))


def test_t2_is_at_most_twice_t1_and_that_by_default() -> None:
    assert DeviceNoise(t1=50e-6).t2 == 100e-6
    assert DeviceNoise(t1=(50e-6, 80e-6)).t2 == (100e-6, 160e-6)
    assert DeviceNoise(t1=50e-6, t2=100e-6).t2 == 100e-6
    # A snapshot that was computed from rates may be off by rounding.
    assert DeviceNoise(t1=50e-6, t2=100e-6 * (1 + 1e-13)).at(0).t2 > 100e-6
    with pytest.raises(ArgumentError, match=r"`t2` must be at most 2 t1, but is 0\.000101 s with t1 = 5e-05 s at site 0"):
        DeviceNoise(t1=50e-6, t2=101e-6)
    with pytest.raises(ArgumentError, match="with t1 = 3e-05 s at site 1"):
        DeviceNoise(t1=(50e-6, 30e-6), t2=(60e-6, 61e-6))


@pytest.mark.parametrize(
    "values",
    [(0.01, 0.02), [0.01, 0.02], np.array([0.01, 0.02]), torch.tensor([0.01, 0.02], dtype=torch.float64), iter((0.01, 0.02))],
)
def test_values_per_site_are_kept_as_a_tuple(values: object) -> None:
    noise = DeviceNoise(readout_p01=values, t1=1e-4)  # type: ignore[arg-type]
    assert noise.readout_p01 == (0.01, 0.02)
    assert noise.sites == 2
    assert noise.at(1) == SiteNoise(1e-4, 2e-4, 0.0, 0.0, 0.02, 0.0)
    assert hash(noise) == hash(DeviceNoise(readout_p01=(0.01, 0.02), t1=1e-4))


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1.0), np.array(1.0), torch.tensor(1.0)])
def test_one_number_may_have_any_numeric_type(value: object) -> None:
    noise = DeviceNoise(t1=value)  # type: ignore[arg-type]
    assert (type(noise.t1), noise.t1) == (float, 1.0)
    assert noise.sites is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("t1", math.inf), ("gate_time", 0.0), ("gate_error", 0.0), ("gate_error", 0.5)]
    + [(name, value) for name in ("readout_p01", "readout_p10") for value in (0.0, 1.0)],
)
def test_the_bounds_are_within(name: str, value: float) -> None:
    assert getattr(DeviceNoise(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("t1", 0.0, ArgumentError, "`t1` must be above 0, but is 0."),
        ("t1", -1e-6, ArgumentError, "`t1` must be above 0, but is -1e-06."),
        ("t1", math.nan, ArgumentError, "`t1` must be above 0, but is nan."),
        ("t2", 0.0, ArgumentError, "`t2` must be above 0, but is 0."),
        ("gate_time", -1e-9, ArgumentError, "`gate_time` must be at least 0 and finite, but is -1e-09."),
        ("gate_time", math.inf, ArgumentError, "`gate_time` must be at least 0 and finite, but is inf."),
        ("gate_error", 0.51, ArgumentError, "`gate_error` must be at least 0 and at most 0.5, but is 0.51."),
        ("gate_error", -0.1, ArgumentError, "`gate_error` must be at least 0 and at most 0.5, but is -0.1."),
        ("readout_p01", 1.01, ArgumentError, "`readout_p01` must be at least 0 and at most 1, but is 1.01."),
        ("readout_p10", (0.1, -0.2), ArgumentError, "`readout_p10` must be at least 0 and at most 1, but is -0.2."),
        ("t1", "1e-4", DtypeError, "`t1` must be a number or one number per site, but is '1e-4'."),
        ("gate_error", True, DtypeError, "`gate_error` must be a number or one number per site, but is True."),
        ("gate_error", [0.1, None], DtypeError, "but is [0.1, None]."),
        ("gate_error", None, DtypeError, "`gate_error` must be a number or one number per site, but is None."),
        ("readout_p01", [[0.1]], DtypeError, "but is [[0.1]]."),
        ("readout_p01", (), ShapeError, "`readout_p01` must hold one number per site, but is empty."),
    ],
)
def test_a_bad_number_is_refused(name: str, value: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        DeviceNoise(**{name: value})  # type: ignore[arg-type]


def test_arguments_with_different_numbers_of_sites_are_refused() -> None:
    with pytest.raises(ShapeError, match="but `t1` has 2, `t2` has 2, `gate_error` has 3"):
        DeviceNoise(t1=(1e-4, 2e-4), gate_error=(0.1, 0.2, 0.3))


def test_a_call_with_another_number_of_sites_is_refused() -> None:
    DeviceNoise(t1=1e-4).check_sites(7)
    DeviceNoise(t1=(1e-4, 2e-4)).check_sites(2)
    with pytest.raises(ShapeError, match="`noise` has values for 2 sites, but `angles` has 3"):
        DeviceNoise(t1=(1e-4, 2e-4)).check_sites(3)


def test_noise_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        DeviceNoise().t1 = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_channel_contracts_as_documented(dtype: torch.dtype) -> None:
    noise = DeviceNoise(t1=(50e-6, 80e-6), t2=30e-6, gate_time=2e-6, gate_error=0.1)
    channel = noise.channel(dtype, torch.device("cpu"))
    assert channel(Gate("RZ", 1.0), 1.0) is None
    turned, waited = channel(Gate("RX", 1.0), 1.0), channel(Gate("Delay", 4e-6), 4e-6)
    assert turned is not None
    assert waited is not None
    for found, time, kept in ((turned, 2e-6, 0.8), (waited, 4e-6, 1.0)):
        decay = [math.exp(-time / t1) for t1 in (50e-6, 80e-6)]
        assert torch.as_tensor(found.transverse).expand(2).tolist() == pytest.approx([kept * math.exp(-time / 30e-6)] * 2)
        assert torch.as_tensor(found.longitudinal).tolist() == pytest.approx([kept * value for value in decay])
        assert torch.as_tensor(found.shift).tolist() == pytest.approx([1 - value for value in decay])
        assert torch.as_tensor(found.shift).dtype == dtype
