// 2-d convolution and its two gradients as products whose operands are gathered from images.
//
// Letters: x (N, C, H, W), weight (O, C/groups, R, S), y (N, O, P, Q). Spec holds Scalar, these
// sizes without N, `groups`, the settings, and the tile: rows, columns.
#include "tile.cuh"

template <class Spec> struct Sizes : Spec {
    static constexpr int CG = Spec::C / Spec::groups, OG = Spec::O / Spec::groups;
    static constexpr int RS = Spec::R * Spec::S, HW = Spec::H * Spec::W, PQ = Spec::P * Spec::Q;
    // whether any tap of any output falls outside of the image
    static constexpr bool overhangs =
        Spec::padding_h > 0 || Spec::padding_w > 0 ||
        (Spec::P - 1) * Spec::stride_h + (Spec::R - 1) * Spec::dilation_h >= Spec::H ||
        (Spec::Q - 1) * Spec::stride_w + (Spec::S - 1) * Spec::dilation_w >= Spec::W;
};

template <class Spec> using Number = Wide<typename Spec::Scalar>;

// y[o, (n, p, q)] = sum over (c, r, s) of weight[o, (c, r, s)] * x[(n, c), p + r, q + s]
template <class Spec> struct Forward : Sizes<Spec> {
    using S_ = Sizes<Spec>;
    using Scalar = typename Spec::Scalar;
    static constexpr int K = S_::CG * S_::RS;
    const Scalar *x, *weight;
    int group, columns;

    struct Row { const Scalar* weight; };  // null beyond the last
    struct Column { const Scalar* image; int h, w; };
    struct Depth { int k, offset, h, w; };

    __device__ Row row(int o) const {
        return {o < S_::OG ? weight + int64(group * S_::OG + o) * K : nullptr};
    }
    __device__ Column column(int at) const {
        if (at >= columns) return {nullptr, 0, 0};
        const int n = at / S_::PQ, p = at % S_::PQ / Spec::Q, q = at % Spec::Q;
        return {x + (int64(n) * Spec::C + group * S_::CG) * S_::HW,
                p * Spec::stride_h - Spec::padding_h, q * Spec::stride_w - Spec::padding_w};
    }
    __device__ Depth depth(int k) const {
        const int c = k / S_::RS, r = k % S_::RS / Spec::S, s = k % Spec::S;
        return {k, c * S_::HW, r * Spec::dilation_h, s * Spec::dilation_w};
    }
    __device__ Number<Spec> a(Row row, Depth depth) const {
        return row.weight ? widen(row.weight[depth.k]) : Number<Spec>(0);
    }
    __device__ Number<Spec> b(Depth depth, Column column) const {
        const int h = column.h + depth.h, w = column.w + depth.w;
        bool inside = column.image != nullptr;
        if (S_::overhangs) inside = inside && h >= 0 && h < Spec::H && w >= 0 && w < Spec::W;
        return inside ? widen(column.image[depth.offset + h * Spec::W + w]) : Number<Spec>(0);
    }
};

// dx[c, (n, h, w)] = sum over (o, r, s) of weight[o, c, r, s] * dy[(n, o), (h - r), (w - s)]
template <class Spec> struct InputGradient : Sizes<Spec> {
    using S_ = Sizes<Spec>;
    using Scalar = typename Spec::Scalar;
    static constexpr int K = S_::OG * S_::RS;
    const Scalar *dy, *weight;
    int group, columns;

    struct Row { const Scalar* weight; };
    struct Column { const Scalar* image; int h, w; };
    struct Depth { int weight, offset, h, w; };

    __device__ Row row(int c) const {
        return {c < S_::CG ? weight + (int64(group * S_::OG) * S_::CG + c) * S_::RS : nullptr};
    }
    __device__ Column column(int at) const {
        if (at >= columns) return {nullptr, 0, 0};
        const int n = at / S_::HW, h = at % S_::HW / Spec::W, w = at % Spec::W;
        return {dy + (int64(n) * Spec::O + group * S_::OG) * S_::PQ, h + Spec::padding_h,
                w + Spec::padding_w};
    }
    __device__ Depth depth(int k) const {
        const int o = k / S_::RS, rs = k % S_::RS;
        return {o * S_::CG * S_::RS + rs, o * S_::PQ, rs / Spec::S * Spec::dilation_h,
                rs % Spec::S * Spec::dilation_w};
    }
    __device__ Number<Spec> a(Row row, Depth depth) const {
        return row.weight ? widen(row.weight[depth.weight]) : Number<Spec>(0);
    }
    __device__ Number<Spec> b(Depth depth, Column column) const {
        const int h = column.h - depth.h, w = column.w - depth.w;
        const int p = h / Spec::stride_h, q = w / Spec::stride_w;
        const bool inside = column.image != nullptr && h >= 0 && w >= 0 && p < Spec::P &&
                            q < Spec::Q && h % Spec::stride_h == 0 && w % Spec::stride_w == 0;
        return inside ? widen(column.image[depth.offset + p * Spec::Q + q]) : Number<Spec>(0);
    }
};

