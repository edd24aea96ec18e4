"""Batch normalisation and its gradients on a CUDA device: three launches each, no atomics."""

from pathlib import Path

from ...backends import CUDA
from ...backends.cuda.arrange import arranged, channels_last
from ...backends.cuda.columns import COLUMN_THREADS, adding_threads, column_blocks
from ...backends.cuda.compile import c_type
from ...backends.cuda.launch import NULL, Kernel, aligned, divide_up, number
from ...outline import CHANNELS_LAST
from .batch_norm import batch_norm, batch_norm_back
from .channels import batch_norm_plus_back, batch_norm_relu, batch_norm_relu_pair

_SOURCE = Path(__file__).with_name("batch_norm.cu")


class _Rows:
    """x (N, C, ...) as rows of channels: its sizes, and the launches over them."""

    def __init__(self, x, **flags):
        self.shape, self.dtype = x.shape, x.scalar_type.dtype
        self.wide = x.scalar_type.accumulator.dtype
        self.images = x.ndim == 4
        self.c = x.shape[1]
        rows = x.size // self.c
        self.blocks, self.partial, pack = column_blocks(rows, self.c, self.dtype)
        deep, (shares, groups) = COLUMN_THREADS * pack // 64, self.blocks
        self.whole = min(divide_up(rows, deep), 2 * shares), groups
        self.sizes, self.columns = (number(rows), number(self.c)), divide_up(self.c, 32)
        self.all_sizes = number(shares), *self.sizes
        self.adders = adding_threads(shares)
        self.constants = {
            "Scalar": c_type(self.dtype), "Running": c_type(self.wide), "pack": pack,
            "adders": self.adders, "has_relu": False, "has_plus": False, "has_second": False,
            "has_weight": True, "has_bias": True, **flags,
        }  # fmt: skip
        self.memory = (*x.shape[:1], *x.shape[2:], self.c) if self.images else x.shape

    def kernel(self, name, threads=COLUMN_THREADS):
        return Kernel(_SOURCE, name, self.constants, threads=threads)

    def given(self, x):
        """x as it lies in memory, channels last."""
        return aligned(channels_last(x) if self.images else whole(x))

    def answer(self, y):
        return y.transpose(0, 3, 1, 2) if self.images else y


def whole(x):
    """x, or a contiguous copy."""
    return x if x.flags.c_contiguous else arranged(x)


def _takes(x, *rest, **settings):
    fits = x.scalar_type.is_float and x.ndim in (2, 4) and x.size > x.shape[1]
    pack = 16 // x.scalar_type.dtype.itemsize
    return fits and x.shape[1] % pack == 0 and x.shape[1] < 2**21


def _takes_forward(x, weight, bias, mean, variance, *plus, **settings):
    wide = x.scalar_type.accumulator
    return _takes(x) and all(each is None or each.scalar_type is wide for each in (mean, variance))


def _forward(inputs, outputs, momentum, epsilon, has_relu):
    from cupy import empty

    x, weight, bias, _, _, *plus = inputs
    has_plus = bool(plus) and plus[0] is not None
    rows = _Rows(
        x, has_relu=has_relu, has_plus=has_plus, has_weight=weight is not None,
        has_bias=bias is not None,
    )  # fmt: skip
    moments, standardise = rows.kernel("moments"), rows.kernel("standardise")
    statistics = rows.kernel("statistics", rows.adders)
    saved, numbers = outputs[1].shape, (float(momentum), float(epsilon))

    def run(x, weight, bias, running_mean, running_variance, plus=None):
        x, y = rows.given(x), empty(rows.memory, rows.dtype)
        mean, scale = empty(saved, rows.wide), empty(saved, rows.wide)
        weight, bias = NULL if weight is None else weight, NULL if bias is None else bias
        running = (NULL if each is None else each for each in (running_mean, running_variance))
        partial = empty(*rows.partial)
        moments(rows.blocks, x, partial, *rows.sizes)
        statistics(rows.columns, x, partial, mean, scale, *running, *rows.all_sizes, *numbers)
        plus = NULL if plus is None else rows.given(plus)
        standardise(rows.whole, x, mean, scale, weight, bias, plus, y, *rows.sizes)
        return rows.answer(y), mean, scale

    return run


@batch_norm.kernel(CUDA, when=_takes_forward, strided=CHANNELS_LAST, made=True)
def batch_norm_cuda(inputs, outputs, *, momentum, epsilon):
    return _forward(inputs, outputs, momentum, epsilon, False)


@batch_norm_relu.kernel(CUDA, when=_takes_forward, strided=CHANNELS_LAST, made=True)
def batch_norm_relu_cuda(inputs, outputs, *, momentum, epsilon):
    return _forward(inputs, outputs, momentum, epsilon, True)


@batch_norm_relu_pair.kernel(CUDA, when=_takes_forward, strided=CHANNELS_LAST, made=True)
def batch_norm_relu_pair_cuda(inputs, outputs, *, momentum, epsilon):
    run = _forward(inputs, outputs[1:], momentum, epsilon, True)

    def run_pair(*given):
        y, *saved = run(*given)
        return y, y, *saved

    return run_pair


def _takes_back(dy, x, mean, scale, *rest, **settings):
    return _takes(x) and mean.scalar_type is scale.scalar_type is x.scalar_type.accumulator


def _back(x, **flags):
    from cupy import empty

    rows = _Rows(x, **flags)
    slopes, back = rows.kernel("slopes"), rows.kernel("standardise_back")
    total = rows.kernel("affine_slopes", rows.adders)
    has_plus, has_second, c = flags["has_plus"], flags["has_second"], rows.c
    keeps = has_plus or has_second

    def run(dy, y, x, mean, scale, weight, bias, second):
        dy, x, dx = rows.given(dy), rows.given(x), empty(rows.memory, rows.dtype)
        mean, scale, weight, bias = (whole(each) for each in (mean, scale, weight, bias))
        through = empty(rows.memory, rows.dtype) if keeps else dy
        dweight, dbias = empty(c, rows.dtype), empty(c, rows.dtype)
        means, partial = empty(2 * c, rows.wide), empty(*rows.partial)
        y = rows.given(y) if has_plus else NULL
        second = rows.given(second) if has_second else NULL
        slopes(
            rows.blocks, dy, y, x, mean, scale, weight, bias, second, through, partial,
            *rows.sizes,
        )  # fmt: skip
        total(rows.columns, partial, scale, dweight, dbias, means, *rows.all_sizes)
        back(rows.whole, through, x, mean, scale, weight, bias, means, dx, *rows.sizes)
        found = rows.answer(dx), dweight, dbias
        return (*found, rows.answer(through)) if has_plus else found

    return run


# dy may lie in any way: the gradient of a mean is one number everywhere.
@batch_norm_back.kernel(CUDA, when=_takes_back, strided=True, made=True)
def batch_norm_back_cuda(inputs, outputs, *, rectified):
    run = _back(inputs[1], has_relu=rectified, has_plus=False, has_second=inputs[6] is not None)
    return lambda dy, *rest: run(dy, None, *rest)


@batch_norm_plus_back.kernel(
    CUDA, when=lambda dy, y, *rest: _takes_back(dy, *rest), strided=True, made=True
)
def batch_norm_plus_back_cuda(inputs, outputs):
    return _back(inputs[2], has_relu=True, has_plus=True, has_second=inputs[7] is not None)
