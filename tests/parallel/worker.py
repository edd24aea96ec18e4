"""What each rank of the tests runs: python -m tests.parallel.worker OUT NAME...

Each check writes what it found as OUT/NAME-RANK.npz; the tests compare that with one process.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph import parallel
from autograph.checkpoint import training_arrays
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
from autograph.optim import SGD, Adam, Cosine
from autograph.parallel import World, host
from autograph.parallel.sharding import memory_of
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
    adam = more.pop("adam", False)
    optimizer = Adam(learning_rate=0.002) if adam else SGD(
        learning_rate=Cosine(peak=0.05), momentum=0.9, clip_norm=more.pop("clip", None)
    )  # fmt: skip
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
        found["held"] = np.array(memory_of(optimizer.state))
        return found
    whole = training_arrays(model, optimizer)
    return found | {name: each for name, each in whole.items() if name.startswith("optimizer.")}


def clipped(world: World | None, ranks: int, out: Path) -> Any:
    """The norm that is clipped is that of all gradients, of which a rank moves a part."""
    return trained(changed(world, shard_optimizer=True), 20 // ranks, clip=0.5)[0]


def halves(world: World | None, ranks: int, out: Path) -> Any:
    """A bf16 model with its f32 masters in parts."""
    shard = changed(world, shard_optimizer=True)
    return trained(shard, 20 // ranks, scalar_type="bf16")[0]


def begun(world: World | None, ranks: int, out: Path) -> Any:
    """A run that ends after the second of three epochs, and goes on at once."""
    first = trained(world, 20 // ranks, run=out / "begun", stop_after=2)[0]
    again = trained(world, 20 // ranks, run=out / "begun")[0]
    return again | {"before": first["losses"]}


def resumed(world: World | None, ranks: int, out: Path) -> Any:
    """The run of `begun`'s first two epochs, which others than these ranks have made."""
    return trained(world, 20, run=out / "elsewhere")[0]


def own_loop(world: World | None, ranks: int, out: Path) -> Any:
    """A loop of one's own: a replica, whose ranks give unequal weights at first."""
    rank = 0 if world is None else world.rank
    device = ag.Device(DEVICE) if world is None else world.device
    model = Net.build(seed=rank, device=device)
    optimizer = SGD(learning_rate=0.05)
    replica = (world or World(device=device)).replica(model, optimizer)
    each = 24 // ranks
    for i in range(4):
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
        rounded, sharded, clipped, halves, begun, resumed, own_loop,
    )
}  # fmt: skip


def main(out: Path, names: list[str]) -> None:
    world = parallel.init(device=DEVICE, timeout=60.0)
    for name in names:
        found = CHECKS[name](world, world.size, out)
        np.savez(out / f"{name}-{world.rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
