"""Larger nets trained on a device: `python -m benches.device_nets [--only GPT] [--file FILE]`.

MLP 784-4096-4096-10 at batch 1,024, ResNet-18 on 32x32 images at batch 256 and 128, and a GPT of 6
blocks, d 512, 8 heads, at 32 sequences of 256 words. Each contender is a process of its own; a run
is ten steps and a wait.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from .results import ROOT, Row, raced, save, shown
from .timing import Contender

FILE = ROOT / "benches" / "device.json"
OURS, TORCH, JAX = (
    "benches.device_models:run_of",
    "benches.device_torch:run_of",
    "benches.device_jax:run_of",
)
VARIANTS = {
    "torch": "",
    "torch compiled": "compiled",
    "torch compiled, captured": "compiled captured",
}


def _ours(net: str, batch: int, scalar_type: str, name: str = "strict") -> list[Contender]:
    work: dict[str, Any] = {"net": net, "batch": batch, "scalar_type": scalar_type, "name": name}
    return [
        Contender("autograph", OURS, work),
        Contender("autograph, eager", OURS, {**work, "captured": False}),
    ]


def _torch(net: str, batch: int, scalar_type: str, **settings: Any) -> list[Contender]:
    work = {"net": net, "batch": batch, "scalar_type": scalar_type, **settings}
    return [
        Contender(name, TORCH, {**work, "variant": variant}) for name, variant in VARIANTS.items()
    ]


def _jax(scalar_type: str, precision: str) -> Contender:
    work = {"scalar_type": scalar_type, "precision": precision}
    return Contender("JAX jit", JAX, work, {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"})


def races() -> dict[str, list[Contender]]:
    """The contenders of every table row, by its name."""
    mlp = ("MLP", 1024)
    found = {
        "MLP train f32 b1024": [
            *_ours(*mlp, "f32"), *_torch(*mlp, "f32"), _jax("f32", "highest"),
        ],
        "MLP train f32 high b1024": [*_ours(*mlp, "f32", "high"), *_torch(*mlp, "f32")],
        "MLP train TF32 b1024": [
            *_ours(*mlp, "f32", "tf32"), *_torch(*mlp, "f32", tf32=True),
            _jax("f32", "default"),
        ],
        "MLP train bf16 b1024": [
            *_ours(*mlp, "bf16"), *_torch(*mlp, "bf16"), _jax("bf16", "default"),
        ],
    }  # fmt: skip
    for batch in (256, 128):
        net = ("ResNet-18", batch, "bf16")
        found[f"ResNet-18 train bf16 b{batch}"] = [*_ours(*net), *_torch(*net, autocast=True)]
    gpt = ("GPT", 32, "bf16")
    found["GPT train bf16 b32"] = [*_ours(*gpt), *_torch(*gpt, autocast=True)]
    return found


def measured(only: str = "", rounds: int = 5, seconds: float = 0.15) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for name, contenders in races().items():
        if only in name:
            rows += raced(name, contenders, rounds=rounds, seconds=seconds)
            print(shown(rows[-len(contenders) :]), flush=True)
    return rows


def device_name() -> str:
    """The name of the device, asked in a way that takes none of its memory."""
    from autograph.device import Device

    return Device.cuda(0).info()["name"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help='a part of a name such as "GPT"')
    parser.add_argument("--file", default=str(Path(os.environ.get("OUT", FILE.parent)) / FILE.name))
    options = parser.parse_args()
    rows = measured(options.only)
    save("device_nets", rows, Path(options.file), device=device_name())


if __name__ == "__main__":
    main()
