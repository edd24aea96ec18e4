"""Faults: forks, threads, interrupts and lack of memory change no bits and leave nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autograph as ag
from autograph.attending import attending
from autograph.capturing import capture
from autograph.checkpoint import Snapshot
from autograph.layers import BatchNorm2, Conv2, Dense, Flatten, Layer, MaxPool2, Relu, sequential
from autograph.optim import AdamW, Cosine
from autograph.runs import Run
from autograph.tensor.state import plain
from autograph.train import fit
from autograph.watching import Watch, watching

from .fresh import printed

rng = np.random.default_rng(0)
DATA = (rng.normal(size=(64, 1, 8, 8)).astype(np.float32), rng.integers(0, 4, 64))


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4)."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3, bias=True)
    norm1: BatchNorm2
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=4, bias=True)


def training(seed: int, epochs: int = 2, **more: Any) -> str:
    """The digest of all that a short training ends in."""
    model, optimizer = Net.build(seed=seed), AdamW(learning_rate=Cosine(peak=0.01))
    for _ in fit(model, optimizer, DATA, epochs=epochs, batch_size=10, seed=seed, **more):
        pass
    digest = sha256()
    for name, array in sorted(Snapshot.of(model, optimizer).arrays.items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


# -- processes -------------------------------------------------------------------------


def send(pipe: Any, seed: int) -> None:
    pipe.send(training(seed))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads
def test_a_child_process_trains_to_the_same_bits(method: str) -> None:
    expected = training(3)  # the pool of threads is up now
    context: Any = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=send, args=(there, 3))
    child.start()
    assert here.poll(300)

    assert expected == here.recv()
    child.join(300)
    assert 0 == child.exitcode
    assert expected == training(3)  # and the parent goes on as before


# -- threads ---------------------------------------------------------------------------


def test_trainings_on_several_threads_give_the_bits_of_serial_ones() -> None:
    expected = [training(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert expected == list(pool.map(training, range(4)))


def test_threads_that_are_watched_at_once_leave_nothing_behind() -> None:
    both, first_is_out = threading.Barrier(2), threading.Event()

    def run(name: str) -> set[str]:
        x = ag.ones((2,))
        with watching(watch := Watch()):
            both.wait(300)
            getattr(x, name)()
            if name == "log":
                assert first_is_out.wait(300)
                x.log()
        first_is_out.set()
        return watch.names

    before = ag.Tensor.__apply__
    with ThreadPoolExecutor(2) as pool:
        assert [{"exp"}, {"log"}] == list(pool.map(run, ["exp", "log"]))
    assert before is ag.Tensor.__apply__


@pytest.mark.parametrize("watcher_leaves_first", [False, True])
def test_one_who_attends_and_one_who_watches_leave_in_any_order(watcher_leaves_first: bool) -> None:
    x, attended, watch = ag.ones((2,)), [], Watch()
    both, gone, before = threading.Barrier(2), threading.Event(), ag.Tensor.__apply__

    def attendant(apply: Any, op: Any, inputs: Any, settings: Any) -> Any:
        attended.append(op.name)
        return apply(op, inputs, settings)

    def run(block: Any, leaves_first: bool, last: Callable[[ag.Tensor], ag.Tensor]) -> None:
        with block:
            both.wait(300)
            x.exp()
            if not leaves_first:
                assert gone.wait(300)
                last(x)
        gone.set()

    threads = [
        threading.Thread(target=run, args=(block, first, last))
        for block, first, last in (
            (attending(attendant), not watcher_leaves_first, lambda x: x.log()),
            (watching(watch), watcher_leaves_first, lambda x: x.tanh()),
        )
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    x.sqrt()

    assert attended == (["exp", "log"] if watcher_leaves_first else ["exp"])
    assert watch.names == ({"exp"} if watcher_leaves_first else {"exp", "tanh"})
    assert before is ag.Tensor.__apply__
    assert type(x) in plain


def test_steps_are_captured_in_several_threads_at_once() -> None:
    x, start = ag.Tensor(DATA[0].reshape(64, 64)), threading.Barrier(4)
    expected = (x @ x).exp().sum().item()

    def run(_: int) -> list[float]:
        start.wait(300)
        captures = [capture(lambda x: (x @ x).exp().sum()) for _ in range(20)]
        return [captured(x).item() for captured in captures for _ in range(5)]

    numpy = ag.Tensor.numpy
    with ThreadPoolExecutor(4) as pool:
        assert [[expected] * 100] * 4 == list(pool.map(run, range(4)))
    assert numpy is ag.Tensor.numpy
    captured = capture(lambda x: (x @ x).exp().sum())
    assert [expected] * 5 == [captured(x).item() for _ in range(5)]
    assert "1 recordings" in repr(captured)


def test_a_thread_that_fails_leaves_the_others_recording() -> None:
    def fails() -> None:
        with pytest.raises(ZeroDivisionError), ag.no_grad():
            raise ZeroDivisionError

    thread = threading.Thread(target=fails)
    with ag.no_grad():
        thread.start()
        thread.join()

        assert not ag.is_recording()
    assert ag.is_recording()


# -- memory ----------------------------------------------------------------------------


def grown(run: Callable[[int], Any], *, steps: int) -> tuple[int, int]:
    """Bytes and objects that so many steps leave behind, without the collector, once others
    have filled what Python keeps of freed tuples."""
    tracemalloc.start()
    try:
        gc.collect()
        gc.disable()
        run(3 * steps)
        size, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        run(steps)
        objects = len(gc.get_objects()) - objects
        size = tracemalloc.get_traced_memory()[0] - size
    finally:
        tracemalloc.stop()
        gc.enable()
    return size, objects


@pytest.mark.parametrize("fails", [False, True], ids=["sound", "failing"])
def test_memory_is_flat_over_many_steps(fails: bool) -> None:
    model, optimizer = Net.build(), AdamW(learning_rate=0.001)
    x, t = ag.Tensor(DATA[0][:10]), ag.Tensor(DATA[1][:10])
    wrong = ag.Tensor(np.zeros((10, 1, 12, 12), np.float32))

    def run(steps: int) -> None:
        for _ in range(steps):
            if fails:
                with pytest.raises(ag.errors.ShapeError):
                    model(wrong)
            model(x).cross_entropy_loss(t).backward()
            model.update(optimizer)

    size, objects = grown(run, steps=200)

    assert size < 100_000
    assert objects < 100


def test_memory_is_flat_over_runs_with_saves(tmp_path: Path) -> None:
    run = Run(tmp_path, every_steps=1, keep=2)
    data = (DATA[0][:40], DATA[1][:40])

    def train(epochs: int) -> None:
        model, optimizer = Net.build(), AdamW(learning_rate=0.001)
        train.done += epochs  # type: ignore[attr-defined]
        for _ in fit(model, optimizer, data, epochs=train.done, batch_size=10, run=run):  # type: ignore[attr-defined]
            pass

    train.done = 0  # type: ignore[attr-defined]
    size, objects = grown(lambda steps: train(steps // 20), steps=200)

    assert size < 400_000
    assert objects < 300


@pytest.mark.skipif(sys.platform != "linux", reason="other systems promise memory they lack")
def test_no_memory_is_an_error_and_the_next_smaller_call_is_right() -> None:
    with pytest.raises(MemoryError):
        ag.ones((1 << 24, 1)) + ag.ones((1, 1 << 24))

    assert 4.0 == (ag.ones((2, 1)) + ag.ones((1, 2))).mean().item() * 2
    assert training(1) == training(1)


RATIONED = """
import resource
import numpy as np
import autograph as ag
from tests.test_faults import training
expected = training(1)
small = ag.ones((300, 300))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
large = np.ones((6000, 1), np.float32)
for call in (
    lambda: ag.Tensor(large) + ag.Tensor(large.T),
    lambda: ag.Tensor(large) @ ag.Tensor(large.T),
    lambda: ag.zeros((6000, 6000)),
    lambda: small.broadcast_to((500, 300, 300)).exp(),
):
    try:
        call()
    except ag.errors.MemoryLimitError as error:
        print(str(error).splitlines()[0])
    assert (small + small).sum().item() == 180000.0
assert expected == training(1)
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_limit_on_memory_is_an_error_and_training_goes_on_to_the_same_bits() -> None:
    *errors, last = printed(RATIONED).splitlines()

    assert "done" == last
    assert 4 == len(errors)
    assert all("no memory" in each for each in errors)
    assert all("144,000,000" in each for each in errors[:3])  # the size that was asked for


# -- interrupts ------------------------------------------------------------------------


def test_an_interrupt_in_any_batch_leaves_flags_and_handlers_as_they_were(tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def watch(name: str, done: int, count: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    for run in (None, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            training(1, watch=watch, run=run)

        assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
        assert ag.is_recording()
    assert training(1) == training(1, run=tmp_path)
