// Batch normalisation of images with their channels last: x is (rows, C), each channel over the rows.
//
// Spec holds Scalar, Running (of the running statistics), `pack` (channels a thread), has_relu,
// has_plus (something is added before the relu), has_weight, has_bias.
#include "columns.cuh"

// What a channel does to x: y = (x - middle) * slope + shift
template <class Spec> struct Line {
    Number<Spec> middle, slope, shift;
    __device__ Number<Spec> at(Number<Spec> x) const {
        return multiply_add(x - middle, slope, shift);
    }
};
template <class Spec>
__device__ Line<Spec> line_of(int channel, const Number<Spec>* mean, const Number<Spec>* scale,
                              const typename Spec::Scalar* weight,
                              const typename Spec::Scalar* bias) {
    Number<Spec> slope = scale[channel];
    if (Spec::has_weight) slope = multiply(slope, Number<Spec>(widen(weight[channel])));
    return {mean[channel], slope, Spec::has_bias ? Number<Spec>(widen(bias[channel])) : Number<Spec>(0)};
}

// mean, scale = 1 / sqrt(variance + epsilon); the running statistics follow. Blocks: (shares, groups)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
statistics(const typename Spec::Scalar* __restrict__ x, Number<Spec>* mean, Number<Spec>* scale,
           typename Spec::Running* running_mean, typename Spec::Running* running_variance,
           Number<Spec>* partial, uint32* finished, int rows, int C, double momentum,
           double epsilon) {
    using N = Number<Spec>;
    const Place<Spec> place;
    N origin[Spec::pack];  // numbers near the mean: differences from them square without loss
    if (place.channel < C) {
        const auto start = load_pack<Spec::pack>(x + place.channel);
#pragma unroll
        for (int i = 0; i < Spec::pack; i++) origin[i] = widen(start[i]);
    }
    sum_rows(
        place, rows, C, partial, finished,
        [&](int row, N* first, N* second) {
            const auto values = load_pack<Spec::pack>(x + int64(row) * C + place.channel);
#pragma unroll
            for (int i = 0; i < Spec::pack; i++) {
                const N away = N(widen(values[i])) - origin[i];
                first[i] += away;
                second[i] += away * away;
            }
        },
        [&](int channel, double first, double second) {
            const double away = first / rows;
            const double variance = max(second / rows - away * away, 0.0);
            const double middle = double(widen(x[channel])) + away;
            mean[channel] = N(middle);
            scale[channel] = N(1 / sqrt(variance + epsilon));
            if (running_mean) {
                const double before = running_mean[channel];
                running_mean[channel] = before + momentum * (middle - before);
            }
            if (running_variance) {
                const double before = running_variance[channel];
                const double unbiased = variance * rows / (rows - 1);
                running_variance[channel] = before + momentum * (unbiased - before);
            }
        });
}

// y = (x - mean) * scale * weight + bias, plus `plus`, and its relu. Blocks: (shares, groups)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
standardise(const typename Spec::Scalar* __restrict__ x, const Number<Spec>* __restrict__ mean,
            const Number<Spec>* __restrict__ scale,
            const typename Spec::Scalar* __restrict__ weight,
            const typename Spec::Scalar* __restrict__ bias,
            const typename Spec::Scalar* __restrict__ plus, typename Spec::Scalar* __restrict__ y,
            int rows, int C) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack;
    const Place<Spec> place;
    if (place.channel >= C) return;
    Line<Spec> line[pack];
#pragma unroll
    for (int i = 0; i < pack; i++)
        line[i] = line_of<Spec>(place.channel + i, mean, scale, weight, bias);
#pragma unroll 4
    for (int row = place.row; row < rows; row += place.step) {
        const int64 at = int64(row) * C + place.channel;
        const auto values = load_pack<pack>(x + at);
        Pack<typename Spec::Scalar, pack> more, result;
        if (Spec::has_plus) more = load_pack<pack>(plus + at);
#pragma unroll
        for (int i = 0; i < pack; i++) {
            N value = line[i].at(widen(values[i]));
            if (Spec::has_plus) value += N(widen(more[i]));
            if (Spec::has_relu && value <= 0) value = 0;
            result[i] = narrow<typename Spec::Scalar>(value);
        }
        store_pack<pack>(y + at, result);
    }
}

