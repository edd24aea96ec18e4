"""Tensors: device-tagged arrays that record how they were made."""

import sys
from types import ModuleType
from typing import Any, NoReturn

from ..errors import SettingsError
from . import chained
from .creation import arange, eye, full, ones, random_normal, random_uniform, zeros
from .exchange import from_dlpack
from .state import enable_grad, higher_order, is_recording, is_training, no_grad, training
from .tensor import Buffer, Parameter, Tensor
from .walk import grad

__all__ = [
    "Buffer",
    "Parameter",
    "Tensor",
    "arange",
    "enable_grad",
    "eye",
    "from_dlpack",
    "full",
    "grad",
    "higher_order",
    "is_recording",
    "is_training",
    "no_grad",
    "ones",
    "random_normal",
    "random_uniform",
    "training",
    "zeros",
]


class _Package(ModuleType):
    """This package, which others call as a function."""

    def __call__(self, *values: Any, **settings: Any) -> NoReturn:
        raise SettingsError("tensor: this is a package, not a function\n  write  ag.Tensor(values)")


sys.modules[__name__].__class__ = _Package
