// Softmax, its logarithm, and their gradients over rows held in registers.
//
// Spec holds the row (rows.cuh), Scalar, and is_log.
#include "rows.cuh"

template <class Spec> using Number = Wide<typename Spec::Scalar>;
template <class Spec> using Numbers = Number<Spec>[Spec::packs][Spec::pack];

// exp(x - max(x)) / sum, or x - max(x) - log(sum)
template <class Spec>
__global__ void __launch_bounds__(256)
softmax(const typename Spec::Scalar* __restrict__ x, typename Spec::Scalar* __restrict__ y,
        int rows) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    const int row = blockIdx.x * R::a_block + threadIdx.x / R::lanes;
    const int64 start = int64(min(row, rows - 1)) * Spec::size;
    Numbers<Spec> values;
    R::load(values, x + start);
    N largest = Limits<N>::lowest();
    R::each([&](int, int j, int i) { largest = max_with_nan(values[j][i], largest); });
    largest = all_max<R::lanes>(largest);
    double total = 0;
    R::each([&](int, int j, int i) {
        values[j][i] -= largest;
        const N power = exp(values[j][i]);
        total += power;
        if (!Spec::is_log) values[j][i] = power;
    });
    total = all_sum<R::lanes>(total);
    if (row >= rows) return;
    const N length = N(log1p(N(total - 1))), whole = N(total);  // the largest alone gives 1
    R::each([&](int, int j, int i) {
        values[j][i] = Spec::is_log ? values[j][i] - length : values[j][i] / whole;
    });
    R::store(y + start, values);
}

// y * (dy - sum(dy * y)), or dy - exp(y) * sum(dy)
template <class Spec>
__global__ void __launch_bounds__(256)
softmax_dx(const typename Spec::Scalar* __restrict__ dy, const typename Spec::Scalar* __restrict__ y,
           typename Spec::Scalar* __restrict__ dx, int rows) {
    using N = Number<Spec>;
    using R = Row<Spec>;
    const int row = blockIdx.x * R::a_block + threadIdx.x / R::lanes;
    const int64 start = int64(min(row, rows - 1)) * Spec::size;
    Numbers<Spec> slopes, values;
    R::load(slopes, dy + start);
    R::load(values, y + start);
    N total = 0;
    R::each([&](int, int j, int i) {
        total += Spec::is_log ? slopes[j][i] : slopes[j][i] * values[j][i];
    });
    total = all_sum<R::lanes>(total);
    if (row >= rows) return;
    R::each([&](int, int j, int i) {
        slopes[j][i] = Spec::is_log ? slopes[j][i] - exp(values[j][i]) * total
                                    : values[j][i] * (slopes[j][i] - total);
    });
    R::store(dx + start, slopes);
}
