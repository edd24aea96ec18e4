// Dense layers: x (I), w (I, O), y (O); w in shared memory or, where that is full, in global.
#pragma once
#include "parts.cuh"

// Sums N values over a warp; lane l ends with the sum of value l / (32 / N).
template <int N, int m = 16> TEMPLATE float merge_values(float* v) {
    if constexpr (m == 0) return v[0];
    const bool upper = threadIdx.x & m;
    UNROLL for (int i = 0; i < N / 2; i++) {
        const float give = upper ? v[i] : v[i + N / 2], keep = upper ? v[i + N / 2] : v[i];
        v[i] = keep + __shfl_xor_sync(~0u, give, m);
    }
    if constexpr (N == 1) v[0] += __shfl_xor_sync(~0u, v[0], m);
    return merge_values<(N > 1 ? N / 2 : 1), m / 2>(v);
}

// y[o] = sum of x[i] w[i][o]: a thread sums V columns over a share of the rows, R at a time.
// L: I, O, V, SP shares, R, sample (stride of x).
template <class L, class W, class F>
TEMPLATE void dense_forward(const float* x, const W* __restrict__ w, float* part, F put) {
    constexpr int groups = L::O / L::V, share = ceil_div(ceil_div(L::I, L::SP), L::R) * L::R;
    constexpr int V = L::V, R = L::R;
    for (int t = threadIdx.x; t < groups * L::SP; t += NT) {
        const int o = t % groups * V, sp = t / groups;
        float sum[S][V] = {};
        _Pragma("unroll 4") for (int i = sp * share; i < min(L::I, sp * share + share); i += R) {
            float a[S][R];
            UNROLL for (int s = 0; s < S; s++) load<R, R>(a[s], x + s * L::sample + i);
            UNROLL for (int r = 0; r < R; r++) {
                float u[V];
                load<V, V>(u, w + (i + r) * L::O + o);
                UNROLL for (int s = 0; s < S; s++) UNROLL for (int e = 0; e < V; e++)
                    sum[s][e] += a[s][r] * u[e];
            }
        }
        UNROLL for (int s = 0; s < S; s++) {
            if constexpr (L::SP == 1) { UNROLL for (int e = 0; e < V; e++) put(s, o + e,
                sum[s][e]); }
            else store<V>(part + (sp * S + s) * L::O + o, sum[s]);
        }
    }
}
template <class L, class F> TEMPLATE void sum_columns(const float* part, F put) {
    _Pragma("unroll 1") for (int t = threadIdx.x; t < S * L::O; t += NT) {
        float v = 0;
        UNROLL for (int sp = 0; sp < L::SP; sp++) v += part[sp * S * L::O + t];
        put(t / L::O, t % L::O, v);
    }
}

// dx[i] = sum of dy[o] w[i][o]: a warp takes IB rows. L: I, O, V, IB, dsample (stride of d).
template <class L, class W, class F>
TEMPLATE void dense_input_grad(const float* d, const W* __restrict__ w, F put) {
    constexpr int V = L::V, IB = L::IB, whole = L::O / (32 * V) * 32 * V;
    const int lane = threadIdx.x % 32;
    for (int t = threadIdx.x / 32; t < ceil_div(L::I, IB); t += WARPS) {
        float sum[S][IB] = {};
        auto step = [&](int o) {
            float g[S][V];
            UNROLL for (int s = 0; s < S; s++) load<V, V>(g[s], d + s * L::dsample + o);
            UNROLL for (int i = 0; i < IB; i++) {
                float u[V];
                load<V, V>(u, w + min(t * IB + i, L::I - 1) * L::O + o);
                UNROLL for (int s = 0; s < S; s++) UNROLL for (int e = 0; e < V; e++)
                    sum[s][i] += u[e] * g[s][e];
            }
        };
        _Pragma("unroll 2") for (int o = lane * V; o < whole; o += 32 * V) step(o);
        if (whole + lane * V < L::O) step(whole + lane * V);
        UNROLL for (int s = 0; s < S; s++) {
            const float v = merge_values<IB>(sum[s]);
            const int i = t * IB + lane / (32 / IB);
            if (lane % (32 / IB) == 0 && i < L::I) put(s, i, v);
        }
    }
}
