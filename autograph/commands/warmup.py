"""Compile the host's kernels ahead, so that nobody waits for them later.

With MODULE:CLASS the kernels of that model are compiled, by a step of training and one of
inference; without, those of every op. Compiled kernels are kept for this processor and user.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from ..backends import NATIVE, enabled, using
from ..errors import AutographError, DeclarationError
from ..layers import Layer
from ..locate import class_of
from ..optim import SGD, Adam
from ..scalar_type import ScalarType
from ..tensor import Tensor, no_grad


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", nargs="?", metavar="MODULE:CLASS", help="a declared layer with input=")
    add("--scalar-type", action="append", metavar="TYPE", help="f32 unless said; may be repeated")
    add("--batch-size", type=int, default=100, help="of the model's step; 100 unless said")


def run(options: argparse.Namespace) -> int:
    """Compile, and say how many kernels were new and where they are kept."""
    if not enabled(NATIVE):
        print("there is nothing to compile: the host engine is off or llvmlite is not installed")
        return 1
    from ..backends.host import jit

    start, before = time.perf_counter(), jit._notice.count
    types = [ScalarType(each) for each in options.scalar_type or ["f32"]]
    for scalar_type in types:
        if options.model:
            step(class_of(options.model).build(scalar_type=scalar_type), options.batch_size)
        else:
            every_op(scalar_type)
    made = jit._notice.count - before
    words = ", ".join(map(str, types))
    seconds = time.perf_counter() - start
    print(f"{made} kernels compiled in {words}, {seconds:.1f} s; kept in {jit.folder()}")
    return 0


def step(model: Layer, batch_size: int) -> None:
    """One step of training and one of inference, on zeros."""
    shape = getattr(model._builder, "input", None)
    if shape is None:
        raise DeclarationError(
            f"{type(model).__name__} says no input shape\n  write  @sequential(input=...)"
        )
    x = Tensor(np.zeros((batch_size, *shape)), scalar_type=model.scalar_type)
    y = model(x)
    if y.ndim == 2:
        y.cross_entropy_loss(Tensor(np.zeros(batch_size, np.int64))).backward()
    else:
        y.sum().backward()
    for optimizer in (SGD(learning_rate=0.0, momentum=0.9), Adam(learning_rate=0.0)):
        for each in model.parameters():
            each.grad = Tensor(np.zeros(each.shape), scalar_type=each.scalar_type)
        model.update(optimizer)
    with no_grad():
        model(x)


def every_op(scalar_type: ScalarType) -> None:
    """Every op on its samples, with the host's kernels alone."""
    from ..testing import all_ops, samples_of

    for op in all_ops():
        if NATIVE not in op.backends():
            continue
        for arrays, settings in samples_of(op, 0):
            inputs = [
                each.astype(scalar_type.dtype)
                if isinstance(each, np.ndarray) and each.dtype.kind == "f"
                else each.copy() if isinstance(each, np.ndarray) else each
                for each in arrays
            ]  # fmt: skip
            try:
                with using(NATIVE):
                    op(*inputs, **settings)
            except AutographError:
                continue  # NumPy runs this one, or the scalar type does not fit it
