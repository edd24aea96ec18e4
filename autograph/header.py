"""The header of a safetensors file: which tensors lie where, and strict JSON beside them.

Eight bytes of length, JSON of that length, then the data. Whatever a header may have wrong is
found here, from the header and the size of the file, before memory is set aside for a tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .errors import CheckpointError

METADATA = "__metadata__"
LENGTH = 8  # bytes that say how long the header is
HEADER_LIMIT = 4 << 20  # bytes; parsing takes some thirty times as much
DEPTH_LIMIT = 100  # of nested JSON
AXES_LIMIT = 32
BYTES_LIMIT = 1 << 48
DIGITS_LIMIT = 40  # of an integer

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive, such as torch's .pt or NumPy's .npz",
    b"\x80": "a pickle, which autograph never opens",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip file",
    b"GGUF": "a GGUF file",
    b"\x89PNG": "an image",
    b"{": "JSON",
}


class Entry(NamedTuple):
    """A tensor in a file: what it is, and where its bytes are in the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{NAMES[self.dtype]} {self.shape}"


def encode(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """Length and header; padded with spaces, so that the data begins at a multiple of 8."""
    told: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for name, each in entries.items():
        told[name] = {
            "dtype": NAMES[each.dtype],
            "shape": list(each.shape),
            "data_offsets": [each.begin, each.end],
        }
    text = dumps(told).encode()
    text += b" " * (-len(text) % LENGTH)
    if len(text) > HEADER_LIMIT:
        raise CheckpointError(
            f"the header is too long\n  header  {len(text)} bytes\n  limit   {HEADER_LIMIT}"
        )
    return len(text).to_bytes(LENGTH, "little") + text


def length_of(start: bytes, size: int) -> int:
    """How long the header is, from the first bytes of a file of `size` bytes."""
    for magic, words in _OTHER_FORMATS.items():
        if start.startswith(magic) and start[LENGTH : LENGTH + 1] != b"{":
            raise CheckpointError(f"this is {words}, and not a safetensors file")
    if size < LENGTH + 2:
        raise CheckpointError(
            f"the file is cut off, or not a safetensors file\n"
            f"  bytes   {size}\n  wanted  {LENGTH + 2} at least"
        )
    length = int.from_bytes(start[:LENGTH], "little")
    if length > min(HEADER_LIMIT, size - LENGTH):
        raise CheckpointError(
            f"the file is cut off, or not a safetensors file: its header is too long\n"
            f"  header  {length} bytes\n  file    {size} bytes\n  limit   {HEADER_LIMIT} bytes"
        )
    return length


def decode(text: bytes, data_size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries in the order of their data, and metadata, of a header before `data_size` bytes."""
    told = loads(text, "the header") if text[:1] == b"{" else None
    if not isinstance(told, dict):
        raise CheckpointError("the header is no JSON object")
    metadata = told.pop(METADATA, {})
    if not isinstance(metadata, dict) or any(type(each) is not str for each in metadata.values()):
        raise CheckpointError(f"{METADATA} in the header is no table of strings")
    entries = {name: _entry(name, each, data_size) for name, each in told.items()}
    entries = dict(sorted(entries.items(), key=lambda item: item[1][2:]))
    _refuse_gaps(entries, data_size)
    return entries, metadata


def _entry(name: str, told: Any, data_size: int) -> Entry:
    if not isinstance(told, dict) or told.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{shown(name)}: its entry has not dtype, shape and data_offsets")
    kind, shape, offsets = told["dtype"], told["shape"], told["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise CheckpointError(
            f"{shown(name)}: its scalar type is not taken\n"
            f"  file   {shown(kind)}\n  taken  {', '.join(DTYPES)}"
        )
    if not _are_sizes(shape) or len(shape) > AXES_LIMIT:
        raise CheckpointError(f"{shown(name)}: its shape is none\n  shape  {shown(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_size:
        raise CheckpointError(
            f"{shown(name)}: its bytes are not in the file\n"
            f"  data_offsets  {shown(offsets)}\n  bytes there   {data_size}"
        )
    dtype, (begin, end) = DTYPES[kind], offsets
    if prod(filter(None, shape)) * dtype.itemsize > BYTES_LIMIT:
        raise CheckpointError(f"{shown(name)}: its shape is too large\n  shape  {shown(shape)}")
    if prod(shape) * dtype.itemsize != end - begin:
        raise CheckpointError(
            f"{shown(name)}: its shape and its bytes differ\n"
            f"  {kind} {tuple(shape)}  takes {prod(shape) * dtype.itemsize} bytes\n"
            f"  data_offsets  {shown(offsets)}, {end - begin} bytes"
        )
    return Entry(dtype, tuple(shape), begin, end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < BYTES_LIMIT for n in value)


def _refuse_gaps(entries: Mapping[str, Entry], data_size: int) -> None:
    """Every byte of the data belongs to one tensor."""
    for (name, one), (next_name, other) in pairwise(entries.items()):
        if one.end != other.begin:
            raise CheckpointError(
                f"the data has {'a hole' if one.end < other.begin else 'an overlap'}\n"
                f"  {shown(name)} ends at {one.end}\n  {shown(next_name)} begins at {other.begin}"
            )
    places = list(entries.values())
    begin, end = (places[0].begin, places[-1].end) if places else (0, 0)
    if begin != 0 or end != data_size:
        raise CheckpointError(
            f"the tensors do not fill the data: the file is cut off, or has too much\n"
            f"  tensors  bytes {begin} to {end}\n  data     bytes 0 to {data_size}"
        )


# -- strict JSON -----------------------------------------------------------------------


def dumps(value: Any) -> str:
    """JSON in one form: no spaces, ASCII, keys in the order given; NaN and infinity refused."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def loads(text: bytes | str, what: str) -> Any:
    """The value of JSON text: of UTF-8, without duplicate keys, NaN, infinity, lone surrogates,
    deep nesting or numbers of unreasonable length."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        _refuse_depth(value)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
    except RecursionError:
        raise CheckpointError(f"{what} is nested too deeply") from None
    except ValueError as error:  # and UnicodeError, JSONDecodeError
        words = getattr(error, "msg", None) or getattr(error, "reason", None) or error
        raise CheckpointError(f"{what} is damaged: {words}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{shown(twice)} is there twice")
    return made


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{shown(digits)} is too large")
    return value


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_LIMIT:
        raise ValueError(f"{shown(digits)} is too large")
    return int(digits)


def _refuse_depth(value: Any) -> None:
    held: list[Any] = [[value]]
    depth = 0
    while level := [each for group in held for each in group if type(each) in (dict, list)]:
        depth += 1
        if depth > DEPTH_LIMIT:
            raise RecursionError
        held = [each.values() if type(each) is dict else each for each in level]


def shown(value: Any) -> str:
    """A value of a file in a message: short, on one line, without control characters."""
    text = ascii(value) if not isinstance(value, list) else ascii(value[:8])
    return text if len(text) <= 80 else f"{text[:76]} ..."
