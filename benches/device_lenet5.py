"""Microseconds of LeNet5 on a device: `python -m benches.device_lenet5 [--only autograph]`.

A training step of 100 images (forward, mean cross entropy, backward, SGD) and inference of 1,000,
in autograph, torch and JAX, each in a process of its own. "captured" is the replay of a recorded
step over inputs that stay where they are; "called" is autograph's captured function with its
arguments copied and its result handed out; eager steps are issued without waiting in between.
The rows go into $OUT/device.json, of which `python -m benches.readme` makes a table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .device_nets import FILE, device_name
from .results import Row, save

FRAMEWORKS = "autograph", "torch", "jax"
NAMES = {  # as in the tables
    "autograph captured": "autograph",
    "autograph called": "autograph, called",
    "autograph eager": "autograph, eager",
    "torch eager": "torch",
    "jax jit": "JAX jit",
}
Rows = Iterator[tuple[str, str, float]]  # what, how, microseconds


def microseconds(run: Callable[[], Any], wait: Callable[[], Any], count: int = 200) -> float:
    """The median, over seven rounds, of one of `count` runs that are waited for together."""
    for _ in range(20):
        run()
    wait()
    rounds = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        rounds.append((time.perf_counter() - start) * 1e6 / count)
    return statistics.median(rounds)


def batches() -> tuple[Any, Any, Any]:
    """100 images and their labels, and 1,000 images."""
    rng = np.random.default_rng(0)
    images = rng.random((1000, 1, 28, 28), np.float32)
    return images[:100], np.arange(100) % 10, images


def of_autograph() -> Rows:
    import autograph as ag
    from autograph.optim import SGD
    from examples.mnist.lenet5 import LeNet5

    device = ag.Device("cuda:0")
    for scalar_type in ("f32", "bf16"):
        model = LeNet5.build(device=device, scalar_type=scalar_type, seed=0)
        optimizer = SGD(learning_rate=0.01)
        images, labels, many = (ag.Tensor(each, device=device) for each in batches())
        images, many = images.cast(scalar_type), many.cast(scalar_type)

        def step(x: Any, t: Any) -> Any:
            loss = model(x).cross_entropy_loss(t)  # noqa: B023
            loss.backward()
            model.update(optimizer)  # noqa: B023
            return loss

        def infer(x: Any) -> Any:
            with ag.no_grad():
                return model(x)  # noqa: B023

        for what, run, given, owner in (
            ("train b100", step, (images, labels), optimizer),
            ("inference b1000", infer, (many,), None),
        ):
            captured = ag.capture(run, optimizer=owner)
            for _ in range(4):
                captured(*given)
            (recording,) = captured._entries.values()
            name = f"{what} {scalar_type}"
            timed = device.synchronize
            yield name, "captured", microseconds(recording.tape.replay, timed)
            yield name, "called", microseconds(lambda: captured(*given), timed)  # noqa: B023
            yield name, "eager", microseconds(lambda: run(*given), timed)  # noqa: B023


def of_torch() -> Rows:
    import torch
    from torch.nn.functional import cross_entropy

    from .torch_lenet5 import LeNet5

    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize
    images, labels, many = (torch.from_numpy(each).cuda() for each in batches())
    for name, scalar_type in (
        ("f32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16),
    ):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "f32"
        for how, compiles in (("eager", False), ("captured", False), ("compiled, captured", True)):
            torch._dynamo.reset()
            model: Any = LeNet5().cuda().to(scalar_type)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
            x, many_x = images.to(scalar_type), many.to(scalar_type)
            called = torch.compile(model) if compiles else model

            def step() -> None:
                optimizer.zero_grad(set_to_none=True)  # noqa: B023
                cross_entropy(called(x), labels).backward()  # noqa: B023
                optimizer.step()  # noqa: B023

            def infer() -> None:
                with torch.inference_mode():
                    called(many_x)  # noqa: B023

            for what, run in (("train b100", step), ("inference b1000", infer)):
                timed = run if how == "eager" else captured_by_torch(run)
                yield f"{what} {name}", how, microseconds(timed, wait)


def captured_by_torch(run: Callable[[], Any]) -> Callable[[], Any]:
    """The replay of a run as a CUDA graph."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def of_jax() -> Rows:
    import jax
    import jax.numpy as jnp

    from .jax_lenet5 import SHAPES, lenet5, step

    images, labels, many = batches()
    for name, scalar_type, precision in (
        ("f32", jnp.float32, "highest"), ("tf32", jnp.float32, "default"),
        ("bf16", jnp.bfloat16, "default"),
    ):  # fmt: skip
        with jax.default_matmul_precision(precision):
            jax.clear_caches()
            keys = jax.random.split(jax.random.key(0), len(SHAPES))
            weights = {
                each: (jax.random.normal(key, shape) * 0.05).astype(scalar_type)
                for key, (each, shape) in zip(keys, SHAPES.items(), strict=True)
            }
            x, t = jnp.asarray(images.transpose(0, 2, 3, 1), scalar_type), jnp.asarray(labels)
            many_x, last = jnp.asarray(many.transpose(0, 2, 3, 1), scalar_type), [weights]
            model, seen = jax.jit(lenet5), [x]

            def train() -> None:
                last[0], _ = step(last[0], x, t)  # noqa: B023

            def infer() -> None:
                seen[0] = model(weights, many_x)  # noqa: B023

            def wait() -> None:
                jax.block_until_ready((last, seen))  # noqa: B023

            yield f"train b100 {name}", "jit", microseconds(train, wait)
            yield f"inference b1000 {name}", "jit", microseconds(infer, wait)


def row(what: str, how: str, time_taken: float) -> Row:
    """A row as the tables have it; of autograph and torch the replay is what "captured" says."""
    kind, batch, scalar_type = what.split()
    bench = f"LeNet5 {kind} {scalar_type} {batch}".replace("inference", "infer")
    return {"bench": bench, "contender": NAMES.get(how, how), "median ms": time_taken / 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=FRAMEWORKS)
    parser.add_argument("--inside", action="store_true", help="in this process, rows as JSON")
    parser.add_argument("--file", default=str(Path(os.environ.get("OUT", FILE.parent)) / FILE.name))
    options = parser.parse_args()
    if options.inside:
        for each in globals()[f"of_{options.only}"]():
            print(json.dumps(each), flush=True)
        return
    rows = []
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    for framework in [options.only] if options.only else FRAMEWORKS:
        command = [sys.executable, "-m", "benches.device_lenet5", "--inside", "--only", framework]
        found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        for line in found.stdout.splitlines():
            what, how, time_taken = json.loads(line)
            rows.append(row(what, f"{framework} {how}", round(time_taken, 2)))
            print(f"{what:22} {framework:9} {how:20} {time_taken:9.1f} us", flush=True)
        if found.returncode:
            print(f"{framework}: failed", flush=True)
    save("device_lenet5", rows, Path(options.file), device=device_name())


if __name__ == "__main__":
    main()
