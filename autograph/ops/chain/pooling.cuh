// Pools that no convolution absorbed, and the rules that all pools share.
#pragma once
#include "parts.cuh"

// Whether v takes the place of the largest so far: the first of equals stays, and the last NaN wins.
TEMPLATE bool wins(float v, float largest) {
    return (v > largest) | is_nan(v);
}

// L: C, OH, OW, KH, KW, SY, SX, is_max; strides and origin of the input.
template <class L, class T, class F> TEMPLATE void pool_forward(const T* in, F put) {
    for (int t = threadIdx.x; t < S * L::C * L::OH * L::OW; t += NT) {
        const int x = t % L::OW, y = t / L::OW % L::OH, c = t / (L::OW * L::OH) % L::C;
        const int s = t / (L::OW * L::OH * L::C);
        const T* p = in + L::origin + s * L::sample + c * L::plane + y * L::SY * L::row +
                     x * L::SX * L::cell;
        float b = widen(p[0]);
        int arg = 0;
        UNROLL for (int e = 1; e < L::KH * L::KW; e++) {
            const float v = widen(p[e / L::KW * L::row + e % L::KW * L::cell]);
            if (!L::is_max) b += v;
            else if (wins(v, b)) { b = v; arg = e; }
        }
        put(s, c, y, x, L::is_max ? b : b / (L::KH * L::KW), arg);
    }
}

// From the gradient g of the output, (C, OH, OW) of each sample. L as above, and H, W, dsample.
template <class L, class T, class F>
TEMPLATE void pool_input_grad(const T* g, const uint8* arg, F put) {
    constexpr int OW = L::OW, OH = L::OH, KH = L::KH, KW = L::KW, cells = KH * KW;
    if constexpr (KH == L::SY && KW == L::SX && OH * KH == L::H && OW * KW == L::W) {
        for (int t = threadIdx.x; t < S * L::C * OH * OW; t += NT) {  // windows tile the image
            const int x = t % OW, y = t / OW % OH, q = t / (OW * OH), s = q / L::C, c = q % L::C;
            const int best = L::is_max ? arg[t] : 0;
            const float r = widen(g[s * L::dsample + (c * OH + y) * OW + x]);
            UNROLL for (int e = 0; e < cells; e++)
                put(s, c, y * KH + e / KW, x * KW + e % KW, !L::is_max ? r / cells : e == best ?
                    r : 0.f);
        }
        return;
    }
    for (int t = threadIdx.x; t < S * L::C * L::H * L::W; t += NT) {
        const int x = t % L::W, y = t / L::W % L::H, q = t / (L::W * L::H);
        const int s = q / L::C, c = q % L::C;
        float sum = 0;
        UNROLL for (int a = 0; a < ceil_div(KH, L::SY); a++)
            UNROLL for (int b = 0; b < ceil_div(KW, L::SX); b++) {
                const int oy = y / L::SY - a, ox = x / L::SX - b;
                const int i = y - oy * L::SY, j = x - ox * L::SX;
                if (oy < 0 || ox < 0 || oy >= OH || ox >= OW || i >= KH || j >= KW) continue;
                if (!L::is_max || arg[(q * OH + oy) * OW + ox] == i * KW + j)
                    sum += widen(g[s * L::dsample + (c * OH + oy) * OW + ox]);
            }
        put(s, c, y, x, L::is_max ? sum : sum / cells);
    }
}
