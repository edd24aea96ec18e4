// Dense layers with few outputs, as the last one of a classifier has: no tile is filled by those, so
// that every thread holds all outputs of a few inputs.
//
// Letters: x (N, I), weight (I, O), bias (O,), y and dy (N, O), O <= 16. Spec holds Scalar, O, has_bias,
// has_dx and, on the way back, `pack`, the inputs of a thread.
#include "block.cuh"

template <class Spec> using Number = Wide<typename Spec::Scalar>;

// O outputs of `count` neighbouring inputs, as the weight lies.
template <class Spec, int count> struct Outputs {
    Pack<typename Spec::Scalar, count> packs[Spec::O];

    __device__ Outputs(const typename Spec::Scalar* weight) {
#pragma unroll
        for (int j = 0; j < Spec::O; j++) packs[j] = load_pack<count>(weight + j * count);
    }
    __device__ Number<Spec> at(int i, int o) const {
        return widen(packs[(i * Spec::O + o) / count][(i * Spec::O + o) % count]);
    }
};

// y = x @ weight + bias. A block has 4 rows, a thread 16 bytes of each at a time.
template <class Spec>
__global__ void __launch_bounds__(256)
linear_few(const typename Spec::Scalar* __restrict__ x,
           const typename Spec::Scalar* __restrict__ weight,
           const typename Spec::Scalar* __restrict__ bias, typename Spec::Scalar* __restrict__ y, int N,
           int I) {
    using Scalar = typename Spec::Scalar;
    using T = Number<Spec>;
    constexpr int rows = 4, O = Spec::O, pack = 16 / sizeof(Scalar);
    const int first = blockIdx.x * rows, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    T sums[rows][O];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int o = 0; o < O; o++) sums[r][o] = 0;
    for (int i = threadIdx.x * pack; i < I; i += 256 * pack) {
        Pack<Scalar, pack> seen[rows];
#pragma unroll
        for (int r = 0; r < rows; r++)
            seen[r] = load_pack<pack>(x + int64(min(first + r, N - 1)) * I + i);
        const Outputs<Spec, pack> outputs(weight + int64(i) * O);
#pragma unroll
        for (int k = 0; k < pack; k++)
#pragma unroll
            for (int o = 0; o < O; o++) {
                const T w = outputs.at(k, o);
#pragma unroll
                for (int r = 0; r < rows; r++) sums[r][o] += T(widen(seen[r][k])) * w;
            }
    }
    // A quarter of a warp keeps the sums of each row.
    const bool lower = threadIdx.x & 16, odd = threadIdx.x & 8;
    const int r = 2 * lower + odd;
    __shared__ T shares[8][rows][O];
#pragma unroll
    for (int o = 0; o < O; o++) {
        T kept[2];
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const T other = lower ? sums[k][o] : sums[2 + k][o];
            kept[k] = (lower ? sums[2 + k][o] : sums[k][o]) + __shfl_xor_sync(~0u, other, 16);
        }
        T sum = (odd ? kept[1] : kept[0]) + __shfl_xor_sync(~0u, odd ? kept[0] : kept[1], 8);
#pragma unroll
        for (int distance = 4; distance > 0; distance /= 2)
            sum += __shfl_xor_sync(~0u, sum, distance);
        if (lane % 8 == 0) shares[warp][r][o] = sum;
    }
    __syncthreads();
    const int row = threadIdx.x / O, o = threadIdx.x % O;
    if (row >= rows || first + row >= N) return;
    T sum = Spec::has_bias ? T(widen(bias[o])) : T(0);
#pragma unroll
    for (int i = 0; i < 8; i++) sum += shares[i][row][o];
    y[int64(first + row) * O + o] = narrow<Scalar>(sum);
}