// dweight = sum of g * z and dbias = sum of g, with z standardised x and g what comes through the
// relu; both over the rows are kept in `means`. With has_plus, g is written to dplus, and y says what
// came through; without, x does.
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
slopes(const typename Spec::Scalar* __restrict__ dy, const typename Spec::Scalar* __restrict__ y,
       const typename Spec::Scalar* __restrict__ x, const Number<Spec>* __restrict__ mean,
       const Number<Spec>* __restrict__ scale, const typename Spec::Scalar* __restrict__ weight,
       const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ dplus,
       typename Spec::Scalar* dweight, typename Spec::Scalar* dbias, Number<Spec>* means,
       Number<Spec>* partial, uint32* finished, int rows, int C) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack;
    const Place<Spec> place;
    Line<Spec> line[pack];
    if (place.channel < C) {
#pragma unroll
        for (int i = 0; i < pack; i++)
            line[i] = line_of<Spec>(place.channel + i, mean, scale, weight, bias);
    }
    sum_rows(
        place, rows, C, partial, finished,
        [&](int row, N* first, N* second) {
            const int64 at = int64(row) * C + place.channel;
            auto given = load_pack<pack>(dy + at);
            const auto values = load_pack<pack>(x + at);
            Pack<typename Spec::Scalar, pack> result;
            if (Spec::has_plus) result = load_pack<pack>(y + at);
#pragma unroll
            for (int i = 0; i < pack; i++) {
                const N value = widen(values[i]);
                N g = widen(given[i]);
                if (Spec::has_relu) {
                    const N seen = Spec::has_plus ? N(widen(result[i])) : line[i].at(value);
                    if (seen <= 0) g = 0;
                }
                if (Spec::has_plus) given[i] = narrow<typename Spec::Scalar>(g);
                first[i] += g;
                second[i] += g * (value - line[i].middle);
            }
            if (Spec::has_plus) store_pack<pack>(dplus + at, given);
        },
        [&](int channel, double first, double second) {
            second *= scale[channel];
            dbias[channel] = narrow<typename Spec::Scalar>(N(first));
            dweight[channel] = narrow<typename Spec::Scalar>(N(second));
            means[channel] = N(first / rows);
            means[C + channel] = N(second / rows);
        });
}

// dx = slope * (g - mean(g) - z * mean(g * z)); with has_plus `dy` is g already.
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
standardise_back(const typename Spec::Scalar* __restrict__ dy,
                 const typename Spec::Scalar* __restrict__ x,
                 const Number<Spec>* __restrict__ mean, const Number<Spec>* __restrict__ scale,
                 const typename Spec::Scalar* __restrict__ weight,
                 const typename Spec::Scalar* __restrict__ bias,
                 const Number<Spec>* __restrict__ means, typename Spec::Scalar* __restrict__ dx,
                 int rows, int C) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack;
    const Place<Spec> place;
    if (place.channel >= C) return;
    Line<Spec> line[pack];
    N along[pack], lift[pack];  // dx = slope * g + along * (x - middle) + lift
#pragma unroll
    for (int i = 0; i < pack; i++) {
        const int channel = place.channel + i;
        line[i] = line_of<Spec>(channel, mean, scale, weight, bias);
        along[i] = -line[i].slope * (scale[channel] * means[C + channel]);
        lift[i] = -line[i].slope * means[channel];
    }
#pragma unroll 4
    for (int row = place.row; row < rows; row += place.step) {
        const int64 at = int64(row) * C + place.channel;
        const auto given = load_pack<pack>(dy + at);
        const auto values = load_pack<pack>(x + at);
        Pack<typename Spec::Scalar, pack> result;
#pragma unroll
        for (int i = 0; i < pack; i++) {
            const N value = widen(values[i]);
            N g = widen(given[i]);
            if (Spec::has_relu && !Spec::has_plus && line[i].at(value) <= 0) g = 0;
            g = multiply_add(line[i].slope, g, lift[i]);
            g = multiply_add(along[i], value - line[i].middle, g);
            result[i] = narrow<typename Spec::Scalar>(g);
        }
        store_pack<pack>(dx + at, result);
    }
}
