"""Microseconds of a LeNet5 training step and of inference on a device, eager and captured.

`python -m benches.device_lenet5 [--profile]`; it writes $OUT/device_lenet5.json.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import autograph as ag
from autograph.capturing import capture
from autograph.device import Device
from autograph.optim import SGD
from examples.mnist.lenet5 import LeNet5

DEVICE = Device("cuda:0")


def microseconds(run: Callable[[], Any], repeats: int = 300) -> float:
    """The median of one synchronised run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        DEVICE.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times[repeats // 5 :])


def issued(run: Callable[[], Any], repeats: int = 300) -> float:
    """The time of one run among many that the device is not waited for in between."""
    for _ in range(50):
        run()
    DEVICE.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    DEVICE.synchronize()
    return (time.perf_counter() - start) * 1e6 / repeats


def runs_of(scalar_type: str) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    rng = np.random.default_rng(0)
    images = ag.Tensor(rng.random((1000, 1, 28, 28), np.float32), device=DEVICE).cast(scalar_type)
    x = images[:100].copy()
    t = ag.Tensor(np.arange(100) % 10, device=DEVICE)
    model = LeNet5.build(device=DEVICE, scalar_type=scalar_type, seed=0)
    optimizer = SGD(learning_rate=0.01, momentum=0.9)

    def step(x: ag.Tensor, t: ag.Tensor) -> ag.Tensor:
        loss = model(x).cross_entropy_loss(t)
        loss.backward()
        model.update(optimizer)
        return loss

    def infer(x: ag.Tensor) -> ag.Tensor:
        with ag.no_grad():
            return model(x)

    found = {"train": lambda: step(x, t), "inference 1000": lambda: infer(images)}
    captured, fast = capture(step, optimizer=optimizer), capture(infer)
    return found | {
        "train captured": lambda: captured(x, t),
        "inference 1000 captured": lambda: fast(images),
    }


def main() -> None:
    rows = []
    for scalar_type in ("f32", "bf16"):
        for name, run in runs_of(scalar_type).items():
            start = time.perf_counter()
            run()
            DEVICE.synchronize()
            first = time.perf_counter() - start
            for _ in range(5):
                run()
            rows.append((scalar_type, name, microseconds(run), issued(run), first))
            if "--profile" in sys.argv and name == "train":
                with cProfile.Profile() as profile:
                    for _ in range(200):
                        run()
                pstats.Stats(profile).sort_stats("tottime").print_stats(32)
    print(f"{DEVICE.info()['name']}: microseconds")
    for scalar_type, name, waited, running, first in rows:
        print(
            f"{scalar_type:5} {name:24} synchronised {waited:8.1f}  running {running:8.1f}"
            f"  first {first:.2f} s"
        )
    (Path(os.environ.get("OUT", ".")) / "device_lenet5.json").write_text(
        json.dumps({"device": DEVICE.info(), "rows": rows})
    )


if __name__ == "__main__":
    main()
