// 2-d pooling: x (N, C, H, W) -> y (N, C, P, Q). Windows may overlap, overhang and leave gaps.
//
// Spec holds Scalar, Index, Offset (wide enough for every place), H, W, R, S (the window), P, Q,
// and the settings. The border never wins a maximum; a mean counts it.
// One thread an output on the way forward, an input on the way back: no two add to one place.
#include "scalar.cuh"

// The index of a maximum is its place in the window, row by row; the first of equals, or the last NaN.
template <class Spec>
__global__ void max_pool2(const typename Spec::Scalar* __restrict__ x,
                          typename Spec::Scalar* __restrict__ y,
                          typename Spec::Index* __restrict__ index, typename Spec::Offset size) {
    const typename Spec::Offset at = typename Spec::Offset(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= size) return;
    const int q = at % Spec::Q, p = at / Spec::Q % Spec::P;
    const int h0 = p * Spec::stride_h - Spec::padding_h, w0 = q * Spec::stride_w - Spec::padding_w;
    const typename Spec::Scalar* plane = x + at / (Spec::P * Spec::Q) * (Spec::H * Spec::W);
    using Number = Wide<typename Spec::Scalar>;
    Number best = 0;
    int found = -1;
#pragma unroll
    for (int r = 0; r < Spec::R; r++) {
#pragma unroll
        for (int s = 0; s < Spec::S; s++) {
            const int h = h0 + r, w = w0 + s;
            if (h < 0 || h >= Spec::H || w < 0 || w >= Spec::W) continue;
            const Number value = widen(plane[h * Spec::W + w]);
            if (found < 0 || value > best || is_nan(value)) {
                best = value;
                found = r * Spec::S + s;
            }
        }
    }
    y[at] = narrow<typename Spec::Scalar>(best);
    index[at] = typename Spec::Index(found);
}

// The first output whose window may hold a place, and one past the last.
template <int stride, int window, int outputs>
__device__ inline void windows_over(int place, int& first, int& last) {
    const int reach = place - (window - 1);
    first = reach <= 0 ? 0 : (reach + stride - 1) / stride;
    last = min(outputs, place / stride + 1);
}

template <class Spec>
__global__ void max_pool2_dx(const typename Spec::Scalar* __restrict__ dy,
                             const typename Spec::Index* __restrict__ index,
                             typename Spec::Scalar* __restrict__ dx, typename Spec::Offset size) {
    const typename Spec::Offset at = typename Spec::Offset(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= size) return;
    const int h = at / Spec::W % Spec::H + Spec::padding_h, w = at % Spec::W + Spec::padding_w;
    const typename Spec::Offset plane = at / (Spec::H * Spec::W) * (Spec::P * Spec::Q);
    int p0, p1, q0, q1;
    windows_over<Spec::stride_h, Spec::R, Spec::P>(h, p0, p1);
    windows_over<Spec::stride_w, Spec::S, Spec::Q>(w, q0, q1);
    Wide<typename Spec::Scalar> sum = 0;
    for (int p = p0; p < p1; p++) {
        const int r = h - p * Spec::stride_h;
        for (int q = q0; q < q1; q++) {
            const int s = w - q * Spec::stride_w;
            const int place = r * Spec::S + s;
            const typename Spec::Offset output = plane + p * Spec::Q + q;
            if (index[output] == place) sum += widen(dy[output]);
        }
    }
    dx[at] = narrow<typename Spec::Scalar>(sum);
}

template <class Spec>
__global__ void mean_pool2(const typename Spec::Scalar* __restrict__ x,
                           typename Spec::Scalar* __restrict__ y, typename Spec::Offset size) {
    const typename Spec::Offset at = typename Spec::Offset(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= size) return;
    const int q = at % Spec::Q, p = at / Spec::Q % Spec::P;
    const int h0 = p * Spec::stride_h - Spec::padding_h, w0 = q * Spec::stride_w - Spec::padding_w;
    const typename Spec::Scalar* plane = x + at / (Spec::P * Spec::Q) * (Spec::H * Spec::W);
    Wide<typename Spec::Scalar> sum = 0;
#pragma unroll
    for (int r = 0; r < Spec::R; r++) {
#pragma unroll
        for (int s = 0; s < Spec::S; s++) {
            const int h = h0 + r, w = w0 + s;
            if (h >= 0 && h < Spec::H && w >= 0 && w < Spec::W) sum += widen(plane[h * Spec::W + w]);
        }
    }
    y[at] = narrow<typename Spec::Scalar>(sum / (Spec::R * Spec::S));
}

template <class Spec>
__global__ void mean_pool2_dx(const typename Spec::Scalar* __restrict__ dy,
                              typename Spec::Scalar* __restrict__ dx, typename Spec::Offset size) {
    const typename Spec::Offset at = typename Spec::Offset(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= size) return;
    const int h = at / Spec::W % Spec::H + Spec::padding_h, w = at % Spec::W + Spec::padding_w;
    const typename Spec::Offset plane = at / (Spec::H * Spec::W) * (Spec::P * Spec::Q);
    int p0, p1, q0, q1;
    windows_over<Spec::stride_h, Spec::R, Spec::P>(h, p0, p1);
    windows_over<Spec::stride_w, Spec::S, Spec::Q>(w, q0, q1);
    Wide<typename Spec::Scalar> sum = 0;
    for (int p = p0; p < p1; p++)
        for (int q = q0; q < q1; q++)
            sum += widen(dy[plane + p * Spec::Q + q]) / (Spec::R * Spec::S);
    dx[at] = narrow<typename Spec::Scalar>(sum);
}
