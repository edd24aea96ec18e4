"""Memory that is used again."""

import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import buffers

LARGE = (buffers.SMALL // 4 + 1,)


@pytest.fixture(autouse=True)
def fresh():
    buffers.clear()
    yield
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

    workers = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not wrong
    free = buffers.shared.free
    assert buffers.shared.kept == sum(len(m) for each in free.values() for m, _ in each)
