// Rows added up by index, in the order in which they stand: total[v] = sum of rows[i], index[i] == v.
//
// Spec holds Scalar, Sum (what is added in), Index, `lanes` (threads across a row, a power of two),
// `pack` (numbers a thread). No atomics on floats: the same bits every run.
#include "fault.cuh"

template <class Spec> using Sums = typename Spec::Sum[Spec::pack];

template <class Spec>
__device__ void add_row(Sums<Spec>& sums, const typename Spec::Scalar* rows, int64 at) {
    const auto found = load_pack<Spec::pack>(rows + at);
#pragma unroll
    for (int i = 0; i < Spec::pack; i++) sums[i] += typename Spec::Sum(widen(found[i]));
}
template <class Spec>
__device__ void store_row(typename Spec::Scalar* to, const Sums<Spec>& sums) {
    Pack<typename Spec::Scalar, Spec::pack> rounded;
#pragma unroll
    for (int i = 0; i < Spec::pack; i++) rounded[i] = narrow<typename Spec::Scalar>(sums[i]);
    store_pack<Spec::pack>(to, rounded);
}

// For few rows of total: each block looks through all indices. Blocks: (size, pieces of a row)
template <class Spec>
__global__ void __launch_bounds__(256)
added_by_scan(const typename Spec::Scalar* __restrict__ rows,
              const typename Spec::Index* __restrict__ index, typename Spec::Scalar* total,
              uint64* fault, int count, int64 size, int64 width) {
    constexpr int lanes = Spec::lanes, ways = 256 / lanes, pack = Spec::pack;
    __shared__ int found[256], before[9];
    __shared__ typename Spec::Sum shared[256 * pack];
    const int lane = threadIdx.x % lanes, way = threadIdx.x / lanes, warp = threadIdx.x / 32;
    const int64 column = (int64(blockIdx.y) * lanes + lane) * pack, wanted = blockIdx.x;
    Sums<Spec> sums;
#pragma unroll
    for (int i = 0; i < pack; i++) sums[i] = 0;
    for (int first = 0; first < count; first += 256) {
        const int at = first + threadIdx.x;
        int64 place = -1;
        if (at < count) {
            const int64 given = int64(index[at]);
            place = given < 0 ? given + size : given;
            const bool wrong = place < 0 || place >= size;
            if (wrong && blockIdx.x == 0 && blockIdx.y == 0) report_fault(fault, at, given);
        }
        const unsigned here = __ballot_sync(~0u, place == wanted);
        __syncthreads();  // what was found before has been added
        if (threadIdx.x % 32 == 0) before[warp + 1] = __popc(here);
        if (threadIdx.x == 0) before[0] = 0;
        __syncthreads();
        int start = 0, all = 0;
        for (int i = 1; i < 9; i++) {
            if (i <= warp) start += before[i];
            all += before[i];
        }
        if (all == 0) continue;
        if (place == wanted) found[start + __popc(here & ((1u << threadIdx.x % 32) - 1))] = at;
        __syncthreads();
        if (column < width)
            for (int i = way; i < all; i += ways) add_row<Spec>(sums, rows, int64(found[i]) * width + column);
    }
#pragma unroll
    for (int i = 0; i < pack; i++) shared[threadIdx.x * pack + i] = sums[i];
    __syncthreads();
    if (way > 0 || column >= width) return;
    for (int other = 1; other < ways; other++)
#pragma unroll
        for (int i = 0; i < pack; i++) sums[i] += shared[(other * lanes + lane) * pack + i];
    store_row<Spec>(total + wanted * width + column, sums);
}

// keys = place * 2**32 + i; what is out of range has place `size`.
template <class Spec>
__global__ void __launch_bounds__(256)
keys_of(const typename Spec::Index* __restrict__ index, int64* keys, uint64* fault, int count,
        int64 size) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    const int64 given = int64(index[i]), place = given < 0 ? given + size : given;
    const bool wrong = place < 0 || place >= size;
    if (wrong) report_fault(fault, i, given);
    keys[i] = (wrong ? size : place) << 32 | i;
}

// For many: keys are sorted, and the first key of a place adds up all of it; total is zero before.
// Blocks: (256 / lanes keys, pieces of a row)
template <class Spec>
__global__ void __launch_bounds__(256)
added_by_key(const typename Spec::Scalar* __restrict__ rows, const int64* __restrict__ keys,
             typename Spec::Scalar* total, int count, int64 size, int64 width) {
    constexpr int lanes = Spec::lanes, pack = Spec::pack;
    const int first = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const int64 column = (int64(blockIdx.y) * lanes + threadIdx.x % lanes) * pack;
    if (first >= count || column >= width) return;
    const int64 place = keys[first] >> 32;
    if (place >= size || (first > 0 && keys[first - 1] >> 32 == place)) return;
    Sums<Spec> sums;
#pragma unroll
    for (int i = 0; i < pack; i++) sums[i] = 0;
    for (int at = first; at < count && keys[at] >> 32 == place; at++)
        add_row<Spec>(sums, rows, (keys[at] & 0xffffffffll) * width + column);
    store_row<Spec>(total + place * width + column, sums);
}
