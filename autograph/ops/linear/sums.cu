// The gradient of a bias: the sums of the columns of dy (rows, C); with has_relu of what came through
// the relu, as y says, which is written to dx.
#include "columns.cuh"

// Blocks: (shares of the rows, groups of columns)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
column_shares(const typename Spec::Scalar* __restrict__ dy, const typename Spec::Scalar* __restrict__ y,
              typename Spec::Scalar* __restrict__ dx, Number<Spec>* __restrict__ partial, int rows,
              int C) {
    constexpr int pack = Spec::pack;
    const Place<Spec> place;
    sum_share(place, rows, C, partial, [&](int row, Number<Spec>* first, Number<Spec>*) {
        const int64 at = int64(row) * C + place.channel;
        auto slopes = load_pack<pack>(dy + at);
        if (Spec::has_relu) {
            const auto seen = load_pack<pack>(y + at);
#pragma unroll
            for (int i = 0; i < pack; i++)
                if (widen(seen[i]) <= 0) slopes[i] = narrow<typename Spec::Scalar>(0);
            store_pack<pack>(dx + at, slopes);
        }
#pragma unroll
        for (int i = 0; i < pack; i++) first[i] += widen(slopes[i]);
    });
}

template <class Spec>
__global__ void __launch_bounds__(256)
column_sums(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* dbias, int shares,
            int C) {
    add_shares(partial, shares, C, [&](int column, double sum, double) {
        dbias[column] = narrow<typename Spec::Scalar>(Number<Spec>(sum));
    });
}
