"""The training loop, as a generator: it yields after each epoch, the caller decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from math import isfinite
from operator import index
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from .capturing import capture
from .control import Control
from .data.dataset import Batch, Dataset, Feed, as_dataset
from .device import Device
from .errors import SettingsError
from .layers import Layer
from .metrics import Meter, Stats
from .optim import Average, Optimizer
from .parallel.shares import Part, Shares, stretch
from .parallel.steps import Steps
from .parallel.world import World
from .runs import Folder, Guard, Keeper, NanPolicy, Progress, Rewound, Run
from .runs.together import SharedKeeper, with_batch_of_run
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
    control: Control | None = None,
    parallel: World | None = None,
    micro_batches: int = 1,
    average: Average | None = None,
) -> Iterator[Report]:
    """Train a model, yielding a report after each epoch; stop by leaving the loop.

    `epochs` is the horizon of schedules that have none of their own. With the `progress` of an
    earlier report (or of a checkpoint) training goes on from there, bit for bit as if it had
    never stopped; it says epochs, batch size and seed then. `watch` is called after each batch.

    With a `run`, a folder, training keeps its checkpoints there (after each epoch, every ten
    minutes, on an interrupt and on an error; see `Run`), and goes on with the run that is there.
    `nan_policy` says what follows a loss that is not finite: "stop" raises NonFiniteError, which
    names step, batch, layer and op, and leaves the model as it was before that step; "skip"
    leaves the batch out; "ignore" does not look. A `control`, which a run has in its folder,
    lets others pause, save, change the learning rate and stop, which raises `control.Stopped`.
    An `average` follows the weights from step to step, and is saved and gone on with as they are.

    With `parallel=parallel.init()` every rank of a job calls this, `batch_size` is that of one
    rank, and N ranks do what one process would do with a batch N times as large, sample by sample.
    Each rank gets the reports of all; rank 0 alone keeps the run and calls `watch`. A run that goes
    on with another number of ranks keeps the batch of all. A batch in `micro_batches` parts needs
    the memory of one part; their gradients add up before the ranks exchange them.

        for report in fit(model, optimizer, train, test, epochs=10):
            print(report)
            if report.test.accuracy > 0.99:
                break
    """
    _check("model", model, Layer, ".build(seed=0)")
    _check("optimizer", optimizer, Optimizer, "(learning_rate=0.1)")
    if not callable(loss):
        raise SettingsError(
            f"fit: loss is a {type(loss).__name__}\n  write a function of scores and targets:  "
            f"loss=ag.ops.mse_loss"
        )
    train = as_dataset(train)
    test = None if test is None else as_dataset(test)
    if run is not None and progress is not None:
        raise SettingsError("fit: a run knows its progress\n  leave out  progress, or the run")
    run = Run(run) if isinstance(run, str | Path) else run
    if parallel is not None and not isinstance(parallel, World):
        raise SettingsError(
            f"fit: parallel takes what parallel.init() answers\n  given  {parallel!r}"
        )
    takes: dict[str, tuple[Any, Any]] = {
        "progress": (progress, Progress), "watch": (watch, Callable), "run": (run, Run),
        "control": (control, Control), "average": (average, Average),
    }  # fmt: skip
    for name, (given, taken) in takes.items():
        if given is not None and not isinstance(given, taken):
            raise SettingsError(f"fit: {name} takes {taken.__name__}\n  given  {given!r}")
    epochs, batch_size, seed = _whole(epochs=epochs, batch_size=batch_size, seed=seed)
    test_batch_size, micro_batches = _whole(
        test_batch_size=test_batch_size, micro_batches=micro_batches
    )
    ranks = 1 if parallel is None else parallel.size
    now = progress or Progress(epochs, batch_size * ranks, seed)
    if min(now.epochs, now.batch_size, test_batch_size, micro_batches) < 1:
        raise SettingsError(
            f"fit: epochs and batch sizes are at least 1\n  epochs           {now.epochs}\n"
            f"  batch_size       {now.batch_size}\n  test_batch_size  {test_batch_size}\n"
            f"  micro_batches    {micro_batches}"
        )
    guard = Guard(model, optimizer, Meter(model.device), nan_policy, average)
    world = None if ranks == 1 else parallel
    return _epochs(
        guard, world, run, control, train, test, test_batch_size, loss, now, watch, micro_batches
    )


def _check(name: str, value: Any, wanted: type, made: str) -> None:
    """Refuse what is no model, or no optimizer."""
    if isinstance(value, type):
        raise SettingsError(f"fit: {value.__name__} is a class\n  write  {value.__name__}{made}")
    if not isinstance(value, wanted):
        raise SettingsError(
            f"fit: {type(value).__name__} is no {name}\n  write  fit(model, optimizer, train)"
        )


def _whole(**numbers: Any) -> Iterator[int]:
    """Python's ints of whole numbers, NumPy's too."""
    for name, value in numbers.items():
        if not hasattr(value, "__index__"):
            raise SettingsError(f"fit: {name} is a whole number\n  given  {value!r}")
        yield index(value)


def _epochs(
    guard: Guard,
    world: World | None,
    run: Run | None,
    control: Control | None,
    train: Dataset,
    test: Dataset | None,
    test_batch_size: int,
    loss: Loss,
    now: Progress,
    watch: Watch | None,
    micro_batches: int,
) -> Iterator[Report]:
    keeper: Keeper
    if world is None:
        keeper = Keeper(guard, None if run is None else Folder(run), control)
    else:
        keeper = SharedKeeper(world, guard, run, control)
        watch = watch if world.is_first else None
    now = with_batch_of_run(now, keeper.folder, world)
    guard, replica = keeper.guard, keeper.replica
    model, optimizer, meter = guard.model, guard.optimizer, guard.meter
    count = -(-len(train) // now.batch_size)
    optimizer.over(now.epochs * count)
    place: dict[str, Any] = {"device": model.device, "scalar_type": model.scalar_type}
    rank, ranks = (0, 1) if world is None else (world.rank, world.size)
    shares = Shares(rank, ranks, len(train), now.batch_size)
    own = replica or World(device=model.device).replica(model, optimizer)
    steps = Steps(own, loss, micro_batches)

    def train_step(batch: Batch, size: int) -> None:
        """Of a batch of `size` samples in all, this rank's."""
        first, end = shares.part(size)
        if replica is not None:
            replica.whole_batch.first = first
        for value, scores, targets in steps.train(batch, shares.weight(size)):
            if end > first:
                meter.add(value, scores, targets)
        if guard.average is not None:
            guard.average.update(model)

    def test_step(batch: Batch, size: int) -> None:
        with no_grad():
            meter.add(*steps.forward(batch))

    def size_of(batch: int) -> int:
        if replica is not None:
            replica.begin_step()  # also one that is replayed
        return shares.size(batch)

    part = train if ranks == 1 else Part(train, shares.order)
    mine, tested_order = test, None
    if test is not None and ranks > 1:
        mine = Part(test, partial(stretch, rank=rank, ranks=ranks))
        tested_order = mine.standing

    def passes() -> tuple[Pass, Pass | None]:
        trained = _pass_of("train", part, shares.room, train_step, place, optimizer, size_of, world)
        if mine is None:
            return trained, None
        return trained, _pass_of("test", mine, test_batch_size, test_step, place, None)

    train_pass, test_pass = passes()

    def trained_epoch(now: Progress) -> Progress:
        order = part.order(now.seed, now.epoch + 1)

        def batches(first: int) -> Iterator[tuple[Batch, int]]:
            found = part.batches(shares.room, order=order, start=first, **place)
            return ((batch, shares.size(i)) for i, batch in enumerate(found, first))

        def step(given: tuple[Batch, int]) -> None:
            train_step(*given)

        def told(name: str, done: int, count: int) -> None:
            keeper.after_batch(done, step, batches)
            if watch is not None:
                watch(name, done, count)

        while True:
            keeper.begin(now)
            try:
                train_pass(order, watch if keeper.is_idle else told, now.batch)
                return keeper.end(count, step, batches)
            except Rewound as rewound:
                now = rewound.now

    def told_test(name: str, done: int, count: int) -> None:
        keeper.after_test_batch()
        if watch is not None:
            watch(name, done, count)

    try:
        if run is not None or replica is not None:
            asked = _config(guard, train, test, test_batch_size, loss, now)
            if world is not None:
                more = {"micro_batches": micro_batches, "nan_policy": guard.policy}
                told = dict(reversed((asked | more).items()))  # schedules follow from the rest
                world.refuse_differences("what fit is asked", str(told))
                if replica is not None and replica.sharded is not None:
                    replica.sharded.release()
            now = keeper.resume(now, {**asked, "ranks": ranks})
        while now.epoch < now.epochs:
            start, samples = perf_counter(), len(train) - now.batch * now.batch_size
            with keeper.heeding():
                now = trained_epoch(now)
                trained, tested = guard.read(), None
                seconds = perf_counter() - start
                if test_pass is not None:
                    meter.reset()
                    test_pass(tested_order, watch if keeper.is_idle else told_test, 0)
                    tested = guard.read()
                seen = tested or trained  # what makes an epoch the best: accuracy, or a low loss
                score = -seen.loss if seen.accuracy is None else seen.accuracy
                best = isfinite(score) and (now.best is None or score > now.best)
                now = now.after_epoch(score if best else now.best)
                stats = {"train": trained} | ({"test": tested} if tested else {})
                values = {k: {"loss": v.loss, "accuracy": v.accuracy} for k, v in stats.items()}
                keeper.after_epoch(now, best, values)
            rate = samples / seconds
            resumed, keeper.resumed = keeper.resumed, ""
            taken = perf_counter() - start
            recorded = _settings(model, optimizer)
            yield Report(now.epoch, trained, tested, taken, rate, now, resumed)
            if _settings(model, optimizer) != recorded:
                train_pass, test_pass = passes()
    finally:
        keeper.close()


