"""The IDX format, in which MNIST and its successors are published."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import UserError

UNSIGNED_BYTE = 0x08
LARGEST = 2**30
"""The largest array that is read, in bytes; the published ones are below 50 MB."""


def idx(path: str | os.PathLike[str], *, dimensions: int | None = None) -> NDArray[np.uint8]:
    """Read an array of unsigned bytes from an IDX file, plain or compressed by gzip.

    The first four bytes are 0, 0, the type of the numbers and the number of dimensions; then come
    the sizes, each of four bytes, most significant first, and the numbers. Whether the file is
    compressed is seen from its first bytes, not from its name.

    Args:
        path: the file.
        dimensions: number of dimensions it must have: 3 for images, 1 for labels; None for any.

    Returns:
        The array, of the sizes in the file.

    Raises:
        UserError: the file cannot be read, is not IDX of unsigned bytes, has another number of
            dimensions, or is shorter or longer than its header says.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not compressed:
                return _read(file, path, dimensions)
            with gzip.open(file, "rb") as content:
                return _read(content, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the gzip file is damaged or cut short: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(file: BinaryIO | gzip.GzipFile, path: Path, dimensions: int | None) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise UserError(f"{path}: not an IDX file: it starts with {magic.hex(' ') or 'nothing'}")
    kind, count = magic[2], magic[3]
    if kind != UNSIGNED_BYTE:
        raise UserError(f"{path}: IDX type 0x{kind:02x}; only unsigned bytes, 0x08, are read")
    if count == 0 or count != (dimensions or count):
        raise UserError(f"{path}: {count} dimensions; expected {dimensions or 'at least one'}")
    header = file.read(4 * count)
    if len(header) < 4 * count:
        raise UserError(f"{path}: cut short in the header: {count} dimensions are announced")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    sizes, expected = " x ".join(map(str, shape)), math.prod(shape)
    if expected > LARGEST:
        raise UserError(f"{path}: the header says {sizes}, more than {LARGEST} bytes")
    content = file.read(expected + 1)
    if len(content) != expected:
        found = len(content) if len(content) < expected else f"more than {expected}"
        raise UserError(f"{path}: the header says {sizes} = {expected} bytes; there are {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)