// dx = dy @ weight', and of each share of the rows dweight and below it dbias, to partial (shares,
// I + 1, O). Blocks: (pieces of 32 packs of inputs, shares); a warp has the piece in every eighth row.
template <class Spec>
__global__ void __launch_bounds__(256, Spec::O <= 10 ? 2 : 1)
linear_few_back(const typename Spec::Scalar* __restrict__ dy,
                const typename Spec::Scalar* __restrict__ x,
                const typename Spec::Scalar* __restrict__ weight,
                typename Spec::Scalar* __restrict__ dx, Number<Spec>* __restrict__ partial, int N, int I,
                int rows) {
    using Scalar = typename Spec::Scalar;
    using T = Number<Spec>;
    constexpr int O = Spec::O, pack = Spec::pack, own = O * pack, warps = 8, ahead = 4, chunk = 128;
    constexpr int few = 16 / sizeof(T), whole = (O + few - 1) / few * few;  // slopes of a row
    constexpr int fills = chunk * whole / 256;
    alignas(16) __shared__ T slopes[chunk * whole];
    __shared__ T shares[warps / 2][32][own + 1];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int piece = blockIdx.x * 32 * pack, i = piece + lane * pack;
    const bool there = i < I, has_bias = blockIdx.x == 0;
    const Outputs<Spec, pack> outputs(weight + int64(Spec::has_dx && there ? i : 0) * O);
    T sums[O][pack], bias[2] = {};  // those of the outputs `warp` and `warp + 8`
#pragma unroll
    for (int o = 0; o < O; o++)
#pragma unroll
        for (int k = 0; k < pack; k++) sums[o][k] = 0;
    const int last = min(N, int(blockIdx.y + 1) * rows);
    for (int first = blockIdx.y * rows; first < last; first += chunk) {
        const int count = min(chunk, last - first);
        Pack<Scalar, pack> seen[ahead];
        auto load = [&](int start) {
#pragma unroll
            for (int a = 0; a < ahead; a++)
                if (start + a * warps < count && there)
                    seen[a] = load_pack<pack>(x + int64(first + start + a * warps) * I + i);
        };
        load(warp);
        T next[fills];
#pragma unroll
        for (int k = 0; k < fills; k++) {
            const int r = (k * 256 + threadIdx.x) / whole, o = (k * 256 + threadIdx.x) % whole;
            next[k] = r < count && o < O ? T(widen(dy[int64(first + r) * O + o])) : T(0);
        }
        __syncthreads();  // the slopes before have been read
#pragma unroll
        for (int k = 0; k < fills; k++) slopes[k * 256 + threadIdx.x] = next[k];
        __syncthreads();
        if (has_bias)
#pragma unroll
            for (int k = 0; k < 2; k++)
                for (int r = lane; warp + 8 * k < O && r < count; r += 32)
                    bias[k] += slopes[r * whole + warp + 8 * k];
        if (!there) continue;
        for (int start = warp; start < count; start += ahead * warps) {
            if (start > warp) load(start);
#pragma unroll
            for (int a = 0; a < ahead; a++) {
                const int r = start + a * warps;
                if (r >= count) break;
                T slope[whole];
#pragma unroll
                for (int o = 0; o < whole; o += few) {
                    const auto read = load_pack<few>(slopes + r * whole + o);
#pragma unroll
                    for (int e = 0; e < few; e++) slope[o + e] = read[e];
                }
                Pack<Scalar, pack> result;
#pragma unroll
                for (int k = 0; k < pack; k++) {
                    const T value = widen(seen[a][k]);
                    T sum = 0;
#pragma unroll
                    for (int o = 0; o < O; o++) {
                        sum += slope[o] * outputs.at(k, o);
                        sums[o][k] += slope[o] * value;
                    }
                    result[k] = narrow<Scalar>(sum);
                }
                if (Spec::has_dx) store_pack<pack>(dx + (int64(first + r) * I + i), result);
            }
        }
    }
    constexpr int half = warps / 2;
    for (int turn = 1; turn >= 0; turn--) {  // one half of the warps after the other
        if (warp / half == turn)
#pragma unroll
            for (int j = 0; j < own; j++) {
                T& share = shares[warp % half][lane][j];
                share = sums[j % O][j / O] + (turn == 1 ? T(0) : share);
            }
        __syncthreads();
    }
    T* out = partial + int64(blockIdx.y) * (I + 1) * O;
    const int left = min(32 * pack, I - piece) * O;
    for (int j = threadIdx.x; j < left; j += 256) {
        T sum = 0;
#pragma unroll
        for (int k = 0; k < half; k++) sum += shares[k][j / own][j % own];
        out[int64(piece) * O + j] = sum;
    }
    if (has_bias)
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const T sum = all_sum<32>(bias[k]);
            if (lane == 0 && warp + 8 * k < O) out[int64(I) * O + warp + 8 * k] = sum;
        }
}

// dweight (weights numbers) and dbias from partial (shares, size).
template <class Spec>
__global__ void __launch_bounds__(256)
linear_few_sums(const Number<Spec>* __restrict__ partial, typename Spec::Scalar* __restrict__ dweight,
                typename Spec::Scalar* __restrict__ dbias, int shares, int size, int weights) {
    using T = Number<Spec>;
    constexpr int ahead = 8;
    const int at = blockIdx.x * 256 + threadIdx.x;
    if (at >= size) return;
    T sum = 0;
    for (int start = 0; start < shares; start += ahead) {
        T next[ahead];  // all of them fly at once
#pragma unroll
        for (int i = 0; i < ahead; i++)
            next[i] = start + i < shares ? partial[int64(start + i) * size + at] : T(0);
#pragma unroll
        for (int i = 0; i < ahead; i++) sum += next[i];
    }
    (at < weights ? dweight[at] : dbias[at - weights]) = narrow<typename Spec::Scalar>(sum);
}
