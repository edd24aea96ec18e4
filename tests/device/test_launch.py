"""Launches of kernels that take one struct: what the driver is handed, as it reads it."""

from __future__ import annotations

from ctypes import c_uint64, c_void_p
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from autograph.backends.cuda.launch import Kernel, Launch, _of_struct

from . import host_cupy

pytestmark = pytest.mark.skipif(bool(host_cupy.missing()), reason=host_cupy.missing())


@pytest.fixture
def seen(monkeypatch):
    """The numbers of each launch, and the words of its struct."""
    launches: list[Any] = []

    def launch(*arguments: int) -> None:
        *numbers, place, extra = arguments
        words = (c_uint64 * 3).from_address(c_void_p.from_address(place).value)
        launches.append((numbers, list(words), extra))

    with host_cupy.installed() as cupy:
        cupy.cuda.driver = SimpleNamespace(launchKernel=launch)
        function = SimpleNamespace(ptr=5)
        monkeypatch.setattr(Kernel, "_load", lambda self, device: _of_struct(function))
        yield launches


def test_a_struct_is_handed_over_by_its_address(seen):
    kernel = Kernel("", "name", {}, threads=64, shared=16, struct=True)
    kernel(7, (c_uint64 * 3)(1, 2, 3))

    assert seen == [([5, 7, 1, 1, 64, 1, 1, 16, host_cupy._Stream.ptr], [1, 2, 3], 0)]


def test_each_thread_has_a_struct_of_its_own(seen):
    made = Launch(Kernel("", "name", {}, struct=True), 1, "Q8xQ")
    made.pack(1, 2)

    def other() -> None:
        made.pack(3, 4)
        made.run()

    thread = Thread(target=other)
    thread.start()
    thread.join()
    made.run()
    made.pack(5, 6)
    made.run()

    assert [words for _, words, _ in seen] == [[3, 0, 4], [1, 0, 2], [5, 0, 6]]
