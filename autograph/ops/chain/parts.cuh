// What the templates of layers are written with. A block holds S samples in shared memory, and
// its NT threads work on one phase after the other.
//
// An image is planes with a border of zeros: `plane`, `row` and `sample` are its strides. What a
// template is told of its layer is one struct L of constants; the values it makes it hands to a
// function, which puts them where their reader wants them.
#pragma once
#include "block.cuh"
#include "copies.cuh"

#define TEMPLATE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
constexpr int WARPS = NT / 32;

TEMPLATE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// N numbers whose place is a multiple of A of them.
template <int N, int A> TEMPLATE void load(float* to, const float* from) {
    constexpr int fours = A >= 4 ? N / 4 * 4 : 0, twos = A >= 2 ? fours + (N - fours) / 2 * 2 : 0;
    UNROLL for (int i = 0; i < fours; i += 4) {
        const float4 v = *(const float4*)(from + i);
        to[i] = v.x; to[i + 1] = v.y; to[i + 2] = v.z; to[i + 3] = v.w;
    }
    UNROLL for (int i = fours; i < twos; i += 2) {
        const float2 v = *(const float2*)(from + i);
        to[i] = v.x; to[i + 1] = v.y;
    }
    UNROLL for (int i = twos; i < N; i++) to[i] = from[i];
}
template <int N, int A, class T> TEMPLATE void load(float* to, const T* from) {
    constexpr int pack = N % A ? 1 : A;
    UNROLL for (int i = 0; i < N; i += pack) {
        const Pack<T, pack> v = load_pack<pack>(from + i);
        UNROLL for (int k = 0; k < pack; k++) to[i + k] = widen(v[k]);
    }
}
// N numbers at a multiple of N.
template <int N> TEMPLATE void store(float* to, const float* from) {
    if constexpr (N % 4 == 0) {
        UNROLL for (int i = 0; i < N; i += 4)
            *(float4*)(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
    } else if constexpr (N % 2 == 0) {
        UNROLL for (int i = 0; i < N; i += 2) *(float2*)(to + i) = make_float2(from[i],
            from[i + 1]);
    } else {
        UNROLL for (int i = 0; i < N; i++) to[i] = from[i];
    }
}

// -- in and out ------------------------------------------------------------------------------

// The samples of a block, C x H x W each; those past the last sample are zeros.
template <class L> TEMPLATE void load_input(const Scalar* x, float* to, int n0, int N) {
    constexpr int I = L::C * L::H * L::W, plain = L::row == L::W && L::plane == L::H * L::W;
    constexpr bool whole = plain || (sizeof(Scalar) == 2 && L::W % 4 == 0);
    constexpr int V = whole && I % 4 == 0 ? 4 : 1;
    for (int t = threadIdx.x; t < S * I / V; t += NT) {
        const int s = t / (I / V), i = t % (I / V) * V;
        float* place = to + s * L::sample + i / (L::H * L::W) * L::plane +
                       (i / L::W % L::H + L::PY) * L::row + i % L::W + L::PX;
        const Scalar* from = x + size_t(n0 + s) * I + i;
        if (n0 + s >= N) {
            UNROLL for (int k = 0; k < V; k++) place[k] = 0;
        } else if constexpr (sizeof(Scalar) == 4) {
            copy_async<4 * V>(place, from);
        } else {
            load<V, V>(place, from);
        }
    }
}
// Everything but the H x W cells at (PY, PX).
template <class L> TEMPLATE void zero_border(float* image) {
    for (int t = threadIdx.x; t < S * L::C * L::plane; t += NT) {
        const int r = t % L::plane, y = r / L::row - L::PY, x = r % L::row - L::PX;
        if (y < 0 || y >= L::H || x < 0 || x >= L::W)
            image[t / L::plane / L::C * L::sample + t / L::plane % L::C * L::plane + r] = 0;
    }
}
template <int N> TEMPLATE void stage_bias(const Scalar* from, float* to) {
    for (int t = NT - 1 - threadIdx.x; t < N; t += NT) {
        if constexpr (sizeof(Scalar) == 4) copy_async<4>(to + t, from + t);
        else to[t] = widen(from[t]);
    }
}
// The classes of the samples.
template <class T> TEMPLATE void load_target(const T* target, T* to, int n0, int N) {
    const int s = NT - 1 - threadIdx.x;
    if (s >= S || n0 + s >= N) return;
    if constexpr (sizeof(T) >= 4) copy_async<sizeof(T)>(to + s, target + n0 + s);
    else to[s] = target[n0 + s];
}
template <int N> TEMPLATE void zero(float* to) {
    for (int t = threadIdx.x; t < N / 4; t += NT) ((float4*)to)[t] = make_float4(0, 0, 0, 0);
}
// Rows of I numbers of each sample to global memory, LD apart.
template <int I, int sample, int LD, class T>
TEMPLATE void save(const float* from, T* to, int n0, int N) {
    for (int t = NT - 1 - threadIdx.x; t < S * I; t += NT)  // by the warps that have least to do
        if (n0 + t / I < N)
            to[size_t(n0 + t / I) * LD + t % I] = narrow<T>(from[t / I * sample + t % I]);
}
// The gradient of a row, from global memory; zeros past the last sample.
template <int I, class F> TEMPLATE void load_gradient(const Scalar* dy, int n0, int N, F put) {
    for (int t = threadIdx.x; t < S * I; t += NT)
        put(t / I, t % I, n0 + t / I < N ? widen(dy[size_t(n0) * I + t]) : 0.f);
}

// A weight of `count` numbers, whose last few no bulk copy takes.
template <int count> TEMPLATE void copy_weight(Scalar* to, const Scalar* from, uint64* barrier) {
    constexpr int whole = has_bulk_copies ? count * sizeof(Scalar) / 16 * 16 / sizeof(Scalar) : 0;
    if (whole && threadIdx.x == 0) copy_bulk(to, from, whole * sizeof(Scalar), barrier);
    for (int t = whole + threadIdx.x; t < count; t += NT) to[t] = from[t];
}
TEMPLATE constexpr int bulk_bytes(int count) { return count * int(sizeof(Scalar)) / 16 * 16; }
