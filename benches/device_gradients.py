"""Errors of gradients on a device, beside torch's: `python -m benches.device_gradients`.

Of the MLP, ResNet-18 and GPT of `device_models`: the norm of what the gradients of all parameters
are off, as a share of the norm of those in float64, and the worst share of one parameter; medians
over some draws of the inputs. Torch computes bf16 by autocast. Relu answers a sum near zero with a
gradient of one or zero, whichever way the sum was rounded, and every layer hands that on; with
softplus in the place of relu ResNet-18 shows what rounding alone does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional

import autograph as ag
from autograph import ops

from . import device_models
from .device_torch import gradients

NETS = {"MLP": 1024, "ResNet-18": 128, "GPT": 8}  # and how many samples
WAYS = {"strict": "f32", "high": "f32", "tf32": "f32", "bf16": "bf16"}  # and their scalar types
DRAWS = 5


def of_autograph(net: str, way: str, seed: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Inputs, parameters and gradients as torch has them."""
    step, given, _ = device_models.step_of(net, NETS[net], WAYS[way], seed=seed)
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


@contextmanager
def softplus() -> Iterator[None]:
    """ResNet-18 with softplus in the place of relu."""

    def rectified(norm: Any, x: Any) -> Any:
        return ops.softplus(norm(x), 1.0)

    def forked(norm: Any, x: Any, plus: Any = None) -> Any:
        y = ops.softplus(norm(x) if plus is None else norm(x) + plus, 1.0)
        return y, y

    with (
        patch.object(device_models, "rectified", rectified),
        patch.object(device_models, "forked", forked),
        patch.object(functional, "relu", functional.softplus),
    ):
        yield


def report(net: str, way: str, name: str = "") -> None:
    """A row of medians: all parameters together, ours and torch's, and the worst."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = way == "tf32"
    draws = []
    for seed in range(DRAWS):
        data, parameters, slopes = of_autograph(net, way, seed)
        _, *right = gradients(net, parameters, "f64", data)
        _, *theirs = gradients(net, parameters, WAYS[way], data)
        draws.append((*errors(slopes, right), *errors(theirs, right)))
    ours, worst, torchs, its_worst = (median(each) for each in zip(*draws, strict=True))
    row = f"{ours:12.1e}{torchs:12.1e}{worst:12.1e}{its_worst:12.1e}"
    print(f"{name or net:20} {way:8}{row}", flush=True)


def main() -> None:
    print(f"{'':29}{'autograph':>12}{'torch':>12}{'worst of':>12}{'of torch':>12}")
    for net in NETS:
        for way in WAYS:
            report(net, way)
    with softplus():
        for way in ("strict", "tf32"):
            report("ResNet-18", way, "ResNet-18, softplus")


if __name__ == "__main__":
    main()
