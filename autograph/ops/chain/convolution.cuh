// Convolution, forward: a task is a TY x TX tile of OB channels over a share of the summed ones.
#pragma once
#include "parts.cuh"

// A weight (O, K) as [K][O], rows LD apart, so that a task reads its channels side by side.
template <int O, int K, int LD> TEMPLATE void stage_weight(const Scalar* from, float* to) {
    if constexpr (sizeof(Scalar) == 4) {
        for (int i = threadIdx.x; i < O * K; i += NT)
            copy_async<4>(to + i % K * LD + i / K, from + i);
    } else {
        constexpr int turns = 8;  // under way at a time
        for (int first = threadIdx.x; first < O * K; first += turns * NT) {
            Scalar w[turns];
            UNROLL for (int k = 0; k < turns; k++)
                if (first + k * NT < O * K) w[k] = from[first + k * NT];
            UNROLL for (int k = 0; k < turns; k++) {
                const int i = first + k * NT;
                if (i < O * K) to[i % K * LD + i / K] = widen(w[k]);
            }
        }
    }
}

// L: C, O, KH, KW, SY, SX, GY x GX tiles, TY, TX, OB, SP shares, LD; plane, row, sample;
// the numbers that loads of the image (A) and of the weight (WA) are aligned to.
template <class L, class F>
TEMPLATE void conv_forward(const float* in, const float* w, float* part, F put) {
    constexpr int tiles = L::GY * L::GX, groups = ceil_div(L::O, L::OB), TT = L::TY * L::TX;
    constexpr int PR = (L::TY - 1) * L::SY + L::KH, PW = (L::TX - 1) * L::SX + L::KW;
    constexpr int share = ceil_div(L::C, L::SP), OB = L::OB;
    for (int t = threadIdx.x; t < S * L::SP * groups * tiles; t += NT) {
        const int tile = t % tiles, o0 = t / tiles % groups * OB;
        const int sp = t / tiles / groups % L::SP, s = t / tiles / groups / L::SP;
        const int gy = tile / L::GX, gx = tile % L::GX;
        const float* p = in + s * L::sample + gy * L::TY * L::SY * L::row + gx * L::TX * L::SX;
        float sum[OB][TT] = {};
        _Pragma("unroll 1") for (int c = sp * share; c < min(L::C, sp * share + share); c++) {
            float v[PR][PW];
            UNROLL for (int r = 0; r < PR; r++) load<PW, L::A>(v[r], p + c * L::plane + r * L::row);
            UNROLL for (int i = 0; i < L::KH; i++) UNROLL for (int j = 0; j < L::KW; j++) {
                float k[OB];
                load<OB, L::WA>(k, w + ((c * L::KH + i) * L::KW + j) * L::LD + o0);
                UNROLL for (int o = 0; o < OB; o++) UNROLL for (int e = 0; e < TT; e++)
                    sum[o][e] += k[o] * v[e / L::TX * L::SY + i][e % L::TX * L::SX + j];
            }
        }
        UNROLL for (int o = 0; o < OB; o++) if (L::O % OB == 0 || o0 + o < L::O) {
            if constexpr (L::SP == 1) put(s, o0 + o, gy, gx, sum[o]);
            else store<TT>(part + (((sp * S + s) * L::O + o0 + o) * tiles + tile) * TT, sum[o]);
        }
    }
}

// The sum of the shares of tiles of TT cells. L: C channels, GY, GX, TT, SP.
template <class L, class F> TEMPLATE void sum_tiles(const float* part, F put) {
    constexpr int tiles = L::GY * L::GX, count = S * L::C * tiles, TT = L::TT;
    constexpr int A = TT % 4 == 0 ? 4 : TT % 2 == 0 ? 2 : 1;
    for (int t = threadIdx.x; t < count; t += NT) {
        float v[TT] = {};
        UNROLL for (int sp = 0; sp < L::SP; sp++) {
            float u[TT];
            load<TT, A>(u, part + (sp * count + t) * TT);
            UNROLL for (int e = 0; e < TT; e++) v[e] += u[e];
        }
        put(t / tiles / L::C, t / tiles % L::C, t % tiles / L::GX, t % tiles % L::GX, v);
    }
}
