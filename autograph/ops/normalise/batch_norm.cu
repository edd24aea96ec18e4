// Batch normalisation of images with their channels last: x is (rows, C), each channel over the rows.
//
// Spec holds Scalar, Running (of the running statistics), `pack` (channels a thread), has_relu,
// has_plus (something is added before the relu), has_weight, has_bias;
// on the way back has_second (y went two ways).
#include "columns.cuh"

// A number near the mean of a channel: differences from it square without loss.
template <class Spec>
__device__ Number<Spec> origin_of(const typename Spec::Scalar* x, int rows, int C, int channel) {
    Number<Spec> sum = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) sum += widen(x[int64(i) * (rows / 4) * C + channel]);
    return sum * Number<Spec>(0.25);
}

// The same of neighbouring channels.
template <class Spec>
__device__ void origins_of(const typename Spec::Scalar* x, int rows, int C, int channel,
                           Number<Spec> (&origin)[Spec::pack]) {
    Pack<typename Spec::Scalar, Spec::pack> seen[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        seen[i] = load_pack<Spec::pack>(x + int64(i) * (rows / 4) * C + channel);
#pragma unroll
    for (int k = 0; k < Spec::pack; k++) {
        Number<Spec> sum = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) sum += widen(seen[i][k]);
        origin[k] = sum * Number<Spec>(0.25);
    }
}

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

// Of each share of the rows, the sums of x and of its square. Blocks: (shares, groups)
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
moments(const typename Spec::Scalar* __restrict__ x, Number<Spec>* __restrict__ partial, int rows,
        int C) {
    using N = Number<Spec>;
    const Place<Spec> place;
    N origin[Spec::pack];
    if (place.channel < C) origins_of<Spec>(x, rows, C, place.channel, origin);
    sum_share(place, rows, C, partial, [&](int row, N* first, N* second) {
        const auto values = load_pack<Spec::pack>(x + int64(row) * C + place.channel);
#pragma unroll
        for (int i = 0; i < Spec::pack; i++) {
            const N away = N(widen(values[i])) - origin[i];
            first[i] += away;
            second[i] += away * away;
        }
    });
}

