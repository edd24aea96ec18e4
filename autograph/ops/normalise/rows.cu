// Normalisation of rows, and its gradients: every number of a row has a weight of its own.
//
// Spec holds the row (rows.cuh), Scalar, Long (of x and of its sum with plus: as wide as Scalar, or
// wider), `centred` (whether the mean is taken out), has_weight, has_bias, has_plus (x plus something
// is normalised); on the way back has_dx, has_affine (whether dweight and dbias are wanted) and
// has_rounded (whether dx is wanted as Scalar too).
#include "rows.cuh"

template <class Spec> using Number = Wide<typename Spec::Long>;
template <class Spec> using Numbers = Number<Spec>[Spec::packs][Spec::pack];
template <class Spec, class T> using Packs = Pack<T, Spec::pack>[Spec::packs];

// y = (x - mean) * scale * weight + bias, scale = 1 / sqrt(variance + epsilon); with has_plus of
// sum = x + plus
template <class Spec>
__global__ void __launch_bounds__(256)
standardise_rows(const typename Spec::Long* __restrict__ x,
                 const typename Spec::Scalar* __restrict__ plus, typename Spec::Long* __restrict__ sum,
                 const typename Spec::Scalar* __restrict__ weight,
                 const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ y,
                 Number<Spec>* mean, Number<Spec>* scale, int rows, double epsilon) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    using Scalar = typename Spec::Scalar;
    const int row = blockIdx.x * R::a_block + threadIdx.x / R::lanes;
    const int64 start = int64(min(row, rows - 1)) * Spec::size;
    Packs<Spec, typename Spec::Long> given;
    Packs<Spec, Scalar> more, factor, shift;
    R::fetch(given, x + start);
    if (Spec::has_plus) R::fetch(more, plus + start);
    if (Spec::has_weight) R::fetch(factor, weight);
    if (Spec::has_bias) R::fetch(shift, bias);
    Numbers<Spec> values;
    N middle = 0, square = 0;
    R::each([&](int, int j, int i) {
        values[j][i] = widen(given[j][i]);
        if (Spec::has_plus) values[j][i] += N(widen(more[j][i]));
    });
    if (Spec::has_plus && row < rows) R::store(sum + start, values);
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
    R::each([&](int, int j, int i) {
        values[j][i] *= rate;
        if (Spec::has_weight) values[j][i] *= N(widen(factor[j][i]));
        if (Spec::has_bias) values[j][i] += N(widen(shift[j][i]));
    });
    R::store(y + start, values);
}

// What is read of a row on the way back.
template <class Spec> struct Read {
    Packs<Spec, typename Spec::Long> x;
    Packs<Spec, typename Spec::Scalar> dy;
    Number<Spec> middle, rate;
};

// g = dy * weight;  dx = scale * (g - mean(g) - z * mean(g * z)), z being standardised x; plus dsum.
// The block's sums of dy * z and of dy go to partial (blocks, 2, size). A row is read while the one
// before is worked on.
template <class Spec>
__global__ void __launch_bounds__(256, Spec::packs * Spec::pack <= 16 && sizeof(Number<Spec>) == 4 ? 2 : 1)
standardise_rows_back(const typename Spec::Long* __restrict__ dsum,
                      const typename Spec::Scalar* __restrict__ dy,
                      const typename Spec::Long* __restrict__ x,
                      const Number<Spec>* __restrict__ mean, const Number<Spec>* __restrict__ scale,
                      const typename Spec::Scalar* __restrict__ weight,
                      typename Spec::Long* __restrict__ dx,
                      typename Spec::Scalar* __restrict__ rounded,
                      Number<Spec>* __restrict__ partial, int rows) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    Packs<Spec, typename Spec::Scalar> factor;
    Numbers<Spec> slopes, shifts;
    R::each([&](int, int j, int i) { slopes[j][i] = shifts[j][i] = 0; });
    if (Spec::has_weight) R::fetch(factor, weight);
    const int step = gridDim.x * R::a_block;
    int row = blockIdx.x * R::a_block + threadIdx.x / R::lanes;
    Read<Spec> next;
    auto ask = [&](int row) {
        if (row >= rows) return;
        const int64 start = int64(row) * Spec::size;
        R::fetch(next.x, x + start);
        R::fetch(next.dy, dy + start);
        next.middle = mean[row], next.rate = scale[row];
    };
    ask(row);
    for (int first = blockIdx.x * R::a_block; first < rows; first += step, row += step) {
        const Read<Spec> here = next;
        const bool there = row < rows;
        const int64 start = int64(there ? row : rows - 1) * Spec::size;
        Packs<Spec, typename Spec::Long> more;
        if (Spec::has_dx && Spec::has_plus) R::fetch(more, dsum + start);
        ask(row + step);
        Numbers<Spec> z, g;
        N plain = 0, along = 0;
        R::each([&](int, int j, int i) {
            z[j][i] = (N(widen(here.x[j][i])) - here.middle) * here.rate;
            g[j][i] = widen(here.dy[j][i]);
            if (Spec::has_affine && there) {
                slopes[j][i] += g[j][i] * z[j][i];
                shifts[j][i] += g[j][i];
            }
            if (Spec::has_weight) g[j][i] *= N(widen(factor[j][i]));
            plain += g[j][i];
            along += g[j][i] * z[j][i];
        });
        if (!Spec::has_dx) continue;
        along = all_sum<R::lanes>(along) / Spec::size;
        plain = Spec::centred ? all_sum<R::lanes>(plain) / Spec::size : N(0);
        if (!there) continue;
        R::each([&](int, int j, int i) {
            g[j][i] = here.rate * (g[j][i] - plain - z[j][i] * along);
            if (Spec::has_plus) g[j][i] += N(widen(more[j][i]));
        });
        R::store(dx + start, g);
        if (Spec::has_rounded) R::store(rounded + start, g);
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

// dweight and dbias (null where not wanted) from partial. Every warp of a block adds some shares of 32
// columns, and then one of these.
template <class Spec>
__global__ void __launch_bounds__(1024)
add_partials(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* dweight,
             typename Spec::Scalar* dbias, int blocks) {
    using N = Number<Spec>;
    __shared__ N shares[32][33];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    constexpr int ahead = 9;
    N sum = 0;
    for (int start = warp; start < blocks && column < 2 * Spec::size; start += ahead * 32) {
        N next[ahead];  // all of them fly at once
#pragma unroll
        for (int i = 0; i < ahead; i++) {
            const int at = start + i * 32;
            next[i] = at < blocks ? partial[int64(at) * 2 * Spec::size + column] : N(0);
        }
#pragma unroll
        for (int i = 0; i < ahead; i++) sum += next[i];
    }
    shares[warp][lane] = sum;
    __syncthreads();
    sum = all_sum<32>(shares[lane][warp]);
    const int own = blockIdx.x * 32 + warp;
    typename Spec::Scalar* to = own < Spec::size ? dweight : dbias;
    if (lane == 0 && own < 2 * Spec::size && to) to[own % Spec::size] = narrow<typename Spec::Scalar>(sum);
}
