"""Files that tests write, right and wrong, and what is said of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from autograph.errors import CheckpointError
from autograph.files import read, read_foreign

ARRAYS: dict[str, Any] = {
    "b.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a.step": np.array(7, np.int64),
    "half": np.array([1.5, -2], ml_dtypes.bfloat16),
    "none": np.zeros((0, 3), np.uint8),
    "mask": np.array([True, False]),
}


def message_of(call: Callable[[], Any], kind: type[Exception] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def refused(path: Path, *, foreign: bool = True) -> str:
    """What `read`, and with it `read_foreign`, says of a file that neither takes."""
    if foreign:
        message_of(lambda: read_foreign(path).tensors)
    said = message_of(lambda: read(path).tensors)

    assert str(path) in said
    return said


def raw(path: Path, told: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file with this header, whatever it says."""
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(kind: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}
