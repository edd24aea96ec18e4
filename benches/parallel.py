"""What ranks cost and bring: start it with mpiexec.

    mpiexec -n 2 python -m benches.parallel reduce              microseconds of an average
    mpiexec -n 2 python -m benches.parallel train --net lenet5  samples a second, of all and of one
    mpiexec -n 2 python -m benches.parallel memory              bytes of a state in parts
    python -m benches.parallel place --devices cuda:0 cuda:1    one model on several devices

It takes any number of ranks and devices; rank 0 prints, and writes $OUT/parallel.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph import optim, parallel
from autograph.capturing import capture
from autograph.data.dataset import Batch
from autograph.device import Device
from autograph.optim import SGD
from autograph.parallel import World
from autograph.parallel.__main__ import average_times
from autograph.parallel.placing import devices_of
from autograph.parallel.steps import Steps


def lenet5() -> tuple[Any, tuple[int, ...]]:
    from examples.mnist.lenet5 import LeNet5

    return LeNet5, (1, 28, 28)


def resnet18() -> tuple[Any, tuple[int, ...]]:
    from .device_models import ResNet18

    return ResNet18, (3, 32, 32)


def mlp() -> tuple[Any, tuple[int, ...]]:
    from .device_models import MLP

    return MLP, (784,)


ROUNDS = 6
NETS = {"lenet5": lenet5, "resnet18": resnet18, "mlp": mlp}


def batch_of(shape: tuple[int, ...], size: int, device: Device, scalar_type: str) -> Batch:
    """Random images and classes."""
    rng = np.random.default_rng(0)
    x = ag.Tensor(rng.random((size, *shape), np.float32), device=device).cast(scalar_type)
    return Batch(x, ag.Tensor(np.arange(size) % 10, device=device))


def loss(scores: ag.Tensor, targets: ag.Tensor) -> ag.Tensor:
    return scores.cross_entropy_loss(targets)


def timed(
    runs: dict[str, Callable[[], Any]], device: Device, world: World, seconds: float = 0.25
) -> dict[str, list[float]]:
    """Seconds of each run among many that the device is not waited for in between: the median of
    blocks, which take turns, so that a device that warms up does so for all. Of each rank."""
    count = {}
    for name, run in runs.items():
        for repeats in (5, 5):
            device.synchronize()
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            device.synchronize()
        each = float(world.gather(np.array([(time.perf_counter() - start) / 5])).max())
        count[name] = max(5, int(seconds / each))
    blocks: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            world.barrier()
            start = time.perf_counter()
            for _ in range(count[name]):
                run()
            device.synchronize()
            blocks[name].append((time.perf_counter() - start) / count[name])
    return {
        name: world.gather(np.array([statistics.median(each)]))[:, 0].tolist()
        for name, each in blocks.items()
    }


def told(world: World, **values: Any) -> None:
    """A line for people and for files."""
    if world.is_first:
        print(json.dumps(values), flush=True)
        with Path(os.environ.get("OUT", "."), "parallel.jsonl").open("a") as file:
            file.write(json.dumps({"ranks": world.size, **values}) + "\n")


def reduce(world: World, options: argparse.Namespace) -> None:
    """Averages of gradients: the time from when the last rank comes until all have the average."""
    for size in (46_920, 61_706, 1_000_000, 11_000_000):  # of which two are LeNet5s
        for wire in ("f32", "bf16"):
            repeats = 200 if size < 500_000 else 20
            times = average_times(world, size, ag.ScalarType(wire).dtype, repeats)
            told(
                world, what="reduce", device=world.device.kind, numbers=size, wire=wire,
                median_us=round(float(np.median(times)), 1),
                min_us=round(float(times.min()), 1),
            )  # fmt: skip


def train(world: World, options: argparse.Namespace) -> None:
    """Samples a second of one rank by itself, and of all together, in one run."""
    kind, shape = NETS[options.net]()
    device, size = world.device, options.batch
    batch = batch_of(shape, size, device, options.scalar_type)

    def captured(replica_of: Callable[[Any, Any], Any]) -> tuple[Callable[[], Any], Any]:
        model = kind.build(device=device, scalar_type=options.scalar_type, seed=0)
        optimizer = SGD(learning_rate=1e-3, momentum=0.9)
        replica = replica_of(model, optimizer)
        steps = Steps(replica, loss)

        def step(x: ag.Tensor, t: ag.Tensor) -> None:
            steps.train(Batch(x, t))

        fast = capture(step, optimizer=optimizer, ranks=world)
        for _ in range(4):  # recorded with the options as they are now
            fast(*batch)
        return lambda: fast(*batch), replica

    runs = {"alone": captured(World(device=device).replica)[0]}
    replicas = {}
    settings = product(options.gradients, options.buckets, (False, True)[: 1 + options.shard])
    for wire, nbytes, shard in settings:
        world.options = replace(
            world.options, gradients=wire, bucket_bytes=nbytes, shard_optimizer=shard
        )
        name = f"{wire} gradients, buckets of {nbytes / 1e6:.1f} MB{', in parts' * shard}"
        runs[name], replicas[name] = captured(world.replica)
    times = timed(runs, device, world)
    alone = min(times["alone"])  # of the fastest rank
    for name, replica in replicas.items():
        replica.check()
        replica.close()
        took = max(times[name])
        told(
            world, what="train", net=options.net, device=device.kind, batch=size,
            scalar_type=options.scalar_type, how=name,
            megabytes=round(replica.gradients.nbytes / 1e6, 2),
            alone_us=[round(each * 1e6, 1) for each in times["alone"]],
            together_us=round(took * 1e6, 1), samples_a_second=round(world.size * size / took),
            speedup=round(world.size * alone / took, 3),
        )  # fmt: skip


def nbytes_of(optimizer: Any, device: Device | None = None) -> int:
    """Bytes that an optimizer's state takes here, or on a device."""
    every = [each for some in optimizer.state.values() for each in some.values()]
    return sum(each.nbytes for each in every if device in (None, each.device))


