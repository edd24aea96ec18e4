// Arrays written into a flat one, each at its place, converted on the way: one launch for many.
//
// Spec holds Source and Target (of the arrays and of the flat one), `count` (arrays) and `pack`
// (numbers a thread).
#include "scalar.cuh"

template <class Spec> struct Table {
    typename Spec::Target* flat;
    int64 size[Spec::count], place[Spec::count], first[Spec::count];  // and first block, of each
    const typename Spec::Source* source[Spec::count];
};

template <class Spec>
__global__ void __launch_bounds__(256) pack_flat(const __grid_constant__ Table<Spec> table) {
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
    store_part<pack>(table.flat + table.place[i] + at, converted, left);
}
