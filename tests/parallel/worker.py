"""What each rank of the tests runs: python -m tests.parallel.worker OUT NAME...

Each check writes what it found as OUT/NAME-RANK.npz; the tests compare that with one process.
"""

from __future__ import annotations

import copy
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph import parallel
from autograph.checkpoint import training_arrays
from autograph.control import Stopped
from autograph.errors import AutographError
from autograph.layers import (
    BatchNorm2,
    Conv2,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2,
    Relu,
    sequential,
)
from autograph.optim import LAMB, SGD, Adam, Cosine
from autograph.parallel import World, host
from autograph.train import Progress

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(150, 1, 8, 8)).astype(np.float32)
CLASSES = rng.integers(0, 4, 150)
DEVICE = os.environ.get("AUTOGRAPH_TEST_DEVICE", "host")
DATA, TEST = (IMAGES, CLASSES), (IMAGES[:50], CLASSES[:50])


@sequential(input=(1, 8, 8))
class Net(Layer):
    """Images (N, 1, 8, 8) -> class scores (N, 4)."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    relu1: Relu
    pool1: MaxPool2 = MaxPool2.builder(filter=2)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=16)
    relu2: Relu
    dense2: Dense = Dense.builder(outputs=4, bias=True)


@sequential(input=(1, 8, 8))
class Chance(Layer):
    """The same with dropout."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    dropout: Dropout = Dropout.builder(rate=0.25)
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=4, bias=True)


@sequential(input=(1, 8, 8))
class Normed(Layer):
    """The same with batch normalisation."""

    conv1: Conv2 = Conv2.builder(outputs=3, filter=3)
    norm: BatchNorm2
    relu1: Relu
    flatten: Flatten
    dense1: Dense = Dense.builder(outputs=4, bias=True)


def trained(world: World | None, batch_size: int, kind: type[Layer] = Net, **more: Any) -> Any:
    """Weights, optimizer and metrics of a short training."""
    device = DEVICE if world is None else world.device
    model = kind.build(seed=3, scalar_type=more.pop("scalar_type", "f32"), device=device)
    stop_after = more.pop("stop_after", None)
    optimizer = more.pop("optimizer", None) or SGD(
        learning_rate=Cosine(peak=0.05), momentum=0.9, clip_norm=more.pop("clip", None)
    )
    if more.pop("adam", False):
        optimizer = Adam(learning_rate=0.002)
    settings = {"epochs": 3, "batch_size": batch_size, "seed": 5} | more
    reports = []
    for report in ag.fit(model, optimizer, DATA, TEST, parallel=world, **settings):
        reports.append(report)
        if report.epoch == stop_after:
            break
    found = {f"model.{path}": each.numpy() for path, each in model.named_parameters().items()}
    found |= {f"model.{path}": each.numpy() for path, each in model.named_buffers().items()}
    found["losses"] = np.array([each.train.loss for each in reports])
    found["tests"] = np.array([each.test.loss for each in reports if each.test])
    found["resumed"] = np.array([reports[0].resumed])
    found["right"] = np.array([each.train.correct for each in reports])
    return found, model, optimizer


