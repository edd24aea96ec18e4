// Convolution, bias, relu and max pooling in one pass over an image in shared memory, and back.
//
// Letters: x (N, C, H, W), weight (O, C, R, S), y (N, O, P, Q); a window is FH by FW, windows tile
// the image, and the convolution has stride and dilation 1. Spec holds Scalar, these sizes without
// N, padding_h and padding_w, `threads`, and what is said at the kernels.
#include "scalar.cuh"

constexpr int stopped = 255;  // the index where relu let nothing through

template <class Spec> struct Pooled : Spec {
    using Number = Wide<typename Spec::Scalar>;
    static constexpr int HP = Spec::H + 2 * Spec::padding_h, WP = Spec::W + 2 * Spec::padding_w;
    static constexpr int CRS = Spec::C * Spec::R * Spec::S, PQ = Spec::P * Spec::Q;
    static constexpr int image_size = Spec::C * HP * WP, window = Spec::FH * Spec::FW;
};

// The image of a sample, within a border of zeros.
template <class Spec, class Number>
__device__ void load_image(const typename Spec::Scalar* x, Number* image) {
    using Z = Pooled<Spec>;
    for (int i = threadIdx.x; i < Z::image_size; i += Spec::threads) {
        const int c = i / (Z::HP * Z::WP), h = i / Z::WP % Z::HP - Spec::padding_h;
        const int w = i % Z::WP - Spec::padding_w;
        const bool inside = h >= 0 && h < Spec::H && w >= 0 && w < Spec::W;
        image[i] = inside ? widen(x[(c * Spec::H + h) * Spec::W + w]) : Number(0);
    }
}

// A block is a sample. A thread has `outputs` channels of one window, over every `shares`-th input
// channel; OP is O rounded up to a multiple of `outputs`.
template <class Spec>
__global__ void __launch_bounds__(Spec::threads)
pooled(const typename Spec::Scalar* __restrict__ x, const typename Spec::Scalar* __restrict__ weight,
       const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ y,
       uint8* __restrict__ index) {
    using Z = Pooled<Spec>;
    using Number = typename Z::Number;
    constexpr int outputs = Spec::outputs, groups = Spec::OP / outputs, shares = Spec::shares;
    constexpr int rows = Spec::FH + Spec::R - 1, columns = Spec::FW + Spec::S - 1;
    extern __shared__ __align__(16) unsigned char memory[];
    Number* image = reinterpret_cast<Number*>(memory);
    Number* weights = image + (Z::image_size + 3) / 4 * 4;  // [c, r, s][o]
    Number* parts = weights + Z::CRS * Spec::OP;            // [share][window][o][p, q]
    const int64 n = blockIdx.x;

    load_image<Spec>(x + n * Spec::C * Spec::H * Spec::W, image);
    for (int i = threadIdx.x; i < Z::CRS * Spec::OP; i += Spec::threads) {
        const int o = i / Z::CRS, k = i % Z::CRS;
        weights[k * Spec::OP + o] = o < Spec::O ? widen(weight[i]) : Number(0);
    }
    __syncthreads();

    auto finish = [&](int o, int at, const Number* sums, int step) {
        Number best = sums[0];
        int found = 0;
#pragma unroll
        for (int i = 1; i < Z::window; i++) {
            const Number value = sums[i * step];
            if (value > best || is_nan(value)) best = value, found = i;
        }
        if (Spec::has_bias) best += widen(bias[o]);
        const bool passes = !(best <= 0);
        const int64 place = (n * Spec::O + o) * Z::PQ + at;
        y[place] = narrow<typename Spec::Scalar>(passes ? best : Number(0));
        index[place] = passes ? found : stopped;
    };

    for (int task = threadIdx.x; task < shares * groups * Z::PQ; task += Spec::threads) {
        const int at = task % Z::PQ, group = task / Z::PQ % groups, share = task / (Z::PQ * groups);
        Number sums[outputs][Z::window];
#pragma unroll
        for (int i = 0; i < Z::window; i++)
#pragma unroll
            for (int k = 0; k < outputs; k++) sums[k][i] = 0;
        const Number* corner = image + at / Spec::Q * Spec::FH * Z::WP + at % Spec::Q * Spec::FW;
        for (int c = share; c < Spec::C; c += shares) {
            Number patch[rows][columns];
#pragma unroll
            for (int i = 0; i < rows; i++)
#pragma unroll
                for (int j = 0; j < columns; j++)
                    patch[i][j] = corner[(c * Z::HP + i) * Z::WP + j];
#pragma unroll
            for (int r = 0; r < Spec::R; r++)
#pragma unroll
                for (int s = 0; s < Spec::S; s++) {
                    const auto w = load_pack<outputs>(
                        weights + ((c * Spec::R + r) * Spec::S + s) * Spec::OP + group * outputs);
#pragma unroll
                    for (int i = 0; i < Z::window; i++)
#pragma unroll
                        for (int k = 0; k < outputs; k++)
                            sums[k][i] += w[k] * patch[i / Spec::FW + r][i % Spec::FW + s];
                }
        }
#pragma unroll
        for (int k = 0; k < outputs; k++) {
            const int o = group * outputs + k;
            if (shares == 1) {
                if (o < Spec::O) finish(o, at, sums[k], 1);
            } else {
#pragma unroll
                for (int i = 0; i < Z::window; i++)
                    parts[((share * Z::window + i) * Spec::OP + o) * Z::PQ + at] = sums[k][i];
            }
        }
    }
    if (shares == 1) return;
    __syncthreads();
    for (int i = threadIdx.x; i < Spec::O * Z::PQ; i += Spec::threads) {
        Number sums[Z::window];
#pragma unroll
        for (int j = 0; j < Z::window; j++) {
            sums[j] = 0;
#pragma unroll
            for (int share = 0; share < shares; share++)
                sums[j] += parts[(share * Z::window + j) * Spec::OP * Z::PQ + i];
        }
        finish(i / Z::PQ, i % Z::PQ, sums, 1);
    }
}

