"""Words that kernels of a device share: counters, and the first fault."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...errors import IndexRangeError

_NONE = np.uint64(2**64 - 1)  # what the fault word holds while nothing is wrong


class Words:
    """Counters are zero between launches; `fault` holds (position << 32 | value) or all ones."""

    def __init__(self) -> None:
        import cupy

        counters = cupy.zeros(2, np.uint32)
        self.finished, self.hits = counters[:1], counters[1:]
        self.fault = cupy.full(1, _NONE, np.uint64)

    def check(self) -> None:
        """Raise what kernels have reported since the last check: this waits for the device."""
        word = int(self.fault.get()[0])
        if word == int(_NONE):
            return
        self.fault.fill(_NONE)
        position, value = word >> 32, int(np.uint32(word & 0xFFFFFFFF).view(np.int32))
        raise IndexRangeError(
            f"index out of range on the device\n"
            f"  value     {value}\n"
            f"  position  {position}\n"
            f"  it counted as nothing; check the classes or indices that were given"
        )


@cache
def _words(device: int) -> Words:
    return Words()


def words() -> Words:
    """Those of the current device."""
    from cupy.cuda.device import get_device_id

    return _words(get_device_id())


def check_faults(device: int) -> None:
    """Raise IndexRangeError if an index was out of range on a device since the last check."""
    from cupy.cuda import Device

    with Device(device):
        _words(device).check()
