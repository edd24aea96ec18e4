"""The training loop, as a generator: it yields after each epoch, the caller decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

from .capture import capture
from .data.dataset import Batch, Dataset, as_dataset
from .data.feed import Feed
from .device import Device
from .errors import SettingsError
from .layers import Layer
from .metrics import Meter, Stats
from .optim import Optimizer, Schedule
from .tensor import Tensor, no_grad

Loss = Callable[[Tensor, Tensor], Tensor]
Watch = Callable[[str, int, int], None]  # "train" or "test", batches done, batches in all


@dataclass(frozen=True)
class Progress:
    """How far a run has come, and what decides the rest of it: all that resuming needs beside
    the model and the optimizer."""

    epochs: int  # the horizon
    batch_size: int
    seed: int
    epoch: int = 0  # epochs done
    step: int = 0  # updates done

    def describe(self) -> dict[str, int]:
        """As a JSON value, which `Progress(**value)` reads back."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """What one epoch came to."""

    epoch: int  # from 1
    train: Stats
    test: Stats | None
    seconds: float
    rate: float  # training samples a second
    progress: Progress

    def __str__(self) -> str:
        tested = "" if self.test is None else f"  test {self.test}"
        epochs = len(str(self.progress.epochs))
        return (
            f"[{self.epoch:>{epochs}}/{self.progress.epochs}] train {self.train}{tested}"
            f"  {self.seconds:.2f} s  {self.rate:,.0f}/s"
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
) -> Iterator[Report]:
    """Train a model, yielding a report after each epoch; stop by leaving the loop.

    `epochs` is the horizon of schedules that have none of their own. With the `progress` of an
    earlier report (or of a checkpoint) training goes on from there, bit for bit as if it had
    never stopped; it says epochs, batch size and seed then. `watch` is called after each batch.

        for report in fit(model, optimizer, train, test, epochs=10):
            print(report)
            if report.test.accuracy > 0.99:
                break
    """
    train = as_dataset(train)
    test = None if test is None else as_dataset(test)
    now = progress or Progress(epochs, batch_size, seed)
    if min(now.epochs, now.batch_size, test_batch_size) < 1:
        raise SettingsError(
            f"fit: epochs and batch sizes are at least 1\n  epochs           {now.epochs}\n"
            f"  batch_size       {now.batch_size}\n  test_batch_size  {test_batch_size}"
        )
    steps = -(-len(train) // now.batch_size)
    if isinstance(optimizer.learning_rate, Schedule):
        optimizer.learning_rate = optimizer.learning_rate.over(now.epochs * steps)
    return _epochs(model, optimizer, train, test, test_batch_size, loss, now, watch)


def _epochs(
    model: Layer,
    optimizer: Optimizer,
    train: Dataset,
    test: Dataset | None,
    test_batch_size: int,
    loss: Loss,
    now: Progress,
    watch: Watch | None,
) -> Iterator[Report]:
    place: dict[str, Any] = {"device": model.device, "scalar_type": model.scalar_type}
    meter = Meter(model.device)

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

    for epoch in range(now.epoch + 1, now.epochs + 1):
        start = perf_counter()
        order = train.order(now.seed, epoch)
        count = -(-len(train) // now.batch_size)
        meter.reset()
        train_pass(order, watch)
        trained = meter.read()
        seconds = perf_counter() - start
        tested = None
        if test_pass is not None:
            meter.reset()
            test_pass(None, watch)
            tested = meter.read()
        now = replace(now, epoch=epoch, step=now.step + count)
        rate = len(train) / seconds
        yield Report(epoch, trained, tested, perf_counter() - start, rate, now)


Pass = Callable[[Any, Watch | None], None]  # over a data set in an order (None: as it stands)


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

        def moved(order: Any, watch: Watch | None) -> None:
            for done, batch in enumerate(data.batches(size, order=order, **place), 1):
                captured(batch)
                tell(watch, done)

        return moved
    feed = Feed(data, size, **place)
    drawn = capture(lambda count: step(feed.draw(count)), optimizer=optimizer)

    def fed(order: Any, watch: Watch | None) -> None:
        feed.start(order)
        for done, each in enumerate(feed.sizes, 1):
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
