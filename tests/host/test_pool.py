"""The thread pool: every task once, whoever calls, from wherever, and after a fork."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from autograph.backends.host import pool
from autograph.backends.host.jit import kernel
from autograph.backends.host.scalars import f32, i64

from ..fresh import printed


@kernel
def count_up(task, counts: i64):
    counts[task] += 1


@kernel
def double(task, x: f32, y: f32):
    y[task] = 2.0 * x[task]


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = pool.get_num_threads()
    pool.set_num_threads(request.param)
    yield request.param
    pool.set_num_threads(before)


@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 100])
def test_every_task_runs_once(threads, tasks):
    counts = np.zeros(100, np.int64)
    for _ in range(200):
        count_up(tasks, counts)

    assert counts.tolist() == [200] * tasks + [0] * (100 - tasks)


def test_threads_that_sleep_are_woken():
    counts = np.zeros(4, np.int64)
    for _ in range(5):
        count_up(4, counts)
        threading.Event().wait(0.01)

    assert counts.tolist() == [5] * 4


def test_user_threads_may_all_launch_at_once():
    counts = [np.zeros(8, np.int64) for _ in range(4)]

    def work(mine):
        for _ in range(2000):
            count_up(8, mine)

    with ThreadPoolExecutor(len(counts)) as users:
        list(users.map(work, counts))

    assert all((each == 2000).all() for each in counts)


def test_words_that_no_kernel_takes_are_refused():
    with pytest.raises(TypeError, match="words are integers, floats, NumPy arrays and None"):
        count_up(1, "counts")
    with pytest.raises(OverflowError):
        count_up(1, 2**70)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 10_000])
def test_a_number_of_threads_that_cannot_be_is_refused(threads):
    with pytest.raises(ValueError, match="set_num_threads"):
        pool.set_num_threads(threads)


def doubled(x):
    y = np.empty_like(x)
    double(x.size, x, y)
    return y


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_computes_the_same(method):
    x = np.arange(64, dtype=np.float32)
    doubled(x)
    with multiprocessing.get_context(method).Pool(2) as workers:
        results = workers.map(doubled, [x] * 4)

    assert all((each == 2 * x).all() for each in results)


def test_the_environment_says_how_many_threads():
    code = "from autograph.backends.host import pool; print(pool.get_num_threads())"

    assert printed(code, AUTOGRAPH_THREADS="3").strip() == "3"
