"""Memory that is used again."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph import Tensor
from autograph.backends.host import buffers
from autograph.capturing import capture

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
    monkeypatch.setattr(buffers.shared, "limit", 2 * buffers.REGION)
    arrays = [buffers.empty((buffers.REGION,), np.int8) for _ in range(10)]
    del arrays
    buffers.empty(LARGE, np.float32)

    assert 0 < buffers.shared.kept <= 2 * buffers.REGION


def test_what_lay_side_by_side_is_one_place_again():
    parts = [buffers.empty(LARGE, np.float32) for _ in range(3)]
    beyond = buffers.empty(LARGE, np.float32)
    place = parts[0].ctypes.data
    del parts[::-1]
    whole = buffers.empty((3, *LARGE), np.float32)

    assert whole.ctypes.data == place
    assert not np.may_share_memory(whole, beyond)


def test_memory_asked_for_in_the_middle_of_a_search_is_other_memory(monkeypatch):
    """A destructor may run anywhere, and compute."""
    x = buffers.empty(LARGE, np.float32)
    monkeypatch.setattr(buffers.shared, "_busy", True)
    y = buffers.empty(LARGE, np.float32)
    monkeypatch.undo()
    place = y.ctypes.data

    assert not np.may_share_memory(x, y)
    del y
    assert buffers.empty(LARGE, np.float32).ctypes.data == place


def test_a_recording_has_the_memory_that_was_free_until_it_is_gone():
    x = buffers.empty(LARGE, np.float32)
    place = x.ctypes.data
    del x
    with buffers.private(buffers.Store(float("inf"), lender=buffers.shared)):
        lent = buffers.empty(LARGE, np.float32)
        small = buffers.empty((3,), np.float32)
    assert place in (lent.ctypes.data, small.ctypes.data)
    del lent
    other = buffers.empty(LARGE, np.float32)
    assert other.ctypes.data != place

    del small
    assert buffers.empty(LARGE, np.float32).ctypes.data == place


def test_a_captured_step_takes_the_memory_of_eager_ones(monkeypatch):
    asked = []
    pages = buffers._pages
    monkeypatch.setattr(buffers, "REGION", buffers.LARGE_PAGE)
    monkeypatch.setattr(buffers, "_pages", lambda size: (asked.append(size), pages(size))[1])
    w = Tensor(np.ones((1024, 1024), np.float32), requires_grad=True)

    def step(x):
        y = x
        for _ in range(4):
            y = (y * w).relu()
        mean = y.mean()
        mean.backward()
        w.grad = None
        return mean.detach()

    x = Tensor(np.ones((1024, 1024), np.float32))
    step(x)
    eager = sum(asked)
    call = capture(step)
    found = [call(x).item() for _ in range(5)]

    assert found == [1.0] * 5
    assert not call.eager
    room = 3 * x.numpy().nbytes  # two copies of x, and what small arrays lie in
    assert eager <= sum(asked) <= eager + room


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
    buffers.empty(LARGE, np.float32)
    holes = [each for _, places in buffers.shared.holes.values() for each in places]
    assert buffers.shared.kept == sum(end - start for start, end in holes)


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
