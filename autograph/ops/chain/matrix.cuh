// Layers as products on tensor cores: images are pixels of P bf16 numbers, rows of dense layers lie
// side by side, and a warp sums in float. Where a pixel or a row ends within eight numbers, what is
// read beyond them is left out, so that no NaN gets in from there.
#pragma once
#include "convolution_back.cuh"
#include "dense.cuh"
#include "loss.cuh"
#include "pooling.cuh"

TEMPLATE uint32 word(const bf16* p) { return *(const uint32*)p; }

// -- convolution -----------------------------------------------------------------------------

// A filter as it is, for later.
template <int count> TEMPLATE void copy_filter(const Scalar* from, Scalar* to) {
    in_turns<count / 8>(threadIdx.x, [&](int i) { copy_async<16>(to + i * 8, from + i * 8); });
    const int last = count / 8 * 8 + threadIdx.x * 2;
    if (last + 1 < count) copy_async<4>(to + last, from + last);
    else if (last < count) to[last] = from[last];
}

// A filter as operands b of steps of 16: a step is two chunks, a chunk is 8 neighbouring numbers of
// a row of the filter, each row of which is Q chunks. L: C summed channels, O made ones, KH, KW, P,
// Q, flipped (for the gradient of the input, of whose filter C are the output channels).
template <class L> TEMPLATE void stage_filter(const Scalar* from, uint32* to) {
    constexpr int chunks = up(L::KH * L::Q, 2), columns = ceil_div(L::O, 8), KW = L::KW;
    const int lane = threadIdx.x % 32, o = lane / 4;
    in_turns<chunks * columns, WARPS>(WARPS - 1 - threadIdx.x / 32, [&](int j) {
        const int made = j % columns * 8 + o, chunk = j / columns, y = chunk / L::Q;
        const int e = chunk % L::Q * 8 + lane % 4 * 2;
        auto number = [&](int x, int c) -> uint32 {
            const bool inside = made < L::O && y < L::KH && x < KW && c < L::C;
            const int straight = ((made * L::C + c) * L::KH + y) * KW + x;
            const int flipped = ((c * L::O + made + 1) * L::KH - y) * KW - 1 - x;
            return inside ? from[L::flipped ? flipped : straight].bits : 0;
        };
        const int x = e / L::P, c = e % L::P, next = L::P % 2 ? (e + 1) / L::P : x;
        to[(chunk / 2 * columns + j % columns) * 64 + lane * 2 + chunk % 2] =
            number(x, c) | number(next, L::P % 2 ? (e + 1) % L::P : c + 1) << 16;
    });
}

// A warp takes 8 tiles of TY x TX cells, a lane g one of them, for N x 8 channels, over one of SP
// shares of the filter's rows, B of them at a time.
// L: C, O, KH, KW, SY, SX, GY x GX tiles; P, Q; row, sample.
template <class L, class F>
TEMPLATE void conv_product(const bf16* in, const uint2* w, float* part, F put) {
    constexpr int tiles = L::GY * L::GX, TT = L::TY * L::TX, pairs = ceil_div(TT, 2), N = L::N;
    constexpr int columns = ceil_div(L::O, 8), groups = ceil_div(columns, N), E = L::KW * L::P;
    constexpr int share = L::KH / L::SP, steps = ceil_div(L::B * L::Q, 2);
    constexpr bool keeps = groups == 1 && share == L::B && L::SP == 1 && steps * N <= 8;
    constexpr int last = E % 8 ? E % 8 : 8;  // numbers of the last chunk of a row
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const uint32 mask = 2 * t + 1 < last ? ~0u : 2 * t < last ? 0xffffu : 0;
    uint2 kept[keeps ? steps * N : 1];
    if constexpr (keeps)
        UNROLL for (int i = 0; i < steps * N; i++) kept[i] = w[i * 32 + lane];
    constexpr int tasks = ceil_div(S * tiles, 8) * groups * L::SP;
    for (int task = threadIdx.x / 32; task < tasks; task += WARPS) {
        const int column = task % groups * N, sp = task / groups % L::SP;
        const int mine = task / groups / L::SP * 8 + g;
        const bool inside = S * tiles % 8 == 0 || mine < S * tiles;
        const int tile = inside ? mine : S * tiles - 1;
        const int s = tile / tiles, gy = tile % tiles / L::GX, gx = tile % L::GX;
        const bf16* first = in + s * L::sample + (gy * L::TY * L::SY + sp * share) * L::row + 2 * t;
        float sum[N][pairs][4] = {};
        _Pragma("unroll 1") for (int y0 = 0; y0 < share; y0 += L::B) {
            // Eight numbers from row y, column x (of the tile's cells) and chunk q on.
            auto chunk = [&](int y, int x, int q) -> uint32 {
                const int left = E - 8 * q;
                if (left <= 0) return 0;
                const int column = (gx * L::TX + x) * L::SX * L::P;
                const int odd = L::TX * L::SX * L::P % 2 ? column % 2 : x * L::SX * L::P % 2;
                const bf16* p = first + (y0 + y) * L::row + 8 * q + column - odd;
                uint32 v = word(p);
                if (L::P % 2 && odd) v = __funnelshift_r(v, word(p + 2), 16);
                return left < 8 ? v & mask : v;
            };
            // The chunk c of all that cell e has.
            auto cell = [&](int e, int c) -> uint32 {
                if (e >= TT || c >= L::B * L::Q) return 0;
                return chunk(e / L::TX * L::SY + c / L::Q, e % L::TX, c % L::Q);
            };
            UNROLL for (int k = 0; k < steps; k++) {
                uint2 b[N];
                UNROLL for (int n = 0; n < N; n++) {
                    const int at = ((sp * share + y0) * L::Q / 2 + k) * columns + column + n;
                    if constexpr (keeps) b[n] = kept[k * N + n];
                    else b[n] = w[(columns % N == 0 || column + n < columns ? at : 0) * 32 + lane];
                }
                UNROLL for (int m = 0; m < pairs; m++) {
                    const uint32 a0 = cell(2 * m, 2 * k), a1 = cell(2 * m + 1, 2 * k);
                    const uint32 a2 = cell(2 * m, 2 * k + 1), a3 = cell(2 * m + 1, 2 * k + 1);
                    UNROLL for (int n = 0; n < N; n++)
                        multiply_add(sum[n][m], a0, a1, a2, a3, b[n].x, b[n].y);
                }
            }
        }
        UNROLL for (int n = 0; n < N; n++) UNROLL for (int k = 0; k < 2; k++) {
            const int o = (column + n) * 8 + 2 * t + k;
            float u[TT];
            UNROLL for (int e = 0; e < TT; e++) u[e] = sum[n][e / 2][e % 2 * 2 + k];
            if (!inside || o >= L::O) continue;
            if constexpr (L::SP == 1) put(s, o, gy, gx, u);
            else store<TT>(part + (((sp * S + s) * L::O + o) * tiles + tile % tiles) * TT, u);
        }
    }
}

