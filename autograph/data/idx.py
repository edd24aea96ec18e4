"""The idx format of MNIST: two zero bytes, a type code, the number of axes, the sizes, the values.

Numbers are big-endian. http://yann.lecun.com/exdb/mnist describes it.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .unpack import Unpacked, unpacked

TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
CODES = {dtype.newbyteorder("="): code for code, dtype in TYPES.items()}


def read_idx(
    source: str | Path | bytes, *, sha256: str | None = None, limit: int = 1 << 32
) -> NDArray[Any]:
    """The array of an idx file, gzipped or not, given as a path or as bytes.

    Header and length are checked before memory is taken, and `sha256` against the unpacked bytes.
    """
    with unpacked(source) as file:
        header, dtype, shape = _read_header(file)
        size = dtype.itemsize * math.prod(shape)
        _check_size(file, len(header) + size, limit, shape)
        array = _allocate(file, shape, dtype)
        values = array.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < size and (count := file.stream.readinto(values[filled:])):
            filled += count
        rest = file.stream.read(1)  # also checks gzip's own sum
        if filled < size or rest:
            raise DataError(
                f"{file.name}: the header and the length do not agree\n"
                f"  header  {len(header) + size:,} bytes, for shape {shape}\n"
                f"  file    {f'{len(header) + filled:,} bytes' if not rest else 'longer'}"
            )
        if sha256 is not None:
            digest = hashlib.sha256(header)
            digest.update(values)
            if digest.hexdigest() != sha256:
                raise DataError(
                    f"{file.name}: these are not the bytes that are wanted\n"
                    f"  sha256 of the unpacked file  {digest.hexdigest()}\n"
                    f"  wanted                       {sha256}"
                )
    return array.astype(dtype.newbyteorder("="), copy=False)


def write_idx(path: str | Path, array: NDArray[Any]) -> None:
    """Write an array as an idx file, gzipped if the name ends in .gz."""
    code = CODES.get(array.dtype.newbyteorder("="))
    if code is None or array.ndim > 255:
        raise DataError(
            f"write_idx: the idx format does not hold {array.ndim}-d arrays of {array.dtype}\n"
            f"  it holds  {', '.join(str(dtype) for dtype in CODES)}, up to 255 axes"
        )
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    data = header + array.astype(TYPES[code]).tobytes()
    path = Path(path)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _read_header(file: Unpacked) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    start = file.stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES:
        codes = " ".join(f"{code:02x}" for code in TYPES)
        raise DataError(
            f"{file.name}: this is not an idx file\n"
            f"  it begins with    {start.hex(' ') or 'nothing'}\n"
            f"  an idx file with  00 00, a type ({codes}), the number of axes"
        )
    axes = start[3]
    sizes = file.stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{file.name}: the header is cut off in the sizes of {axes} axes")
    return start + sizes, TYPES[start[2]], struct.unpack(f">{axes}I", sizes)


def _check_size(file: Unpacked, wanted: int, limit: int, shape: tuple[int, ...]) -> None:
    """Refuse what cannot be in the file, or is beyond the limit, before memory is taken for it."""
    if wanted > limit:
        raise DataError(
            f"{file.name}: the header asks for more memory than is allowed\n"
            f"  header  {wanted:,} bytes, for shape {shape}\n"
            f"  limit   {limit:,} bytes; read_idx(..., limit=) raises it"
        )
    if wanted > file.bound or (wanted < file.bound and not file.gzipped):
        raise DataError(
            f"{file.name}: the header and the length do not agree\n"
            f"  header  {wanted:,} bytes, for shape {shape}\n"
            f"  file    {'at most ' if file.gzipped else ''}{file.bound:,} bytes"
        )


def _allocate(file: Unpacked, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.empty(shape, dtype)
    except ValueError as error:  # too many axes, or a product too big beside a zero
        raise DataError(
            f"{file.name}: the header has sizes that no array can have\n  {error}"
        ) from error
