"""TensorBoard's event files, written without TensorBoard: framed records of protocol buffers.

A record is its length, a checksum of that, an `Event` message, and a checksum of it; messages are
those of tensorflow/core/util/event.proto and framework/summary.proto.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

BINS = 30
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, its bits reversed


class TensorBoard:
    """A logger that writes an event file into a folder: `tensorboard --logdir FOLDER` shows it.

    board = TensorBoard("runs/1")
    board.scalar("loss", 0.25, step=100)
    board.histogram("conv1.weight", model.conv1.weight.numpy(), step=100)
    board.close()
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        host = socket.gethostname()
        name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{os.getpid()}.{id(self)}"
        self._file = (path / name).open("wb")
        self._event(_string(3, b"brain.Event:2"))

    def scalar(self, name: str, value: float, step: int) -> None:
        """A number at a step."""
        self._summary(name, _tag(2, 5) + struct.pack("<f", value), step)

    def histogram(self, name: str, values: Any, step: int) -> None:
        """How values lie, in 30 bins of one width; what is not finite is left out."""
        found = np.asarray(values, np.float64).reshape(-1)
        found = found[np.isfinite(found)]
        if not found.size:
            return
        counts, edges = np.histogram(found, BINS)
        told = (found.min(), found.max(), found.size, found.sum(), (found * found).sum())
        message = b"".join(_double(i, float(each)) for i, each in enumerate(told, 1))
        message += _string(6, edges[1:].astype("<f8").tobytes())
        message += _string(7, counts.astype("<f8").tobytes())
        self._summary(name, _string(5, message), step)

    def image(self, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """A picture in PNG's format, of (height, width)."""
        message = _integer(1, size[0]) + _integer(2, size[1]) + _integer(3, 3) + _string(4, png)
        self._summary(name, _string(4, message), step)

    def write(self, record: Mapping[str, Any]) -> None:
        """The numbers of a record at its step: `train_loss` is shown as train/loss."""
        step = int(record.get("step", 0))
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self.scalar(name.replace("_", "/", 1), float(value), step)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _summary(self, name: str, value: bytes, step: int) -> None:
        inner = _string(1, _string(1, name.encode()) + value)
        self._event(_integer(2, step) + _string(5, inner))

    def _event(self, message: bytes) -> None:
        message = _double(1, time.time()) + message
        length = struct.pack("<Q", len(message))
        self._file.write(length + _masked(length) + message + _masked(message))


def _masked(data: bytes) -> bytes:
    """The checksum as event files have it: turned and shifted, so that it is not its own."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """Castagnoli's cyclic redundancy check.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    made = []
    for each in range(256):
        for _ in range(8):
            each = each >> 1 ^ (_POLYNOMIAL if each & 1 else 0)
        made.append(each)
    return tuple(made)


# -- protocol buffers ------------------------------------------------------------------


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _string(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(value)) + value


def _double(field: int, value: float) -> bytes:
    return _tag(field, 1) + struct.pack("<d", value)


def _integer(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value & (1 << 64) - 1)