// dweight[o, (c, r, s)] = sum over (n, p, q) of dy[(n, o), p, q] * x[(n, c), p + r, q + s]
template <class Spec> struct WeightGradient : Sizes<Spec> {
    using S_ = Sizes<Spec>;
    using Scalar = typename Spec::Scalar;
    static constexpr int columns = S_::CG * S_::RS;
    const Scalar *dy, *x;
    int group;

    struct Row { const Scalar* dy; };
    struct Column { const Scalar* x; int h, w; };
    struct Depth { int64 x; int64 dy; int h, w; };

    __device__ Row row(int o) const {
        return {o < S_::OG ? dy + (group * S_::OG + o) * S_::PQ : nullptr};
    }
    __device__ Column column(int at) const {
        if (at >= columns) return {nullptr, 0, 0};
        const int c = at / S_::RS, r = at % S_::RS / Spec::S, s = at % Spec::S;
        return {x + (group * S_::CG + c) * S_::HW, r * Spec::dilation_h - Spec::padding_h,
                s * Spec::dilation_w - Spec::padding_w};
    }
    __device__ Depth depth(int k) const {
        const int n = k / S_::PQ, pq = k % S_::PQ;
        return {int64(n) * Spec::C * S_::HW, int64(n) * Spec::O * S_::PQ + pq,
                pq / Spec::Q * Spec::stride_h, pq % Spec::Q * Spec::stride_w};
    }
    __device__ Number<Spec> a(Row row, Depth depth) const {
        return row.dy ? widen(row.dy[depth.dy]) : Number<Spec>(0);
    }
    __device__ Number<Spec> b(Depth depth, Column column) const {
        const int h = column.h + depth.h, w = column.w + depth.w;
        bool inside = column.x != nullptr;
        if (S_::overhangs) inside = inside && h >= 0 && h < Spec::H && w >= 0 && w < Spec::W;
        return inside ? widen(column.x[depth.x + h * Spec::W + w]) : Number<Spec>(0);
    }
};

// Blocks: (tiles of columns, tiles of rows, groups)
template <class Spec>
__global__ void __launch_bounds__(256)
conv2(const typename Spec::Scalar* __restrict__ x, const typename Spec::Scalar* __restrict__ weight,
      const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ y,
      int columns) {
    using T = Tile<Number<Spec>, Spec::rows, Spec::columns, 16, true, false>;
    using View = Forward<Spec>;
    View view;
    view.x = x, view.weight = weight, view.group = blockIdx.z, view.columns = columns;
    const int m0 = blockIdx.y * T::height, n0 = blockIdx.x * T::width;
    Number<Spec> sums[T::rows][T::columns];
    multiply_tile<T>(view, m0, n0, 0, View::K, sums);
#pragma unroll
    for (int j = 0; j < T::columns; j++) {
        const int at = n0 + T::first_column() + 32 * j;
        if (at >= columns) continue;
        typename Spec::Scalar* image = y + int64(at / View::PQ) * Spec::O * View::PQ + at % View::PQ;
#pragma unroll
        for (int i = 0; i < T::rows; i++) {
            const int o = m0 + T::first_row() + i;
            if (o >= View::OG) continue;
            const int channel = view.group * View::OG + o;
            Number<Spec> value = sums[i][j];
            if (Spec::has_bias) value += widen(bias[channel]);
            image[int64(channel) * View::PQ] = narrow<typename Spec::Scalar>(value);
        }
    }
}

// Blocks: (tiles of columns, tiles of rows, groups)
template <class Spec>
__global__ void __launch_bounds__(256)
conv2_dx(const typename Spec::Scalar* __restrict__ dy,
         const typename Spec::Scalar* __restrict__ weight, typename Spec::Scalar* __restrict__ dx,
         int columns) {
    using T = Tile<Number<Spec>, Spec::rows, Spec::columns, 16, true, false>;
    using View = InputGradient<Spec>;
    View view;
    view.dy = dy, view.weight = weight, view.group = blockIdx.z, view.columns = columns;
    const int m0 = blockIdx.y * T::height, n0 = blockIdx.x * T::width;
    Number<Spec> sums[T::rows][T::columns];
    multiply_tile<T>(view, m0, n0, 0, View::K, sums);
#pragma unroll
    for (int j = 0; j < T::columns; j++) {
        const int at = n0 + T::first_column() + 32 * j;
        if (at >= columns) continue;
        typename Spec::Scalar* image = dx + int64(at / View::HW) * Spec::C * View::HW + at % View::HW;
#pragma unroll
        for (int i = 0; i < T::rows; i++) {
            const int c = m0 + T::first_row() + i;
            if (c >= View::CG) continue;
            const int channel = view.group * View::CG + c;
            image[int64(channel) * View::HW] = narrow<typename Spec::Scalar>(sums[i][j]);
        }
    }
}

// Blocks: (tiles of columns, tiles of rows, groups * shares). Share i sums `length` of the pixels
// (n, p, q) into dweight[i]; with several shares their sum is a second launch.
template <class Spec>
__global__ void __launch_bounds__(256)
conv2_dweight(const typename Spec::Scalar* __restrict__ dy,
              const typename Spec::Scalar* __restrict__ x, typename Spec::Result* __restrict__ dweight,
              int pixels, int length) {
    using T = Tile<Number<Spec>, Spec::rows, Spec::columns, sizeof(Number<Spec>) == 8 ? 16 : 32, true, true>;
    using View = WeightGradient<Spec>;
    View view;
    view.dy = dy, view.x = x, view.group = blockIdx.z % Spec::groups;
    const int share = blockIdx.z / Spec::groups;
    const int m0 = blockIdx.y * T::height, n0 = blockIdx.x * T::width;
    Number<Spec> sums[T::rows][T::columns];
    multiply_tile<T>(view, m0, n0, share * length, min(pixels, (share + 1) * length), sums);
#pragma unroll
    for (int j = 0; j < T::columns; j++) {
        const int at = n0 + T::first_column() + 32 * j;
#pragma unroll
        for (int i = 0; i < T::rows; i++) {
            const int o = m0 + T::first_row() + i;
            if (o >= View::OG || at >= View::columns) continue;
            const int64 row = int64(share) * Spec::O + view.group * View::OG + o;
            dweight[row * View::columns + at] = narrow<typename Spec::Result>(sums[i][j]);
        }
    }
}
