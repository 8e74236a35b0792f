"""IDX files come back as they were written; a damaged one is one sentence."""

import gzip
import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlifq.errors import DtypeError, FileFormatError
from qlifq.training.data.idx import read_idx


def packed(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_an_array_comes_back_as_it_was_written(tmp_path: Path, zipped: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    # Whether a file is gzipped is seen in the file and not in its name.
    (tmp_path / "images").write_bytes(gzip.compress(packed(array)) if zipped else packed(array))
    found = read_idx(tmp_path / "images", 3)
    assert np.array_equal(found, array)
    found[0] = 0


GOOD = packed(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin as one"),
        (b"\0\0\x08", "does not begin as one"),
        (b"\1" + GOOD[1:], "does not begin as one"),
        (GOOD[:2] + b"\x0d" + GOOD[3:], "must hold unsigned bytes (type 0x08), but holds type 0x0d"),
        (GOOD[:3] + b"\3" + GOOD[4:], "must have 2 dimensions, but has 3"),
        (GOOD[:8], "must hold 2 sizes, but ends before"),
        (GOOD[:-1], "must hold 6 elements for its sizes (2, 3), but holds 5"),
        (GOOD + b"\0", "must hold 6 elements for its sizes (2, 3), but holds 7"),
        (packed(np.zeros((0, 3), dtype=np.uint8)), "at least one element, but has the sizes (0, 3)"),
        (struct.pack(">BBBBII", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1), "but holds 0"),
        (gzip.compress(GOOD, mtime=0)[:-4], "must be a gzip file, but is damaged"),
        (gzip.compress(GOOD, mtime=0)[:12] + b"xxxxxxxx", "must be a gzip file, but is damaged"),
        (gzip.compress(GOOD[:-1], mtime=0), "but holds 5"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileFormatError, match=re.escape(message)):
        read_idx(tmp_path / "file", 2)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte_is_refused_or_changes_an_element_alone(place: int, value: int) -> None:
    content = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        if content == GOOD or place >= 12:
            assert read_idx(path, 2).tobytes() == content[12:]
        else:
            with pytest.raises(FileFormatError):
                read_idx(path, 2)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=f"File {tmp_path}/none cannot be read: no such file"):
        read_idx(tmp_path / "none", 1)
    with pytest.raises(FileFormatError, match="cannot be read: is a directory"):
        read_idx(tmp_path, 1)
    with pytest.raises(DtypeError, match="Argument `path` must be a path, but is 3"):
        read_idx(3, 1)  # type: ignore[arg-type]
