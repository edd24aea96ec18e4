"""Memory that is used again."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import buffers

LARGE = (buffers.SMALL // 4 + 1,)


@pytest.fixture(autouse=True)
def fresh():
    """Nothing is kept, and nothing of other tests is given back meanwhile."""
    gc.collect()
    gc.disable()
    buffers.clear()
    yield
    gc.enable()
    buffers.clear()


def test_memory_returns_when_the_last_view_is_gone():
    x = buffers.empty(LARGE, np.float32)
    place, view = x.ctypes.data, x[5:][::2]
    del x
    other = buffers.empty(LARGE, np.float32)
    assert other.ctypes.data != place

    del view
    again = buffers.empty(LARGE, np.float32)
    assert again.ctypes.data == place


def test_arrays_are_plain_aligned_and_of_the_shape_asked():
    for shape in [(3, 5), (0, 4), (1024, 1024), (7, 100_003)]:
        x = buffers.empty(shape, np.float32)

        assert type(x) is np.ndarray
        assert x.shape == shape
        assert x.flags.c_contiguous
        assert x.nbytes < buffers.SMALL or x.ctypes.data % 64 == 0


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(buffers.shared, "limit", 3 * buffers.SMALL)
    arrays = [buffers.empty(LARGE, np.float32) for _ in range(10)]
    del arrays

    assert 0 < buffers.shared.kept <= 3 * buffers.SMALL


def test_threads_never_get_the_same_memory():
    wrong = []

    def work(mark):
        for _ in range(300):
            x = buffers.empty(LARGE, np.float32)
            x[::4096] = mark
            if not (x[::4096] == mark).all():
                wrong.append(mark)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert not wrong
    free = buffers.shared.free
    assert buffers.shared.kept == sum(len(m) for each in free.values() for m, _ in each)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads
@pytest.mark.parametrize("count", [buffers.SMALL // 4, buffers.LARGE_PAGE])
def test_what_a_forked_child_writes_is_its_own(count):
    x = buffers.empty((count,), np.float32)
    x[:] = 1
    child = os.fork()
    if child == 0:
        x[:] = 2
        os._exit(int(x.min() != 2))
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert (x == 1).all()
