"""Checks of ops, your own included: gradients against differences, kernels against each other.

    from autograph.testing import check_op

    check_op(swish)

Everything is checked on the op's samples, and a failure is an AssertionError that names the op,
the sample and both sides.
"""

from __future__ import annotations

from ..op import Op
from .gradients import check_gradient, check_gradients, differentiable
from .kernels import compare_kernels, kernel_backends
from .samples import all_ops, samples_of

__all__ = [
    "all_ops",
    "check_gradient",
    "check_gradients",
    "check_op",
    "compare_kernels",
    "differentiable",
    "kernel_backends",
    "samples_of",
]


def check_op(op: Op, seed: int = 0) -> None:
    """Check every gradient rule and every enabled kernel of `op` on its samples.

    Gradients are compared with differences in float64. Kernels are compared with the reference,
    or NumPy, in float64: values in every scalar type, outlines, strided inputs; and an input
    may change only if the op says that it writes it.
    """
    if not samples_of(op, seed):
        raise AssertionError(f"check_op: {op.name} has no samples\n  write  @{op.name}.sampled_by")
    compare_kernels(op, seed=seed)
    check_gradients(op, seed)
