// A batch of matrix products over operands of any strides: y[m, n] = sum over k of a[m, k] * b[k, n].
//
// Spec holds Scalar, Result, the tile (rows, columns), a_along_k and b_along_k (along which index
// neighbours in memory lie), has_bias, has_relu, and thin (how small tiles sum).
#include "tile.cuh"

template <class Spec> struct Matrices {
    using Scalar = typename Spec::Scalar;
    using Number = Wide<Scalar>;
    const Scalar *a_, *b_;
    int64 a_column, a_row, b_column, b_row;
    int M, N;

    struct Row { const Scalar* a; };  // null beyond the last
    struct Column { const Scalar* b; };
    using Depth = int;

    __device__ Row row(int m) const { return {m < M ? a_ + m * a_row : nullptr}; }
    __device__ Column column(int n) const { return {n < N ? b_ + n * b_column : nullptr}; }
    __device__ Depth depth(int k) const { return k; }
    __device__ Number a(Row row, Depth k) const { return row.a ? widen(row.a[k * a_column]) : Number(0); }
    __device__ Number b(Depth k, Column column) const {
        return column.b ? widen(column.b[k * b_row]) : Number(0);
    }
};

// One row of blocks: column tiles run fastest, then row tiles, matrices of the batch, and shares.
// Share i sums `length` of K into y[i]; with several shares their sum is a second launch.
template <class Spec>
__global__ void __launch_bounds__(256)
product(const typename Spec::Scalar* __restrict__ a, const typename Spec::Scalar* __restrict__ b,
        const typename Spec::Scalar* __restrict__ bias, typename Spec::Result* __restrict__ y, int M,
        int N, int K, int batch, int64 a_row, int64 a_column, int64 a_batch, int64 b_row,
        int64 b_column, int64 b_batch, int length) {
    using Number = Wide<typename Spec::Scalar>;
    using T = Tile<Number, Spec::rows, Spec::columns, 16, Spec::a_along_k, Spec::b_along_k, Spec::thin>;
    const int across = (N + T::width - 1) / T::width, down = (M + T::height - 1) / T::height;
    const int n0 = blockIdx.x % across * T::width;
    const int m0 = blockIdx.x / across % down * T::height;
    const int matrix = blockIdx.x / (across * down), share = matrix / batch;
    Matrices<Spec> view;
    view.a_ = a + matrix % batch * a_batch, view.b_ = b + matrix % batch * b_batch;
    view.a_row = a_row, view.a_column = a_column, view.b_row = b_row, view.b_column = b_column;
    view.M = M, view.N = N;
    Number sums[T::rows][T::columns];
    multiply_tile<T>(view, m0, n0, share * length, min(K, (share + 1) * length), sums);
#pragma unroll
    for (int i = 0; i < T::rows; i++) {
        const int m = m0 + T::first_row() + i;
#pragma unroll
        for (int j = 0; j < T::columns; j++) {
            const int n = n0 + T::first_column() + 32 * j;
            if (m >= M || n >= N) continue;
            Number value = sums[i][j];
            if (Spec::has_bias) value += widen(bias[n]);
            if (Spec::has_relu && value <= 0) value = 0;
            y[(int64(matrix) * M + m) * N + n] = narrow<typename Spec::Result>(value);
        }
    }
}
