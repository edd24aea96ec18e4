"""Reading and writing idx files."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autograph.data.idx import TYPES, read_idx, write_idx
from autograph.data.unpack import unpacked_sha256
from autograph.errors import DataError

DTYPES = [dtype.newbyteorder("=") for dtype in TYPES.values()]


def idx(code: int = 8, shape: tuple[int, ...] = (2, 3), values: bytes = b"abcdef") -> bytes:
    """The bytes of an idx file, right or wrong."""
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + values


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["array", "array.gz"])
def test_what_is_written_is_read(tmp_path: Path, dtype: np.dtype, name: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_idx(tmp_path / name, array)

    read = read_idx(tmp_path / name)

    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array)


@given(
    arrays.arrays(
        st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)
def test_any_array_survives(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("idx") / "array"
    write_idx(path, array)

    read = read_idx(path.read_bytes())

    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_a_big_endian_and_a_transposed_array_are_written_by_value(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    write_idx(tmp_path / "array", array)

    np.testing.assert_array_equal(read_idx(tmp_path / "array"), [[0, 3], [1, 4], [2, 5]])


def test_values_are_read_big_endian() -> None:
    array = read_idx(idx(0x0B, (2,), b"\x01\x02\xff\xff"))

    np.testing.assert_array_equal(array, np.array([258, -1], np.int16))


def test_bytes_may_be_gzipped_or_not() -> None:
    np.testing.assert_array_equal(read_idx(idx()), read_idx(gzip.compress(idx())))


def test_the_array_is_our_own_to_write() -> None:
    read_idx(idx())[...] = 0


def test_the_sum_of_the_unpacked_bytes_is_checked(tmp_path: Path) -> None:
    sha256 = hashlib.sha256(idx()).hexdigest()
    (tmp_path / "packed").write_bytes(gzip.compress(idx()))

    assert read_idx(tmp_path / "packed", sha256=sha256).shape == (2, 3)
    assert unpacked_sha256(tmp_path / "packed", limit=100) == sha256
    assert unpacked_sha256(idx(), limit=100) == sha256
    with pytest.raises(DataError) as info:
        read_idx(idx(), sha256="0" * 64)
    assert str(info.value) == (
        "bytes: these are not the bytes that are wanted\n"
        f"  sha256 of the unpacked file  {sha256}\n"
        f"  wanted                       {'0' * 64}"
    )


@pytest.mark.parametrize(("data", "message"), [
    (b"", "not an idx file\n  it begins with    nothing"),
    (b"\0\0", "not an idx file\n  it begins with    00 00"),
    (b"PK\3\4" + bytes(20), "not an idx file\n  it begins with    50 4b 03 04"),
    (idx(code=7), "not an idx file"),
    (idx()[:7], "the header is cut off in the sizes of 2 axes"),
    (idx(values=b"abcde"), "header  18 bytes, for shape (2, 3)\n  file    17 bytes"),
    (idx(values=b"abcdefg"), "header  18 bytes, for shape (2, 3)\n  file    19 bytes"),
    (gzip.compress(idx(values=b"abcde")), "header  18 bytes, for shape (2, 3)\n  file    17"),
    (gzip.compress(idx(values=b"abcdefg")), "header  18 bytes, for shape (2, 3)\n  file    l"),
    (gzip.compress(idx())[:-9], "the gzip data is damaged or cut off"),
    (gzip.compress(idx())[:-8] + bytes(8), "the gzip data is damaged or cut off"),
    (b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 9, "the gzip data is damaged or cut off"),
    (gzip.compress(idx()) + b"junk", "the gzip data is damaged or cut off"),
    (idx(shape=(0, 2**32 - 1, 2**32 - 1), values=b""), "sizes that no array can have"),
    (b"\0\0\x08\xff" + struct.pack(">255I", *[1] * 255) + b"x", "sizes that no array can have"),
])  # fmt: skip
def test_a_damaged_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError) as info:
        read_idx(data)

    assert message in str(info.value)


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_no_bytes_do_more_than_raise_a_data_error(junk: bytes, header: bool, packed: bool) -> None:
    data = (b"\0\0\x08\x01" if header else b"") + junk
    with suppress(DataError):
        read_idx(gzip.compress(data) if packed else data)


def test_memory_is_taken_only_for_bytes_that_can_be_there() -> None:
    sizes = (60_000, 1000, 60)  # 3.6 GB
    packed = gzip.compress(idx(shape=sizes, values=b""))
    tracemalloc.start()
    try:
        for data in (idx(shape=sizes, values=b""), packed):
            with pytest.raises(DataError, match="the header and the length do not agree"):
                read_idx(data)
            with pytest.raises(DataError, match="more memory than is allowed"):
                read_idx(data, limit=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 1 << 20


def test_a_gzip_bomb_is_refused_without_unpacking_it() -> None:
    bomb = gzip.compress(idx(values=bytes(100 << 20)), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"file    longer"):
            read_idx(bomb)
        with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
            unpacked_sha256(bomb, limit=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 4 << 20


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="this is not a file"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DataError, match="this is not a file"):
        read_idx(tmp_path / "pipe")


def test_what_the_format_does_not_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as info:
        write_idx(tmp_path / "array", np.zeros(3, np.int64))

    assert str(info.value) == (
        "write_idx: the idx format does not hold 1-d arrays of int64\n"
        "  it holds  uint8, int8, int16, int32, float32, float64, up to 255 axes"
    )
    assert not list(tmp_path.iterdir())
