"""Every op by name."""

from ..op import REGISTRY, Op
from .broadcast import broadcast_to, sum_to
from .cast import cast, scaled_cast
from .conv1 import conv1
from .conv2 import conv2, conv2_dweight, conv2_dx
from .elementwise import (
    abs,
    accumulate,
    add,
    divide,
    equal,
    exp,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    relu,
    sigmoid,
    sqrt,
    subtract,
    tanh,
    where,
)
from .index import assign, frozen_key, index, index_add, take
from .linear import linear
from .loss import cross_entropy_loss, tally
from .matmul import matmul
from .pool2 import max_pool2, mean_pool2
from .pointwise import Pointwise, pointwise
from .reduce import argmax, argmin, max, mean, min, sum
from .shape import concat, copy, permute_dims, reshape
from .transfer import transfer
from .update import adam_update, sgd_update, tick

__all__ = sorted(
    name for name, each in list(globals().items()) if isinstance(each, Op) or each is pointwise
)
