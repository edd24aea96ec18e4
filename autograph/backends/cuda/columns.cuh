// Sums of columns: x is (rows, C), what is asked for is two numbers a column. One launch adds up shares
// of the rows, a second one the shares, in their order, so that every run gives the same bits.
//
// A block of 512 threads reads 64 neighbouring columns of every few rows.
// Spec holds Scalar, `pack` (columns a thread) and `adders` (threads of a block of the second launch).
#pragma once
#include "scalar.cuh"

constexpr int threads = 512, group = 64;

template <class Spec> using Number = Wide<typename Spec::Scalar>;

// The columns and rows of a thread. Blocks: (shares of the rows, groups)
template <class Spec> struct Place {
    static constexpr int lanes = group / Spec::pack, deep = threads / lanes;
    const int lane = threadIdx.x % lanes, depth = threadIdx.x / lanes;
    const int channel = blockIdx.y * group + lane * Spec::pack;
    const int row = blockIdx.x * deep + depth, step = gridDim.x * deep;
};

// partial (shares, 2, C): the two numbers of each column of the block, of what its threads have of them.
template <class Spec>
__device__ void write_share(const Place<Spec>& place, int C, Number<Spec>* partial,
                            Number<Spec>* first, Number<Spec>* second) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack, warps = threads / 32;
    __shared__ N found[2][warps][group];
#pragma unroll
    for (int i = 0; i < pack; i++) {
#pragma unroll
        for (int distance = Place<Spec>::lanes; distance < 32; distance *= 2) {
            first[i] += __shfl_xor_sync(~0u, first[i], distance);
            second[i] += __shfl_xor_sync(~0u, second[i], distance);
        }
        if (threadIdx.x % 32 < Place<Spec>::lanes) {
            found[0][threadIdx.x / 32][place.lane * pack + i] = first[i];
            found[1][threadIdx.x / 32][place.lane * pack + i] = second[i];
        }
    }
    __syncthreads();
    const int which = threadIdx.x / group, c = threadIdx.x % group;
    const int channel = blockIdx.y * group + c;
    if (which > 1 || channel >= C) return;
    N sum = 0;
#pragma unroll
    for (int i = 0; i < warps; i++) sum += found[which][i][c];
    partial[(int64(blockIdx.x) * 2 + which) * C + channel] = sum;
}

// The same of the numbers that `take(row, first, second)` adds for each row of the block and each column
// of the thread.
template <class Spec, class Take>
__device__ void sum_share(const Place<Spec>& place, int rows, int C, Number<Spec>* partial,
                          Take take) {
    Number<Spec> first[Spec::pack] = {}, second[Spec::pack] = {};
    if (place.channel < C) {
#pragma unroll 4
        for (int row = place.row; row < rows; row += place.step) take(row, first, second);
    }
    write_share(place, C, partial, first, second);
}

// finish(column, first, second, early), once for each column, of the sums in double; early is what
// ask(column) found while they were added up. A block has 32 columns: every warp adds some shares of
// them, and then finishes a few columns.
template <class Spec, class Ask, class Finish>
__device__ void add_shares(const Number<Spec>* __restrict__ partial, int shares, int C, Ask ask,
                           Finish finish) {
    using N = Number<Spec>;
    constexpr int ahead = 9, deep = Spec::adders / 32, own = 32 / deep;
    __shared__ double wide[2][deep][33];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    const int last = blockIdx.x * 32 + warp * own + min(lane, own - 1);  // what this thread finishes
    const auto early = ask(min(last, C - 1));
    double a = 0, b = 0, first = 0, second = 0;
    if (column < C) {
        for (int start = warp; start < shares; start += ahead * deep) {
            N next[2][ahead];  // all of them fly at once
#pragma unroll
            for (int i = 0; i < ahead; i++) {
                const int at = start + i * deep;
                next[0][i] = at < shares ? partial[int64(2 * at) * C + column] : N(0);
                next[1][i] = at < shares ? partial[int64(2 * at + 1) * C + column] : N(0);
            }
#pragma unroll
            for (int i = 0; i < ahead; i++) a += next[0][i], b += next[1][i];
        }
    }
    wide[0][warp][lane] = a, wide[1][warp][lane] = b;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < own; i++) {
        a = wide[0][lane % deep][warp * own + i], b = wide[1][lane % deep][warp * own + i];
#pragma unroll
        for (int distance = deep / 2; distance > 0; distance /= 2) {
            a += __shfl_xor_sync(~0u, a, distance);
            b += __shfl_xor_sync(~0u, b, distance);
        }
        if (lane == i) first = a, second = b;
    }
    if (lane < own && last < C) finish(last, first, second, early);
}
