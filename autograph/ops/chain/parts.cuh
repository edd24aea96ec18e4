// What the templates of layers are written with. A block holds S samples in shared memory, and
// its NT threads work on one phase after the other.
//
// An image has a border of zeros: `plane`, `row`, `cell` and `sample` are its strides, `origin` the
// place of its first cell. What a template is told of its layer is one struct L of constants; the
// values it makes it hands to a function, which puts them where their reader wants them.
#pragma once
#include "block.cuh"
#include "copies.cuh"
#include "machine.cuh"

#define TEMPLATE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
constexpr int WARPS = NT / 32;

TEMPLATE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
TEMPLATE constexpr int up(int a, int multiple) { return ceil_div(a, multiple) * multiple; }
TEMPLATE constexpr int bulk(int count) { return count & ~(15 / int(sizeof(Scalar))); }
template <class T> TEMPLATE void set(T& to, float v) { to = narrow<T>(v); }

// run(i) for all i < N, by all threads; the turns of one are known, so that its loads fly together.
template <int N, int threads = NT, class F> TEMPLATE void in_turns(int first, F run) {
    _Pragma("unroll 8") for (int i = 0; i < ceil_div(N, threads); i++)
        if ((i + 1) * threads <= N || first + i * threads < N) run(first + i * threads);
}

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

// The samples of a block, C x H x W each, V numbers at a time; those past the last are zeros.
template <class L, class T> TEMPLATE void load_input(const Scalar* x, T* to, int n0, int N) {
    constexpr int I = L::C * L::H * L::W, V = L::V, bytes = V * sizeof(T);
    in_turns<S * I / V>(threadIdx.x, [&](int t) {
        const int s = t / (I / V), i = t % (I / V) * V;
        T* place = to + L::origin + s * L::sample + i / (L::H * L::W) * L::plane +
                   i / L::W % L::H * L::row + i % L::W * L::cell;
        const Scalar* from = x + size_t(n0 + s) * I + i;
        if (n0 + s >= N) {
            UNROLL for (int k = 0; k < V; k++) set(place[k], 0);
        } else if constexpr (sizeof(Scalar) == sizeof(T) && bytes >= 4) {
            copy_async<bytes>(place, from);
        } else {
            const Pack<Scalar, V> v = load_pack<V>(from);
            UNROLL for (int k = 0; k < V; k++) set(place[k], widen(v[k]));
        }
    });
}
// Everything but the C x H x W cells, the first of which stands at (PY, PX).
template <class L, class T> TEMPLATE void zero_border(T* image) {
    for (int t = threadIdx.x; t < S * L::extent; t += NT) {
        const int e = t % L::extent, r = L::cell > 1 ? e : e % L::plane;
        const int c = L::cell > 1 ? e % L::cell : e / L::plane;
        const int y = r / L::row - L::PY, x = r % L::row / L::cell - L::PX;
        if (c >= L::C || y < 0 || y >= L::H || x < 0 || x >= L::W)
            set(image[t / L::extent * L::sample + e], 0);
    }
}
template <int N> TEMPLATE void copy_bias(const Scalar* from, Scalar* to) {
    constexpr int n = 4 / int(sizeof(Scalar));
    for (int t = NT - 1 - threadIdx.x; t < N / n; t += NT) copy_async<4>(to + t * n, from + t * n);
    if (N % n && threadIdx.x == 0) to[N - 1] = from[N - 1];
}
// The classes of the samples.
template <class T> TEMPLATE void load_target(const T* target, T* to, int n0, int N) {
    const int s = NT - 1 - threadIdx.x;
    if (s >= S || n0 + s >= N) return;
    if constexpr (sizeof(T) >= 4) copy_async<sizeof(T)>(to + s, target + n0 + s);
    else to[s] = target[n0 + s];
}
template <int bytes> TEMPLATE void zero(void* to) {
    _Pragma("unroll 1") for (int t = threadIdx.x; t < bytes / 16; t += NT)
        ((float4*)to)[t] = make_float4(0, 0, 0, 0);
}
// Rows of I numbers of each sample to global memory, LD apart.
template <int I, int sample, int LD, class From, class T>
TEMPLATE void save(const From* from, T* to, int n0, int N) {
    // by the warps that have least to do
    _Pragma("unroll 2") for (int t = NT - 1 - threadIdx.x; t < S * I; t += NT)
        if (n0 + t / I < N)
            to[size_t(n0 + t / I) * LD + t % I] = narrow<T>(widen(from[t / I * sample + t % I]));
}
// The gradient of a row, from global memory; zeros past the last sample.
template <int I, class F> TEMPLATE void load_gradient(const Scalar* dy, int n0, int N, F put) {
    for (int t = threadIdx.x; t < S * I; t += NT)
        put(t / I, t % I, n0 + t / I < N ? widen(dy[size_t(n0) * I + t]) : 0.f);
}

// A small weight of `count` numbers, in pieces of whole accesses that are brought `stride` apart.
template <int count, int piece, int stride>
TEMPLATE void copy_small(Scalar* to, const Scalar* from) {
    constexpr int n = 16 / int(sizeof(Scalar));
    in_turns<count / n>(threadIdx.x, [&](int i) {
        copy_async<16>(to + i * n / piece * stride + i * n % piece, from + i * n);
    });
    const int last = count / n * n + threadIdx.x;
    if (last < count) to[last / piece * stride + last % piece] = from[last];
}
// A larger one, each piece by a warp from `first` on; no bulk copy takes the last few numbers.
template <int count, int piece, int stride, int first>
TEMPLATE void copy_weight(Scalar* to, const Scalar* from, uint64* barrier) {
    constexpr int last = (count - 1) / piece * piece;
    constexpr int whole = has_bulk_copies ? last + bulk(count - last) : 0;
    const int warp = (threadIdx.x / 32 + WARPS - first % WARPS) % WARPS;
    if (has_bulk_copies && threadIdx.x % 32 == 0)
        _Pragma("unroll 1") for (int i = warp; i * piece < whole; i += WARPS)
            copy_bulk(to + i * stride, from + i * piece,
                      min(piece, whole - i * piece) * sizeof(Scalar), barrier);
    _Pragma("unroll 1") for (int t = whole + threadIdx.x; t < count; t += NT)
        to[t / piece * stride + t % piece] = from[t];
}
template <int count, int piece> TEMPLATE constexpr int bulk_bytes() {
    return ((count - 1) / piece * piece + bulk((count - 1) % piece + 1)) * int(sizeof(Scalar));
}
