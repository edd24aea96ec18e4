"""Dense products against OpenBLAS and torch: `python -m benches.products [--only f32]`.

GFLOP/s of the best tenth of runs of a (M, K) @ b (K, N), with b or a transposed in memory as
the gradients of a dense layer have them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import floor
from .results import save
from .timing import Contender, race

SIZES = (
    (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048),
    (256, 1024, 784), (2048, 256, 1024),
)  # fmt: skip
FORMS = ("a @ b", "a @ b.T", "a.T @ b")
PEERS = {"f32": ("autograph", "numpy", "torch"), "bf16": ("autograph", "torch")}


def operands(m: int, n: int, k: int, form: str) -> tuple[np.ndarray, np.ndarray]:
    """a (M, K) and b (K, N), one of them transposed in memory."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    a = np.ascontiguousarray(a.T).T if form == "a.T @ b" else a
    return a, np.ascontiguousarray(b.T).T if form == "a @ b.T" else b


def runs(peer: str, scalar_type: str) -> dict[str, Callable[[], Any]]:
    """A product of each form and size, by name."""
    found: dict[str, Callable[[], Any]] = {}
    for size in SIZES:
        for form in FORMS:
            product = _product(peer, scalar_type, *operands(*size, form))
            found[f"{form} {'x'.join(map(str, size))}"] = product
    return found


def _product(peer: str, scalar_type: str, a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    if peer == "numpy":
        return partial(np.matmul, a, b)
    if peer == "torch":
        import torch

        kind = torch.float32 if scalar_type == "f32" else torch.bfloat16
        return partial(torch.matmul, *(torch.from_numpy(each).to(kind) for each in (a, b)))
    from autograph.ops.matmul import matmul
    from autograph.scalar_type import ScalarType

    kind = ScalarType(scalar_type).dtype
    return partial(matmul, *(each.astype(kind, order="K") for each in (a, b)))


def measured(rounds: int, only: str = "") -> list[dict[str, Any]]:
    """A row for each product."""
    rows = []
    for scalar_type, peers in PEERS.items():
        if only not in scalar_type:
            continue
        contenders = [
            Contender(peer, "benches.products:runs", {"peer": peer, "scalar_type": scalar_type})
            for peer in peers
        ]
        times = race([*contenders, *floor.CONTENDERS], rounds=rounds, seconds=1.5)
        limit = floor.rates(times)[f"floor {scalar_type}"]
        for size in SIZES:
            for form in FORMS:
                name, operations = f"{form} {'x'.join(map(str, size))}", 2e-9 * np.prod(size)
                rates = {
                    peer: operations / times[peer][name].p10
                    for peer in peers if name in times[peer]
                }  # fmt: skip
                rows.append({"bench": f"{scalar_type} {name}", "floor": limit, **rates})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="f32 or bf16")
    options = parser.parse_args()
    rows = measured(2 if options.quick else 8, options.only)
    print(f"{'GFLOP/s':32} autograph   numpy   torch  of numpy  of torch")
    for row in rows:
        rates = [row.get(peer) for peer in PEERS["f32"]]
        shown = [f"{rate:8.0f}" if rate else " " * 8 for rate in rates]
        ratios = [f"{rates[0] / rate:10.2f}" if rate else " " * 10 for rate in rates[1:]]
        print(f"{row['bench']:32}  {''.join(shown)}{''.join(ratios)}")
    if not options.only and not options.quick:
        save("products", rows)


if __name__ == "__main__":
    main()
