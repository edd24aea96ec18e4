"""A training of which one rank fails: python -m tests.parallel.faulty HOW RANK TIMEOUT."""

from __future__ import annotations

import os
import signal
import sys
import time

import autograph as ag
from autograph import parallel
from autograph.optim import SGD

from .worker import DATA, DEVICE, Net

AFTER = 2  # epochs


def main(how: str, rank: int, timeout: float) -> None:
    world = parallel.init(device=DEVICE, timeout=timeout)

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


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
