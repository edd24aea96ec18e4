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

// Of a pack of dy and, behind a relu or gelu, of what is there of `seen`: the gradient before that, and
// that as it is stored.
template <class Spec, int pack = Spec::pack>
__device__ Pack<typename Spec::Scalar, pack> before(
    const Pack<typename Spec::Scalar, pack>& dy, const Pack<typename Spec::Scalar, pack>& seen,
    Number<Spec>* slopes) {
    using Scalar = typename Spec::Scalar;
    Pack<Scalar, pack> result = dy;
#pragma unroll
    for (int i = 0; i < pack; i++) {
        slopes[i] = widen(dy[i]);
        if (!Spec::has_relu && !Spec::has_gelu) continue;
        const Number<Spec> value = widen(seen[i]);
        if (Spec::has_relu && value <= 0) slopes[i] = 0;
        if (Spec::has_gelu) slopes[i] *= Gelu<Scalar>(value).slope();
        result[i] = narrow<Scalar>(slopes[i]);
    }
    return result;
}

// Blocks: (shares of the rows, groups of columns)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
column_shares(const typename Spec::Scalar* __restrict__ dy,
              const typename Spec::Scalar* __restrict__ seen, typename Spec::Scalar* __restrict__ dx,
              Number<Spec>* __restrict__ partial, int rows, int C) {
    constexpr int pack = Spec::pack;
    constexpr bool changes = Spec::has_relu || Spec::has_gelu;
    const Place<Spec> place;
    sum_share(place, rows, C, partial, [&](int row, Number<Spec>* first, Number<Spec>*) {
        const int64 at = int64(row) * C + place.channel;
        const auto given = load_pack<pack>(dy + at);
        Number<Spec> slopes[pack];
        const auto result = before<Spec>(given, changes ? load_pack<pack>(seen + at) : given, slopes);
        if (changes) store_pack<pack>(dx + at, result);
#pragma unroll
        for (int i = 0; i < pack; i++) first[i] += slopes[i];
    });
}

// The same, and `turned` (C, rows), which is dx once more; dx itself only with has_dx. There are whole
// tiles alone, `deep` rows of a group. In one, the packs of a row lie in an order of its own (by xor),
// so that rows of packs are written and columns of numbers read in all banks at once.
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
column_shares_turned(const typename Spec::Scalar* __restrict__ dy,
                     const typename Spec::Scalar* __restrict__ seen,
                     typename Spec::Scalar* __restrict__ dx,
                     typename Spec::Scalar* __restrict__ turned,
                     Number<Spec>* __restrict__ partial, int rows, int C) {
    using Scalar = typename Spec::Scalar;
    using Values = Pack<Scalar, Spec::pack>;
    constexpr int pack = Spec::pack, deep = Place<Spec>::deep, ahead = Spec::ahead;
    constexpr bool changes = Spec::has_relu || Spec::has_gelu;
    static_assert(deep == 8 * pack);
    const Place<Spec> place;
    alignas(16) __shared__ Scalar tiles[ahead][deep][group];
    Number<Spec> first[pack] = {}, second[pack] = {};
    const int own = (place.lane ^ place.depth / pack) * pack;
    const int piece = threadIdx.x % 8, column = threadIdx.x / 8;  // of what it writes of a tile
    const int there = (column / pack ^ piece) * pack + column % pack;
    for (int start = blockIdx.x * deep; start < rows; start += ahead * place.step) {
        Values given[ahead], other[ahead];  // all of them fly at once
#pragma unroll
        for (int i = 0; i < ahead; i++) {
            const int64 row = start + i * place.step;
            if (row >= rows) continue;
            const int64 at = (row + place.depth) * C + place.channel;
            given[i] = load_pack<pack>(dy + at);
            if (changes) other[i] = load_pack<pack>(seen + at);
        }
#pragma unroll
        for (int i = 0; i < ahead; i++) {
            const int64 row = start + i * place.step;
            if (row >= rows) continue;
            Number<Spec> slopes[pack];
            const auto result = before<Spec>(given[i], other[i], slopes);
            if (changes && Spec::has_dx)
                store_pack<pack>(dx + ((row + place.depth) * C + place.channel), result);
#pragma unroll
            for (int k = 0; k < pack; k++) first[k] += slopes[k];
            store_pack<pack>(&tiles[i][place.depth][own], result);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < ahead; i++) {
            const int64 row = start + i * place.step;
            if (row >= rows) continue;
            const int64 at = (int64(blockIdx.y) * group + column) * rows + (row + piece * pack);
            Values values;
#pragma unroll
            for (int k = 0; k < pack; k++) values[k] = tiles[i][piece * pack + k][there];
            store_pack<pack>(turned + at, values);
        }
        __syncthreads();
    }
    write_share(place, C, partial, first, second);
}

template <class Spec>
__global__ void __launch_bounds__(Spec::adders)
column_sums(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* dbias, int shares,
            int C) {
    add_shares<Spec>(partial, shares, C, [](int) { return 0; }, [&](int column, double sum, double, int) {
        dbias[column] = narrow<typename Spec::Scalar>(Number<Spec>(sum));
    });
}
