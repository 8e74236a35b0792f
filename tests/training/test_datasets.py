"""Real input arrives as it is; a file that cannot be used is one sentence."""

import gzip
import io
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from qlifq.errors import ArgumentError, DtypeError, FileFormatError, UnsupportedError
from qlifq.training import digits, load_current, load_dataset, load_idx


def test_digits_are_the_bundled_ones_scaled_to_one() -> None:
    images, labels = digits()
    assert images.shape == (1797, 64)
    assert images.dtype == torch.float32
    assert [float(bound) for bound in images.aminmax()] == [0, 1]
    # Sixteen grey levels survive the scaling exactly.
    assert torch.equal(images * 16, (images * 16).round())
    assert labels.dtype == torch.int64
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The rows of the first picture, a zero: its middle is empty.
    assert images[0].reshape(8, 8)[3, 3] == 0


def test_importing_the_datasets_does_not_import_scikit_learn() -> None:
    script = "import sys, qlifq.training.data.datasets; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8", "?"])
def test_an_array_comes_back_as_it_was_saved(tmp_path: Path, dtype: str) -> None:
    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    loaded = load_current(tmp_path / "a.npy")
    assert loaded.dtype == torch.float32
    assert np.array_equal(loaded.numpy(), array)


def saved(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


class Trap:
    """Unpickling this would end the process, as a hostile file might."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        import os

        return os._exit, (7,)


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000, 64), }"
HUGE = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(HEADER) + 1) + HEADER + b"\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must be a .npy file of plain numbers, but is not"),
        (b"hello world, this is text", "must be a .npy file of plain numbers, but is not: the magic string is not correct"),
        (saved(np.zeros((2, 2, 2)))[:-1], "must be a .npy file of plain numbers, but is not"),
        (saved(np.zeros((2, 2, 2))) + b"x", "must be a .npy file of one array, but goes on after its end"),
        (saved(np.array([Trap()], dtype=object)), "must be a .npy file of plain numbers, but is not: Object arrays cannot be"),
        (pickle.dumps(Trap()), "must be a .npy file of plain numbers, but is not"),
        (HUGE, "must be a .npy file of plain numbers, but is not"),
        (saved(np.zeros((2, 2))), "must hold an array of shape (time, batch, neurons) with at least one element, but holds "),
        (saved(np.zeros((2, 0, 2))), "but holds one of shape (2, 0, 2)"),
        (saved(np.array(1.0)), "but holds one of shape ()"),
        (saved(np.full((1, 1, 1), 1j)), "must hold real numbers, but holds complex128"),
        (saved(np.full((1, 1, 1), "a")), "must hold real numbers, but holds <U1"),
        (saved(np.array([[[1.0, np.nan, np.inf, 1e300]]])), "must hold finite float32 numbers, but 3 of its 4 are not"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(data)
    with pytest.raises(FileFormatError, match=re.escape(message)) as refusal:
        load_current(file)
    assert str(refusal.value).startswith(f"File {file} ")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.npy cannot be read: no such file or directory"):
        load_current(tmp_path / "none.npy")
    with pytest.raises(FileFormatError, match="cannot be read: is a directory"):
        load_current(tmp_path)
    with pytest.raises(DtypeError, match="Argument `path` must be a path, but is 3"):
        load_current(3)  # type: ignore[arg-type]


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_files(
    folder: Path, sizes: tuple[int, int] = (4, 3), side: int = 2, last: int = 0
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The four official files, those for testing gzipped; returns the training images."""
    images = np.random.default_rng(0).integers(0, 256, (sum(sizes), side, side)).astype(np.uint8)
    images[-1, -1, -1] ^= last
    labels = np.arange(sum(sizes), dtype=np.uint8)
    first = sizes[0]
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images[:first]))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels[:first]))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[first:])))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[first:])))
    return images[:first]


