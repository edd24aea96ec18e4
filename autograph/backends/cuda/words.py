"""Words that kernels of a device share: counters, and the first fault."""

from __future__ import annotations

from threading import Lock

import numpy as np

from ...errors import IndexRangeError
from . import stream

GROUPS = 1024  # groups of blocks in a launch, at most
_NONE = np.uint64(2**64 - 1)  # what the fault word holds while nothing is wrong


class Words:
    """Counters are zero between launches, `groups` one for each group of blocks that share a sum;
    `fault` holds (position << 32 | value) or all ones.

    The fault lies in the host's memory, where kernels reach it and looking costs nothing.
    """

    def __init__(self, device: int) -> None:
        import cupy
        from cupy.cuda import MemoryPointer, UnownedMemory, alloc_pinned_memory

        counters = cupy.zeros(2 + GROUPS, np.uint32)
        self.finished, self.hits, self.groups = counters[:1], counters[1:2], counters[2:]
        memory = alloc_pinned_memory(8)
        self.seen = np.frombuffer(memory, np.uint64, 1)
        self.seen[0] = _NONE
        there = MemoryPointer(UnownedMemory(memory.ptr, 8, memory, device), 0)
        self.fault = cupy.ndarray(1, np.uint64, there)

    def check(self) -> None:
        """Raise what kernels have reported since the last check; the device has been waited for."""
        word = int(self.seen[0])
        if word == int(_NONE):
            return
        self.seen[0] = _NONE
        position, value = word >> 32, int(np.uint32(word & 0xFFFFFFFF).view(np.int32))
        raise IndexRangeError(
            f"index out of range on the device\n"
            f"  value     {value}\n"
            f"  position  {position}\n"
            f"  it counted as nothing; check the classes or indices that were given"
        )


_words: dict[int, Words] = {}
_making = Lock()


def words() -> Words:
    """Those of the current device."""
    device = stream.current_device()
    found = _words.get(device)
    if found is None:
        with _making:
            found = _words.get(device)
            if found is None:
                found = _words[device] = Words(device)
    return found


def check_faults(device: int) -> None:
    """Raise IndexRangeError if an index was out of range on a device since the last check.

    The device has been waited for since its last launch.
    """
    found = _words.get(device)
    if found is not None:
        found.check()
