"""The training loop, as a generator: it yields after each epoch, the caller decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

from .capturing import capture
from .data.dataset import Batch, Dataset, as_dataset
from .data.feed import Feed
from .device import Device
from .errors import SettingsError
from .layers import Layer
from .metrics import Meter, Stats
from .optim import Optimizer, Schedule
from .runs import Folder, Guard, Keeper, NanPolicy, Progress, Rewound, Run
from .tensor import Tensor, no_grad

Loss = Callable[[Tensor, Tensor], Tensor]
Watch = Callable[[str, int, int], None]  # "train" or "test", batches done, batches in all


@dataclass(frozen=True)
class Report:
    """What one epoch came to."""

    epoch: int  # from 1
    train: Stats
    test: Stats | None
    seconds: float
    rate: float  # training samples a second
    progress: Progress
    resumed: str = ""  # of the first report of a run that went on: "exact", or why it is not

    def __str__(self) -> str:
        tested = "" if self.test is None else f"  test {self.test}"
        epochs = len(str(self.progress.epochs))
        return (
            f"[{self.epoch:>{epochs}}/{self.progress.epochs}] train {self.train}{tested}"
            f"  {self.seconds:.2f} s  {self.rate:,.0f}/s"
            f"{self.resumed and f'  resumed, {self.resumed}'}"
        )


def cross_entropy_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean cross entropy of scores (N, classes) and class indices (N,)."""
    return scores.cross_entropy_loss(targets)


