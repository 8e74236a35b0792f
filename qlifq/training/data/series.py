"""Time series to forecast: windows of past values, and the value that follows them; a user's own come from a `.npz` file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from qlifq._arrays import parse_npy
from qlifq.errors import ArgumentError, FileFormatError
from qlifq.training.data.interface import Dataset, DatasetKind, LabelledImages

__all__ = ["SERIES", "SeriesFile", "forecasts"]

#: What the arrays of a file with a series must be.
SERIES = (
    "`series`, at least 100 finite numbers of shape (time,) or (time, channels), none of its channels constant; and if other "
    "than 24, 1 and 1, each one whole number from 1 on, `window`, how many values a forecast sees, `lag`, the steps between "
    "two of them, and `horizon`, the steps from the last of them to the value that is forecast"
)
_DEFAULTS = {"window": 24, "lag": 1, "horizon": 1}
_LEAST = 100
#: The last part of a series is for testing, this share of it.
_TESTED = 0.2


class SeriesFile(DatasetKind):
    """A series in a `.npz` file."""

    description = "a time series to forecast, in a .npz file"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        """What the arrays must be says `SERIES`."""
        if path is None:
            raise ArgumentError("Argument `data` must be a .npz file with a series, but is None.")
        arrays = _arrays(path)
        series = _checked(arrays.pop("series"), path)
        numbers = {name: _number(name, arrays[name], path) if name in arrays else value for name, value in _DEFAULTS.items()}
        try:
            return forecasts(path.stem, series, **numbers, source=f"the file {path.name}")
        except ArgumentError as error:
            raise FileFormatError(f"File {path}: {error}") from error


def forecasts(
    name: str, series: npt.NDArray[np.float64], *, window: int, lag: int = 1, horizon: int = 1, source: str
) -> Dataset:
    """A data set of forecasts: from x(t − (window − 1) lag), …, x(t − lag), x(t) to x(t + horizon).

    The first four fifths of the series are to learn from and the rest is for testing; no value of one part is in a sample of
    the other. What a network sees is scaled to [0, 1] by the extremes of the first part, and cut there; what it predicts has
    mean 0 and standard deviation 1 in that part, so that the root of the mean squared error is the normalised one (NRMSE).

    Args:
        name: of the data set.
        series: `(time, channels)`, finite.
        window: how many values of each channel a forecast sees.
        lag: steps between two of them.
        horizon: steps from the last of them to the value that is forecast.
        source: where the series comes from.

    Returns:
        Samples of `window` rows and `channels` columns, the oldest first, with one number per channel to predict.

    Raises:
        ArgumentError: if the series is too short for them.
    """
    length, channels = series.shape
    cut = length - int(_TESTED * length)
    span = (window - 1) * lag
    # Times t of the last value that is seen, in each part.
    times = (np.arange(span, cut - horizon), np.arange(cut + span, length - horizon))
    if min(map(len, times)) < 2:
        raise ArgumentError(
            f"The series must be long enough for a window of {window} values with lag {lag} and horizon {horizon}: both parts "
            f"must hold at least 2 forecasts, but {cut} and {length - cut} values hold {len(times[0])} and {len(times[1])}."
        )
    first = series[:cut]
    low, high = first.min(axis=0), first.max(axis=0)
    scaled = ((series - low) / (high - low)).clip(0.0, 1.0)
    expected = (series - first.mean(axis=0)) / first.std(axis=0)
    seen = lag * np.arange(1 - window, 1)
    train, test = (
        LabelledImages(
            torch.from_numpy(scaled[each[:, None] + seen].reshape(len(each), window * channels).astype(np.float32)),
            torch.from_numpy(expected[each + horizon].astype(np.float32)),
        )
        for each in times
    )
    words = f"{length:,} steps, the last {100 * _TESTED:.0f} % for testing; window {window}, lag {lag}, horizon {horizon}"
    return Dataset(name, train, test, (window, channels), f"{source}, {words}")


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file; pickled objects are never unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    # What is no archive leads its reader to errors of any kind.
    except Exception as error:
        raise FileFormatError(f"File {path} must be a .npz file, but cannot be read as one.") from error
    if "series" not in contents or not set(contents) <= {"series", *_DEFAULTS}:
        held = ", ".join(ascii(name) for name in contents) or "nothing"
        raise FileFormatError(f"File {path} must hold {SERIES}; but it holds {held}.")
    return {name: parse_npy(content, f"{path}, array `{name}`,") for name, content in contents.items()}


def _checked(values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float64]:
    if values.ndim not in {1, 2} or len(values) < _LEAST or values.dtype.kind not in "iuf" or not values.size:
        raise FileFormatError(
            f"File {path} must hold {SERIES}; but `series` has shape {values.shape} and holds {values.dtype}."
        )
    series = values.astype(np.float64).reshape(len(values), -1)
    # Squares of larger numbers overflow; of a channel that is nearly constant, what is left of it is rounding.
    bad = int((~np.isfinite(series)).sum()) or int((abs(series) > 1e30).sum())
    if bad:
        raise FileFormatError(f"File {path} must hold {SERIES}; but {bad} numbers of `series` are infinite, NaN or above 1e30.")
    first = series[: len(series) - int(_TESTED * len(series))]
    spread = first.max(axis=0) - first.min(axis=0)
    if bool((spread <= 1e-9 * abs(first).max(axis=0)).any()):
        raise FileFormatError(f"File {path} must hold {SERIES}; but a channel is constant in the part to learn from.")
    return series


def _number(name: str, values: npt.NDArray[Any], path: Path) -> int:
    if values.size != 1 or values.dtype.kind not in "iu" or int(values.reshape(-1)[0]) < 1:
        raise FileFormatError(f"File {path} must hold {SERIES}; but `{name}` is {values.tolist()}.")
    return int(values.reshape(-1)[0])
