// Convolution, backward: the gradients of its input and of its weight, from the gradient d of its
// output, an image of its own.
#pragma once
#include "convolution.cuh"

// By tiles of the input: d stands at the first row and column that any tile needs.
// L: C channels of the input, O of the output, KH, KW, SY, SX, PY, PX (padding), H, W, and
// GY x GX tiles of TY x TX cells, OB channels, SP shares of the summed O, LD; strides; A.
template <class L, class F>
TEMPLATE void conv_input_grad(const float* d, const float* w, float* part, F put) {
    constexpr int tiles = L::GY * L::GX, groups = ceil_div(L::C, L::OB), TT = L::TY * L::TX;
    constexpr int LY = (L::KH - 1 - L::PY) / L::SY, LX = (L::KW - 1 - L::PX) / L::SX;
    constexpr int PR = (L::TY - 1 + L::PY) / L::SY + LY + 1, share = ceil_div(L::O, L::SP);
    constexpr int PW = (L::TX - 1 + L::PX) / L::SX + LX + 1, OB = L::OB, KK = L::KH * L::KW;
    for (int t = threadIdx.x; t < S * L::SP * groups * tiles; t += NT) {
        const int tile = t % tiles, c0 = t / tiles % groups * OB;
        const int sp = t / tiles / groups % L::SP, s = t / tiles / groups / L::SP;
        const int gy = tile / L::GX, gx = tile % L::GX;
        const float* p = d + s * L::sample + gy * (L::TY / L::SY) * L::row + gx * (L::TX / L::SX);
        float sum[OB][TT] = {};
        _Pragma("unroll 1") for (int o = sp * share; o < min(L::O, sp * share + share); o++) {
            float v[PR][PW];
            const float* q = w + c0 * KK * L::LD + o;
            UNROLL for (int r = 0; r < PR; r++) load<PW, L::A>(v[r], p + o * L::plane + r * L::row);
            UNROLL for (int i = 0; i < L::KH; i++) UNROLL for (int j = 0; j < L::KW; j++) {
                float k[OB];
                UNROLL for (int c = 0; c < OB; c++)
                    k[c] = q[(L::C % OB == 0 || c0 + c < L::C ? c * KK + i * L::KW + j : 0)
                        * L::LD];
                UNROLL for (int c = 0; c < OB; c++) UNROLL for (int e = 0; e < TT; e++) {
                    const int y = e / L::TX + L::PY - i + LY * L::SY;
                    const int x = e % L::TX + L::PX - j + LX * L::SX;
                    if (y % L::SY == 0 && x % L::SX == 0 && y >= 0 && x >= 0)
                        sum[c][e] += k[c] * v[y / L::SY][x / L::SX];
                }
            }
        }
        UNROLL for (int c = 0; c < OB; c++) if (L::C % OB == 0 || c0 + c < L::C) {
            if constexpr (L::SP == 1) put(s, c0 + c, gy, gx, sum[c]);
            else store<TT>(part + (((sp * S + s) * L::C + c0 + c) * tiles + tile) * TT, sum[c]);
        }
    }
}

// By rows, for narrow images: a task is a row of OB channels of the input, and d has no border.
TEMPLATE constexpr int padded_plane(int n) { return up(n, 8) + 4; }  // an odd number of float4
template <class L, class F>
TEMPLATE void conv_input_grad_rows(const float* d, const float* w, float* part, F put) {
    constexpr int groups = ceil_div(L::C, L::OB), share = ceil_div(L::O, L::SP), OB = L::OB;
    constexpr int KK = L::KH * L::KW;
    for (int t = threadIdx.x; t < S * L::SP * groups * L::H; t += NT) {
        const int c0 = t % groups * OB, sp = t / groups % L::SP;
        const int y = t / groups / L::SP % L::H, s = t / groups / L::SP / L::H;
        float sum[OB][L::W] = {};
        _Pragma("unroll 1") for (int o = sp * share; o < min(L::O, sp * share + share); o++) {
            const float* q = w + c0 * KK * L::LD + o;
            UNROLL for (int i = 0; i < L::KH; i++) {
                const int oy = y + L::PY - i;
                if (oy < 0 || oy >= L::OH * L::SY || oy % L::SY != 0) continue;
                float v[L::OW];
                load<L::OW, L::A>(v, d + s * L::sample + o * L::plane + oy / L::SY * L::row);
                UNROLL for (int c = 0; c < OB; c++) UNROLL for (int j = 0; j < L::KW; j++) {
                    const int at = L::C % OB == 0 || c0 + c < L::C ? c * KK + i * L::KW + j : 0;
                    const float k = q[at * L::LD];
                    UNROLL for (int e = 0; e < L::OW; e++) {
                        const int x = e * L::SX + j - L::PX;
                        if (x >= 0 && x < L::W) sum[c][x] += k * v[e];
                    }
                }
            }
        }
        UNROLL for (int c = 0; c < OB; c++) if (L::C % OB == 0 || c0 + c < L::C) {
            if constexpr (L::SP == 1) {
                put(s, c0 + c, y, 0, sum[c]);
            } else {
                const int plane = ((sp * S + s) * L::C + c0 + c) * padded_plane(L::H * L::W);
                store<L::W>(part + plane + y * L::W, sum[c]);
            }
        }
    }
}
template <class L, class F> TEMPLATE void sum_rows(const float* part, F put) {
    constexpr int HW = L::H * L::W;
    for (int t = threadIdx.x; t < S * L::C * HW; t += NT) {
        float v = 0;
        UNROLL for (int sp = 0; sp < L::SP; sp++)
            v += part[(sp * S * L::C + t / HW) * padded_plane(HW) + t % HW];
        put(t / (L::C * HW), t / HW % L::C, t % HW / L::W, t % L::W, v);
    }
}

