"""IDX files, the form in which MNIST and its relatives are published.

A file is a header (two zero bytes, a code of the element type, the number of dimensions, their sizes as big-endian 32-bit
integers) and the elements in row-major order; it may be gzipped.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qlifq._files import PathLike, as_path, read_bytes
from qlifq.errors import FileFormatError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"
#: No data set of this kind is larger; a header that claims more is damaged, and is refused.
_MOST_BYTES = 1 << 30


def read_idx(path: PathLike, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, and check all of it.

    Args:
        path: the file.
        dimensions: how many dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The array, writable.

    Raises:
        FileFormatError: if it cannot be read, is damaged, or holds something else.

    Reference:
        LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998).
    """
    file = as_path("path", path)
    content = _unpacked(file)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FileFormatError(f"File {file} must be an IDX file, but does not begin as one.")
    kind, found = content[2], content[3]
    if kind != _UNSIGNED_BYTE:
        raise FileFormatError(f"File {file} must hold unsigned bytes (type 0x08), but holds type 0x{kind:02x}.")
    if found != dimensions:
        raise FileFormatError(f"File {file} must have {dimensions} dimensions, but has {found}.")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise FileFormatError(f"File {file} must hold {dimensions} sizes, but ends before.")
    sizes = struct.unpack(f">{dimensions}I", content[4:start])
    if 0 in sizes:
        raise FileFormatError(f"File {file} must hold at least one element, but has the sizes {sizes}.")
    if len(content) - start != math.prod(sizes):
        raise FileFormatError(
            f"File {file} must hold {math.prod(sizes):,} elements for its sizes {sizes}, but holds {len(content) - start:,}."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy()


def _unpacked(file: Path) -> bytes:
    """The content of a file, without its compression if it has one."""
    content = read_bytes(file, at_most=_MOST_BYTES)
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacking:
            content = unpacking.read(_MOST_BYTES + 1)
    # All of it is in memory: what goes wrong lies in its bytes.
    except (EOFError, OSError, ValueError, zlib.error, struct.error) as error:
        raise FileFormatError(f"File {file} must be a gzip file, but is damaged: {str(error).rstrip('.')}.") from error
    if len(content) > _MOST_BYTES:
        raise FileFormatError(f"File {file} must unpack to at most {_MOST_BYTES:,} bytes, but has more.")
    return content
