"""LeNet5: a training step of 100 images and inference of 1,000: `python -m benches.lenet5`.

A step is what a user writes: forward, mean cross entropy, backward, update; captured, it is
recorded once and replayed. `fit` captures, with batches fetched from a data set and metered. The
peers are torch as it is and in its other variants, and JAX, compiled. `--quick` takes fewer rounds,
`--only "train f32"` one of the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from autograph.layers import summary

from .images import stored
from .results import Row, raced, save, shown
from .timing import Contender

MODES = {"train": 100, "infer": 1000}
TORCH = {
    "torch": {},
    "torch channels_last": {"channels_last": True},
    "torch channels_last foreach": {"channels_last": True, "foreach": True},
    "torch channels_last fused": {"channels_last": True, "fused": True},
    "torch compiled": {"compiled": True},
}


def operations(mode: str) -> float:
    """Floating point operations of a step: all layers forward, and twice that backward, but for
    the images' gradient, which nobody asks for."""
    from .autograph_lenet5 import LeNet5

    told = summary(LeNet5)
    forward = 2.0 * told.multiply_adds * MODES[mode]
    first = 2.0 * told.rows[0].multiply_adds * MODES[mode]
    return 3 * forward - first if mode == "train" else forward


def contenders(mode: str, scalar_type: str) -> Iterator[Contender]:
    """All ways to do it."""
    settings = {"path": stored(), "count": MODES[mode], "scalar_type": scalar_type}
    timed = {**settings, "mode": mode}
    yield Contender("autograph", "benches.autograph_lenet5:runs", timed)
    if mode == "train":
        yield Contender("autograph captured", "benches.autograph_lenet5:captured", settings)
        yield Contender("autograph fit", "benches.autograph_lenet5:fit", settings)
    if scalar_type == "f32":
        off = {"AUTOGRAPH_JIT": "0"}
        yield Contender("autograph, NumPy alone", "benches.autograph_lenet5:runs", timed, off)
    for name, options in TORCH.items():
        if mode == "train" or not {"foreach", "fused"} & options.keys():
            yield Contender(name, "benches.torch_lenet5:runs", {**timed, **options})
    yield Contender("JAX jit", "benches.jax_lenet5:runs", timed)


def measured(rounds: int = 12, only: str = "") -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for scalar_type in ("f32", "bf16"):
        for mode in MODES:
            if only in f"{mode} {scalar_type}":
                rows += raced(
                    f"LeNet5 {mode} {scalar_type} b{MODES[mode]}",
                    list(contenders(mode, scalar_type)),
                    operations=operations(mode),
                    scalar_type=scalar_type,
                    rounds=rounds,
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="train, infer, f32, bf16 or two of them")
    options = parser.parse_args()
    rows = measured(4 if options.quick else 12, options.only)
    print(shown(rows))
    if not options.only and not options.quick:
        save("lenet5", rows)


if __name__ == "__main__":
    main()
