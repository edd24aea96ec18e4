"""A training of which one rank fails: python -m tests.parallel.faulty HOW RANK TIMEOUT."""

from __future__ import annotations

import os
import signal
import sys
import time

import autograph as ag
from autograph import parallel
from autograph.optim import SGD
from autograph.parallel import World
from autograph.tensor import Parameter

from .worker import DATA, DEVICE, Net

AFTER = 2  # epochs
STEPS = 20  # before a model is changed


def main(how: str, rank: int, timeout: float) -> None:
    world = parallel.init(device=DEVICE, timeout=timeout)
    if how in ("freeze", "replace"):
        change(how, rank, world)

    def fail() -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif how == "hang":
            time.sleep(1000)
        elif how == "exit":
            sys.exit(0)
        elif how == "raise":
            raise ValueError("there is something wrong\nwith this rank")

    model = Net.build(seed=3, device=world.device)
    optimizer = SGD(learning_rate=0.01)
    for report in ag.fit(
        model, optimizer, DATA, epochs=10_000, batch_size=30, parallel=world, nan_policy="ignore"
    ):
        world.print(report)
        if report.epoch == AFTER:
            if how == "none":
                break
            if world.rank == rank:
                fail()
    world.print("done")


def change(how: str, rank: int, world: World) -> None:
    """One rank's model is changed between steps: recorded ones where a layer is frozen."""
    model = Net.build(seed=3, device=world.device)
    optimizer = SGD(learning_rate=0.01)
    replica = world.replica(model, optimizer)
    x, t = (ag.Tensor(each[:20], device=world.device) for each in DATA)

    def step(x: ag.Tensor, t: ag.Tensor) -> None:
        replica.backward(model(x).cross_entropy_loss(t))
        replica.update()

    run = ag.capture(step, optimizer=optimizer, ranks=world) if how == "freeze" else step
    for i in range(10_000):
        if i == STEPS and world.rank == rank and how == "freeze":
            model.conv1.freeze()
        elif i == STEPS and world.rank == rank:
            model.dense1.weight = Parameter(model.dense1.weight)
        run(x, t)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
