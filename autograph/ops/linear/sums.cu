// The gradient of a bias: the sums of the columns of dy (rows, C). With has_relu or has_gelu of the
// gradient of what came before that, which is written to dx: `seen` is what the relu answered, or what
// the gelu (by tanh) was given.
#include "columns.cuh"

// gelu(x) = x * share, share = (1 + tanh(u)) / 2 = 1 / (1 + rest), rest = exp(-2 * u)
template <class Scalar> struct Gelu {
    using N = Wide<Scalar>;
    static constexpr double a = 1.5957691216057308, b = 0.07135481627159887;  // 2 * u = x * (a + b * x^2)
    static constexpr double log2e = 1.4426950408889634;
    N x, square, rest, share;

    __device__ Gelu(N x) : x(x), square(x * x) {
        if constexpr (sizeof(Scalar) == 2) {  // to a few units of float's last place
            const float least = min(x * (float(-b * log2e) * square + float(-a * log2e)), 115.0f);
            asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(rest) : "f"(least));
            asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(share) : "f"(1 + rest));
        } else {
            rest = exp(min(-x * (N(a) + N(b) * square), N(80)));
            share = 1 / (1 + rest);
        }
    }
    __device__ N value() const { return x * share; }
    __device__ N slope() const {
        return share * (1 + x * rest * share * (N(a) + N(3 * b) * square));
    }
};

// Four packs a thread. Blocks: pieces of 1024 packs
template <class Spec>
__global__ void __launch_bounds__(256)
gelu(const typename Spec::Scalar* __restrict__ x, typename Spec::Scalar* __restrict__ y, int64 size) {
    using Scalar = typename Spec::Scalar;
    constexpr int pack = Spec::pack, turns = 4;
    const int64 first = (int64(blockIdx.x) * turns * 256 + threadIdx.x) * pack;
    Pack<Scalar, pack> values[turns];
#pragma unroll
    for (int i = 0; i < turns; i++)
        if (first + i * 256 * pack < size) values[i] = load_pack<pack>(x + first + i * 256 * pack);
#pragma unroll
    for (int i = 0; i < turns; i++) {
        if (first + i * 256 * pack >= size) return;
#pragma unroll
        for (int k = 0; k < pack; k++)
            values[i][k] = narrow<Scalar>(Gelu<Scalar>(widen(values[i][k])).value());
        store_pack<pack>(y + first + i * 256 * pack, values[i]);
    }
}

// Blocks: (shares of the rows, groups of columns)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
column_shares(const typename Spec::Scalar* __restrict__ dy,
              const typename Spec::Scalar* __restrict__ seen, typename Spec::Scalar* __restrict__ dx,
              Number<Spec>* __restrict__ partial, int rows, int C) {
    constexpr int pack = Spec::pack;
    using Scalar = typename Spec::Scalar;
    const Place<Spec> place;
    sum_share(place, rows, C, partial, [&](int row, Number<Spec>* first, Number<Spec>*) {
        const int64 at = int64(row) * C + place.channel;
        const auto given = load_pack<pack>(dy + at);
        Number<Spec> slopes[pack];
#pragma unroll
        for (int i = 0; i < pack; i++) slopes[i] = widen(given[i]);
        if (Spec::has_relu || Spec::has_gelu) {
            const auto there = load_pack<pack>(seen + at);
            Pack<Scalar, pack> result;
#pragma unroll
            for (int i = 0; i < pack; i++) {
                const Number<Spec> value = widen(there[i]);
                if (Spec::has_relu && value <= 0) slopes[i] = 0;
                if (Spec::has_gelu) slopes[i] *= Gelu<Scalar>(value).slope();
                result[i] = narrow<Scalar>(slopes[i]);
            }
            store_pack<pack>(dx + at, result);
        }
#pragma unroll
        for (int i = 0; i < pack; i++) first[i] += slopes[i];
    });
}

template <class Spec>
__global__ void __launch_bounds__(Spec::adders)
column_sums(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* dbias, int shares,
            int C) {
    add_shares<Spec>(partial, shares, C, [](int) { return 0; }, [&](int column, double sum, double, int) {
        dbias[column] = narrow<typename Spec::Scalar>(Number<Spec>(sum));
    });
}