def test_the_official_files_become_a_data_set(tmp_path: Path) -> None:
    images = write_files(tmp_path)
    data = load_dataset("mnist", tmp_path)
    assert (len(data.train), len(data.test), data.picture, data.classes) == (4, 3, (2, 2), 7)
    assert np.array_equal((data.train.read(slice(None)) * 255).round().numpy(), images.reshape(4, 4))
    assert data.train.labels.tolist() == [0, 1, 2, 3]
    assert data.test.labels.tolist() == [4, 5, 6]
    assert [len(data.first(2).train), len(data.first(2).test)] == [2, 3]


def test_two_data_sets_have_the_same_fingerprint_where_they_are_the_same(tmp_path: Path) -> None:
    write_files(tmp_path)
    data = load_dataset("kmnist", tmp_path)
    assert data.fingerprint() == load_dataset("kmnist", tmp_path).fingerprint()
    before = data.fingerprint()
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 3, 2], dtype=np.uint8)))
    other = load_dataset("kmnist", tmp_path).fingerprint()
    write_files(tmp_path, last=1)
    assert len({before, other, load_dataset("kmnist", tmp_path).fingerprint(), data.first(2).fingerprint()}) == 4
    assert data.first(3).first(2).fingerprint() == data.first(2).fingerprint()


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"must be a folder of IDX files, but .* is none"):
        load_idx("mnist", tmp_path / "none")
    with pytest.raises(
        FileFormatError, match=r"must hold the file train-images-idx3-ubyte or train-images-idx3-ubyte\.gz, but"
    ):
        load_idx("mnist", tmp_path)
    write_files(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(FileFormatError, match="must hold 4 labels, one per image, but holds 5"):
        load_idx("mnist", tmp_path)
    write_files(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((3, 3, 3), dtype=np.uint8)))
    with pytest.raises(FileFormatError, match=re.escape("training are (2, 2) and those for testing (3, 3)")):
        load_idx("mnist", tmp_path)


def test_the_digits_are_split_and_need_no_folder(tmp_path: Path) -> None:
    data = load_dataset("digits")
    images, labels = digits()
    for label in range(10):
        of_it = images[labels == label]
        assert torch.equal(data.test.read(slice(None))[data.test.labels == label], of_it[4::5])
        kept = torch.arange(len(of_it)) % 5 != 4
        assert torch.equal(data.train.read(slice(None))[data.train.labels == label], of_it[kept])
    with pytest.raises(UnsupportedError, match="Argument `data` would be ignored: the digits are bundled"):
        load_dataset("digits", tmp_path)
    with pytest.raises(ArgumentError, match=r"must be one of digits, mnist, fashion-mnist, kmnist, arrays\b.*, but is 'cifar'"):
        load_dataset("cifar")


class Found(NamedTuple):
    data: object
    target: object


@pytest.mark.parametrize(("name", "number"), [("mnist", 554), ("fashion-mnist", 40996), ("kmnist", 41982)])
def test_openml_s_table_becomes_the_official_parts(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    import sklearn.datasets

    pixels = np.zeros((70_000, 784))
    pixels[59_999, 0], pixels[60_000, 1] = 255, 51
    requested: dict[str, object] = {}

    def fetch(**options: object) -> Found:
        requested.update(options)
        return Found(pixels, np.array(["7"] * 60_000 + ["3"] * 10_000, dtype=object))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    data = load_dataset(name)
    assert requested["data_id"] == number
    assert (len(data.train), len(data.test), data.picture) == (60_000, 10_000, (28, 28))
    assert (float(data.train.read(slice(59_999, None))[0, 0]), round(float(data.test.read(slice(1))[0, 1]), 6)) == (1.0, 0.2)
    assert (data.train.labels.unique().tolist(), data.test.labels.unique().tolist()) == ([7], [3])  # type: ignore[no-untyped-call]


def test_without_files_and_network_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    # A proxy that nobody serves: the loader itself fails as it does without a network.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(FileFormatError, match=r"mnist is neither in scikit-learn's cache nor available from OpenML \(.*`data`"):
        load_dataset("mnist")


def test_a_wrong_table_from_openml_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **_: Found(np.zeros((3, 4)), np.array(["1", "2", "3"])))
    with pytest.raises(FileFormatError, match=re.escape("must have 70,000 images of 784 bytes, but OpenML gave (3, 4)")):
        load_dataset("mnist")
