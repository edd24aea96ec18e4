// Rows of a data set by index, converted and scaled: y[b] = x[index[b]] * scale + shift.
//
// Spec holds Source, Scalar (of y), Index, `pack` (numbers a thread), and `scales`.
#include "fault.cuh"

// Blocks: (packs of a row, rows of y). An index out of range is written down and gives zeros.
template <class Spec>
__global__ void __launch_bounds__(256)
gather(const typename Spec::Source* __restrict__ x, const typename Spec::Index* __restrict__ index,
       typename Spec::Scalar* __restrict__ y, uint64* fault, int64 rows, int64 wanted,
       int64 row_size, double scale,
       double shift) {
    using Number = Wide<typename Spec::Scalar>;
    constexpr int pack = Spec::pack;
    const int64 at = (int64(blockIdx.x) * blockDim.x + threadIdx.x) * pack;
    if (at >= row_size) return;
    for (int64 b = blockIdx.y; b < wanted; b += gridDim.y) {
        const int64 row = index[b];
        const bool inside = row >= 0 && row < rows;
        if (!inside && at == 0) report_fault(fault, b, row);
        Pack<typename Spec::Scalar, pack> values;
        if (inside) {
            const auto from = load_pack<pack>(x + row * row_size + at);
#pragma unroll
            for (int i = 0; i < pack; i++) {
                if constexpr (Spec::scales) {
                    const Number value = Number(widen(from[i]));
                    values[i] = narrow<typename Spec::Scalar>(
                        multiply_add(value, Number(scale), Number(shift)));
                } else {
                    values[i] = narrow<typename Spec::Scalar>(widen(from[i]));
                }
            }
        } else {
#pragma unroll
            for (int i = 0; i < pack; i++) values[i] = narrow<typename Spec::Scalar>(0);
        }
        store_pack<pack>(y + b * row_size + at, values);
    }
}