// -- weights ---------------------------------------------------------------------------------

// By rows: a task is one row of the filter for OB channels, over every SP-th row of the images.
// L: C, O, OH, OW, KH, KW, SY, SX, OB, XU cells at a time, SP; plane, row, sample of the input,
// dplane, drow, dsample of d; A and DA, what loads of them are aligned to.
template <class L> TEMPLATE void conv_weight_grad(const float* d, const float* x, float* out) {
    constexpr int groups = ceil_div(L::O, L::OB), XN = (L::XU - 1) * L::SX + L::KW, OB = L::OB;
    constexpr int K = L::C * L::KH * L::KW;
    for (int t = threadIdx.x; t < L::SP * groups * L::C * L::KH; t += NT) {
        const int i = t % L::KH, c = t / L::KH % L::C, o0 = t / L::KH / L::C % groups * OB;
        const int sp = t / L::KH / L::C / groups;
        float sum[OB][L::KW] = {};
        for (int r = sp; r < S * L::OH; r += L::SP) {
            const int s = r / L::OH, y = r % L::OH;
            const float* p = x + s * L::sample + c * L::plane + (y * L::SY + i) * L::row;
            const float* q = d + s * L::dsample + o0 * L::dplane + y * L::drow;
            _Pragma("unroll 1") for (int ox = 0; ox < L::OW; ox += L::XU) {
                float v[XN];
                load<XN, L::A>(v, p + ox * L::SX);
                UNROLL for (int o = 0; o < OB; o++) {
                    float u[L::XU];
                    load<L::XU, L::DA>(u, q + (L::O % OB == 0 || o0 + o < L::O ? o : 0)
                        * L::dplane + ox);
                    UNROLL for (int e = 0; e < L::XU; e++) UNROLL for (int j = 0; j < L::KW; j++)
                        sum[o][j] += u[e] * v[e * L::SX + j];
                }
            }
        }
        UNROLL for (int o = 0; o < OB; o++) if (L::O % OB == 0 || o0 + o < L::O)
            UNROLL for (int j = 0; j < L::KW; j++)
                out[(sp * L::O + o0 + o) * K + (c * L::KH + i) * L::KW + j] = sum[o][j];
    }
}

// By cells, after a pool: of each window one cell {gradient, place in the input} is left; a warp
// takes the taps of one channel, Q a lane. L: C, O, NP windows, KH, KW, Q, SP; plane, row.
template <class L> TEMPLATE void conv_weight_grad_cells(const float2* cells, const float* x,
    float* out) {
    constexpr int K = L::C * L::KH * L::KW, chunks = ceil_div(K, 32 * L::Q), Q = L::Q;
    const int lane = threadIdx.x % 32;
    for (int t = threadIdx.x / 32; t < L::O * L::SP * chunks; t += WARPS) {
        const int first = t % chunks * 32 * Q + lane, sp = t / chunks % L::SP, o =
            t / chunks / L::SP;
        float sum[Q] = {};
        int tap[Q];
        UNROLL for (int q = 0; q < Q; q++) {
            const int k = min(first + 32 * q, K - 1);
            tap[q] = k / (L::KH * L::KW) * L::plane + k / L::KW % L::KH * L::row + k % L::KW;
        }
        for (int s = 0; s < S; s++) {
            const float2* cell = cells + (s * L::O + o) * L::NP;
            _Pragma("unroll 8") for (int n = sp; n < L::NP; n += L::SP) {
                const float2 g = cell[n];
                const float* p = x + __float_as_int(g.y);
                UNROLL for (int q = 0; q < Q; q++) sum[q] += g.x * p[tap[q]];
            }
        }
        UNROLL for (int q = 0; q < Q; q++)
            if (first + 32 * q < K) out[(sp * L::O + o) * K + first + 32 * q] = sum[q];
    }
}
// The sum of `shares` arrays of `count` numbers.
template <int count, int shares> TEMPLATE void sum_shares(const float* part, float* out) {
    _Pragma("unroll 1") for (int i = threadIdx.x; i < count; i += NT) {
        float v = 0;
        UNROLL for (int sp = 0; sp < shares; sp++) v += part[sp * count + i];
        out[i] = v;
    }
}
// The sum over `cells` numbers value(channel, cell) of each of O channels.
template <int O, int cells, class F> TEMPLATE void conv_bias_grad(float* out, F value) {
    for (int o = threadIdx.x / 32; o < O; o += WARPS) {
        float v = 0;
        for (int c = threadIdx.x % 32; c < cells; c += 32) v += value(o, c);
        v = merge_in_warp(v, [](float a, float b) { return a + b; });
        if (threadIdx.x % 32 == 0) out[o] = v;
    }
}
