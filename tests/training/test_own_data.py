"""A user's own data: `.npz` files, data sets of PyTorch and events are read batch by batch, and refused in one sentence."""

import re
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data import Dataset as TorchDataset

from qlifq._registry import Registry
from qlifq.errors import ArgumentError, DtypeError, FileFormatError, MissingPackageError, QLIFError, UnsupportedError
from qlifq.training import (
    DATASETS,
    Dataset,
    DatasetKind,
    LabelledImages,
    SensorFolders,
    SpikeFiles,
    bin_events,
    from_torch,
    load_dataset,
    resolve_recipe,
)
from qlifq.training.compatibility import check_data
from tests.training.data_files import nmnist, write_sensor, write_spikes

EVERYTHING = slice(None)


@pytest.fixture(autouse=True)
def _with_its_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLIFQ_CACHE_DIR", str(tmp_path / "cache"))


def labels_of(samples: int, classes: int = 3) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(samples) % classes


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8, np.bool_])
def test_samples_of_a_file_are_those_that_were_saved(tmp_path: Path, save: Callable[..., None], dtype: type) -> None:
    rng = np.random.default_rng(0)
    values: np.ndarray[Any, Any] = (rng.random((20, 4, 6)) * 2).astype(dtype)
    save(tmp_path / "mine.npz", x=np.asfortranarray(values), y=labels_of(20).astype(np.uint8))
    data = load_dataset(data=tmp_path / "mine.npz")
    assert (data.name, data.kind, data.picture, data.classes, data.steps) == ("mine", "arrays", (4, 6), 3, None)
    # Every fifth of a class of seven, seven and six samples.
    assert (len(data.train), len(data.test), data.test.labels.tolist()) == (17, 3, [0, 1, 2])
    expected = torch.from_numpy(values.reshape(20, 24).astype(np.float32)) / (255 if dtype is np.uint8 else 1)
    kept = torch.tensor([row for row in range(20) if row not in {12, 13, 14}])
    assert torch.equal(data.train.read(EVERYTHING), expected[kept])
    assert torch.equal(data.test.read(torch.tensor([2, 0])), expected[[14, 12]])


def test_currents_have_time_first_and_a_part_for_testing_is_taken_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    currents, others = rng.normal(size=(7, 12, 5)), rng.normal(size=(7, 4, 5))
    arrays: dict[str, Any] = {"current": currents, "y": labels_of(12), "current_test": others, "y_test": labels_of(4)}
    np.savez(tmp_path / "mine.npz", **arrays)
    data = load_dataset("arrays", tmp_path / "mine.npz")
    assert (data.picture, data.steps, len(data.train), len(data.test)) == ((1, 5), 7, 12, 4)
    assert torch.equal(data.train.read(torch.tensor([3, 1])), torch.from_numpy(currents[:, [3, 1]]).float())
    assert torch.equal(data.test.read(EVERYTHING), torch.from_numpy(others).float())
    assert data.first(9).first(5).fingerprint() == data.first(5).fingerprint() != data.fingerprint()
    # They are the input as they are, over their own steps; neither another number of steps nor another encoding goes with them.
    design, _ = resolve_recipe("mlp", data, {"hidden": (4,)})
    from qlifq.random import BatchShard

    assert torch.equal(design.encode(data.test.read(EVERYTHING), 0, BatchShard(0, 4)), data.test.read(EVERYTHING))
    for changes, error, message in (
        ({"steps": 6}, QLIFError, "Argument `steps` must be 7, as many as the data have, but is 6"),
        (
            {"encoding": "latency"},
            UnsupportedError,
            "must be one of current, poisson, delta for data in time, but is 'latency'",
        ),
        ({"encoding": "poisson"}, ArgumentError, "must hold numbers from 0 to 1 for encoding poisson, but they go from -"),
    ):
        with pytest.raises(error, match=message):
            check_data(resolve_recipe("mlp", data, {"hidden": (4,), **changes})[0], data)
    with pytest.raises(UnsupportedError, match="`network` must not be 'autoencoder' for data in time"):
        check_data(resolve_recipe("autoencoder", data, {"hidden": (4,)})[0], data)


