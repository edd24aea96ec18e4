// Sums of columns: x is (rows, C), what is asked for is two numbers a column.
//
// A block of 512 threads reads 64 neighbouring columns of every few rows; the last block of such a
// group adds up what the others found, in their order, so that every run gives the same bits.
// Spec holds Scalar and `pack` (columns a thread).
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

// Sums over all rows of the two numbers that `take(row, first, second)` adds for each column of the
// thread, handed to `finish(column, first, second)` once each, in double.
template <class Spec, class Take, class Finish>
__device__ void sum_rows(const Place<Spec>& place, int rows, int C, Number<Spec>* partial,
                         uint32* finished, Take take, Finish finish) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack, deep = Place<Spec>::deep, ahead = 16;
    __shared__ N first_of[deep / 4][group], second_of[deep / 4][group];
    __shared__ bool last;
    N first[pack], second[pack];
#pragma unroll
    for (int i = 0; i < pack; i++) first[i] = second[i] = 0;
    if (place.channel < C) {
#pragma unroll 4
        for (int row = place.row; row < rows; row += place.step) take(row, first, second);
    }
    // four threads in turn add into one row of what the block shares
#pragma unroll
    for (int turn = 0; turn < 4; turn++) {
        if (place.depth % 4 == turn) {
#pragma unroll
            for (int i = 0; i < pack; i++) {
                N& a = first_of[place.depth / 4][place.lane * pack + i];
                N& b = second_of[place.depth / 4][place.lane * pack + i];
                a = turn ? a + first[i] : first[i];
                b = turn ? b + second[i] : second[i];
            }
        }
        __syncthreads();
    }
    const int c = threadIdx.x % group, channel = blockIdx.y * group + c;
    if (threadIdx.x < 2 * group && channel < C) {
        const auto& found = threadIdx.x < group ? first_of : second_of;
        N sum = 0;
#pragma unroll
        for (int i = 0; i < deep / 4; i++) sum += found[i][c];
        partial[(int64(blockIdx.x) * 2 + threadIdx.x / group) * C + channel] = sum;
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(finished + blockIdx.y, 1u) == gridDim.x - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    __shared__ double wide[threads / group][2][group];
    const int share = threadIdx.x / group;
    double a = 0, b = 0;
    if (channel < C) {
        for (int start = share; start < gridDim.x; start += ahead * (threads / group)) {
            N next[2][ahead];  // all of them fly at once
#pragma unroll
            for (int i = 0; i < ahead; i++) {
                const int at = start + i * (threads / group);
                const bool there = at < gridDim.x;
                next[0][i] = there ? __ldcg(partial + int64(2 * at) * C + channel) : N(0);
                next[1][i] = there ? __ldcg(partial + int64(2 * at + 1) * C + channel) : N(0);
            }
#pragma unroll
            for (int i = 0; i < ahead; i++) a += next[0][i], b += next[1][i];
        }
    }
    wide[share][0][c] = a, wide[share][1][c] = b;
    __syncthreads();
    if (share == 0 && channel < C) {
#pragma unroll
        for (int i = 1; i < threads / group; i++) a += wide[i][0][c], b += wide[i][1][c];
        finish(channel, a, b);
    }
    if (threadIdx.x == 0) finished[blockIdx.y] = 0;
}