// dw[o][y, e] = sum over the pixels p of the output of d[p][o] x[p at y][e], e a number of a row of
// the filter. A warp takes 16 channels, B rows of the filter and 16 numbers (8 where P is odd),
// over one of SP shares of the pixels. L: C, O, KH, KW, SY, SX, OH, OW, P; row, sample;
// drow, dcell, dsample.
template <class L> TEMPLATE void conv_weight_product(const bf16* d, const bf16* x, float* out) {
    constexpr int U = L::P % 2 ? 8 : 16, units = ceil_div(L::KW * L::P, U), K = L::KH * L::KW;
    constexpr int pixels = S * L::OH * L::OW, share = ceil_div(ceil_div(pixels, 16), L::SP);
    constexpr int groups = L::KH / L::B, tasks = ceil_div(L::O, 16) * groups * units * L::SP;
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int task = WARPS - 1 - threadIdx.x / 32; task < tasks; task += WARPS) {
        const int e0 = task % units * U, y0 = task / units % groups * L::B;
        const int sp = task / units / groups % L::SP, o0 = task / units / groups / L::SP * 16;
        const bf16 *own = x + y0 * L::row + e0 + (U == 16 ? 2 * g : g), *of_o = d + o0 + 2 * g;
        float sum[L::B][U / 8][4] = {};
        const int end = min(sp * share + share, ceil_div(pixels, 16));
        _Pragma("unroll 2") for (int k = sp * share; k < end; k++) {
            uint32 a[4], b[L::B][U / 8][2], of_d[4], of_x[4][L::B];
            const bf16 *pd, *px;
            UNROLL for (int j = 0; j < 4; j++) {  // a lane's pixels
                const int p = k * 16 + 2 * t + j / 2 * 8 + j % 2;
                const int q = p / L::OW, s = q / L::OH, y = q % L::OH;
                const bool inside = pixels % 16 == 0 || p < pixels;
                if (j % 2 && L::OW % 2 == 0) {
                    pd += L::dcell, px += L::SX * L::P;
                } else {
                    pd = of_o + s * L::dsample + y * L::drow + p % L::OW * L::dcell;
                    px = own + s * L::sample + y * L::SY * L::row + p % L::OW * L::SX * L::P;
                }
                of_d[j] = inside ? word(pd) : 0;
                UNROLL for (int y = 0; y < L::B; y++) {
                    const bf16* v = px + y * L::row;
                    of_x[j][y] = !inside ? 0 : U == 16 ? word(v) : v->bits;
                }
            }
            UNROLL for (int h = 0; h < 2; h++) {
                a[2 * h] = lower_halves(of_d[2 * h], of_d[2 * h + 1]);
                a[2 * h + 1] = upper_halves(of_d[2 * h], of_d[2 * h + 1]);
                UNROLL for (int y = 0; y < L::B; y++) {
                    b[y][0][h] = lower_halves(of_x[2 * h][y], of_x[2 * h + 1][y]);
                    if constexpr (U == 16)
                        b[y][1][h] = upper_halves(of_x[2 * h][y], of_x[2 * h + 1][y]);
                }
            }
            UNROLL for (int y = 0; y < L::B; y++) UNROLL for (int n = 0; n < U / 8; n++)
                multiply_add(sum[y][n], a[0], a[1], a[2], a[3], b[y][n][0], b[y][n][1]);
        }
        UNROLL for (int y = 0; y < L::B; y++) UNROLL for (int n = 0; n < U / 8; n++)
            UNROLL for (int k = 0; k < 4; k++) {
                const int o = o0 + 2 * g + k / 2, e = e0 + (2 * t + k % 2) * (U / 8) + n;
                const int c = e % L::P, x = e / L::P;
                if (o < L::O && x < L::KW && c < L::C)
                    out[((sp * L::O + o) * L::C + c) * K + (y0 + y) * L::KW + x] = sum[y][n][k];
            }
    }
}