def _settings(model: Layer, optimizer: Optimizer) -> list[Any]:
    """What a recorded step holds on to beside tensors, and the caller may change meanwhile."""
    told: list[Any] = [optimizer.describe() | {"learning_rate": None}]
    for path, each in model.named_layers().items():
        for field in fields(cast(Any, each)):
            value = each.__dict__.get(field.name)
            plain = value is None or isinstance(value, bool | int | float | str | tuple)
            told.append((path, field.name, value if plain else id(value)))
    return told


def _config(
    guard: Guard,
    train: Dataset,
    test: Dataset | None,
    test_batch_size: int,
    loss: Loss,
    now: Progress,
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
        "loss": getattr(loss, "__qualname__", type(loss).__qualname__),
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
    step: Callable[[Batch, int], None],
    place: dict[str, Any],
    optimizer: Optimizer | None,
    size_of: Callable[[int], int] = lambda batch: 0,
    ranks: World | None = None,
) -> Pass:
    """The step for every batch; captured, batches and all, where the data live on its device.
    `size_of` says how many samples a batch has in all, those of other `ranks` too."""
    device: Device = place["device"]
    count = -(-len(data) // size)

    feed = Feed(data, size, **place) if data.lives_on(device) else None

    def step_of_fit(count: int, size: int) -> None:
        assert feed is not None
        step(feed.draw(count), size)

    called: Callable[..., None] = step if feed is None else step_of_fit
    captured = capture(called, optimizer=optimizer, ranks=ranks)

    def run(order: Any, watch: Watch | None, first: int) -> None:
        batches: Iterable[Any]
        if feed is None:
            batches = data.batches(size, order=order, start=first, **place)
        else:
            feed.start(order, first)
            batches = feed.sizes[first:]
        for done, each in enumerate(batches, first + 1):
            captured(each, size_of(done - 1))
            if watch is not None:
                watch(name, done, count)

    return run


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
