"""autograph: deep learning that a person can read in an afternoon.

Tensors, gradients and devices are here; layers in `autograph.layers`, optimizers in
`autograph.optim`, data sets in `autograph.data`. Functions of tensors are in `autograph.namespace`
as the array API standard has them, and every op is in `autograph.ops`; both can be had from here
too, the standard's first: `ag.concat([x, y])`, `ag.softmax(x)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors, imports, ops, words
from .backends import CUDA, CUDNN, CUPY, NATIVE, NUMPY, Backend, using
from .backends.precision import precision
from .device import Device
from .op import Op
from .ops.pointwise import pointwise
from .scalar_type import ScalarType
from .tensor import (
    Buffer,
    Parameter,
    Tensor,
    arange,
    enable_grad,
    eye,
    from_dlpack,
    full,
    grad,
    higher_order,
    is_recording,
    is_training,
    no_grad,
    ones,
    random_normal,
    random_uniform,
    training,
    zeros,
)

if TYPE_CHECKING:
    from . import data, layers, metrics, namespace, optim, parallel, testing
    from .anomalies import anomaly
    from .backends.host.pool import get_num_threads, set_num_threads
    from .capturing import capture
    from .checkpoint import Checkpoint, load, save
    from .differentiate import hessian, jacobian, jvp, vjp
    from .layers.fusion import why_not_fused
    from .profiler import profile
    from .recomputing import recompute
    from .runs import Run
    from .train import evaluate, fit

__version__ = "0.1.0"

# Names that cost time to import, by the module that holds them: loaded when first used.
_LATER = imports.modules_of(
    {
        "anomalies": "anomaly",
        "backends.host.pool": "get_num_threads set_num_threads",
        "capturing": "capture",
        "checkpoint": "Checkpoint load save",
        "differentiate": "hessian jacobian jvp vjp",
        "layers.fusion": "why_not_fused",
        "profiler": "profile",
        "recomputing": "recompute",
        "runs": "Run",
        "train": "evaluate fit",
    }
)
_later = imports.later(__name__, _LATER)[0]
_ROOMS = ("data", "layers", "metrics", "namespace", "optim", "parallel", "testing")

__all__ = [
    "CUDA",
    "CUDNN",
    "CUPY",
    "NATIVE",
    "NUMPY",
    "Backend",
    "Buffer",
    "Checkpoint",
    "Device",
    "Op",
    "Parameter",
    "Run",
    "ScalarType",
    "Tensor",
    "anomaly",
    "arange",
    "capture",
    "data",
    "enable_grad",
    "errors",
    "evaluate",
    "eye",
    "fit",
    "from_dlpack",
    "full",
    "get_num_threads",
    "grad",
    "hessian",
    "higher_order",
    "is_recording",
    "is_training",
    "jacobian",
    "jvp",
    "layers",
    "load",
    "metrics",
    "namespace",
    "no_grad",
    "ones",
    "ops",
    "optim",
    "parallel",
    "pointwise",
    "precision",
    "profile",
    "random_normal",
    "random_uniform",
    "recompute",
    "save",
    "set_num_threads",
    "testing",
    "training",
    "using",
    "vjp",
    "why_not_fused",
    "zeros",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name in _LATER:
        return _later(name)
    if not name.startswith("_"):
        for room in import_module(".namespace", __name__), ops:
            if name in room.__all__:
                return getattr(room, name)
    raise words.unknown(__name__, name, words.PACKAGE, import_module(__name__))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