def fit(
    model: Layer,
    optimizer: Optimizer,
    train: Dataset | tuple[Any, Any],
    test: Dataset | tuple[Any, Any] | None = None,
    *,
    epochs: int = 10,
    batch_size: int = 100,
    test_batch_size: int = 1000,
    loss: Loss = cross_entropy_loss,
    seed: int = 0,
    progress: Progress | None = None,
    watch: Watch | None = None,
    run: Run | str | Path | None = None,
    nan_policy: NanPolicy = "stop",
) -> Iterator[Report]:
    """Train a model, yielding a report after each epoch; stop by leaving the loop.

    `epochs` is the horizon of schedules that have none of their own. With the `progress` of an
    earlier report (or of a checkpoint) training goes on from there, bit for bit as if it had
    never stopped; it says epochs, batch size and seed then. `watch` is called after each batch.

    With a `run`, a folder, training keeps its checkpoints there (after each epoch, every ten
    minutes, on an interrupt and on an error; see `Run`), and goes on with the run that is there.
    `nan_policy` says what follows a loss that is not finite: "stop" raises NonFiniteError, which
    names step, batch, layer and op, and leaves the model as it was before that step; "skip"
    leaves the batch out; "ignore" does not look.

        for report in fit(model, optimizer, train, test, epochs=10):
            print(report)
            if report.test.accuracy > 0.99:
                break
    """
    train = as_dataset(train)
    test = None if test is None else as_dataset(test)
    if run is not None and progress is not None:
        raise SettingsError("fit: a run knows its progress\n  leave out  progress, or the run")
    now = progress or Progress(epochs, batch_size, seed)
    if min(now.epochs, now.batch_size, test_batch_size) < 1:
        raise SettingsError(
            f"fit: epochs and batch sizes are at least 1\n  epochs           {now.epochs}\n"
            f"  batch_size       {now.batch_size}\n  test_batch_size  {test_batch_size}"
        )
    steps = -(-len(train) // now.batch_size)
    if isinstance(optimizer.learning_rate, Schedule):
        optimizer.learning_rate = optimizer.learning_rate.over(now.epochs * steps)
    guard = Guard(model, optimizer, Meter(model.device), nan_policy)
    run = Run(run) if isinstance(run, str | Path) else run
    return _epochs(guard, run, train, test, test_batch_size, loss, now, watch)


def _epochs(
    guard: Guard,
    run: Run | None,
    train: Dataset,
    test: Dataset | None,
    test_batch_size: int,
    loss: Loss,
    now: Progress,
    watch: Watch | None,
) -> Iterator[Report]:
    model, optimizer, meter = guard.model, guard.optimizer, guard.meter
    place: dict[str, Any] = {"device": model.device, "scalar_type": model.scalar_type}

    def train_step(batch: Batch) -> None:
        scores = model(batch.inputs)
        value = loss(scores, batch.targets)
        value.backward()
        model.update(optimizer)
        meter.add(value, scores, batch.targets)

    def test_step(batch: Batch) -> None:
        with no_grad():
            scores = model(batch.inputs)
            meter.add(loss(scores, batch.targets), scores, batch.targets)

    train_pass = _pass_of("train", train, now.batch_size, train_step, place, optimizer)
    test_pass = None
    if test is not None:
        test_pass = _pass_of("test", test, test_batch_size, test_step, place, None)

    def trained_epoch(now: Progress) -> Progress:
        order = train.order(now.seed, now.epoch + 1)

        def batches(first: int) -> Iterator[Batch]:
            return train.batches(now.batch_size, order=order, start=first, **place)

        def told(name: str, done: int, count: int) -> None:
            keeper.after_batch(done, train_step, batches)
            if watch is not None:
                watch(name, done, count)

        while True:
            keeper.begin(now)
            try:
                train_pass(order, watch if keeper.is_idle else told, now.batch)
                return keeper.end(count, train_step, batches)
            except Rewound as rewound:
                now = rewound.now

    def told_test(name: str, done: int, count: int) -> None:
        keeper.after_test_batch()
        if watch is not None:
            watch(name, done, count)

    count = -(-len(train) // now.batch_size)
    keeper = Keeper(guard, None if run is None else Folder(run))
    try:
        if run is not None:
            now = keeper.resume(now, _config(guard, train, test, test_batch_size, now))
        while now.epoch < now.epochs:
            start, samples = perf_counter(), len(train) - now.batch * now.batch_size
            with keeper.heeding():
                now = trained_epoch(now)
                trained, tested = meter.read(), None
                seconds = perf_counter() - start
                if test_pass is not None:
                    meter.reset()
                    test_pass(None, watch if keeper.is_idle else told_test, 0)
                    tested = meter.read()
                score = _score(tested or trained)
                best = isfinite(score) and (now.best is None or score > now.best)
                now = now.after_epoch(score if best else now.best)
                keeper.after_epoch(now, best, _told(trained, tested))
            rate = samples / seconds
            resumed, keeper.resumed = keeper.resumed, ""
            taken = perf_counter() - start
            yield Report(now.epoch, trained, tested, taken, rate, now, resumed)
    finally:
        keeper.close()


def _score(stats: Stats) -> float:
    """What makes an epoch the best: accuracy where there are classes, else a low loss."""
    return -stats.loss if stats.accuracy is None else stats.accuracy


def _told(trained: Stats, tested: Stats | None) -> dict[str, Any]:
    """Two passes for a log."""
    passes = {"train": trained, "test": tested}
    return {
        name: {"loss": each.loss, "accuracy": each.accuracy}
        for name, each in passes.items()
        if each is not None
    }


def _config(
    guard: Guard, train: Dataset, test: Dataset | None, test_batch_size: int, now: Progress
) -> dict[str, Any]:
    """What is asked of a run, as a JSON value."""
    data = {
        name: {"samples": len(each), "hash": each.hash()}
        for name, each in (("train", train), ("test", test))
        if each is not None
    }
    return {
        "model": guard.model.describe(),
        "optimizer": guard.optimizer.describe(),
        "epochs": now.epochs,
        "batch_size": now.batch_size,
        "test_batch_size": test_batch_size,
        "seed": now.seed,
        "data": data,
    }


# Over a data set in an order (None: as it stands), from a batch on.
Pass = Callable[[Any, Watch | None, int], None]


def _pass_of(
    name: str,
    data: Dataset,
    size: int,
    step: Callable[[Batch], None],
    place: dict[str, Any],
    optimizer: Optimizer | None,
) -> Pass:
    """The step for every batch; captured, batches and all, where the data live on the device."""
    device: Device = place["device"]
    count = -(-len(data) // size)

    def tell(watch: Watch | None, done: int) -> None:
        if watch is not None:
            watch(name, done, count)

    if device.is_host or not data.lives_on(device):
        captured = capture(step, optimizer=optimizer)

        def moved(order: Any, watch: Watch | None, first: int) -> None:
            batches = data.batches(size, order=order, start=first, **place)
            for done, batch in enumerate(batches, first + 1):
                captured(batch)
                tell(watch, done)

        return moved
    feed = Feed(data, size, **place)
    drawn = capture(lambda count: step(feed.draw(count)), optimizer=optimizer)

    def fed(order: Any, watch: Watch | None, first: int) -> None:
        feed.start(order, first)
        for done, each in enumerate(feed.sizes[first:], first + 1):
            drawn(each)
            tell(watch, done)

    return fed


def evaluate(
    model: Layer,
    data: Dataset | tuple[Any, Any],
    *,
    batch_size: int = 1000,
    loss: Loss = cross_entropy_loss,
) -> Stats:
    """Loss and accuracy of a model over a data set, recording nothing."""
    data = as_dataset(data)
    meter = Meter(model.device)
    with no_grad():
        for batch in data.batches(batch_size, device=model.device, scalar_type=model.scalar_type):
            scores = model(batch.inputs)
            meter.add(loss(scores, batch.targets), scores, batch.targets)
    return meter.read()
