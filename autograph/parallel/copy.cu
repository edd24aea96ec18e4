// Arrays written to other places, converted on the way: one launch for many.
//
// Spec holds Source and Target (what is read and written), `count` (arrays) and `pack` (numbers a
// thread).
#include "scalar.cuh"

template <class Spec> struct Table {
    int64 size[Spec::count], first[Spec::count];  // and first block, of each
    typename Spec::Target* target[Spec::count];
    const typename Spec::Source* source[Spec::count];
};

template <class Spec>
__global__ void __launch_bounds__(256) copy_arrays(const __grid_constant__ Table<Spec> table) {
    constexpr int pack = Spec::pack;
    int i = 0;
    for (int k = 1; k < Spec::count; k++) i += blockIdx.x >= table.first[k];
    const int64 at = ((blockIdx.x - table.first[i]) * blockDim.x + threadIdx.x) * pack;
    if (at >= table.size[i]) return;
    const int left = int(min(int64(pack), table.size[i] - at));
    const auto numbers = load_part<pack>(table.source[i] + at, left);
    Pack<typename Spec::Target, pack> converted;
#pragma unroll
    for (int k = 0; k < pack; k++) converted[k] = narrow<typename Spec::Target>(widen(numbers[k]));
    store_part<pack>(table.target[i] + at, converted, left);
}
