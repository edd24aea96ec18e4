"""Casts, copies and sums in place on a CUDA device, sixteen bytes a thread."""

from functools import cache

from ..backends import CUDA
from ..backends.cuda.arrange import arranged
from ..backends.cuda.compile import c_type
from ..backends.cuda.launch import Kernel, divide_up, offset_type
from ..outline import CHANNELS_LAST, CONTIGUOUS
from ..scalar_type import ScalarType
from .cast import cast
from .elementwise import accumulate
from .shape import copy

_ACCUMULATE = """#include "scalar.cuh"
template <class Spec>
__global__ void __launch_bounds__(256)
accumulate(typename Spec::Scalar* total, const typename Spec::Scalar* part,
           typename Spec::Offset size) {
    constexpr int pack = Spec::pack;
    using Offset = typename Spec::Offset;
    const Offset at = (Offset(blockIdx.x) * Offset(blockDim.x) + Offset(threadIdx.x)) * pack;
    if (at >= size) return;
    const int left = min(Offset(pack), size - at);
    auto sums = load_part<pack>(total + at, left);
    const auto added = load_part<pack>(part + at, left);
#pragma unroll
    for (int i = 0; i < pack; i++)
        sums[i] = narrow<typename Spec::Scalar>(widen(sums[i]) + widen(added[i]));
    store_part<pack>(total + at, sums, left);
}
"""


@cast.kernel(CUDA, strided=True)
def cast_cuda(x, *, scalar_type):
    dtype = ScalarType(scalar_type).dtype
    return x if x.dtype == dtype else arranged(x, dtype)


@copy.kernel(CUDA, strided=True)
def copy_cuda(x):
    return arranged(x)


def _alike(total, part):
    same = total.shape == part.shape and total.scalar_type is part.scalar_type
    return same and total.layout == part.layout and total.layout in (CONTIGUOUS, CHANNELS_LAST)


@accumulate.kernel(
    CUDA, when=lambda total, part: _alike(total, part) and total.scalar_type.is_float,
    strided=CHANNELS_LAST, made=True,
)  # fmt: skip
def accumulate_cuda(inputs, outputs):
    dtype, size = inputs[0].scalar_type.dtype, inputs[0].size
    offset, pack = offset_type(size), 16 // dtype.itemsize
    last = offset.type(size)

    def run(total, part):
        if not size:
            return
        wide = pack if (total.data.ptr | part.data.ptr) % 16 == 0 else 1
        _adding(dtype, offset, wide)(divide_up(size, 256 * wide), total, part, last)

    return run


@cache
def _adding(dtype, offset, pack):
    constants = {"Scalar": c_type(dtype), "Offset": c_type(offset), "pack": pack}
    return Kernel(_ACCUMULATE, "accumulate", constants)
