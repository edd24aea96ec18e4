// Dense layers with few outputs on tensor cores, which multiply bf16 and sum floats: what few.cu does.
//
// Of a tile of a product (16, 16) times (16, 8) lane 4 g + q has what machine.cuh says. The inner
// places may lie in any order, the same in both operands: here so that a lane has neighbours in memory.
//
// Letters: x (N, I), weight (I, O), bias (O,), y and dy (N, O), O <= 16. Spec holds O, has_bias,
// has_dx and, on the way there, `ahead`.
#include "machine.cuh"

// Two neighbours of O numbers, from the o-th on; zero where they are not there.
template <int O> __device__ inline uint32 two(const bf16* row, int o) {
    if (o >= O) return 0;
    if constexpr (O % 2 == 0) return *reinterpret_cast<const uint32*>(row + o);
    else return row[o].bits | (o + 1 < O ? uint32(row[o + 1].bits) << 16 : 0);
}

using Eight = Pack<uint32, 4>;  // numbers
__device__ inline Eight eight(const bf16* from, bool there) {
    return there ? *reinterpret_cast<const Eight*>(from) : Eight{};
}

// y = x @ weight + bias. A block has 8 rows; a warp has them all of `ahead` times 32 inputs at once, for
// which it brings the weight to shared memory. Rows of a tile are outputs, 2 g and 2 g + 1, and its
// columns rows of x.
template <class Spec>
__global__ void __launch_bounds__(512)
linear_few(const bf16* x, const bf16* weight, const bf16* __restrict__ bias, bf16* y, int N, int I) {
    constexpr int O = Spec::O, warps = 16, rows = 8, ahead = Spec::ahead, wide = ahead * 32;
    constexpr int units = wide * O / 8, loads = (units + 31) / 32;  // of the weight, in eights
    extern __shared__ __align__(16) uint8 room[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
    const int first = blockIdx.x * rows;
    Eight* const staged = reinterpret_cast<Eight*>(room) + warp * units;
    float sums[4] = {};
    for (int start = 0; start < I; start += warps * wide) {
        const int k0 = start + warp * wide, left = (I - k0) * O / 8;
        Eight seen[ahead], next[loads];
#pragma unroll
        for (int j = 0; j < loads; j++) {
            const int at = j * 32 + lane;
            next[j] = eight(weight + (int64(k0) * O + at * 8), at < units && at < left);
        }
#pragma unroll
        for (int a = 0; a < ahead; a++) {
            const int k = k0 + a * 32 + q * 8;
            seen[a] = eight(x + (int64(min(first + g, N - 1)) * I + k), k < I);
        }
        asm volatile("" ::: "memory");  // what has been asked for is not asked for later
        __syncthreads();                // the weight before has been read
#pragma unroll
        for (int j = 0; j < loads; j++)
            if (j * 32 + lane < units) staged[j * 32 + lane] = next[j];
        __syncthreads();
#pragma unroll
        for (int a = 0; a < ahead; a++)
#pragma unroll
            for (int j = 0; j < 8; j += 4) {
                const bf16* from = reinterpret_cast<const bf16*>(staged) + (a * 32 + q * 8 + j) * O;
                uint32 w[4];
#pragma unroll
                for (int k = 0; k < 4; k++) w[k] = two<O>(from + k * O, 2 * g);
                multiply_add(sums, lower_halves(w[0], w[1]), upper_halves(w[0], w[1]),
                             lower_halves(w[2], w[3]), upper_halves(w[2], w[3]), seen[a][j / 2],
                             seen[a][j / 2 + 1]);
            }
    }
    float* const shares = reinterpret_cast<float*>(room);  // of the warps
    __syncthreads();
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int o = 2 * g + e / 2;
        if (o < O) shares[(warp * rows + 2 * q + e % 2) * O + o] = sums[e];
    }
    __syncthreads();
    const int j = threadIdx.x;
    if (j >= rows * O || first + j / O >= N) return;
    float sum = Spec::has_bias ? widen(bias[j % O]) : 0;
#pragma unroll
    for (int i = 0; i < warps; i++) sum += shares[i * rows * O + j];
    y[int64(first) * O + j] = narrow<bf16>(sum);
}

