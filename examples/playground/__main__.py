"""Watch a small network learn points in the plane: python -m examples.playground --data spiral.

With Textual (pip install 'autograph-nn[view]') the regions are drawn while it learns; without, or
with --plain, they are printed at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from autograph.data import synthetic
from autograph.data.points import SYNTHETIC
from autograph.errors import AutographError
from autograph.layers import Layer, from_description
from autograph.optim import Adam
from autograph.view import print_scene, watch_live
from autograph.view.live import Live

ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Gelu", "Silu")


def network(hidden: int, depth: int, activation: str, seed: int = 0) -> Layer:
    """Points (N, 2) -> scores (N, 2), through `depth` hidden layers: built from a description."""
    fields: dict[str, Any] = {}
    for i in range(1, depth + 1):
        fields[f"dense{i}"] = {"kind": "Dense", "outputs": hidden, "bias": True}
        fields[f"activation{i}"] = {"kind": activation}
    fields["scores"] = {"kind": "Dense", "outputs": 2, "bias": True}
    told = {"kind": "Sequential", "name": "Playground", "input": [2], "fields": fields}
    model: Layer = from_description(told).build(seed=seed)
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and show what was learnt."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.playground",
        description="Watch a small network learn points in the plane.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", default="spiral", choices=SYNTHETIC)
    add("--points", type=int, default=400)
    add("--hidden", type=int, default=16, help="outputs of a hidden layer")
    add("--depth", type=int, default=2, help="hidden layers")
    add("--activation", default="Tanh", choices=ACTIVATIONS)
    add("--learning-rate", type=float, default=0.01)
    add("--epochs", type=int, default=300)
    add("--batch-size", type=int, default=20)
    add("--seed", type=int, default=0)
    add("--plain", action="store_true", help="no live view")
    options = parser.parse_args(arguments)
    live = Live(
        network(options.hidden, options.depth, options.activation, options.seed),
        Adam(learning_rate=options.learning_rate),
        synthetic(options.data, options.points, seed=options.seed),
        synthetic(options.data, options.points, seed=options.seed + 1),
        name=options.data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    if not options.plain and find_spec("textual") and sys.stdout.isatty():
        watch_live(live, tab="regions")
        return 0
    live.start()
    live.join()
    if live.error is not None:
        raise live.error
    print_scene(live.scene)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AutographError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
