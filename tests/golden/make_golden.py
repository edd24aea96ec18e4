"""Writes the golden values: what torch answers for the cases below. Run by hand:

    python tests/golden/make_golden.py

It needs torch. Inputs are drawn here and stored beside the answers, in float64 and, rounded, in
float32; `tests/test_golden.py` compares without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent
Arrays = dict[str, np.ndarray[Any, Any]]
rng = np.random.default_rng(20)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape)


def positive(*shape: int) -> np.ndarray[Any, Any]:
    return rng.uniform(0.2, 3.0, size=shape)


def gapped(*shape: int) -> np.ndarray[Any, Any]:
    """No two values closer than 0.01, so that float32 finds the same largest."""
    return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.01 - 0.5


# -- ops: name -> (function of torch, inputs) --------------------------------------------

POINTWISE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "add": (torch.add, (normal(3, 4), normal(4))),
    "subtract": (torch.sub, (normal(3, 1), normal(2, 1, 4))),
    "multiply": (torch.mul, (normal(3, 4), normal())),
    "divide": (torch.div, (normal(3, 4), positive(4))),
    "power": (torch.pow, (positive(3, 4), normal(3, 1))),
    "maximum": (torch.maximum, (np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))),
    "minimum": (torch.minimum, (np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))),
    "negative": (torch.neg, (normal(5),)),
    "abs": (torch.abs, (np.append(normal(5), 0.0),)),
    "exp": (torch.exp, (normal(3, 4),)),
    "log": (torch.log, (positive(3, 4),)),
    "sqrt": (torch.sqrt, (positive(3, 4),)),
    "tanh": (torch.tanh, (np.append(normal(6), [20.0, -20.0]),)),
    "sigmoid": (torch.sigmoid, (np.append(normal(6), [100.0, -100.0, 1e4]),)),
    "relu": (torch.relu, (np.append(normal(6), 0.0),)),
}

MATRICES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul/matrices": (torch.matmul, (normal(5, 7), normal(7, 3))),
    "matmul/batches": (torch.matmul, (normal(4, 1, 5, 7), normal(3, 7, 2))),
    "matmul/vector_matrix": (torch.matmul, (normal(7), normal(2, 7, 3))),
    "matmul/matrix_vector": (torch.matmul, (normal(2, 5, 7), normal(7))),
    "matmul/vectors": (torch.matmul, (normal(7), normal(7))),
    "linear/bias": (lambda x, w, b: F.linear(x, w.T, b), (normal(6, 5), normal(5, 3), normal(3))),
    "linear/plain": (lambda x, w: F.linear(x, w.T), (normal(2, 4, 5), normal(5, 3))),
}

REDUCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "sum/all": (torch.sum, (normal(3, 4, 5),), {}),
    "sum/axes": (lambda x: x.sum((0, 2), keepdim=True), (normal(3, 4, 5),),
                 {"axis": [0, 2], "keepdims": True}),
    "mean/axis": (lambda x: x.mean(1), (normal(3, 4, 5),), {"axis": 1}),
    "max/ties": (lambda x: torch.amax(x, 1), (np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]),),
                 {"axis": 1}),
    "min/ties": (lambda x: torch.amin(x, 1), (np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 1.0]]),),
                 {"axis": 1}),
}  # fmt: skip

CONVOLUTIONS = [
    # x, weight, bias, stride, padding, dilation, groups
    ((2, 1, 12, 12), (3, 1, 5, 5), False, (1, 1), (0, 0), (1, 1), 1),
    ((2, 3, 9, 8), (4, 3, 3, 2), True, (1, 1), (1, 2), (1, 1), 1),
    ((2, 3, 10, 9), (4, 3, 3, 3), True, (2, 3), (1, 0), (1, 1), 1),
    ((1, 4, 11, 10), (6, 2, 2, 3), False, (1, 1), (1, 0), (2, 3), 2),
    ((2, 4, 9, 9), (4, 1, 3, 3), True, (2, 1), (2, 2), (1, 2), 4),
    ((1, 2, 7, 7), (3, 2, 1, 1), False, (2, 2), (0, 0), (1, 1), 1),
    ((1, 3, 8, 8), (2, 3, 8, 8), False, (1, 1), (0, 0), (1, 1), 1),
    ((2, 2, 8, 7), (2, 2, 3, 2), False, (3, 3), (1, 1), (2, 2), 1),
]

POOLS = [
    # x, filter, stride, padding
    ((2, 3, 8, 8), (2, 2), (2, 2), (0, 0)),
    ((2, 2, 9, 7), (2, 2), (2, 2), (0, 0)),  # odd sizes: the rest is left out
    ((1, 2, 9, 8), (3, 3), (2, 2), (0, 0)),  # overlapping
    ((1, 2, 8, 9), (3, 2), (1, 2), (0, 0)),
    ((2, 1, 7, 7), (3, 3), (2, 2), (1, 1)),  # a border
    ((1, 2, 6, 5), (2, 3), (3, 1), (1, 1)),
    ((1, 1, 7, 7), (2, 2), (3, 3), (0, 0)),  # holes
]


def main() -> None:
    """Write every file."""
    store: Arrays = {}
    for group in (POINTWISE, MATRICES):
        for name, (function, inputs) in group.items():
            record(store, name, function, inputs)
    for name, (function, inputs, _) in REDUCTIONS.items():
        record(store, name, function, inputs)
    for i, (x, weight, bias, stride, padding, dilation, groups) in enumerate(CONVOLUTIONS):
        inputs = (normal(*x), normal(*weight), *((normal(weight[0]),) if bias else ()))
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        record(
            store,
            f"conv2/{i}",
            lambda *a, s=settings, g=groups: F.conv2d(*a, **s, groups=g),
            inputs,
        )
        store[f"conv2/{i}/settings"] = np.array([*stride, *padding, *dilation, groups])
    for i, (x, filter, stride, padding) in enumerate(POOLS):
        for op, function in (("max_pool2", F.max_pool2d), ("mean_pool2", F.avg_pool2d)):
            name = f"{op}/{i}"
            record(
                store,
                name,
                lambda a, f=function, s=(filter, stride, padding): f(a, *s),
                (gapped(*x),),
            )
            store[f"{name}/settings"] = np.array([*filter, *stride, *padding])
    for name, scores, target in (
        ("plain", normal(6, 5), np.array([0, 4, 2, 2, 1, 3])),
        (
            "large",
            np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [5e3, 5e3, 5e3]]),
            np.array([1, 1, 2]),
        ),
        ("one", normal(3, 1), np.array([0, 0, 0])),
    ):
        record(store, f"cross_entropy_loss/{name}", F.cross_entropy, (scores, target))
    save_file(store, FOLDER / "ops.safetensors")
    save_file(optimizers(), FOLDER / "optimizers.safetensors")
    for path in FOLDER.glob("*.safetensors"):
        print(f"{path.name}: {path.stat().st_size:,} bytes, torch {torch.__version__}")


def record(store: Arrays, name: str, function: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    """Inputs, seed, answer and gradients, computed in float64 of inputs that float32 holds."""
    inputs = tuple(
        each.astype(np.float32).astype(np.float64) if each.dtype.kind == "f" else each
        for each in inputs
    )
    tensors = [torch.tensor(each, requires_grad=each.dtype.kind == "f") for each in inputs]
    y = function(*tensors)
    dy = normal(*y.shape).astype(np.float32).astype(np.float64)
    y.backward(torch.tensor(dy))
    for i, (each, tensor) in enumerate(zip(inputs, tensors, strict=True)):
        store[f"{name}/input{i}"] = np.ascontiguousarray(each)
        if tensor.grad is not None:
            store[f"{name}/gradient{i}"] = tensor.grad.numpy().copy()
    store[f"{name}/seed"] = np.asarray(dy)
    store[f"{name}/output"] = y.detach().numpy().copy()


# -- optimizers: 60 steps under the same gradients ------------------------------------------

STEPS = 60
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd/plain": (torch.optim.SGD, {"lr": 0.1}),
    "sgd/decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    "sgd/momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd/dampening": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "sgd/nesterov": (torch.optim.SGD,
                     {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "sgd/maximize": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.5, "maximize": True}),
    "adam/plain": (torch.optim.Adam, {"lr": 0.01}),
    "adam/betas": (torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-4}),
    "adam/decay": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "adam/amsgrad": (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "adamw/plain": (torch.optim.AdamW, {"lr": 0.01}),
    "adamw/decay": (torch.optim.AdamW,
                    {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
}  # fmt: skip


def optimizers() -> Arrays:
    """The parameter after 1, 2, 3, 10, 30 and 60 steps, in float32 and float64."""
    start = normal(4, 5).astype(np.float32)
    gradients = (normal(STEPS, 4, 5) * rng.choice([0.01, 1.0, 3.0], size=(STEPS, 1, 1))).astype(
        np.float32
    )
    store: Arrays = {"start": start, "gradients": gradients}
    for name, (cls, settings) in OPTIMIZERS.items():
        for dtype in (torch.float32, torch.float64):
            w = torch.tensor(start, dtype=dtype, requires_grad=True)
            optimizer = cls([w], **settings)
            seen = []
            for step, gradient in enumerate(gradients, start=1):
                w.grad = torch.tensor(gradient, dtype=dtype)
                optimizer.step()
                if step in (1, 2, 3, 10, 30, STEPS):
                    seen.append(w.detach().numpy().copy())
            store[f"{name}/{'f32' if dtype is torch.float32 else 'f64'}"] = np.stack(seen)
    return store


if __name__ == "__main__":
    main()
