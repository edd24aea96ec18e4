// Sums and maxima over the threads of a warp or of a block, the same bits in every thread.
#pragma once
#include "scalar.cuh"

// Like max, but a NaN wins: it is never hidden.
template <class T> __device__ inline T max_with_nan(T a, T b) { return a > b || is_nan(a) ? a : b; }

template <class T, class Merge> __device__ inline T merge_in_warp(T value, Merge merge) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = merge(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

// Over `lanes` neighbouring threads: a warp (32), or a whole block of that many threads, all of
// which must call it.
template <int lanes, class T, class Merge> __device__ inline T merge_lanes(T value, Merge merge) {
    value = merge_in_warp(value, merge);
    if (lanes == 32) return value;
    constexpr int warps = lanes / 32;
    __shared__ T of_warp[warps];
    __syncthreads();  // what a call before has left there has been read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    value = of_warp[0];
#pragma unroll
    for (int i = 1; i < warps; i++) value = merge(value, of_warp[i]);
    return value;
}
template <int lanes, class T> __device__ inline T all_sum(T value) {
    return merge_lanes<lanes>(value, [](T a, T b) { return a + b; });
}
template <int lanes, class T> __device__ inline T all_max(T value) {
    return merge_lanes<lanes>(value, [](T a, T b) { return max_with_nan(a, b); });
}