// A block goes through every gridDim.x-th sample and writes its part of dweight and dbias, as
// [o][c, r, s; 1]; the sum of the parts is a second launch. Spec holds `splits` (threads that share
// one number of it), has_dx, `dx_shares` (threads that share a piece of dx), and `piece`, its width.
template <class Spec>
__global__ void __launch_bounds__(Spec::threads)
pooled_back(const typename Spec::Scalar* __restrict__ dy, const uint8* __restrict__ index,
            const typename Spec::Scalar* __restrict__ x,
            const typename Spec::Scalar* __restrict__ weight,
            typename Spec::Scalar* __restrict__ dx,
            typename Pooled<Spec>::Number* __restrict__ partial, int samples) {
    using Z = Pooled<Spec>;
    using Number = typename Z::Number;
    constexpr int K = Z::CRS + 1, numbers = Spec::O * K, splits = Spec::splits;
    constexpr int each = (numbers * splits + Spec::threads - 1) / Spec::threads;
    constexpr int DH = Spec::H + Spec::R - 1, DW = (Spec::W + Spec::S + 3) / 4 * 4;
    constexpr int shift_h = Spec::R - 1 - Spec::padding_h, shift_w = Spec::S - 1 - Spec::padding_w;
    constexpr int delta_size = Spec::has_dx ? Spec::O * DH * DW : 0;
    constexpr int pieces = (Spec::W + Spec::piece - 1) / Spec::piece;
    extern __shared__ __align__(16) unsigned char memory[];
    Number* image = reinterpret_cast<Number*>(memory);
    Number* delta = image + (Z::image_size + 3) / 4 * 4;  // of the image before pooling, in zeros
    Number* slopes = delta + delta_size;                  // one for each window
    int* places = reinterpret_cast<int*>(slopes + Spec::O * Z::PQ);  // in the image, of its first tap
    Number* weights = slopes + 2 * Spec::O * Z::PQ;
    Number* parts = weights + (Spec::has_dx ? Spec::O * Z::CRS : 0);

    if (Spec::has_dx)
        for (int i = threadIdx.x; i < Spec::O * Z::CRS; i += Spec::threads)
            weights[i] = widen(weight[i]);
    Number sums[each];
#pragma unroll
    for (int j = 0; j < each; j++) sums[j] = 0;

    for (int64 n = blockIdx.x; n < samples; n += gridDim.x) {
        __syncthreads();  // the sample before has been read
        load_image<Spec>(x + n * Spec::C * Spec::H * Spec::W, image);
        for (int i = threadIdx.x; i < delta_size; i += Spec::threads) delta[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < Spec::O * Z::PQ; i += Spec::threads) {
            const int64 from = n * Spec::O * Z::PQ + i;
            const int found = index[from], p = i % Z::PQ / Spec::Q, q = i % Spec::Q;
            const bool passes = found != stopped;
            const int h = p * Spec::FH + (passes ? found / Spec::FW : 0);
            const int w = q * Spec::FW + (passes ? found % Spec::FW : 0);
            const Number slope = passes ? widen(dy[from]) : Number(0);
            slopes[i] = slope;
            places[i] = h * Z::WP + w;
            if (Spec::has_dx && passes)
                delta[(i / Z::PQ * DH + h + shift_h) * DW + w + shift_w] = slope;
        }
        __syncthreads();

#pragma unroll
        for (int j = 0; j < each; j++) {
            const int task = threadIdx.x + j * Spec::threads;
            const int number = task % numbers, split = task / numbers;
            if (split >= splits) continue;
            const int o = number / K, k = number % K;
            const bool is_bias = k == Z::CRS;
            const int c = k / (Spec::R * Spec::S), r = k / Spec::S % Spec::R, s = k % Spec::S;
            const Number* tap = image + (is_bias ? 0 : (c * Z::HP + r) * Z::WP + s);
            Number sum = 0;
#pragma unroll 8
            for (int i = split; i < Z::PQ; i += splits)
                sum += slopes[o * Z::PQ + i] * (is_bias ? Number(1) : tap[places[o * Z::PQ + i]]);
            sums[j] += sum;
        }

        if constexpr (Spec::has_dx) {
            constexpr int tasks = Spec::C * Spec::H * pieces, shares = Spec::dx_shares;
            constexpr int whole = Spec::C * Spec::H * Spec::W;
            for (int task = threadIdx.x; task < tasks * shares; task += Spec::threads) {
                const int place = task % tasks, share = task / tasks;
                const int c = place / (Spec::H * pieces), h = place / pieces % Spec::H;
                const int w = place % pieces * Spec::piece;
                Number row[Spec::piece];
#pragma unroll
                for (int i = 0; i < Spec::piece; i++) row[i] = 0;
                for (int o = share; o < Spec::O; o += shares) {
#pragma unroll
                    for (int r = 0; r < Spec::R; r++) {
                        const Number* from = delta + (o * DH + h + Spec::R - 1 - r) * DW + w;
                        const Number* taps = weights + ((o * Spec::C + c) * Spec::R + r) * Spec::S;
                        Number line[Spec::piece + Spec::S - 1];
#pragma unroll
                        for (int i = 0; i < Spec::piece + Spec::S - 1; i++)
                            line[i] = w + i < DW ? from[i] : Number(0);
#pragma unroll
                        for (int s = 0; s < Spec::S; s++)
#pragma unroll
                            for (int i = 0; i < Spec::piece; i++)
                                row[i] += taps[s] * line[i + Spec::S - 1 - s];
                    }
                }
#pragma unroll
                for (int i = 0; i < Spec::piece; i++)
                    if (w + i < Spec::W)
                        parts[share * whole + (c * Spec::H + h) * Spec::W + w + i] = row[i];
            }
            __syncthreads();
            for (int i = threadIdx.x; i < whole; i += Spec::threads) {
                Number sum = 0;
#pragma unroll
                for (int share = 0; share < shares; share++) sum += parts[share * whole + i];
                dx[n * whole + i] = narrow<typename Spec::Scalar>(sum);
            }
        }
    }

    __syncthreads();
#pragma unroll
    for (int j = 0; j < each; j++) {
        const int task = threadIdx.x + j * Spec::threads;
        if (task < numbers * splits) parts[task] = sums[j];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < numbers; i += Spec::threads) {
        Number sum = 0;
#pragma unroll
        for (int split = 0; split < splits; split++) sum += parts[split * numbers + i];
        partial[int64(blockIdx.x) * numbers + i] = sum;
    }
}

// dweight and dbias as the sums of their parts, in order: blocks of 32 numbers by 8 threads.
template <class Spec>
__global__ void __launch_bounds__(256)
pooled_sum(const typename Pooled<Spec>::Number* __restrict__ partial,
           typename Spec::Scalar* __restrict__ dweight, typename Spec::Scalar* __restrict__ dbias,
           int count) {
    using Number = typename Pooled<Spec>::Number;
    constexpr int K = Pooled<Spec>::CRS + 1, numbers = Spec::O * K;
    __shared__ Number parts[8][32];
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32, i = blockIdx.x * 32 + lane;
    Number sum = 0;
    if (i < numbers) {
#pragma unroll 8
        for (int at = row; at < count; at += 8) sum += partial[int64(at) * numbers + i];
    }
    parts[row][lane] = sum;
    __syncthreads();
    if (row > 0 || i >= numbers) return;
#pragma unroll
    for (int at = 1; at < 8; at++) sum += parts[at][lane];
    const int o = i / K, k = i % K;
    if (k == K - 1) dbias[o] = narrow<typename Spec::Scalar>(sum);
    else dweight[o * (K - 1) + k] = narrow<typename Spec::Scalar>(sum);
}
