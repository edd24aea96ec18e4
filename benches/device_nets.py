"""Larger nets trained on a device: `python -m benches.device_nets [--only GPT] [--file FILE]`.

MLP 784-4096-4096-10 at batch 1,024, ResNet-18 on 32x32 images at batch 256 and 128, and a GPT of 6
blocks, d 512, 8 heads, at 32 sequences of 256 words. Each contender is a process of its own; a run
is ten steps and a wait. Captured steps, torch's and autograph's, are replayed over inputs that stay
where they are. Where parameters are bf16, autograph's optimizer has f32 masters of them, but for
"no masters", and torch's has none, but for "f32 masters".
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .results import ROOT, Row, row_of, save, shown
from .timing import Contender, race

FILE = ROOT / "benches" / "device.json"
OURS, TORCH, JAX = (
    "benches.device_models:run_of",
    "benches.device_torch:run_of",
    "benches.device_jax:run_of",
)
VARIANTS = {"torch": "", "torch compiled, captured": "compiled captured"}
QUIET = {
    "AUTOGRAPH_TUNE": "1",  # as torch.backends.cudnn.benchmark
    "TORCHINDUCTOR_COMPILE_THREADS": "4",  # all contenders compile at once
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def _ours(
    net: str, batch: int, scalar_type: str, precision: str = "strict", name: str = "autograph",
    **settings: Any,
) -> list[Contender]:  # fmt: skip
    work = {"net": net, "batch": batch, "scalar_type": scalar_type, "name": precision, **settings}
    return [
        Contender(name, OURS, work, QUIET),
        Contender(f"{name}, eager", OURS, {**work, "captured": False}, QUIET),
    ]


def _torch(
    net: str, batch: int, scalar_type: str, about: str = "", **settings: Any
) -> list[Contender]:
    work = {"net": net, "batch": batch, "scalar_type": scalar_type, **settings}
    return [
        Contender(f"{name}{about}", TORCH, {**work, "variant": variant}, QUIET)
        for name, variant in VARIANTS.items()
    ]


def _jax(scalar_type: str, precision: str) -> Contender:
    return Contender("JAX jit", JAX, {"scalar_type": scalar_type, "precision": precision}, QUIET)


def races() -> dict[str, list[Contender]]:
    """The contenders of every row of the table, by its name."""
    mlp = ("MLP", 1024)
    found = {
        "MLP train f32 b1024": [
            *_ours(*mlp, "f32"), *_ours(*mlp, "f32", "high", "autograph high")[:1],
            *_torch(*mlp, "f32"), _jax("f32", "highest"),
        ],
        "MLP train TF32 b1024": [
            *_ours(*mlp, "f32", "tf32"), *_torch(*mlp, "f32", tf32=True), _jax("f32", "default"),
        ],
        "MLP train bf16 b1024": [
            *_ours(*mlp, "bf16"), *_ours(*mlp, "bf16", name="autograph, no masters", masters=False),
            *_torch(*mlp, "bf16"),
            *_torch(*mlp, "bf16", ", f32 masters", autocast=True)[1:], _jax("bf16", "default"),
        ],
    }  # fmt: skip
    for batch in (256, 128):
        net = ("ResNet-18", batch, "bf16")
        found[f"ResNet-18 train bf16 b{batch}"] = [*_ours(*net), *_torch(*net, autocast=True)]
    gpt = ("GPT", 32, "bf16")
    found["GPT train bf16 b32"] = [*_ours(*gpt), *_torch(*gpt, autocast=True)]
    return found


def measured(only: str = "", rounds: int = 4, seconds: float = 0.1) -> list[Row]:
    """All rows, of one race: its contenders get ready side by side, and run in turn."""
    wanted = {
        name: each
        for name, each in races().items()
        if any(part in name for part in only.split(","))
    }
    found = race(
        [replace(each, name=f"{name}: {each.name}") for name, some in wanted.items()
         for each in some],
        rounds=rounds, seconds=seconds,
    )  # fmt: skip
    return [
        row_of(name, each.name, found[f"{name}: {each.name}"][""])
        for name, some in wanted.items()
        for each in some
    ]


def device_name() -> str:
    """The name of the device, asked in a way that takes none of its memory."""
    from autograph.device import Device

    return Device.cuda(0).info()["name"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help='parts of names such as "GPT,b128"')
    parser.add_argument("--table", default="device_nets", help="what the table is kept as")
    parser.add_argument("--file", default=str(Path(os.environ.get("OUT", FILE.parent)) / FILE.name))
    options = parser.parse_args()
    rows = measured(options.only)
    print(shown(rows))
    save(options.table, rows, Path(options.file), device=device_name())


if __name__ == "__main__":
    main()
