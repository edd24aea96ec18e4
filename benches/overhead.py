"""What the tape costs: microseconds of an op on eight numbers, forward and backward; and torch's.

A chain of ops of a few numbers each, in which arithmetic hardly counts: the time of one op without
recording, recorded, and recorded and walked back. `python -m benches.overhead`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .results import save
from .timing import Contender, race

LENGTH = 20  # ops of a chain
REPEATS = 10  # chains of a run
OPS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "x * w": lambda x, w, m: x * w,
    "x + w": lambda x, w, m: x + w,
    "relu": lambda x, w, m: x.relu(),
    "x @ m": lambda x, w, m: x @ m,
}


def chains(x: Any, w: Any, m: Any, no_grad: Any, seed: Any) -> dict[str, tuple[Any, int]]:
    """The runs of either framework: its tensors and its `no_grad`."""

    def forward(op: Any, y: Any) -> Any:
        for _ in range(LENGTH):
            y = op(y, w, m)
        return y

    def made(op: Any, start: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        def infer() -> None:
            with no_grad():
                forward(op, start)

        def back() -> None:
            forward(op, start).backward(seed)
            w.grad = m.grad = None

        yield "no_grad", infer
        yield "forward", lambda: forward(op, start)
        yield "forward and backward", back

    return {
        f"{name}, {mode}": (lambda run=run: [run() for _ in range(REPEATS)], LENGTH * REPEATS)
        for name, op in OPS.items()
        for mode, run in made(op, w if name == "relu" else x)
    }


def numbers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (1, 8), w (1, 8) and m (8, 8)."""
    return np.ones((1, 8), "f4"), np.ones((1, 8), "f4"), np.eye(8, dtype="f4")


def autograph_chains() -> Any:
    import autograph as ag

    x, w, m = numbers()
    leaf = lambda array: ag.Tensor(array, requires_grad=True)  # noqa: E731
    return chains(ag.Tensor(x), leaf(w), leaf(m), ag.no_grad, ag.Tensor(x))


def torch_chains() -> Any:
    import torch

    torch.set_num_threads(1)
    x, w, m = map(torch.tensor, numbers())
    return chains(x, w.requires_grad_(), m.requires_grad_(), torch.no_grad, torch.ones(1, 8))


def measured(rounds: int = 8) -> list[dict[str, Any]]:
    """A row for each op and mode, in microseconds; the 10th percentile, as a small op that was
    interrupted says nothing."""
    contenders = [
        Contender("autograph", "benches.overhead:autograph_chains"),
        Contender("torch", "benches.overhead:torch_chains"),
    ]
    found = race(contenders, rounds=rounds, seconds=0.5)
    for each in found.values():
        if "" in each:
            raise RuntimeError(each[""].error)
    return [
        {
            "bench": name,
            "autograph us": times.p10 * 1e6,
            "torch us": found["torch"][name].p10 * 1e6,
            "ratio": times.p10 / found["torch"][name].p10,
        }
        for name, times in found["autograph"].items()
    ]


def main() -> None:
    rows = measured()
    print(f"{'microseconds an op':32}{'autograph':>10}{'torch':>8}{'ratio':>7}")
    for row in rows:
        print(
            f"{row['bench']:32}{row['autograph us']:10.2f}{row['torch us']:8.2f}{row['ratio']:7.2f}"
        )
    save("overhead", rows)


if __name__ == "__main__":
    main()