// -- dense -----------------------------------------------------------------------------------

// V neighbours of a row of O numbers, from an even place on; of the last V where it ends before.
template <int V, int O> TEMPLATE void load_words(uint32* to, const bf16* row, int at) {
    if constexpr (O % 2 == 0) {
        const auto v = load_pack<V / 2>((const uint32*)(row + min(at, O - V)));
        UNROLL for (int i = 0; i < V / 2; i++) to[i] = v[i];
    } else {
        UNROLL for (int i = 0; i < V / 2; i++)
            to[i] = row[min(at + 2 * i, O - 1)].bits |
                    uint32(row[min(at + 2 * i + 1, O - 1)].bits) << 16;
    }
}

// M numbers, each the sum over K of x and a weight (I, O); or `back` from O to I. The weight is 8
// pieces of R rows, `stride` apart: where a warp reads several rows, they are of several pieces.
// Forward a step is two rows of each piece, and a lane g makes V neighbouring outputs; back it is
// 16 outputs, and a lane g makes two inputs of piece g. A task is a share of the steps, of SP.
// x: rows `sample` apart, of zeros where they end; put(s, m, value).
template <class L, class F>
TEMPLATE void dense_product(const bf16* x, const bf16* __restrict__ w, float* part, F put) {
    constexpr int I = L::I, O = L::O, R = L::R, V = L::V, M = L::back ? I : O;
    constexpr int units = L::back ? R / 2 : ceil_div(O, 8 * V);
    constexpr int steps = L::back ? ceil_div(O, 16) : R / 2, share = ceil_div(steps, L::SP);
    static_assert(S <= 8, "samples are the columns of a product");
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int task = threadIdx.x / 32; task < units * L::SP; task += WARPS) {
        const int unit = task % units, sp = task / units;
        float sum[V / 2][2][4] = {};
        _Pragma("unroll 4") for (int first = 0; first < share; first += 2)
            UNROLL for (int half = 0; half < 2; half++) {
                const int step = sp * share + first + half;
                if (share % 2 && first + half >= share) continue;
                if (steps % L::SP && step >= steps) continue;
                const bf16* own = x + (S == 8 ? g : min(g, S - 1)) * L::sample;
                const bf16* two = own + (L::back ? step * 16 + 2 * t : 2 * t * R + 2 * step);
                const uint32 b0 = g < S ? word(two) : 0;
                const uint32 b1 = g < S ? word(two + (L::back ? 8 : R)) : 0;
                uint32 a[4], words[4][V / 2];
                UNROLL for (int i = 0; i < 4; i++) {
                    const int piece = L::back ? g : 2 * t + i / 2;
                    const int r = 2 * (L::back ? unit : step) + i % 2;
                    const bool inside = I == 8 * R || piece * R + r < I;
                    const bf16* row = inside ? w + piece * L::stride + r * O : w;
                    if constexpr (L::back) {
                        const int o = step * 16 + 2 * t + i / 2 * 8;
                        load_words<2, O>(a + i, row, o);
                        if (O % 16) a[i] &= o + 1 < O ? ~0u : o < O ? 0xffffu : 0;
                    } else {
                        load_words<V, O>(words[i], row, unit * 8 * V + V * g);
                        UNROLL for (int m = 0; m < V / 2; m++) if (!inside) words[i][m] = 0;
                    }
                }
                UNROLL for (int m = 0; m < V / 2; m++) {
                    if constexpr (!L::back)
                        UNROLL for (int i = 0; i < 2; i++) {
                            a[2 * i] = lower_halves(words[2 * i][m], words[2 * i + 1][m]);
                            a[2 * i + 1] = upper_halves(words[2 * i][m], words[2 * i + 1][m]);
                        }
                    multiply_add(sum[m][half], a[0], a[1], a[2], a[3], b0, b1);
                }
            }
        UNROLL for (int k = 0; k < 2; k++) UNROLL for (int m = 0; m < V; m++) {
            const int s = 2 * t + k, at = L::back ? g * R + 2 * unit + m : (unit * 8 + g) * V + m;
            const float* both = sum[m / 2][0] + m % 2 * 2 + k;
            if (s >= S || at >= M) continue;
            if constexpr (L::SP == 1) put(s, at, both[0] + both[4]);
            else part[(sp * S + s) * M + at] = both[0] + both[4];
        }
    }
}
