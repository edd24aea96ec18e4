"""What streaming metrics count, in place on the device: nothing is read back here.

Shapes: scores (N, C), target (N,); counts (C, C) by target and by prediction; sums (2,) of rows
and hits. The prediction is the first largest score.
"""

import numpy as np

from ..backends import CUPY, NUMPY, namespace
from ..errors import SettingsError, ShapeError
from ..op import Op
from ..scalar_type import F64, I64
from .loss import check_classes

tally_confusion = Op(
    "tally_confusion", "counts scores target", writes="counts", outputs="", promotes=""
)
tally_top = Op("tally_top", "sums scores target", writes="sums", outputs="", promotes="")


def _check(op, scores, target):
    if scores.ndim != 2 or target.shape != scores.shape[:1] or target.scalar_type.is_float:
        raise ShapeError(
            f"{op}: one class index for each row of scores\n"
            f"  scores  {scores.shape}  N classes\n"
            f"  target  {target.scalar_type} {target.shape}  N"
        )


@tally_confusion.outlined_by
def tally_confusion_outline(counts, scores, target):
    """counts[target, first largest score] = counts[target, first largest score] + 1."""
    _check("tally_confusion", scores, target)
    if counts.shape != (scores.shape[1],) * 2 or counts.scalar_type is not I64:
        raise ShapeError(
            f"tally_confusion: counts are i64 of all pairs of classes\n"
            f"  counts  {counts.scalar_type} {counts.shape}\n  scores  {scores.shape}  N classes"
        )
    return ()


@tally_confusion.kernel(NUMPY, CUPY, halves=True)
def tally_confusion_arrays(counts, scores, target):
    classes = scores.shape[1]
    check_classes(target, classes, "tally_confusion", "scores have")
    scores = scores.astype("float32") if scores.dtype.kind == "V" else scores
    pairs = target.astype(np.int64) * classes + scores.argmax(axis=1)
    found = namespace(scores).bincount(pairs, minlength=classes * classes)
    counts += found.reshape(counts.shape)


@tally_confusion.sampled_by
def tally_confusion_samples(rng):
    yield (np.zeros((3, 3), np.int64), rng.normal(size=(6, 3)), rng.integers(0, 3, size=6)), {}


@tally_top.outlined_by
def tally_top_outline(sums, scores, target, *, k):
    """sums = sums + [rows, rows whose target is one of the k largest, of equals the first]."""
    _check("tally_top", scores, target)
    if sums.shape != (2,) or sums.scalar_type is not F64:
        raise ShapeError(f"tally_top: sums are two f64\n  sums  {sums}")
    if not 1 <= k <= scores.shape[1]:
        raise SettingsError(f"tally_top: k is {k}\n  write 1 to {scores.shape[1]}, the classes")
    return ()


@tally_top.kernel(NUMPY, CUPY)
def tally_top_arrays(sums, scores, target, *, k):
    xp = namespace(scores)
    check_classes(target, scores.shape[1], "tally_top", "scores have")
    at = target.astype(np.int64)[:, None]
    own = xp.take_along_axis(scores, at, axis=1)
    before = (scores == own) & (xp.arange(scores.shape[1]) < at)
    rank = ((scores > own) | before).sum(axis=1)
    sums[0] += len(target)
    sums[1] += ((rank < k) & (own == own)[:, 0]).sum()


@tally_top.sampled_by
def tally_top_samples(rng):
    yield (np.zeros(2), rng.normal(size=(6, 4)), rng.integers(0, 4, size=6)), {"k": 2}
