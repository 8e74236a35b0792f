"""Reading NumPy's files: whatever is not an array of numbers is refused in one sentence.

NumPy's own readers hand on what their parsers raise, believe the size that a header claims, and unpickle; so a header is
compared with the bytes that there are before anything is made of them.
"""

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from qlifq.errors import FileFormatError

__all__ = ["REAL", "map_npy", "parse_npy", "parse_npz"]

#: The kinds of dtype that hold real numbers, as `numpy.dtype.kind` has them.
REAL = "fiub"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def parse_npy(content: bytes, name: str, *, kinds: str = REAL) -> npt.NDArray[Any]:
    """The array of a `.npy` file.

    Args:
        content: the bytes of the file.
        name: what it is called in an error.
        kinds: the kinds of dtype that it may have.

    Returns:
        The array, of at least one element and not writable: it is a view of the bytes.

    Raises:
        FileFormatError: if it is damaged, holds no numbers or too few for its shape, or goes on after them.
    """
    stream = io.BytesIO(content)
    shape, columns_first, dtype = _checked_header(stream, len(content), name, kinds)
    values = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if columns_first else "C")


def map_npy(path: Path, name: str, *, kinds: str = REAL) -> npt.NDArray[Any]:
    """The array of a `.npy` file, of which only what is used is read; arguments, returns and raises as for `parse_npy`."""
    with open(path, "rb") as stream:
        shape, columns_first, dtype = _checked_header(stream, path.stat().st_size, name, kinds)
        start = stream.tell()
    return np.memmap(path, dtype, "r", start, shape, "F" if columns_first else "C")


def _checked_header(stream: BinaryIO, size: int, name: str, kinds: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype of an array whose file has `size` bytes; the stream stands at its first number then."""
    try:
        with warnings.catch_warnings():
            # That a header was written by Python 2 is of no interest.
            warnings.simplefilter("ignore")
            header = _HEADERS[np.lib.format.read_magic(stream)]
            shape, columns_first, dtype = header(stream)
    # The header is a Python expression: the parsers under NumPy's raise errors of any kind for a damaged one.
    except Exception as error:
        why = str(error).splitlines()[0].rstrip(".") if type(error) is ValueError else "its header cannot be read"
        raise FileFormatError(f"File {name} must be a .npy file of plain numbers, but is not: {why}.") from error
    if dtype.hasobject:
        raise FileFormatError(
            f"File {name} must be a .npy file of plain numbers, but is not: Object arrays cannot be read without running them."
        )
    if dtype.kind not in kinds:
        raise FileFormatError(f"File {name} must hold {'real ' if kinds == REAL else ''}numbers, but holds {dtype}.")
    if not all(length > 0 for length in shape):
        raise FileFormatError(f"File {name} must hold an array with at least one element, but holds one of shape {shape}.")
    claimed, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if there > claimed:
        raise FileFormatError(f"File {name} must be a .npy file of one array, but goes on after its end.")
    if there < claimed:
        raise FileFormatError(
            f"File {name} must be a .npy file of plain numbers, but is not: its shape {shape} of {dtype} takes {claimed:,} "
            f"bytes, but {there:,} follow the header."
        )
    return shape, columns_first, dtype


def parse_npz(content: bytes, name: str, array: str, *, most_bytes: int, kinds: str = REAL) -> npt.NDArray[Any]:
    """One array of a `.npz` file.

    Args:
        content: the bytes of the file.
        name: what it is called in an error.
        array: the name of the array.
        most_bytes: how many bytes it may unpack to.
        kinds: as for `parse_npy`.

    Returns:
        The array, as `parse_npy` does.

    Raises:
        FileFormatError: if the file is damaged or lacks the array, or that is too large or none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            claimed = archive.getinfo(f"{array}.npy").file_size
            # What it says of its size may be a lie; what is read is not.
            unpacked = archive.open(f"{array}.npy").read(most_bytes + 1) if claimed <= most_bytes else b""
    # A damaged archive leads the readers of its parts and of its compression to errors of any kind.
    except Exception as error:
        raise FileFormatError(f"File {name} must hold the array `{array}`, but does not.") from error
    if max(claimed, len(unpacked)) > most_bytes:
        raise FileFormatError(
            f"File {name} must unpack to at most {most_bytes:,} bytes to be read, but says {max(claimed, len(unpacked)):,}."
        )
    return parse_npy(unpacked, f"{name}, array `{array}`,", kinds=kinds)
