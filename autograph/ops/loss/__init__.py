"""Cross entropy of scores and class indices, and what metrics count."""

import numpy as np

from ...backends import CUDA, CUPY, NATIVE, NUMPY, namespace
from ...errors import IndexRangeError, ScalarTypeError, ShapeError
from ...op import Op
from ...scalar_type import F64
from ..declare import asked
from ..elementwise import negative
from ..reduce import mean
from ..scatter import take_along_axis
from ..shape import reshape
from ..softmax import log_softmax

# rows (2, N): the largest x of each row, and the sum of exp(x - the largest)
cross_entropy_loss = Op("cross_entropy_loss", "x target", saves="rows", promotes="x", floats=True)
cross_entropy_loss_dx = Op("cross_entropy_loss_dx", "dy x target rows", promotes="dy x")
tally = Op("tally", "sums loss scores target", writes="sums", outputs="", promotes="")

for _op in (cross_entropy_loss, cross_entropy_loss_dx, tally):
    _op.kernels_from(NATIVE, ".native_kernels")
    _op.kernels_from(CUDA, ".cuda_kernels")


@cross_entropy_loss.outlined_by
def cross_entropy_loss_outline(x, target):
    sides = f"\n  x       {x.shape}  N classes\n  target  {target.shape}  N"
    if target.scalar_type.is_float or target.scalar_type.kind == "bool":
        raise ScalarTypeError(
            f"cross_entropy_loss: target holds class indices, and is {target.scalar_type}"
            f"\n  write  target.cast('i64')"
        )
    if x.ndim != 2 or target.shape != x.shape[:1]:
        raise ShapeError(f"cross_entropy_loss: one class index for each row of x{sides}")
    if x.shape[1] == 0:
        raise ShapeError(f"cross_entropy_loss: x has no classes{sides}")
    return x.like(shape=()), x.like((2, x.shape[0]), x.scalar_type.accumulator)


def check_classes(target, classes, op="cross_entropy_loss", given="x has"):
    """Refuse class indices that are not there, on the host where looking costs no wait."""
    if isinstance(target, np.ndarray):
        wrong = (target < 0) | (target >= classes)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise IndexRangeError(
                f"{op}: target[{i}] = {target[i]} is not a class\n"
                f"  {given} {classes} classes: write 0 to {classes - 1}"
            )


@cross_entropy_loss.kernel(NUMPY, CUPY)
def cross_entropy_loss_arrays(x, target):
    """The mean of log(sum(exp(x))) - x[target]; the row maximum is taken out of exp."""
    xp = namespace(x)
    check_classes(target, x.shape[1])
    largest = x.max(axis=1)
    shifted = x - largest[:, None]
    chosen = xp.take_along_axis(shifted, target[:, None].astype(np.int64), axis=1)[:, 0]
    total = xp.exp(shifted).sum(axis=1)
    loss = (xp.log(total) - chosen).sum(dtype=x.dtype) / x.dtype.type(len(x))
    return loss, xp.stack((largest, total))


@cross_entropy_loss.gradient("x")
def cross_entropy_loss_gradient(y, x, target, *, rows):
    return lambda dy: cross_entropy_loss_dx(dy, x, target, rows)


@cross_entropy_loss.composed_by
def cross_entropy_loss_parts(x, target):
    """The mean of -log_softmax(x)[target]."""
    rows = reshape(target, shape=(target.shape[0], 1))
    return negative(mean(take_along_axis(log_softmax(x, axis=1), rows, axis=1)))


@cross_entropy_loss_dx.outlined_by
def cross_entropy_loss_dx_outline(dy, x, target, rows):
    return x.like()


@cross_entropy_loss_dx.kernel(NUMPY, CUPY)
def cross_entropy_loss_dx_arrays(dy, x, target, rows):
    """(exp(x - largest) / total - one_hot(target)) * dy / N."""
    (largest, total), count = rows, len(target)
    dx = namespace(x).exp(x - largest[:, None])
    dx /= total[:, None]
    dx[namespace(x).arange(count), target.astype(np.int64)] -= 1
    dx *= dy / count
    return dx


@cross_entropy_loss.sampled_by
def cross_entropy_loss_samples(rng):
    for rows, classes in ((4, 3), (1, 10), (5, 1)):
        yield (rng.normal(size=(rows, classes)), rng.integers(0, classes, size=rows)), {}
    yield (np.array([[1e4, -1e4, 0.0]]), np.array([1], np.uint8)), {}


asked(cross_entropy_loss_dx, cross_entropy_loss)

# -- tally -------------------------------------------------------------------------------


@tally.outlined_by
def tally_outline(sums, loss, scores, target):
    if sums.shape != (3,) or sums.scalar_type is not F64:
        raise ShapeError(f"tally: sums are three f64\n  sums  {sums}")
    return ()


@tally.kernel(NUMPY, CUPY)
def tally_arrays(sums, loss, scores, target):
    """sums += [rows, the loss over them, rows whose first largest score is the target's]."""
    rows = len(target)
    sums[0] += rows
    sums[1] += loss.astype(np.float64) * rows
    sums[2] += (scores.argmax(axis=1) == target).sum()


@tally.sampled_by
def tally_samples(rng):
    scores, target = rng.normal(size=(4, 3)), rng.integers(0, 3, size=4)
    yield (np.zeros(3), rng.normal(size=()), scores, target), {}


tally_loss = Op("tally_loss", "sums loss", writes="sums", outputs="", promotes="")


@tally_loss.outlined_by
def tally_loss_outline(sums, loss, *, rows):
    """sums += [rows, the loss over them, 0]: where targets are not classes."""
    return ()


@tally_loss.kernel(NUMPY, CUPY)
def tally_loss_arrays(sums, loss, *, rows):
    sums[0] += rows
    sums[1] += loss.astype(np.float64) * rows


@tally_loss.sampled_by
def tally_loss_samples(rng):
    yield (np.zeros(3), rng.normal(size=())), {"rows": 4}