def test_no_set_is_held_in_memory_as_a_whole(tmp_path: Path) -> None:
    """A file of 40 MB is unpacked, checked and read in batches, and NumPy never holds a quarter of it."""
    values = np.zeros((1250, 8000), dtype=np.float32)
    values[:, :4] = np.eye(4)[labels_of(1250, 4)]
    np.savez(tmp_path / "large.npz", x=values, y=labels_of(1250, 4))
    size = values.nbytes
    del values
    assert (tmp_path / "large.npz").stat().st_size > size > 38e6
    tracemalloc.start()
    try:
        data = load_dataset(data=tmp_path / "large.npz")
        read = sum(float(part.sum()) for part in data.train.batches(torch.split(torch.arange(len(data.train)), 64)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == len(data.train) == 1002
    assert peak < size / 4
    # The planted fault: the whole in memory is seen by the same measurement.
    tracemalloc.start()
    try:
        whole = np.array(data.train.samples.values)  # type: ignore[attr-defined]
        assert tracemalloc.get_traced_memory()[1] > size
    finally:
        tracemalloc.stop()
    assert whole.nbytes == size


BAD = np.ones((10, 3))
NAN = BAD.copy()
NAN[4, 1], NAN[7, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": BAD}, "must hold `y`, the class of each sample as a whole number from 0 on, and either `x`, finite numbers of"),
        ({"x": BAD, "z": labels_of(10)}, "every fifth sample of a class is; but it holds 'x', 'z'"),
        ({"x": BAD, "y": labels_of(10), "x_tets": BAD}, "but it holds 'x', 'y', 'x_tets'"),
        ({"x": BAD, "y": labels_of(10), "x_test": BAD}, "but it holds 'x', 'y', 'x_test'"),
        ({"x": BAD, "y": labels_of(9)}, "must hold one label per sample, but `y` holds 9 for 10 samples"),
        (
            {"x": NAN, "y": labels_of(10)},
            "array `x`, must hold finite float32 numbers, but 2 of its 30 are not, the first in sample 4",
        ),
        ({"x": BAD * 1e300, "y": labels_of(10)}, "but 30 of its 30 are not, the first in sample 0"),
        (
            {"x": np.array([[1, 2], [3]] * 5, dtype=object), "y": labels_of(10)},
            "Object arrays cannot be read without running them",
        ),
        ({"x": BAD + 1j, "y": labels_of(10)}, "array `x`, must hold real numbers, but holds complex128"),
        ({"x": BAD[0], "y": labels_of(3)}, "but `x` has shape (3,)"),
        ({"x": BAD[:, None, None], "y": labels_of(10)}, "but `x` has shape (10, 1, 1, 3)"),
        ({"current": BAD, "y": labels_of(10)}, "but `current` has shape (10, 3)"),
        ({"x": BAD, "y": labels_of(10) - 1}, "from 0 on without gaps, but there are 3 different numbers from -1 to 1"),
        ({"x": BAD, "y": labels_of(10) * 2}, "from 0 on without gaps, but there are 3 different numbers from 0 to 4"),
        ({"x": BAD, "y": np.zeros(10, dtype=int)}, "must number at least 2 classes from 0 on"),
        (
            {"x": BAD, "y": labels_of(10) / 1.0},
            "must hold one class per sample, a whole number, but holds float64 of shape (10,)",
        ),
        (
            {"x": BAD, "y": labels_of(10)[:, None]},
            "must hold one class per sample, a whole number, but holds int64 of shape (10, 1)",
        ),
        (
            {"x": BAD, "y": labels_of(10), "x_test": BAD, "y_test": labels_of(10, 5)},
            "must number classes from 0 to 2 for testing too, but there is 3",
        ),
        (
            {"x": BAD, "y": labels_of(10), "x_test": BAD[:, :2], "y_test": labels_of(10)},
            "must hold samples of one shape, but those of `x` have (3,) and those of `x_test` (2,)",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, **arrays)
    with pytest.raises(FileFormatError, match=re.escape(message)) as refusal:
        load_dataset(data=file)
    assert str(refusal.value).startswith(f"File {file}")
    assert "\n" not in str(refusal.value)


def test_what_is_no_file_of_a_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "few.npz", x=np.ones((6, 2)), y=labels_of(6))
    for data, message in (
        (tmp_path / "none.npz", r"none\.npz cannot be read: no such file or directory"),
        (tmp_path / "a.npz", r"a\.npz must be a \.npz file, but cannot be read as one"),
        (tmp_path / "few.npz", "must have at least 5 samples of a class, but has 2 at most"),
        (
            tmp_path / "a.txt",
            r"`dataset` must say what .*a\.txt holds, one of digits, .*that end with \.npz, \.h5, \.hdf5 say so",
        ),
    ):
        with pytest.raises(QLIFError, match=message):
            load_dataset(data=data)
    with pytest.raises(ArgumentError, match=r"`data` must be a \.npz file to read, but is None"):
        load_dataset("arrays")


class Squares(TorchDataset[tuple[Any, Any]]):
    """Sample i of shape (2, 3), all i², and the class i mod 2; counts how often it is read."""

    def __init__(self, samples: int = 10) -> None:
        self.samples, self.read = samples, 0

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.samples:
            raise IndexError(index)
        self.read += 1
        return np.full((2, 3), index**2, dtype=np.float64), index % 2


def stacked_last(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A user's own batch: the numbers negated."""
    return -torch.stack([torch.as_tensor(x) for x, _ in items]), torch.tensor([y for _, y in items])


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_of_pytorch_are_those_that_it_gives(workers: int) -> None:
    squares = Squares()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    data = from_torch(DataLoader(squares, batch_size=3, shuffle=True, num_workers=workers), name="squares")
    assert (data.name, data.kind, data.picture, data.steps, data.classes) == ("squares", None, (2, 3), None, 2)
    assert data.train.read(torch.tensor([7, 1])).tolist() == [[49.0] * 6, [1.0] * 6]
    assert data.test.read(EVERYTHING).tolist() == [[64.0] * 6, [81.0] * 6]
    timed = from_torch(squares, Squares(4), in_time=True)
    assert (timed.picture, timed.steps, len(timed.train), len(timed.test)) == ((1, 3), 2, 10, 4)
    assert timed.train.read(torch.tensor([2, 3])).tolist() == [[[4.0] * 3, [9.0] * 3]] * 2
    assert timed.train.read(torch.tensor([], dtype=torch.int64)).shape == (2, 0, 3)
    assert from_torch(DataLoader(squares, collate_fn=stacked_last)).train.read(slice(3, 4)).tolist() == [[-9.0] * 6]
    assert torch.equal(torch.get_rng_state(), before)
    assert len({data.fingerprint(), timed.fingerprint(), from_torch(Squares(15)).fingerprint()}) == 3
    assert data.fingerprint() == from_torch(Squares()).fingerprint()


def test_no_sample_of_pytorch_is_kept() -> None:
    squares = Squares()
    data = from_torch(squares)
    read = squares.read
    for _ in range(2):
        data.train.read(torch.tensor([0, 1]))
    assert squares.read == read + 4


class Odd(Squares):
    """Sample 3 is as a case makes it."""

    def __init__(self, made: Callable[[], Any]) -> None:
        super().__init__()
        self.made = made

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.made() if index == 3 else super().__getitem__(index)


class Endless(IterableDataset[int]):
    """Has no length."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


def failing() -> Any:
    raise KeyError("no such sample\nat all")


def tensors(x: torch.Tensor | None = None, y: torch.Tensor | None = None) -> TensorDataset:
    return TensorDataset(torch.ones(10, 3) if x is None else x, torch.arange(10) % 2 if y is None else y)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            3,
            DtypeError,
            "must be a data set of PyTorch with a length and samples by their number, or a DataLoader of one, but is int",
        ),
        (Endless(), DtypeError, "but is Endless"),
        (DataLoader(Endless()), DtypeError, "but is Endless"),
        ([], ArgumentError, "must hold samples, but holds none"),
        (DataLoader(tensors(), drop_last=True), UnsupportedError, "a DataLoader without `drop_last`, which would be ignored"),
        (
            DataLoader(tensors(), sampler=WeightedRandomSampler([1.0] * 10, 10)),
            UnsupportedError,
            "a DataLoader without `sampler`",
        ),
        (DataLoader(tensors(), batch_size=None), UnsupportedError, "a DataLoader without `batch_sampler`"),
        (Odd(failing), ArgumentError, "that can be read, but a batch from sample 0 on cannot: 'no such sample\\nat all'"),
        (
            Odd(lambda: (np.zeros((2, 4)), 1)),
            ArgumentError,
            "samples of one shape that can be read, but a batch from sample 0 on",
        ),
        (
            Odd(lambda: (np.full((2, 3), np.nan), 1)),
            ArgumentError,
            "must give finite numbers, but sample 3 holds NaN or infinity",
        ),
        (
            Odd(lambda: (np.zeros((2, 3)), 5)),
            ArgumentError,
            "from 0 on without gaps, but there are 3 different numbers from 0 to 5",
        ),
        (
            Odd(lambda: (np.random.default_rng().random((2, 3)), 1)),
            ArgumentError,
            "must give the same sample whenever it is read",
        ),
        ([torch.ones(3)] * 4, DtypeError, "must give pairs (x, y) of numbers and a class, but gives Tensor"),
        ([(torch.ones(3), "a")] * 4, DtypeError, "must give pairs (x, y) of numbers and a class, but gives Tensor, tuple"),
        (
            tensors(torch.ones(10)),
            QLIFError,
            "must give x of real numbers of shape (features,), (rows, columns) or (channels, ",
        ),
        (tensors(y=torch.ones(10, 2)), QLIFError, "must give one class per sample, but gives y of shape (10, 2)"),
        (tensors(y=torch.rand(10)), ArgumentError, "must hold one class per sample, a whole number, but holds float32"),
    ],
)
def test_what_pytorch_gives_and_cannot_be_used_is_one_sentence(given: object, error: type[QLIFError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as refusal:
        from_torch(given)
    assert str(refusal.value).startswith("Argument `train` must ")
    with pytest.raises(QLIFError, match="Argument `test` must give samples of shape"):
        from_torch(tensors(), tensors(torch.ones(10, 4)))


def counted(times: Sequence[float], units: Sequence[int], steps: int, size: int, duration: float) -> torch.Tensor:
    """The definition, event by event."""
    counts = torch.zeros(steps, size)
    for time, unit in zip(times, units, strict=True):
        counts[min(int(time / duration * steps), steps - 1), unit] += 1
    return counts


def test_events_are_counted_in_the_step_and_for_the_neuron_of_each(tmp_path: Path) -> None:
    import h5py

    write_spikes(tmp_path / "shd_train.h5", 20)
    write_spikes(
        tmp_path / "shd_test.h5",
        5,
        seed=1,
        times=[np.array([0.0, 1.25]), *[np.array([0.5])] * 4],
        units=[np.array([3, 699]), *[np.array([9])] * 4],
    )
    data = load_dataset("shd", tmp_path, steps=6)
    assert (data.picture, data.steps, len(data.train), len(data.test), data.classes) == ((1, 700), 6, 20, 5, 4)
    with h5py.File(tmp_path / "shd_train.h5") as file:
        times, units = (file[f"spikes/{name}"][:] for name in ("times", "units"))
    # The last event of both files is at 1.25.
    expected = torch.stack([counted(*each, 6, 700, 1.25) for each in zip(times, units, strict=True)], dim=1)
    assert torch.equal(data.train.read(EVERYTHING), expected)
    assert data.test.read(slice(1))[:, 0].nonzero().tolist() == [[0, 3], [5, 699]]
    # It lies in the cache, once; another number of steps is another file.
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/data").iterdir()}
    assert len(kept) == 2
    again = load_dataset("shd", tmp_path, steps=6)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/data").iterdir()} == kept
    assert data.fingerprint() == again.fingerprint() != load_dataset("shd", tmp_path, steps=5).fingerprint()
    single = load_dataset(data=tmp_path / "shd_train.h5", steps=6)
    assert (single.kind, single.name, len(single.train), single.test.labels.tolist()) == ("shd", "shd_train", 16, [0, 1, 2, 3])


@pytest.mark.parametrize("ending", [".bin", ".npy"])
def test_recordings_of_a_sensor_are_counted_for_each_pixel_and_polarity(tmp_path: Path, ending: str) -> None:
    write_sensor(tmp_path / "events", ending)
    data = load_dataset("nmnist", tmp_path / "events", steps=4)
    assert (data.picture, data.steps, data.train.labels.tolist()) == ((68, 34), 4, [0] * 5 + [1] * 5)
    whole = data.train.read(EVERYTHING)
    assert whole.sum(dim=(0, 2)).tolist() == [60.0] * 10
    columns = whole.reshape(4, 10, 2, 34, 34).sum(dim=(0, 2, 3))
    assert columns[:5, 17:].sum() == columns[5:, :17].sum() == 0
    # Both formats hold the same events.
    write_sensor(tmp_path / "others", ".npy" if ending == ".bin" else ".bin")
    assert torch.equal(load_dataset("nmnist", tmp_path / "others", steps=4).train.read(EVERYTHING), whole)


def test_the_clock_of_a_sensor_that_overflows_goes_on(tmp_path: Path) -> None:
    """Row 240 says that 2¹³ are added to the times after it; it is no event."""
    for label in ("0", "1"):
        (tmp_path / "events" / label).mkdir(parents=True)
        for number in range(5):
            events = np.array([[1, 2, 0, 100], [0, 240, 0, 0], [3, 4, 1, 8], [0, 240, 0, 0], [5, 6, 1, 4]])
            (tmp_path / f"events/{label}/{number}.bin").write_bytes(nmnist(events))
    data = SensorFolders(8, 8).load(tmp_path / "events", 16_289)
    places = data.test.read(slice(1))[:, 0].nonzero().tolist()
    # 16,288 is the last time, counted from the first event; one more step than that makes a step of a unit of time.
    assert [neuron for _, neuron in places] == [2 * 8 + 1, 64 + 4 * 8 + 3, 64 + 6 * 8 + 5]
    assert [step for step, _ in places] == [0, 8100, 16_288]


def test_counts_above_255_are_kept(tmp_path: Path) -> None:
    many = [np.zeros(300 + 70_000 * (number == 3)) for number in range(10)]
    units = [np.zeros(len(each), dtype=np.uint16) for each in many]
    write_spikes(tmp_path / "a.h5", 10, classes=2, times=many, units=units)
    assert SpikeFiles(neurons=2).load(tmp_path / "a.h5", 1).train.read(EVERYTHING)[0, :, 0].tolist() == [
        300.0,
        300.0,
        300.0,
        70_300.0,
        *[300.0] * 4,
    ]


def test_events_of_an_array_are_counted_as_those_of_a_file() -> None:
    counts = bin_events([0, 10, 25, 39], [1, 0, 1, 1], steps=4, size=2, duration=40)
    assert counts.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    # What comes after the duration is left out; without one the last event is at the end.
    assert bin_events([0, 10, 25, 39], [1, 0, 1, 1], steps=2, size=2, duration=20).tolist() == [[0, 1], [1, 0]]
    assert bin_events([], np.array([], dtype=int), steps=2, size=2).tolist() == [[0, 0], [0, 0]]
    for times, units, message in (
        ([0.0, 2.0, 1.0], [0, 0, 0], "must have events in the order of their times, but event 2 is at 1, after one at 2"),
        ([0.0, 1.0], [0, 2], "must have events of neurons 0 to 1, but event 1 is of neuron 2"),
        ([0.0, 1.0], [0, -1], "must have events of neurons 0 to 1, but event 1 is of neuron -1"),
        ([0.0, np.nan], [0, 0], "must have finite times, but 1 of its 2 are not"),
        ([-1.0, 0.0], [0, 0], "must have times from 0 on, but the first is -1"),
        ([0.0], [0, 1], r"must have one time and one neuron per event, but has shapes \(1,\) and \(2,\)"),
        ([0.0], [0.5], "neurons that are whole numbers, but has float64 and float64"),
        ([[0.0], [1.0, 2.0]], [0], "must be arrays of numbers, but cannot be made ones"),
    ):
        with pytest.raises(ArgumentError, match=message):
            bin_events(times, units, steps=2, size=2)


def with_recording(name: str, row: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Recording 6 is another one."""
    times, units = [np.linspace(0, 1, 3) for _ in range(10)], [np.array([0, 1, 2]) for _ in range(10)]
    rows = {"times": times, "units": units}
    rows[name][6] = row
    return rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.arange(9) % 2}, "must hold as many labels as recordings, at least 1, but `labels` has shape (9,)"),
        ({"labels": np.arange(10) % 2 + 1}, "`labels`, must number at least 2 classes from 0 on without gaps"),
        ({"labels": np.full(10, 0.5)}, "must hold one class per sample, a whole number, but holds float64"),
        (
            with_recording("times", np.array([0.0, 1.0, 0.5])),
            "recording 6, must have events in the order of their times, but event 2",
        ),
        (with_recording("times", np.array([0.0, np.nan, 0.5])), "recording 6, must have finite times, but 1 of its 3 are not"),
        (
            with_recording("units", np.array([0, 700, 1])),
            "recording 6, must have events of neurons 0 to 699, but event 1 is of neuron 700",
        ),
        (
            with_recording("units", np.array([0, 1])),
            "recording 6, must have one time and one neuron per event, but has shapes (3,) and",
        ),
    ],
)
def test_spike_trains_that_cannot_be_used_are_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write_spikes(tmp_path / "a.h5", 10, **changes)
    with pytest.raises(FileFormatError, match=re.escape(message)) as refusal:
        load_dataset(data=file)
    assert str(refusal.value).startswith(f"File {file}")


