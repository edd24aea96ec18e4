"""Unary and binary ops over N elements, forward, and forward and backward, against torch.

`python -m benches.ops [--plot FILE]`; the plot wants matplotlib.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .results import save
from .timing import Contender, race

SIZES = (100, 10_000, 1_000_000, 10_000_000)
UNARY = ("relu", "exp", "log", "sqrt", "tanh", "sigmoid")
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
}
MODES = ("forward", "forward and backward")


def operands(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(0.5, 2.0, size).astype(np.float32) for _ in range(2))
    return x, y


def runs_of(x: Any, y: Any, seed: Any, no_grad: Any) -> dict[str, Callable[[], Any]]:
    """Every op on leaves x and y, by name and mode."""
    ops: dict[str, Callable[[], Any]] = {name: getattr(x, name) for name in UNARY}
    ops |= {name: partial(op, x, y) for name, op in BINARY.items()}

    def infer(op: Any) -> None:
        with no_grad():
            op()

    def back(op: Any) -> None:
        op().backward(seed)
        x.grad = y.grad = None

    found: dict[str, Callable[[], Any]] = {}
    for name, op in ops.items():
        found[f"{name}, {MODES[0]}"] = partial(infer, op)
        found[f"{name}, {MODES[1]}"] = partial(back, op)
    return found


def autograph_runs(size: int) -> Any:
    import autograph as ag

    x, y = (ag.Tensor(each, requires_grad=True) for each in operands(size))
    return runs_of(x, y, ag.Tensor(np.ones(size, np.float32)), ag.no_grad)


def torch_runs(size: int) -> Any:
    import torch

    x, y = (torch.from_numpy(each).requires_grad_() for each in operands(size))
    return runs_of(x, y, torch.ones(size), torch.no_grad)


def measured(rounds: int = 4, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """A row for each op, mode and size."""
    rows = []
    for size in sizes:
        found = race(
            [
                Contender(each, f"benches.ops:{each}_runs", {"size": size})
                for each in ("autograph", "torch")
            ],
            rounds=rounds,
            seconds=0.6,
        )
        for each in found.values():
            if "" in each:
                raise RuntimeError(each[""].error)
        for name, times in found["autograph"].items():
            torch = found["torch"][name]
            rows.append(
                {
                    "bench": name,
                    "size": size,
                    "autograph us": times.median * 1e6,
                    "torch us": torch.median * 1e6,
                    "ratio": times.median / torch.median,
                }
            )
    return rows


def plot(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Time over size, a panel for each op."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [*UNARY, *BINARY]
    figure, panels = pyplot.subplots(3, 3, figsize=(11, 9), sharex=True, sharey=True)
    for name, panel in zip(names, panels.flat, strict=True):
        for mode, style in zip(MODES, ("-", "--"), strict=True):
            found = [row for row in rows if row["bench"] == f"{name}, {mode}"]
            for each, color in (("autograph", "C0"), ("torch", "C1")):
                sizes, times = [r["size"] for r in found], [r[f"{each} us"] for r in found]
                panel.loglog(sizes, times, style, color=color, label=f"{each}, {mode}")
        panel.set_title(name)
        panel.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=7)
    figure.supxlabel("elements")
    figure.supylabel("microseconds")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", type=Path, help="where to draw it, such as ops.png")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rows = measured(1 if options.quick else 4)
    print(f"{'microseconds':36}{'N':>10}{'autograph':>12}{'torch':>12}{'ratio':>7}")
    for row in rows:
        print(
            f"{row['bench']:36}{row['size']:10}{row['autograph us']:12.1f}{row['torch us']:12.1f}"
            f"{row['ratio']:7.2f}"
        )
    if not options.quick:
        save("ops", rows)
    if options.plot is not None:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