def plain(world: World | None, ranks: int, out: Path) -> Any:
    """150 samples in batches of 20 in all: the last one has 10."""
    return trained(world, 20 // ranks)[0]


def uneven(world: World | None, ranks: int, out: Path) -> Any:
    """In batches of 12 the last one has 6, and of 49 the ranks have unequal parts."""
    progress = Progress(epochs=3, batch_size=49, seed=5)
    return trained(world, 1, progress=progress)[0]


def few(world: World | None, ranks: int, out: Path) -> Any:
    """The last batch has a sample for rank 0 alone."""
    progress = Progress(epochs=2, batch_size=149, seed=5)
    return trained(world, 1, progress=progress)[0]


def dropped(world: World | None, ranks: int, out: Path) -> Any:
    """Dropout throws for the samples of the whole batch."""
    return trained(world, 20 // ranks, Chance)[0]


def parts(world: World | None, ranks: int, out: Path) -> Any:
    """Gradients of micro-batches add up without the other ranks."""
    return trained(world, 20 // ranks, micro_batches=3)[0]


def adam(world: World | None, ranks: int, out: Path) -> Any:
    return trained(world, 20 // ranks, adam=True)[0]


def norms(world: World | None, ranks: int, out: Path) -> Any:
    """Batch normalisation by each rank's own samples: the ranks still agree."""
    return trained(world, 20 // ranks, Normed)[0]


def synced(world: World | None, ranks: int, out: Path) -> Any:
    """Batch normalisation by the samples of all ranks."""
    return trained(changed(world, sync_batch_norm=True), 20 // ranks, Normed)[0]


def synced_uneven(world: World | None, ranks: int, out: Path) -> Any:
    progress = Progress(epochs=2, batch_size=49, seed=5)
    return trained(changed(world, sync_batch_norm=True), 1, Normed, progress=progress)[0]


def sent(world: World | None, ranks: int, out: Path) -> Any:
    """As between machines: by messages instead of memory that is shared."""
    return trained(changed(world, near=False), 20 // ranks)[0]


def overlapped(world: World | None, ranks: int, out: Path) -> Any:
    """In many small buckets that leave while backward runs."""
    before, host.LATE = host.LATE, 0
    try:
        return trained(changed(world, bucket_bytes=256), 20 // ranks)[0]
    finally:
        host.LATE = before


def rounded(world: World | None, ranks: int, out: Path) -> Any:
    """With gradients that are sent as bf16."""
    return trained(changed(world, gradients="bf16"), 20 // ranks)[0]


def sharded(world: World | None, ranks: int, out: Path) -> Any:
    """Each rank keeps a part of the optimizer's state."""
    found, model, optimizer = trained(
        changed(world, shard_optimizer=True), 20 // ranks, adam=True, run=out / "sharded"
    )
    if world is not None:
        held = [each.nbytes for some in optimizer.state.values() for each in some.values()]
        found["held"] = np.array(sum(held))
        return found
    whole = training_arrays(model, optimizer)
    return found | {name: each for name, each in whole.items() if name.startswith("optimizer.")}


def clipped(world: World | None, ranks: int, out: Path) -> Any:
    """The norm that is clipped is that of all gradients, of which a rank moves a part."""
    return trained(changed(world, shard_optimizer=True), 20 // ranks, clip=0.5)[0]


def scattered(world: World | None, ranks: int, out: Path) -> Any:
    """The same in many small buckets, by messages."""
    shard = changed(world, near=False, shard_optimizer=True, bucket_bytes=256)
    return trained(shard, 20 // ranks, adam=True)[0]


def sharded_rounded(world: World | None, ranks: int, out: Path) -> Any:
    return trained(changed(world, shard_optimizer=True, gradients="bf16"), 20 // ranks)[0]


def between(world: World | None, ranks: int, out: Path) -> Any:
    """An optimizer that needs whole parameters: each rank moves some."""
    optimizer = LAMB(learning_rate=0.01)
    return trained(changed(world, shard_optimizer=True), 20 // ranks, optimizer=optimizer)[0]


def grouped(world: World | None, ranks: int, out: Path) -> Any:
    """Settings of a group that only some ranks have a parameter of, and limited gradients."""
    groups = {"*.bias": {"learning_rate": 0.2}}
    optimizer = SGD(learning_rate=0.05, momentum=0.9, clip_norm=0.3, clip_value=0.1, groups=groups)
    return trained(changed(world, shard_optimizer=True), 20 // ranks, optimizer=optimizer)[0]


def refused(world: World | None, ranks: int, out: Path) -> Any:
    """Rank 1 alone reads a value, so that its step cannot be recorded."""

    def loss(scores: ag.Tensor, targets: ag.Tensor) -> ag.Tensor:
        value = scores.cross_entropy_loss(targets)
        if world is not None and world.rank == 1:
            value.item()
        return value

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = trained(world, 20 // ranks, loss=loss)[0]
    words = " ".join(str(each.message) for each in said)
    return found if world is None else found | {"warned": np.array(words)}


def disagreeing(world: World, ranks: int, out: Path) -> Any:
    """What ranks are told that were started with different things."""
    odd = world.rank == 1
    images, classes = DATA
    kept = replace(world.options, shard_optimizer=True)

    def frozen_later() -> None:
        model = Net.build(seed=3, device=world.device)
        for _ in ag.fit(model, SGD(), DATA, epochs=3, batch_size=10, parallel=world):
            if odd:
                model.conv1.freeze()

    attempts: dict[str, Callable[[], Any]] = {
        "model": lambda: trained(world, 10, Chance if odd else Net),
        "scalar type": lambda: trained(world, 10, scalar_type="bf16" if odd else "f32"),
        "optimizer": lambda: trained(world, 10, optimizer=SGD(momentum=0.5 if odd else 0.1)),
        "sharded optimizer": lambda: trained(
            changed(world, **vars(kept)), 10, optimizer=Adam() if odd else SGD()
        ),
        "seed": lambda: trained(world, 10, seed=world.rank),
        "batch": lambda: trained(world, 10 + world.rank),
        "parts": lambda: trained(world, 10, micro_batches=1 + world.rank),
        "policy": lambda: trained(world, 10, nan_policy="skip" if odd else "stop"),
        "data": lambda: list(ag.fit(Net.build(), SGD(), (images + odd, classes), parallel=world)),
        "later": frozen_later,
        "few": lambda: trained(world, 1, progress=Progress(epochs=1, batch_size=1, seed=0)),
        "update": lambda: world.replica(Net.build(), SGD()).update(),
    }
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = np.array("nothing")
        except AutographError as error:
            said[name] = np.array(f"{type(error).__name__}: {error}")
    return said


def tiny(world: World | None, ranks: int, out: Path) -> Any:
    """One sample to train on, and one to test: most ranks have none."""
    model = Net.build(seed=3, device=DEVICE if world is None else world.device)
    one = IMAGES[:1], CLASSES[:1]
    reports = list(
        ag.fit(
            model, SGD(learning_rate=0.1), one, one, epochs=2, batch_size=4 // ranks,
            parallel=world,
        )
    )  # fmt: skip
    found = {f"model.{path}": each.numpy() for path, each in model.named_parameters().items()}
    return found | {"tests": np.array([each.test.loss for each in reports if each.test])}


def halves(world: World | None, ranks: int, out: Path) -> Any:
    """A bf16 model with its f32 masters in parts."""
    shard = changed(world, shard_optimizer=True)
    return trained(shard, 20 // ranks, scalar_type="bf16")[0]


def begun(world: World | None, ranks: int, out: Path) -> Any:
    """A run that ends after the second of three epochs, and goes on at once."""
    first = trained(world, 20 // ranks, run=out / "begun", stop_after=2)[0]
    again = trained(world, 20 // ranks, run=out / "begun")[0]
    return again | {"before": first["losses"]}


def signalled(world: World | None, ranks: int, out: Path) -> Any:
    """A run whose rank 0 gets a signal in the second epoch, and that goes on."""
    count = itertools.count(1)

    def watch(*_: object) -> None:
        if next(count) == 14:
            signal.raise_signal(signal.SIGINT)

    with suppress(KeyboardInterrupt, Stopped):
        trained(world, 20 // ranks, run=out / "signalled", watch=watch)
    return trained(world, 20 // ranks, run=out / "signalled")[0]


def resumed(world: World | None, ranks: int, out: Path) -> Any:
    """The run of `begun`'s first two epochs, which others than these ranks have made."""
    return trained(world, 20, run=out / "elsewhere")[0]


def begun_sharded(world: World | None, ranks: int, out: Path) -> Any:
    """The same with a part of Adam's state on each rank."""
    shard = changed(world, shard_optimizer=True)
    trained(shard, 20 // ranks, adam=True, run=out / "begun_sharded", stop_after=2)
    return trained(shard, 20 // ranks, adam=True, run=out / "begun_sharded")[0]


def resumed_sharded(world: World | None, ranks: int, out: Path) -> Any:
    """The run of two ranks of 10 each goes on with more."""
    shard = changed(world, shard_optimizer=True)
    return trained(shard, 10, adam=True, run=out / "elsewhere_sharded")[0]


def own_loop(world: World | None, ranks: int, out: Path) -> Any:
    """A loop of one's own: a replica, whose ranks give unequal weights at first."""
    rank = 0 if world is None else world.rank
    device = ag.Device(DEVICE) if world is None else world.device
    model = Net.build(seed=rank, device=device)
    optimizer = SGD(learning_rate=0.05)
    replica = (world or World(device=device)).replica(model, optimizer)
    each = 24 // ranks
    for i in range(4):
        if i in (1, 2):  # frozen for one step
            model.conv1.freeze() if i == 1 else model.conv1.unfreeze()
        rows = slice(24 * i + rank * each, 24 * i + (rank + 1) * each)
        x, t = (ag.Tensor(each[rows], device=device) for each in DATA)
        model(x).cross_entropy_loss(t).backward()
        replica.average()
        replica.update()
    replica.check()
    replica.close()
    return {path: each.numpy() for path, each in model.named_parameters().items()}


def changed(world: World | None, near: bool = True, **options: Any) -> World | None:
    """The same ranks with other options."""
    if world is None:
        return None
    other = copy.copy(world)
    other.options = replace(world.options, **options)
    other.local_size = world.local_size if near else 1
    return other


CHECKS: dict[str, Callable[[World | None, int, Path], Any]] = {
    each.__name__: each
    for each in (
        plain, uneven, few, dropped, parts, adam, norms, synced, synced_uneven, sent, overlapped,
        rounded, sharded, scattered, sharded_rounded, between, grouped, refused, clipped, halves,
        begun, signalled, resumed, begun_sharded, resumed_sharded, own_loop, tiny, disagreeing,
    )
}  # fmt: skip


def main(out: Path, names: list[str]) -> None:
    world = parallel.init(device=DEVICE, timeout=300.0)
    for name in names:
        found = CHECKS[name](world, world.size, out)
        np.savez(out / f"{name}-{world.rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