// dx = dy @ weight', and of each share of the rows dweight and below it dbias, to partial (shares,
// I + 1, O). Blocks: (pieces of 64 inputs, shares); a warp has 16 rows, twice at once.
// Of dweight rows of a tile are outputs, 2 g and 2 g + 1, and its columns inputs.
template <class Spec>
__global__ void __launch_bounds__(128)
linear_few_back(const bf16* __restrict__ dy, const bf16* __restrict__ x,
                const bf16* __restrict__ weight, bf16* __restrict__ dx, float* __restrict__ partial,
                int N, int I, int rows) {
    constexpr int O = Spec::O, warps = 4, ahead = 2, width = 67;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, q = lane % 4;
    const int piece = blockIdx.x * 64, last = min(N, int(blockIdx.y + 1) * rows);
    const bool has_bias = blockIdx.x == 0;
    uint32 weights[8][2];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const int i = piece + j / 4 * 32 + g / 2 * 8 + j % 4 * 2 + g % 2;
#pragma unroll
        for (int k = 0; k < 2; k++)
            weights[j][k] = Spec::has_dx && i < I ? two<O>(weight + int64(i) * O, k * 8 + 2 * q) : 0;
    }
    float sums[8][4] = {}, bias[4] = {};
    for (int start = blockIdx.y * rows + warp * 16; start < last; start += ahead * warps * 16) {
        Eight seen[ahead][4];
        uint32 slopes[ahead][4], own[ahead][4];
#pragma unroll
        for (int a = 0; a < ahead; a++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int n = start + a * warps * 16, row = n + 4 * q + r, other = n + g + r % 2 * 8;
                const int i = piece + g * 8;
                seen[a][r] = eight(x + int64(row) * I + i, row < last && i < I);
                slopes[a][r] = row < last ? two<O>(dy + int64(row) * O, 2 * g) : 0;
                own[a][r] = Spec::has_dx && other < last
                                ? two<O>(dy + int64(other) * O, r / 2 * 8 + 2 * q) : 0;
            }
#pragma unroll
        for (int a = 0; a < ahead; a++) {
            const int n = start + a * warps * 16 + g;
#pragma unroll
            for (int h = 0; Spec::has_dx && h < 2; h++) {
                Pack<bf16, 8> result[2];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float found[4] = {};
                    multiply_add(found, own[a][0], own[a][1], own[a][2], own[a][3],
                                 weights[4 * h + j][0], weights[4 * h + j][1]);
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        result[e / 2][2 * j + e % 2] = narrow<bf16>(found[e]);
                }
                const int i = piece + h * 32 + q * 8;
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (n + 8 * e < last && i < I)
                        store_pack<8>(dx + (int64(n + 8 * e) * I + i), result[e]);
            }
            const uint32* s = slopes[a];
            const uint32 low = lower_halves(s[0], s[1]), high = upper_halves(s[0], s[1]);
            const uint32 next_low = lower_halves(s[2], s[3]), next_high = upper_halves(s[2], s[3]);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const uint32 p[4] = {seen[a][0][j], seen[a][1][j], seen[a][2][j], seen[a][3][j]};
                multiply_add(sums[2 * j], low, high, next_low, next_high,
                             lower_halves(p[0], p[1]), lower_halves(p[2], p[3]));
                multiply_add(sums[2 * j + 1], low, high, next_low, next_high,
                             upper_halves(p[0], p[1]), upper_halves(p[2], p[3]));
            }
            constexpr uint32 ones = 0x3f803f80;
            if (has_bias) multiply_add(bias, low, high, next_low, next_high, ones, ones);
        }
    }
    // Of an output the inputs, the last column is of dbias: a warp writes to all banks at once.
    __shared__ float shares[warps][O * width];
    auto place = [](int i, int o) { return o * width + i + i / 32; };
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int o = 2 * g + e / 2;
        if (o >= O) continue;
#pragma unroll
        for (int j = 0; j < 8; j++) shares[warp][place((2 * q + e % 2) * 8 + j, o)] = sums[j][e];
        if (has_bias && q == 0 && e % 2 == 0) shares[warp][place(64, o)] = bias[e];
    }
    __syncthreads();
    const int there = min(64, I - piece), count = (there + has_bias) * O;
    float* out = partial + int64(blockIdx.y) * (I + 1) * O;
    for (int t = threadIdx.x; t < count; t += 32 * warps) {
        const int i = t / O, o = t % O, from = i < there ? i : 64, to = i < there ? piece + i : I;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < warps; k++) sum += shares[k][place(from, o)];
        out[int64(to) * O + o] = sum;
    }
}
