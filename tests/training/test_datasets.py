"""Real input arrives as it is; a file that cannot be used is one sentence."""

import io
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from qlifq.errors import DtypeError, FileFormatError
from qlifq.training import digits, load_current


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
    script = "import sys, qlifq.training.datasets; sys.exit('sklearn' in sys.modules)"
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
