"""Errors of gradients on a device, beside torch's: `python -m benches.device_gradients`.

Of the MLP, ResNet-18 and GPT of `device_models`: the norm of what the gradients of all parameters
are off, as a share of the norm of those in float64, and the worst share of one parameter. Torch
computes bf16 by autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import autograph as ag

from .device_models import step_of
from .device_torch import gradients

NETS = {"MLP": 1024, "ResNet-18": 128, "GPT": 8}  # and how many samples
WAYS = {"strict": "f32", "high": "f32", "tf32": "f32", "bf16": "bf16"}  # and their scalar types


def of_autograph(net: str, way: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Inputs, parameters and gradients as torch has them."""
    step, given, _ = step_of(net, NETS[net], WAYS[way])
    model = step.model  # type: ignore[attr-defined]
    with ag.precision("strict" if way == "bf16" else way):
        *inputs, t = given
        scores = model(*inputs)
        scores.reshape(t.size, scores.shape[-1]).cross_entropy_loss(t).backward()
        slopes = [w.grad for w in model.parameters()]
        found = [
            [
                _as_torch(each, path)
                for path, each in zip(model.named_parameters(), some, strict=True)
            ]
            for some in (model.parameters(), slopes)
        ]
    data = [torch.as_tensor(_single(each)).cuda() for each in given]
    data = [each if each.is_floating_point() else each.long() for each in data]
    return data, found[0], found[1]


def _single(x: Any) -> Any:
    return (x.cast("f32") if x.scalar_type.is_float else x).numpy()


def _as_torch(x: Any, path: str) -> Any:
    """Dense weights are (inputs, outputs) here and (outputs, inputs) there."""
    array = torch.as_tensor(_single(x)).cuda()
    turned = array.dim() == 2 and not path.startswith(("words", "places"))
    return array.T.contiguous() if turned else array


def errors(found: Sequence[Any], right: Sequence[Any]) -> tuple[float, float]:
    """Of all together, and of the worst."""
    off = [float((a.double() - b).norm()) for a, b in zip(found, right, strict=True)]
    size = [float(b.norm()) for b in right]
    whole = float(torch.tensor(off).norm() / torch.tensor(size).norm())
    return whole, max(a / b for a, b in zip(off, size, strict=True))


def main() -> None:
    print(f"{'':22}{'autograph':>12}{'torch':>12}{'worst of':>12}{'of torch':>12}")
    for net in NETS:
        for way, scalar_type in WAYS.items():
            data, parameters, slopes = of_autograph(net, way)
            tf32 = way == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            _, *right = gradients(net, parameters, "f64", data)
            _, *theirs = gradients(net, parameters, scalar_type, data)
            (ours, worst), (torchs, its_worst) = errors(slopes, right), errors(theirs, right)
            print(f"{net:10} {way:10} {ours:12.1e}{torchs:12.1e}{worst:12.1e}{its_worst:12.1e}")


if __name__ == "__main__":
    main()