def test_a_file_of_spike_trains_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    import h5py

    good = write_spikes(tmp_path / "a.h5", 10).read_bytes()
    cut = tmp_path / "cut.h5"
    for length, said in ((len(good) // 2, "truncated file"), (0, "file signature not found"), (5, "file signature not found")):
        cut.write_bytes(good[:length])
        with pytest.raises(
            FileFormatError, match=rf"cut\.h5 must be an HDF5 file with `labels`, .*cannot be read as one: .*{said}"
        ):
            load_dataset(data=cut)
    # Free space of size 0 in a heap, in which the HDF5 library never ends.
    heap = good.index(b"GCOL") + 16
    cut.write_bytes(good[:heap] + bytes(16) + good[heap + 16 :])
    with pytest.raises(FileFormatError, match=rf"cut\.h5 must be an HDF5 file .*, but is damaged at byte {heap}\."):
        load_dataset(data=cut)
    # A length for which the library would reserve gigabytes, in a file without chunks and in one with them.
    for chunks in (None, (4,)):
        with h5py.File(cut, "w") as file:
            file["labels"] = np.arange(10) % 2
            for name in ("times", "units"):
                rows = file.create_dataset(f"spikes/{name}", (10,), dtype=h5py.vlen_dtype(np.int32), chunks=chunks)
                rows[:] = [np.arange(7, dtype=np.int32)] * 10
        content = cut.read_bytes()
        length = content.rindex(struct.pack("<I", 7) + struct.pack("<Q", content.index(b"GCOL"))) + 3
        cut.write_bytes(content[:length] + b"\xf0" + content[length + 1 :])
        with pytest.raises(
            FileFormatError, match=r"must hold what it says, but a recording of `spikes/.*` is longer than the file"
        ):
            load_dataset(data=cut)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes/times"], file["events"] = np.zeros((3, 2)), np.zeros(3)
    with pytest.raises(
        FileFormatError, match=r"must hold `labels`, the class of each recording, .* but holds 'events', 'spikes'"
    ):
        load_dataset(data=tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "a") as file:
        file["spikes/units"], file["labels"] = np.zeros((3, 2)), np.zeros(3)
    with pytest.raises(FileFormatError, match=r"must hold one array per recording in .*, but holds float64 of shape \(3, 2\)"):
        load_dataset(data=tmp_path / "other.h5")
    with pytest.raises(FileFormatError, match="must hold one HDF5 file with 'train' in its name, but holds 0 of them"):
        load_dataset("shd", tmp_path)


def test_recordings_of_a_sensor_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    folder = write_sensor(tmp_path / "events", ".bin")
    file = folder / "Train/1/00003.bin"
    good = file.read_bytes()
    back, beyond = np.array([[1, 1, 0, 9], [1, 1, 0, 8]]), np.array([[1, 1, 0, 9], [34, 1, 0, 10]])
    for content, message in (
        (good[:-2], r"00003\.bin must hold events of 5 bytes, but ends 3 bytes after one"),
        (nmnist(back), r"00003\.bin must have events in the order of their times, but event 1 is at -1, after one at 0"),
        (nmnist(beyond), r"00003\.bin must hold events of 34 × 34 pixels and polarity 0 or 1, but event 1 is at x 34, y 1"),
    ):
        file.write_bytes(content)
        with pytest.raises(FileFormatError, match=message):
            load_dataset("nmnist", folder)
    file.unlink()
    for array, message in (
        (
            np.zeros((3, 3), dtype=int),
            r"must hold an array \(events, 4\) of x, y, polarity and time, but holds one of shape \(3, 3\)",
        ),
        (np.zeros((3, 4)), "must hold numbers, but holds float64"),
        (np.array([[0, 0, 2, 0]]), "event 0 is at x 0, y 0 and of polarity 2"),
        (np.array([[0, 0, 1, 2**64 - 1]], dtype=np.uint64), "must hold numbers below 2.63, but holds 18446744073709551615"),
    ):
        np.save(file.with_suffix(".npy"), array)
        with pytest.raises(FileFormatError, match=message):
            load_dataset("nmnist", folder)
    with pytest.raises(ArgumentError, match="`data` must be a folder with a folder of recordings for each class, but is None"):
        load_dataset("nmnist")
    with pytest.raises(FileFormatError, match=r"must hold a folder for each class with \.bin or \.npy files, but holds none"):
        SensorFolders(3, 3).load(tmp_path / "cache", None)


class Bars(DatasetKind):
    """Of another package."""

    description = "bars"

    def load(self, path: Path | None, steps: int | None) -> Dataset:
        part = LabelledImages(torch.eye(2).repeat(5, 1), torch.arange(10) % 2)
        return Dataset("bars", part, part, (1, 2), "made here")


BARS = Bars()
NO_KIND = 3


def test_data_sets_of_other_packages_are_found_through_their_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "packages"
    (installed / "bars-1.dist-info").mkdir(parents=True)
    (installed / "bars-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bars\nVersion: 1\n", encoding="utf-8")
    here = "qlifq_test_bars"
    monkeypatch.setitem(sys.modules, here, sys.modules[__name__])
    rows = f"bars = {here}:Bars\nrow = {here}:BARS\nwrong = {here}:NO_KIND\ngone = no_such_module:Bars\n"
    (installed / "bars-1.dist-info/entry_points.txt").write_text(f"[qlifq.datasets]\n{rows}", encoding="utf-8")
    monkeypatch.syspath_prepend(str(installed))
    assert list(DATASETS)[-4:] == ["bars", "gone", "row", "wrong"]
    assert len(DATASETS) == len(list(DATASETS))
    data = load_dataset("bars")
    assert (data.kind, data.classes, load_dataset("row").name) == ("bars", 2, "bars")
    with pytest.raises(DtypeError, match=f"The data set 'wrong' must be a DatasetKind, but {here}:NO_KIND is 3"):
        load_dataset("wrong")
    with pytest.raises(MissingPackageError, match="The data set 'gone', registered as no_such_module:Bars, cannot be imported"):
        load_dataset("gone")
    # The second package of that name.
    (installed / "others-1.dist-info").mkdir()
    (installed / "others-1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: others\nVersion: 1\n", encoding="utf-8"
    )
    (installed / "others-1.dist-info/entry_points.txt").write_text("[qlifq.datasets]\nbars = other:Bars\n", encoding="utf-8")
    with pytest.raises(ArgumentError, match=f"The data set 'bars' is registered more than once, by other:Bars, {here}:Bars"):
        load_dataset("bars")
    with pytest.raises(KeyError):
        Registry("thing", {"a": 1})["bars"]
