// The second kernel of a chain: sums over the batch of what the first has left in global memory,
// and what is done with them: written down as gradients, or taken as the step of an optimizer.
// All sums have one order, so all runs give the same bits. What a thread wants of global memory it
// asks for at once, without a branch in between: a load takes longer than all that is done with it.
#pragma once
#include "block.cuh"
#include "machine.cuh"
#include "update.cuh"

#define TEMPLATE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
constexpr int WARPS = NT / 32;

TEMPLATE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One parameter: its gradient goes to dw, or it moves by it.
template <class Spec> struct Moved {
    Scalar* dw;
    Scalar* w;
    int64* step;
    float* state[3];
    float* master;
};
// What the kernel is given, as words of 8 bytes.
template <class Spec> struct Table {
    const Scalar* x;
    const void* rows;       // saved by sample: `row` numbers of each
    const float* partials;  // `partial` numbers of each block of the first kernel
    const float* losses;
    Scalar* loss;
    float* room;       // of dense tiles, by share
    uint32 *finished, *groups;  // blocks of the kernel, and of each dense tile; zeros in between
    int64 N, blocks;
    const double* rate;
    double numbers[4];
    Moved<Spec> moved[Spec::count];
};

// A number of a parameter in the hands of a thread, which asks for old values long before it has the
// new.
struct Before { float w, state[3]; };
template <class Spec> TEMPLATE void ask_for(Before& b, const Moved<Spec>& m, int i) {
    if constexpr (Spec::moves > 0) {
        if constexpr (Spec::has_master) b.w = m.master[i];
        else b.w = widen(m.w[i]);
        UNROLL for (int j = 0; j < Spec::states; j++) b.state[j] = m.state[j][i];
    }
}

// How a parameter moves: by SGD (moves = 1) or Adam (2). What depends on numbers in global memory
// is asked for early, and powers are worked out by two threads.
template <class Spec> struct Mover {
    const Table<Spec>& table;
    double* powers;  // of Adam, in shared memory: pace, root
    double rate;     // and the count: as they were read, or the thread would wait for them
    int64 step;
    TEMPLATE void prepare(const Moved<Spec>& m, int thread) {
        if (Spec::moves) rate = *table.rate;
        if (Spec::moves == 1 && Spec::counts) step = *m.step;
        const int which = int(threadIdx.x) - thread;
        if (Spec::moves != 2 || which < 0 || which > 1) return;
        const double left = 1 - pow(table.numbers[which], double(*m.step + 1));
        powers[which] = which ? sqrt(left) : *table.rate / left;
    }
    TEMPLATE void operator()(const Moved<Spec>& m, int i, float v, Before& b) const {
        const Scalar dw = narrow<Scalar>(v);
        if constexpr (Spec::moves == 0) {
            m.dw[i] = dw;
            return;
        }
        const double* given = table.numbers;
        if constexpr (Spec::moves == 1) {
            const double share = Spec::counts && step == 0 ? 1 : 1 - given[1];
            const Sgd<Spec, float> sgd = {float(rate), float(given[0]), float(share),
                                          float(given[2])};
            sgd.step(b.w, widen(dw), b.state[0]);
        }
        if constexpr (Spec::moves == 2) {
            const Adam<Spec, float> adam = {
                float(1 - given[0]), float(given[1]), float(1 - given[1]), float(given[2]),
                float(given[3]), float(1 - rate * given[3]), float(powers[0]), float(powers[1])};
            adam.step(b.w, widen(dw), b.state[0], b.state[1], b.state[2]);
        }
        if constexpr (Spec::has_master) m.master[i] = b.w;
        m.w[i] = narrow<Scalar>(b.w);
        UNROLL for (int j = 0; j < Spec::states; j++) m.state[j][i] = b.state[j];
    }
};

// Four neighbours of a row of `stride` numbers; past its end any of its numbers.
template <int stride, class T> TEMPLATE Pack<T, 4> four(const T* row, int at) {
    if constexpr (stride % 4 == 0) return load_pack<4>(row + min(at, stride - 4));
    Pack<T, 4> v;
    UNROLL for (int k = 0; k < 4; k++) v[k] = row[min(at + k, stride - 1)];
    return v;
}
// Two of them as a word.
template <int stride> TEMPLATE uint32 word(const bf16* row, int at) {
    if constexpr (stride % 2 == 0) return *(const uint32*)(row + min(at, stride - 2));
    return row[min(at, stride - 1)].bits | uint32(row[min(at + 1, stride - 1)].bits) << 16;
}

