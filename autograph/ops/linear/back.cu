// The gradients of y = x @ weight + bias, or its relu, in one launch: dx, and dweight with dbias below
// it.
//
// Letters: x (N, I), weight (I, O), y and dy (N, O). Spec holds Scalar, the tiles (dx_rows,
// dx_columns, rows, columns, and dx_thin, thin), has_dx and has_relu.
#include "tile.cuh"

// dy, with a relu where that let y through
template <class Spec> struct Slopes {
    using Scalar = typename Spec::Scalar;
    using Number = Wide<Scalar>;
    const Scalar *dy, *y;
    __device__ Number at(int64 i) const {
        if (Spec::has_relu && widen(y[i]) <= 0) return Number(0);
        return Number(widen(dy[i]));
    }
};

// dx[n, i] = sum over o of slope[n, o] * weight[i, o]
template <class Spec> struct InputView {
    using Number = Wide<typename Spec::Scalar>;
    using Row = int64;  // where the row begins, negative beyond the last
    using Column = int64;
    using Depth = int;
    Slopes<Spec> slopes;
    const typename Spec::Scalar* weight;
    int N, I, O;

    __device__ Row row(int n) const { return n < N ? int64(n) * O : -1; }
    __device__ Column column(int i) const { return i < I ? int64(i) * O : -1; }
    __device__ Depth depth(int o) const { return o; }
    __device__ Number a(Row row, Depth o) const { return row < 0 ? Number(0) : slopes.at(row + o); }
    __device__ Number b(Depth o, Column column) const {
        return column < 0 ? Number(0) : Number(widen(weight[column + o]));
    }
};

// dweight[i, o] = sum over n of x[n, i] * slope[n, o]; row I, where x counts as 1, is dbias
template <class Spec> struct WeightView {
    using Number = Wide<typename Spec::Scalar>;
    using Row = int;
    using Column = int;
    using Depth = int;
    Slopes<Spec> slopes;
    const typename Spec::Scalar* x;
    int N, I, O;

    __device__ Row row(int i) const { return i; }
    __device__ Column column(int o) const { return o; }
    __device__ Depth depth(int n) const { return n; }
    __device__ Number a(Row i, Depth n) const {
        return i < I ? Number(widen(x[int64(n) * I + i])) : Number(i == I);
    }
    __device__ Number b(Depth n, Column o) const {
        return o < O ? slopes.at(int64(n) * O + o) : Number(0);
    }
};

// The first `dx_blocks` blocks make dx, the others dweight.
template <class Spec>
__global__ void __launch_bounds__(256)
linear_back(const typename Spec::Scalar* __restrict__ dy,
            const typename Spec::Scalar* __restrict__ y,
            const typename Spec::Scalar* __restrict__ x,
            const typename Spec::Scalar* __restrict__ weight,
            typename Spec::Scalar* __restrict__ dx, typename Spec::Scalar* __restrict__ dweight,
            typename Spec::Scalar* __restrict__ dbias, int N, int I, int O, int dx_blocks) {
    using Number = Wide<typename Spec::Scalar>;
    using Scalar = typename Spec::Scalar;
    if (Spec::has_dx && int(blockIdx.x) < dx_blocks) {
        using T = Tile<Number, Spec::dx_rows, Spec::dx_columns, 16, true, true, Spec::dx_thin>;
        InputView<Spec> view;
        view.slopes.dy = dy, view.slopes.y = y, view.weight = weight;
        view.N = N, view.I = I, view.O = O;
        const int across = (I + T::width - 1) / T::width;
        const int m0 = blockIdx.x / across * T::height, n0 = blockIdx.x % across * T::width;
        Number sums[T::rows][T::columns];
        multiply_tile<T>(view, m0, n0, 0, O, sums);
#pragma unroll
        for (int i = 0; i < T::rows; i++)
#pragma unroll
            for (int j = 0; j < T::columns; j++) {
                const int m = m0 + T::first_row() + i, n = n0 + T::first_column() + 32 * j;
                if (m < N && n < I) dx[int64(m) * I + n] = narrow<Scalar>(sums[i][j]);
            }
        return;
    }
    using T = Tile<Number, Spec::rows, Spec::columns, 16, false, false, Spec::thin>;
    WeightView<Spec> view;
    view.slopes.dy = dy, view.slopes.y = y, view.x = x;
    view.N = N, view.I = I, view.O = O;
    const int across = (O + T::width - 1) / T::width, block = blockIdx.x - dx_blocks;
    const int m0 = block / across * T::height, n0 = block % across * T::width;
    Number sums[T::rows][T::columns];
    multiply_tile<T>(view, m0, n0, 0, N, sums);
#pragma unroll
    for (int i = 0; i < T::rows; i++)
#pragma unroll
        for (int j = 0; j < T::columns; j++) {
            const int m = m0 + T::first_row() + i, n = n0 + T::first_column() + 32 * j;
            if (m > I || n >= O) continue;
            if (m == I) dbias[n] = narrow<Scalar>(sums[i][j]);
            else dweight[int64(m) * O + n] = narrow<Scalar>(sums[i][j]);
        }
}
