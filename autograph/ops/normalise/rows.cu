// Normalisation of rows, and its gradients: every number of a row has a weight of its own.
//
// Spec holds the row (rows.cuh), Scalar, `centred` (whether the mean is taken out), has_weight,
// has_bias, has_plus (x plus something is normalised); on the way back has_dx and has_affine (whether
// dweight and dbias are wanted).
#include "rows.cuh"

template <class Spec> using Number = Wide<typename Spec::Scalar>;
template <class Spec> using Numbers = Number<Spec>[Spec::packs][Spec::pack];

// y = (x - mean) * scale * weight + bias, scale = 1 / sqrt(variance + epsilon); with has_plus of
// sum = x + plus
template <class Spec>
__global__ void __launch_bounds__(256)
standardise_rows(const typename Spec::Scalar* __restrict__ x,
                 const typename Spec::Scalar* __restrict__ plus, typename Spec::Scalar* __restrict__ sum,
                 const typename Spec::Scalar* __restrict__ weight,
                 const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ y,
                 Number<Spec>* mean, Number<Spec>* scale, int rows, double epsilon) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    const int row = blockIdx.x * R::a_block + threadIdx.x / R::lanes;
    const int64 start = int64(min(row, rows - 1)) * Spec::size;
    Numbers<Spec> values;
    R::load(values, x + start);
    if (Spec::has_plus) {
        Numbers<Spec> more;
        R::load(more, plus + start);
        R::each([&](int, int j, int i) { values[j][i] += more[j][i]; });
        if (row < rows) R::store(sum + start, values);
    }
    N middle = 0, square = 0;
    if (Spec::centred) {
        R::each([&](int, int j, int i) { middle += values[j][i]; });
        middle = all_sum<R::lanes>(middle) / Spec::size;
    }
    R::each([&](int, int j, int i) {
        values[j][i] -= middle;
        square += values[j][i] * values[j][i];
    });
    const N rate = N(1) / sqrt(all_sum<R::lanes>(square) / Spec::size + N(epsilon));
    if (row >= rows) return;
    if (threadIdx.x % R::lanes == 0) mean[row] = middle, scale[row] = rate;
    Numbers<Spec> factor, shift;
    if (Spec::has_weight) R::load(factor, weight);
    if (Spec::has_bias) R::load(shift, bias);
    R::each([&](int, int j, int i) {
        values[j][i] *= rate;
        if (Spec::has_weight) values[j][i] *= factor[j][i];
        if (Spec::has_bias) values[j][i] += shift[j][i];
    });
    R::store(y + start, values);
}

// g = dy * weight;  dx = scale * (g - mean(g) - z * mean(g * z)), z being standardised x; plus dsum.
// The block's sums of dy * z and of dy go to partial (blocks, 2, size).
template <class Spec>
__global__ void __launch_bounds__(256, Spec::packs * Spec::pack <= 16 ? 3 : 1)
standardise_rows_back(const typename Spec::Scalar* __restrict__ dsum,
                      const typename Spec::Scalar* __restrict__ dy,
                      const typename Spec::Scalar* __restrict__ x,
                      const Number<Spec>* __restrict__ mean, const Number<Spec>* __restrict__ scale,
                      const typename Spec::Scalar* __restrict__ weight,
                      typename Spec::Scalar* __restrict__ dx, Number<Spec>* __restrict__ partial,
                      int rows) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    Numbers<Spec> factor, slopes, shifts;
    R::each([&](int, int j, int i) { slopes[j][i] = shifts[j][i] = 0; });
    if (Spec::has_weight) R::load(factor, weight);
    const int step = gridDim.x * R::a_block;
    for (int first = blockIdx.x * R::a_block; first < rows; first += step) {
        const int row = first + threadIdx.x / R::lanes;
        const bool there = row < rows;
        const int64 start = int64(there ? row : rows - 1) * Spec::size;
        const N middle = mean[there ? row : rows - 1], rate = scale[there ? row : rows - 1];
        Numbers<Spec> z, g;
        R::load(z, x + start);
        R::load(g, dy + start);
        N plain = 0, along = 0;
        R::each([&](int, int j, int i) {
            z[j][i] = (z[j][i] - middle) * rate;
            if (Spec::has_affine && there) {
                slopes[j][i] += g[j][i] * z[j][i];
                shifts[j][i] += g[j][i];
            }
            if (Spec::has_weight) g[j][i] *= factor[j][i];
            plain += g[j][i];
            along += g[j][i] * z[j][i];
        });
        if (!Spec::has_dx) continue;
        along = all_sum<R::lanes>(along) / Spec::size;
        plain = Spec::centred ? all_sum<R::lanes>(plain) / Spec::size : N(0);
        if (!there) continue;
        R::each([&](int, int j, int i) { g[j][i] = rate * (g[j][i] - plain - z[j][i] * along); });
        if (Spec::has_plus) {
            R::load(z, dsum + start);
            R::each([&](int, int j, int i) { g[j][i] += z[j][i]; });
        }
        R::store(dx + start, g);
    }
    if (!Spec::has_affine) return;
    __shared__ N sums[2][R::a_block > 1 ? Spec::size : 1];  // a row for a warp: they add in turn
    N* out = partial + int64(blockIdx.x) * 2 * Spec::size;
    for (int turn = 0; turn < R::a_block; turn++) {
        if (int(threadIdx.x) / R::lanes == turn) {
            R::each([&](int column, int j, int i) {
                N a = slopes[j][i], b = shifts[j][i];
                if (turn > 0) a += sums[0][column], b += sums[1][column];
                if (turn == R::a_block - 1) out[column] = a, out[Spec::size + column] = b;
                else sums[0][column] = a, sums[1][column] = b;
            });
        }
        __syncthreads();
    }
}

// dweight and dbias (null where not wanted) from partial. A block adds up 32 columns in 8 shares.
template <class Spec>
__global__ void __launch_bounds__(256)
add_partials(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* dweight,
             typename Spec::Scalar* dbias, int blocks) {
    using N = Number<Spec>;
    __shared__ N shares[8][32];
    const int column = blockIdx.x * 32 + threadIdx.x % 32, share = threadIdx.x / 32;
    N sum = 0;
    if (column < 2 * Spec::size) {
#pragma unroll 8
        for (int i = share; i < blocks; i += 8) sum += partial[int64(i) * 2 * Spec::size + column];
    }
    shares[share][threadIdx.x % 32] = sum;
    __syncthreads();
    if (share > 0 || column >= 2 * Spec::size) return;
#pragma unroll
    for (int i = 1; i < 8; i++) sum += shares[i][threadIdx.x];
    typename Spec::Scalar* to = column < Spec::size ? dweight : dbias;
    if (to) to[column % Spec::size] = narrow<typename Spec::Scalar>(sum);
}