// The sums of a tile of 32 x 16 over some of the samples, by a warp: lane 4 g + t has of the columns
// 4 t to 4 t + 3 four rows, which row_of(g, k) says. What is summed of d itself goes to `bias`.
template <class A, class D> TEMPLATE constexpr int row_of(int g, int k) {
    return sizeof(A) + sizeof(D) == 4 ? k / 2 * 16 + 2 * g + k % 2 : 4 * g + k;
}
template <class L, class A, class D>
TEMPLATE void sum_tile(float (*sum)[4], float* bias, const A* a, const D* d, int i0, int o0,
                       int first, int end) {
    constexpr int turns = 8;  // under way at a time
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float column[4] = {};
    for (int n0 = first + threadIdx.x / 32; n0 < end; n0 += turns * WARPS) {
        Pack<A, 4> u[turns] = {};
        Pack<D, 4> v[turns] = {};
        UNROLL for (int q = 0; q < turns; q++) {
            const int n = n0 + q * WARPS;
            if (n >= end) continue;
            u[q] = four<L::LDA>(a + size_t(n) * L::LDA, i0 + 4 * g);
            v[q] = four<L::LDD>(d + size_t(n) * L::LDD, o0 + 4 * t);
        }
        UNROLL for (int q = 0; q < turns; q++) UNROLL for (int j = 0; j < 4; j++) {
            const float y = widen(v[q][j]);
            UNROLL for (int k = 0; k < 4; k++) sum[k][j] += widen(u[q][k]) * y;
            if (L::has_bias) column[j] += y;
        }
    }
    if (L::has_bias && g == 0) UNROLL for (int j = 0; j < 4; j++) bias[4 * t + j] = column[j];
}
// On tensor cores: of two neighbours in memory each goes to a product of its own.
template <class L>
TEMPLATE void sum_tile(float (*sum)[4], float* bias, const bf16* a, const bf16* d, int i0, int o0,
                       int first, int end) {
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float tiles[2][2][4] = {}, column[2] = {};
    for (int n0 = first + threadIdx.x / 32 * 16; n0 < end; n0 += WARPS * 16) {
        uint32 u[2][4], v[4];
        UNROLL for (int j = 0; j < 4; j++) {
            const int n = n0 + 2 * t + j / 2 * 8 + j % 2;
            const bf16* of_a = a + size_t(n) * L::LDA;
            u[0][j] = n < end ? word<L::LDA>(of_a, i0 + 2 * g) : 0;
            u[1][j] = n < end ? word<L::LDA>(of_a, i0 + 2 * g + 16) : 0;
            v[j] = n < end ? word<L::LDD>(d + size_t(n) * L::LDD, o0 + 2 * g) : 0;
        }
        uint32 x[2][4], y[2][2];
        UNROLL for (int h = 0; h < 2; h++) {
            UNROLL for (int m = 0; m < 2; m++) {
                x[m][2 * h] = lower_halves(u[m][2 * h], u[m][2 * h + 1]);
                x[m][2 * h + 1] = upper_halves(u[m][2 * h], u[m][2 * h + 1]);
            }
            y[0][h] = lower_halves(v[2 * h], v[2 * h + 1]);
            y[1][h] = upper_halves(v[2 * h], v[2 * h + 1]);
        }
        UNROLL for (int m = 0; m < 2; m++) UNROLL for (int k = 0; k < 2; k++)
            multiply_add(tiles[m][k], x[m][0], x[m][1], x[m][2], x[m][3], y[k][0], y[k][1]);
        if (L::has_bias) UNROLL for (int j = 0; j < 4; j++) {
            column[0] += __uint_as_float(v[j] << 16);
            column[1] += __uint_as_float(v[j] & 0xffff0000u);
        }
    }
    UNROLL for (int k = 0; k < 4; k++) UNROLL for (int j = 0; j < 4; j++)
        sum[k][j] = tiles[k / 2][j % 2][k % 2 * 2 + j / 2];
    if (L::has_bias) UNROLL for (int j = 0; j < 2; j++) {
        column[j] += __shfl_xor_sync(~0u, column[j], 1);
        column[j] += __shfl_xor_sync(~0u, column[j], 2);
        if (t == 0) bias[2 * g + j] = column[j];
    }
}

