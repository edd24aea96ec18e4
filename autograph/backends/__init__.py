"""Who can run kernels, and in which order they are asked."""

from .arrays import namespace
from .backend import CUDA, CUDNN, CUPY, NATIVE, NUMPY, REFERENCE, Backend, enabled, limit, using

__all__ = [
    "CUDA",
    "CUDNN",
    "CUPY",
    "NATIVE",
    "NUMPY",
    "REFERENCE",
    "Backend",
    "enabled",
    "limit",
    "namespace",
    "using",
]