// mean, scale = 1 / sqrt(variance + epsilon); the running statistics follow.
template <class Spec>
__global__ void __launch_bounds__(Spec::adders)
statistics(const typename Spec::Scalar* __restrict__ x, const Number<Spec>* __restrict__ partial,
           Number<Spec>* mean, Number<Spec>* scale, typename Spec::Running* running_mean,
           typename Spec::Running* running_variance, int shares, int rows, int C, double momentum,
           double epsilon) {
    const double share = 1.0 / rows, unbiased = double(rows) / (rows - 1);
    struct Before { Number<Spec> origin; double mean, variance; };
    const auto ask = [&](int channel) {
        return Before{origin_of<Spec>(x, rows, C, channel), running_mean ? running_mean[channel] : 0.0,
                      running_variance ? running_variance[channel] : 0.0};
    };
    add_shares<Spec>(partial, shares, C, ask, [&](int channel, double first, double second, Before before) {
        const double away = first * share, variance = max(second * share - away * away, 0.0);
        const double middle = double(before.origin) + away;
        mean[channel] = middle;
        scale[channel] = rsqrt(variance + epsilon);
        if (running_mean) running_mean[channel] = before.mean + momentum * (middle - before.mean);
        if (running_variance)
            running_variance[channel] =
                before.variance + momentum * (variance * unbiased - before.variance);
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

// Of each share of the rows, the sums of g and of g * (x - mean), g being what comes through the relu
// of dy (with has_second of dy and another one). With has_plus y says what came through, else x does.
// With either, g is written to `through`.
template <class Spec>
__global__ void __launch_bounds__(threads, 2)
slopes(const typename Spec::Scalar* __restrict__ dy, const typename Spec::Scalar* __restrict__ y,
       const typename Spec::Scalar* __restrict__ x, const Number<Spec>* __restrict__ mean,
       const Number<Spec>* __restrict__ scale, const typename Spec::Scalar* __restrict__ weight,
       const typename Spec::Scalar* __restrict__ bias,
       const typename Spec::Scalar* __restrict__ second_dy,
       typename Spec::Scalar* __restrict__ through, Number<Spec>* __restrict__ partial, int rows,
       int C) {
    using N = Number<Spec>;
    constexpr int pack = Spec::pack;
    constexpr bool keeps = Spec::has_plus || Spec::has_second;
    const Place<Spec> place;
    Line<Spec> line[pack];
    if (place.channel < C) {
#pragma unroll
        for (int i = 0; i < pack; i++)
            line[i] = line_of<Spec>(place.channel + i, mean, scale, weight, bias);
    }
    sum_share(place, rows, C, partial, [&](int row, N* first, N* second) {
        const int64 at = int64(row) * C + place.channel;
        auto given = load_pack<pack>(dy + at);
        const auto values = load_pack<pack>(x + at);
        Pack<typename Spec::Scalar, pack> result, more;
        if (Spec::has_plus) result = load_pack<pack>(y + at);
        if (Spec::has_second) more = load_pack<pack>(second_dy + at);
#pragma unroll
        for (int i = 0; i < pack; i++) {
            const N value = widen(values[i]);
            N g = widen(given[i]);
            if (Spec::has_second) g += widen(more[i]);
            if (Spec::has_relu) {
                const N seen = Spec::has_plus ? N(widen(result[i])) : line[i].at(value);
                if (seen <= 0) g = 0;
            }
            if (keeps) given[i] = narrow<typename Spec::Scalar>(g);
            first[i] += g;
            second[i] += g * (value - line[i].middle);
        }
        if (keeps) store_pack<pack>(through + at, given);
    });
}

// dweight = sum of g * z and dbias = sum of g, z being standardised x; both over the rows are means.
template <class Spec>
__global__ void __launch_bounds__(Spec::adders)
affine_slopes(const Number<Spec>* __restrict__ partial, const Number<Spec>* __restrict__ scale,
              typename Spec::Scalar* dweight, typename Spec::Scalar* dbias, Number<Spec>* means,
              int shares, int rows, int C) {
    using N = Number<Spec>;
    const double share = 1.0 / rows;
    const auto ask = [&](int channel) { return scale[channel]; };
    add_shares<Spec>(partial, shares, C, ask, [&](int channel, double first, double second, N rate) {
        second *= rate;
        dbias[channel] = narrow<typename Spec::Scalar>(N(first));
        dweight[channel] = narrow<typename Spec::Scalar>(N(second));
        means[channel] = first * share;
        means[C + channel] = second * share;
    });
}

// dx = slope * (g - mean(g) - z * mean(g * z)); with has_plus or has_second `dy` is g already.
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
    constexpr bool masks = Spec::has_relu && !Spec::has_plus && !Spec::has_second;
    Line<Spec> line[pack];
    N along[pack], lift[pack];  // dx = slope * g + along * (x - middle) + lift
#pragma unroll
    for (int i = 0; i < pack; i++) {
        const int channel = place.channel + i;
        line[i] = line_of<Spec>(channel, mean, scale, weight, bias);
        along[i] = -line[i].slope * (scale[channel] * means[C + channel]);
        lift[i] = -line[i].slope * means[channel];
    }
#pragma unroll(masks ? 2 : 4)
    for (int row = place.row; row < rows; row += place.step) {
        const int64 at = int64(row) * C + place.channel;
        const auto given = load_pack<pack>(dy + at);
        const auto values = load_pack<pack>(x + at);
        Pack<typename Spec::Scalar, pack> result;
#pragma unroll
        for (int i = 0; i < pack; i++) {
            const N value = widen(values[i]);
            N g = widen(given[i]);
            if (masks && line[i].at(value) <= 0) g = 0;
            g = multiply_add(line[i].slope, g, lift[i]);
            g = multiply_add(along[i], value - line[i].middle, g);
            result[i] = narrow<typename Spec::Scalar>(g);
        }
        store_pack<pack>(dx + at, result);
    }
}