// dw[i][o] = sum over n of a[n][i] d[n][o], a tile of 32 x 16 of them, over one of Spec::shares of
// the samples; the block that finishes last adds the shares in their order. Every warp sums some of
// the samples; then every thread has one of the weights.
// L: I, O, LDA and LDD (from row to row of a and d), has_bias; w and b are indices of parameters.
template <class L, class Spec, class A, class D>
TEMPLATE void dense_total(const Table<Spec>& table, int tile, int share, const A* a, const D* d,
                          float* room, uint32* finished, float4* sums, Mover<Spec>* movers) {
    constexpr int across = ceil_div(L::O, 16), shares = Spec::shares;
    static_assert(NT == 32 * 16 && ROOM == NT + 16, "a thread has one of the weights");
    __shared__ float biases[WARPS * 16];
    __shared__ bool last;
    const int tid = threadIdx.x, i0 = tile / across * 32, o0 = tile % across * 16;
    const int i = i0 + row_of<A, D>(tid / 16 % 8, tid / 128), o = o0 + tid % 16;
    const int N = int(table.N), each = N / shares, more = N % shares;
    const int first = each * share + min(share, more), end = first + each + (share < more);
    const bool moves = i < L::I && o < L::O;
    const bool biased = L::has_bias && i0 == 0 && tid < 16 && o < L::O;
    float sum[4][4] = {};
    Before old, old_bias;
    movers[0].prepare(table.moved[L::w], 224);
    if (moves) ask_for(old, table.moved[L::w], i * L::O + o);
    if (L::has_bias && i0 == 0) movers[1].prepare(table.moved[L::b], 192);
    if (biased) ask_for(old_bias, table.moved[L::b], o);
    sum_tile<L>(sum, biases + tid / 32 * 16, a, d, i0, o0, first, end);
    UNROLL for (int k = 0; k < 4; k++)
        sums[tid / 32 * 128 + k * 32 + tid % 32] =
            make_float4(sum[k][0], sum[k][1], sum[k][2], sum[k][3]);
    __syncthreads();
    float total = 0, bias = 0;
    UNROLL for (int q = 0; q < WARPS; q++) total += ((const float*)sums)[q * NT + tid];
    if (biased) UNROLL for (int q = 0; q < WARPS; q++) bias += biases[q * 16 + tid];
    if constexpr (shares > 1) {
        float* mine = room + share * ROOM;
        mine[tid] = total;
        if (biased) mine[NT + tid] = bias;
        __threadfence();
        __syncthreads();
        if (tid == 0) {
            last = atomicAdd(finished, 1u) == uint32(shares - 1);
            if (last) *finished = 0;
        }
        __syncthreads();
        if (!last) return;
        __threadfence();
        total = bias = 0;
        UNROLL for (int q = 0; q < shares; q++) total += __ldcg(room + q * ROOM + tid);
        if (biased) UNROLL for (int q = 0; q < shares; q++)
            bias += __ldcg(room + q * ROOM + NT + tid);
    }
    if (moves) movers[0](table.moved[L::w], i * L::O + o, total, old);
    if (biased) movers[1](table.moved[L::b], o, bias, old_bias);
}

// PARTS of the numbers of which every block of the first kernel has left its part.
template <int which, int count, int stride, class Spec>
TEMPLATE void partial_total(const Table<Spec>& table, int i, const float* part, float* shared,
                            Mover<Spec>& mover) {
    constexpr int shares = NT / PARTS, turns = 32;  // so many are under way at a time
    const int share = threadIdx.x / PARTS, blocks = int(table.blocks);
    float sum = 0;
    Before old;
    i += threadIdx.x % PARTS;
    mover.prepare(table.moved[which], 224);
    for (int first = share; first < blocks; first += shares * turns) {
        float v[turns];
        UNROLL for (int k = 0; k < turns; k++) {
            const int block = first + k * shares;
            v[k] = block < blocks && i < count ? part[size_t(block) * stride + i] : 0.f;
        }
        if (first == 0 && i < count) ask_for(old, table.moved[which], i);
        UNROLL for (int k = 0; k < turns; k++) sum += v[k];
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (share != 0 || i >= count) return;
    UNROLL for (int k = 1; k < shares; k++) sum += shared[threadIdx.x + k * PARTS];
    mover(table.moved[which], i, sum, old);
}

template <class Spec> TEMPLATE void mean_loss(const Table<Spec>& table) {
    float sum = 0;
    for (int n = threadIdx.x; n < table.N; n += NT) sum += table.losses[n];
    sum = all_sum<NT>(sum);
    if (threadIdx.x == 0) *table.loss = narrow<Scalar>(sum / float(table.N));
}

// The last block to finish counts the steps, if any block reads its count (Spec::counts): by then
// all have. Else the last of all blocks does, before anything else.
template <class Spec> TEMPLATE void count_steps_early(const Table<Spec>& table) {
    const int i = int(threadIdx.x) - 128;
    if (Spec::moves && !Spec::counts && blockIdx.x == gridDim.x - 1 && i >= 0 && i < Spec::count)
        *table.moved[i].step += 1;
}
template <class Spec> TEMPLATE void count_steps(const Table<Spec>& table) {
    __shared__ bool last;
    if (!Spec::moves || !Spec::counts) return;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(table.finished, 1u) == gridDim.x - 1;
        if (last) *table.finished = 0;
    }
    __syncthreads();
    if (last && threadIdx.x < Spec::count) *table.moved[threadIdx.x].step += 1;
}
