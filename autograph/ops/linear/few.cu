// Dense layers with few outputs, as the last one of a classifier has: no tile is filled by those, so
// that every thread holds all outputs of a few inputs.
//
// Letters: x (N, I), weight (I, O), bias (O,), y and dy (N, O). Spec holds Scalar, O, has_bias and
// has_dx.
#include "scalar.cuh"

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

// dx = dy @ weight', and of each share of the rows dweight, to partial (shares, I, O). Blocks: (pieces
// of 512 inputs, shares); half of the threads take every other row, a thread 4 inputs.
template <class Spec>
__global__ void __launch_bounds__(256, Spec::O <= 10 ? 2 : 1)
linear_few_back(const typename Spec::Scalar* __restrict__ dy,
                const typename Spec::Scalar* __restrict__ x,
                const typename Spec::Scalar* __restrict__ weight,
                typename Spec::Scalar* __restrict__ dx, Number<Spec>* __restrict__ partial, int N, int I,
                int rows) {
    using Scalar = typename Spec::Scalar;
    using T = Number<Spec>;
    constexpr int O = Spec::O, pack = 4, chunk = 32, own = O * pack;  // numbers of a thread
    __shared__ T slopes[chunk][O];
    __shared__ T shares[128][own + 1];
    const int lane = threadIdx.x % 128, half = threadIdx.x / 128;
    const int i = (blockIdx.x * 128 + lane) * pack;
    const bool there = i < I;
    const Outputs<Spec, pack> outputs(weight + int64(Spec::has_dx && there ? i : 0) * O);
    T sums[O][pack];
#pragma unroll
    for (int o = 0; o < O; o++)
#pragma unroll
        for (int k = 0; k < pack; k++) sums[o][k] = 0;
    const int last = min(N, int(blockIdx.y + 1) * rows);
    for (int first = blockIdx.y * rows; first < last; first += chunk) {
        const int count = min(chunk, last - first);
        __syncthreads();  // the slopes before have been read
        for (int j = threadIdx.x; j < count * O; j += 256)
            slopes[j / O][j % O] = widen(dy[int64(first) * O + j]);
        __syncthreads();
        if (!there) continue;
#pragma unroll 4
        for (int r = half; r < count; r += 2) {
            const int64 at = int64(first + r) * I + i;
            const auto seen = load_pack<pack>(x + at);
            Pack<Scalar, pack> result;
#pragma unroll
            for (int k = 0; k < pack; k++) {
                T sum = 0;
#pragma unroll
                for (int o = 0; o < O; o++) {
                    const T slope = slopes[r][o];
                    sum += slope * outputs.at(k, o);
                    sums[o][k] += slope * T(widen(seen[k]));
                }
                result[k] = narrow<Scalar>(sum);
            }
            if (Spec::has_dx) store_pack<pack>(dx + at, result);
        }
    }
    for (int turn = 1; turn >= 0; turn--) {  // one half after the other
        if (half == turn)
#pragma unroll
            for (int j = 0; j < own; j++)
                shares[lane][j] = sums[j % O][j / O] + (turn == 1 ? T(0) : shares[lane][j]);
        __syncthreads();
    }
    const int left = min(128 * pack, I - int(blockIdx.x) * 128 * pack) * O;
    T* out = partial + (int64(blockIdx.y) * I + blockIdx.x * 128 * pack) * O;
    for (int j = threadIdx.x; j < left; j += 256) out[j] = shares[j / own][j % own];
}

// dweight from partial, and dbias: the last block adds up the columns of dy.
template <class Spec>
__global__ void __launch_bounds__(256)
linear_few_sums(const Number<Spec>* __restrict__ partial,
                const typename Spec::Scalar* __restrict__ dy, typename Spec::Scalar* dweight,
                typename Spec::Scalar* dbias, int N, int size, int shares) {
    using Scalar = typename Spec::Scalar;
    using T = Number<Spec>;
    constexpr int O = Spec::O;
    T sum = 0;
    if (blockIdx.x + 1 < gridDim.x) {
        const int at = blockIdx.x * 256 + threadIdx.x;
        if (at >= size) return;
#pragma unroll 8
        for (int i = 0; i < shares; i++) sum += partial[int64(i) * size + at];
        dweight[at] = narrow<Scalar>(sum);
        return;
    }
    __shared__ T of_thread[256];
    constexpr int parts = 256 / O;  // of the rows
    const int o = threadIdx.x % O, part = threadIdx.x / O;
    if (part < parts) {
#pragma unroll 8
        for (int n = part; n < N; n += parts) sum += T(widen(dy[int64(n) * O + o]));
        of_thread[threadIdx.x] = sum;
    }
    __syncthreads();
    if (part > 0) return;
    for (int i = 1; i < parts; i++) sum += of_thread[i * O + o];
    dbias[o] = narrow<Scalar>(sum);
}