def gradient_bytes_of(replica: Any) -> int:
    """Bytes of the averages that this rank gets of each gradient."""
    return sum(each.bucket.sums.nbytes for each in replica.gradients._fillings)


def memory(world: World, options: argparse.Namespace) -> None:
    """Bytes on each rank of an optimizer's state and of averaged gradients, whole and in parts."""
    kind, shape = NETS[options.net]()
    batch = batch_of(shape, 8, world.device, options.scalar_type)
    for name in options.optimizers:
        held: dict[str, Any] = {}
        for shard in (False, True):
            world.options = replace(world.options, shard_optimizer=shard)
            model = kind.build(device=world.device, scalar_type=options.scalar_type, seed=0)
            optimizer = getattr(optim, name)(learning_rate=1e-3)
            replica = world.replica(model, optimizer)
            steps = Steps(replica, loss)
            for _ in range(3):
                steps.train(batch)
            replica.check()
            replica.close()
            mine = np.array([nbytes_of(optimizer), gradient_bytes_of(replica)])
            how = "in parts" if shard else "whole"
            held[f"state {how}"], held[f"gradients {how}"] = world.gather(mine).T.tolist()
        told(
            world, what="memory", net=options.net, parameters=model.parameter_count,
            optimizer=name, **held,
        )  # fmt: skip


def place(world: World, options: argparse.Namespace) -> None:
    """One model on several devices of this process: the same losses, and how fast."""
    kind, shape = NETS[options.net]()
    devices = [Device(each) for each in options.devices]
    found: dict[str, Any] = {}
    for name, count in (("one device", 1), *[("placed", each) for each in (1, 4, 8)]):
        model = kind.build(device=devices[0], scalar_type=options.scalar_type, seed=0)
        layers = [path for path in model.named_layers() if path and "." not in path]
        held = [path for path in layers if list(model.named_layers()[path].parameters())]
        if name == "placed":
            sizes = np.cumsum([model.named_layers()[path].parameter_count for path in held])
            where = [int((at - 1) * len(devices) // sizes[-1]) for at in sizes]
            model.place({p: devices[i] for p, i in zip(held, where, strict=True)})
        optimizer = SGD(learning_rate=1e-2, momentum=0.9)
        steps = Steps(World(device=devices[0]).replica(model, optimizer), loss, count)
        batch = batch_of(shape, options.batch, devices[0], options.scalar_type)
        losses = []
        for _ in range(5):
            parts = steps.train(batch)
            rows = sum(part[1].shape[0] for part in parts)
            losses.append(sum(float(p[0]) * p[1].shape[0] for p in parts) / rows)

        def run(steps: Any = steps, batch: Any = batch) -> None:
            steps.train(batch)
            for each in devices:
                each.synchronize()

        took = timed({"it": run}, devices[0], world)["it"][0]
        found[f"{name}, {count} parts"] = losses
        told(
            world, what="place", net=options.net, how=name, parts=count, ms=round(took * 1e3, 3),
            losses=[round(each, 5) for each in losses],
            bytes={str(each): size for each, size in devices_of(model).items()},
            state={str(each): nbytes_of(optimizer, each) for each in devices},
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.parallel", description=__doc__)
    parser.add_argument("what", nargs="+", choices=("reduce", "train", "memory", "place"))
    parser.add_argument("--device", help="host or cuda; by default cuda where there is one")
    parser.add_argument("--devices", nargs="+", default=["cuda:0", "cuda:1"])
    parser.add_argument("--net", default="lenet5", choices=NETS)
    parser.add_argument("--batch", type=int, default=100, help="of a rank")
    parser.add_argument("--scalar-type", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--gradients", nargs="+", default=["f32"], choices=("f32", "bf16"))
    parser.add_argument("--buckets", nargs="+", type=int, default=[64 << 20])
    parser.add_argument("--optimizers", nargs="+", default=["AdamW"], help="whose memory is told")
    parser.add_argument("--shard", action="store_true", help="the optimizer's state, too")
    options = parser.parse_args(arguments)
    world = parallel.init(options.device)
    world.print(world)
    for each in options.what:
        {"reduce": reduce, "train": train, "memory": memory, "place": place}[each](world, options)


if __name__ == "__main__":
    main()
