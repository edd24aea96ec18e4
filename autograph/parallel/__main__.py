"""Ranks as they are, and steps as they would be: python -m autograph.parallel ranks | scaling."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .joining import init
from .scaling import Job, Link, limits
from .world import World


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m autograph.parallel", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ranks = commands.add_parser("ranks", help="who is there (start it with mpiexec), how fast")
    ranks.add_argument("--device", help="host or cuda; by default cuda where there is one")
    ranks.add_argument("--numbers", type=int, default=46_920, help="gradients of an average")
    scaling = commands.add_parser("scaling", help="a model of step time over ranks")
    add = scaling.add_argument
    add("--compute-ms", type=float, required=True, help="a step of one rank alone")
    add("--megabytes", type=float, required=True, help="of gradients, as they are sent")
    add("--bucket-megabytes", type=float, default=67.0)
    add("--contention", type=float, default=0.0, help="of averages, what backward loses meanwhile")
    add("--overhead-us", type=float, default=0.0, help="of a step, beside the averages")
    add("--near-latency-us", type=float, default=3.0, help="of a message within a machine")
    add("--near-gigabytes", type=float, default=300.0, help="a second and rank, within a machine")
    add("--far-latency-us", type=float, default=10.0, help="of a message between machines")
    add("--far-gigabytes", type=float, default=25.0, help="a second and rank, between machines")
    add("--ranks-a-machine", type=int, default=8)
    add("--most", type=int, default=4096, help="ranks")
    options = parser.parse_args(arguments)
    return show_ranks(options) if options.command == "ranks" else show_scaling(options)


def show_ranks(options: argparse.Namespace) -> int:
    """A line for each rank, and the time of an average."""
    world = init(options.device)
    threads = os.environ.get("AUTOGRAPH_THREADS", "all")
    here = f"rank {world.rank}  {socket.gethostname()}  {world.device}  threads {threads}"
    for line in world.texts(here):
        world.print(line)
    times = average_times(world, options.numbers, np.dtype(np.float32))
    world.print(f"an average of {options.numbers:,} f32: {np.median(times):.0f} us")
    return 0


def average_times(
    world: World, size: int, dtype: np.dtype[Any], repeats: int = 200
) -> np.ndarray[Any, Any]:
    """Microseconds of averages of f32 gradients: from when the last rank comes until all end."""
    bucket = world.bucket(size, world.device, dtype, lane="gradients", average=True)
    mine = world.device.put(np.ones(size, np.float32))
    times = []
    for _ in range(repeats):
        world.barrier()
        start = time.perf_counter()
        bucket.begin([mine])
        bucket.end()
        world.device.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return world.gather(np.array(times)).max(axis=0)


def show_scaling(options: argparse.Namespace) -> int:
    """A table over ranks."""
    job = Job(
        compute=options.compute_ms / 1e3,
        nbytes=options.megabytes * 1e6,
        near=Link(options.near_latency_us / 1e6, options.near_gigabytes * 1e9),
        far=Link(options.far_latency_us / 1e6, options.far_gigabytes * 1e9),
        ranks_a_machine=options.ranks_a_machine,
        bucket_bytes=options.bucket_megabytes * 1e6,
        contention=options.contention,
        overhead=options.overhead_us / 1e6,
    )
    print(f"{'ranks':>6}  {'step':>10}  {'speed-up':>9}  {'efficiency':>10}  waits for")
    for ranks, step, efficiency, waits in limits(job, options.most):
        print(
            f"{ranks:>6}  {step * 1e3:>7.3f} ms  {ranks * efficiency:>9.2f}  {efficiency:>10.1%}"
            f"  {waits}".rstrip()
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
