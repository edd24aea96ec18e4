// The second kernel of a chain: sums over the batch of what the first has left in global memory,
// and what is done with them: written down as gradients, or taken as the step of an optimizer.
// Blocks have 256 threads. All sums have one order, so all runs give the same bits.
#pragma once
#include "block.cuh"
#include "update.cuh"

#define TEMPLATE __device__ __forceinline__
#define UNROLL _Pragma("unroll")

TEMPLATE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One parameter: its gradient goes to dw, or it moves by it.
template <class Spec> struct Moved {
    Scalar* dw;
    Scalar* w;
    int64* step;
    float* state[3];
    float* master;
};
// What the kernel is given, as words of 8 bytes. `shares` blocks work on one dense tile.
template <class Spec> struct Table {
    const Scalar* x;
    const void* rows;       // saved by sample: `row` numbers of each
    const float* partials;  // `partial` numbers of each block of the first kernel
    const float* losses;
    Scalar* loss;
    float* room;       // of dense tiles, by share
    uint32 *finished, *groups;  // blocks of the kernel, and of each dense tile; zeros in between
    int64 N, blocks, shares;
    const double* rate;
    double numbers[4];
    Moved<Spec> moved[Spec::count];
};

// n neighbours, of which the first `left` are there: one access where all are and their place is
// `whole`.
template <int n, class T> TEMPLATE void load_some(float* to, const T* from, int left, bool whole) {
    if (n == 1 || whole && left >= n) {
        const Pack<T, n> v = load_pack<n>(from);
        UNROLL for (int k = 0; k < n; k++) to[k] = widen(v[k]);
    } else {
        UNROLL for (int k = 0; k < n; k++) to[k] = k < left ? widen(from[k]) : 0.f;
    }
}
template <int n, class T> TEMPLATE void store_some(T* to, const float* from, int left, bool whole) {
    if (n == 1 || whole && left >= n) {
        Pack<T, n> v;
        UNROLL for (int k = 0; k < n; k++) v[k] = narrow<T>(from[k]);
        store_pack<n>(to, v);
    } else {
        UNROLL for (int k = 0; k < n; k++) if (k < left) to[k] = narrow<T>(from[k]);
    }
}
// Whether a parameter and what belongs to it begin between accesses of 16 bytes.
template <class Spec> TEMPLATE bool is_aligned(const Moved<Spec>& m) {
    size_t places = size_t(m.dw) | size_t(m.w) | size_t(m.master);
    UNROLL for (int j = 0; j < Spec::states; j++) places |= size_t(m.state[j]);
    return places % 16 == 0;
}

// Neighbours of a parameter in the hands of one thread, which asks for old values long before it
// has the new.
template <int n> struct Before { float w[n], state[3][n]; };
template <int n, class Spec>
TEMPLATE void ask_for(Before<n>& b, const Moved<Spec>& m, int i, int left = 1, bool whole = false) {
    if constexpr (Spec::moves > 0) {
        if constexpr (Spec::has_master) load_some<n>(b.w, m.master + i, left, whole);
        else load_some<n>(b.w, m.w + i, left, whole);
        UNROLL for (int j = 0; j < Spec::states; j++)
            load_some<n>(b.state[j], m.state[j] + i, left, whole);
    }
}

// How a parameter moves: by SGD (moves = 1) or Adam (2). What depends on numbers in global memory
// is asked for early, and powers are worked out by two threads.
template <class Spec> struct Mover {
    const Table<Spec>& table;
    double* powers;  // of Adam, in shared memory: pace, root
    double rate;     // of SGD, and the count: as they were read, or the thread would wait for them
    int64 step;
    TEMPLATE void prepare(const Moved<Spec>& m, int thread) {
        if (Spec::moves == 1) rate = *table.rate;
        if (Spec::moves == 1 && Spec::counts) step = *m.step;
        const int which = int(threadIdx.x) - thread;
        if (Spec::moves != 2 || which < 0 || which > 1) return;
        const double left = 1 - pow(table.numbers[which], double(*m.step + 1));
        powers[which] = which ? sqrt(left) : *table.rate / left;
    }
    template <int n> TEMPLATE void operator()(const Moved<Spec>& m, int i, const float* v,
            Before<n>& b, int left = 1, bool whole = false) const {
        if constexpr (Spec::moves == 0) {
            store_some<n>(m.dw + i, v, left, whole);
            return;
        }
        const double* given = table.numbers;
        UNROLL for (int k = 0; k < n; k++) {
            const float dw = widen(narrow<Scalar>(v[k]));
            if constexpr (Spec::moves == 1) {
                const double share = Spec::counts && step == 0 ? 1 : 1 - given[1];
                const Sgd<Spec, float> sgd = {float(rate), float(given[0]), float(share),
                                              float(given[2])};
                sgd.step(b.w[k], dw, b.state[0][k]);
            }
            if constexpr (Spec::moves == 2) {
                const Adam<Spec, float> adam = {
                    float(1 - given[0]), float(given[1]), float(1 - given[1]), float(given[2]),
                    float(given[3]), float(1 - *table.rate * given[3]), float(powers[0]),
                    float(powers[1])};
                adam.step(b.w[k], dw, b.state[0][k], b.state[1][k], b.state[2][k]);
            }
        }
        if (Spec::has_master) store_some<n>(m.master + i, b.w, left, whole);
        store_some<n>(m.w + i, b.w, left, whole);
        UNROLL for (int j = 0; j < Spec::states; j++)
            store_some<n>(m.state[j] + i, b.state[j], left, whole);
    }
};

TEMPLATE void add(float4& sum, const float4& part) {
    sum.x += part.x; sum.y += part.y; sum.z += part.z; sum.w += part.w;
}

// dw[i][o] = sum over n of a[n][i] d[n][o], a tile of 32 x 32 of them, over a share of the
// samples; the block that finishes last adds the shares in their order.
// L: I, O, LDA and LDD (from row to row of a and d), has_bias; w and b are indices of parameters.
template <class L, class Spec, class A, class D>
TEMPLATE void dense_total(const Table<Spec>& table, int tile, int share, const A* a, const D* d,
                          float* room, uint32* finished, float* shared, Mover<Spec>* movers) {
    constexpr int rows = 128, across = ceil_div(L::O, 32), size = 1056;
    const int N = int(table.N), shares = int(table.shares);
    float *a_rows = shared, *d_rows = a_rows + rows * 32;
    float4* sums = (float4*)d_rows;  // once the rows have been taken
    __shared__ bool last;
    const int tid = threadIdx.x, i0 = tile / across * 32, o0 = tile % across * 32;
    const int quarter = tid / 64, t = tid % 64;  // which adds up 4 x 4 of the sums of some samples
    const int i = i0 + tid / 8, o = o0 + tid % 8 * 4;  // 4 of the weights, which the thread moves
    const int first = int(int64(N) * share / shares), end = int(int64(N) * (share + 1) / shares);
    const bool biased = L::has_bias && i0 == 0 && tid < 32 && o0 + tid < L::O;
    float sum[4][4] = {}, bias = 0;
    const bool whole = L::O % 4 == 0 && is_aligned(table.moved[L::w]);
    Before<4> old;
    Before<1> old_bias;
    movers[0].prepare(table.moved[L::w], 224);
    if (L::has_bias && i0 == 0) movers[1].prepare(table.moved[L::b], 192);
    for (int n0 = first; n0 < end; n0 += rows) {
        UNROLL for (int q = 0; q < rows / 32; q++) {
            const int e = tid + q * 256, n = e / 8, c = e % 8 * 4;
            float u[4] = {}, v[4] = {};
            if (n0 + n < end) {
                const size_t at = n0 + n;
                load_some<4>(u, a + at * L::LDA + i0 + c, L::I - i0 - c, L::LDA % 4 == 0);
                load_some<4>(v, d + at * L::LDD + o0 + c, L::O - o0 - c, L::LDD % 4 == 0);
            }
            ((float4*)a_rows)[e] = make_float4(u[0], u[1], u[2], u[3]);
            ((float4*)d_rows)[e] = make_float4(v[0], v[1], v[2], v[3]);
        }
        if (n0 == first) {  // behind the rows, which are wanted sooner
            if (i < L::I) ask_for(old, table.moved[L::w], i * L::O + o, L::O - o, whole);
            if (biased) ask_for(old_bias, table.moved[L::b], o0 + tid);
        }
        __syncthreads();
        const int count = min(rows, end - n0);
        _Pragma("unroll 4") for (int n = quarter; n < count; n += 4) {
            const Pack<float, 4> u = load_pack<4>(a_rows + n * 32 + t / 8 * 4);
            const Pack<float, 4> v = load_pack<4>(d_rows + n * 32 + t % 8 * 4);
            UNROLL for (int k = 0; k < 4; k++) UNROLL for (int j = 0; j < 4; j++) sum[k][j] +=
                u[k] * v[j];
        }
        if (L::has_bias && i0 == 0)
            for (int n = tid / 32; n < count; n += 8) bias += d_rows[n * 32 + tid % 32];
        __syncthreads();
    }
    UNROLL for (int k = 0; k < 4; k++)
        sums[quarter * 256 + (t / 8 * 4 + k) * 8 + t % 8] =
            make_float4(sum[k][0], sum[k][1], sum[k][2], sum[k][3]);
    if (L::has_bias) a_rows[tid] = bias;
    __syncthreads();
    if (L::has_bias && tid < 32) for (int q = 1; q < 8; q++) bias += a_rows[q * 32 + tid];
    float4 total = sums[tid];
    UNROLL for (int q = 1; q < 4; q++) add(total, sums[q * 256 + tid]);
    if (shares > 1) {
        float* mine = room + share * size;
        ((float4*)mine)[tid] = total;
        if (tid < 32) mine[1024 + tid] = bias;
        __threadfence();
        __syncthreads();
        if (tid == 0) {
            last = atomicAdd(finished, 1u) == uint32(shares - 1);
            if (last) *finished = 0;
        }
        __syncthreads();
        if (!last) return;
        __threadfence();
        total = make_float4(0, 0, 0, 0), bias = 0;
        for (int q = 0; q < shares; q++) add(total, __ldcg((const float4*)(room + q * size) + tid));
        if (tid < 32) for (int q = 0; q < shares; q++) bias += __ldcg(room + q * size + 1024 + tid);
    }
    const float dw[4] = {total.x, total.y, total.z, total.w};
    if (i < L::I) movers[0](table.moved[L::w], i * L::O + o, dw, old, L::O - o, whole);
    if (biased) movers[1](table.moved[L::b], o0 + tid, &bias, old_bias);
}

// 32 of the numbers of which every block of the first kernel has left its part.
template <int which, int count, int stride, class Spec>
TEMPLATE void partial_total(const Table<Spec>& table, int i, const float* part, float* shared,
                            Mover<Spec>& mover) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sum = 0;
    Before<1> old;
    i += lane;
    mover.prepare(table.moved[which], 224);
    if (i < count)
        _Pragma("unroll 16") for (int b = warp; b < table.blocks; b += 8)
            sum += part[size_t(b) * stride + i];
    if (warp == 0 && i < count) ask_for(old, table.moved[which], i);
    shared[warp * 32 + lane] = sum;
    __syncthreads();
    if (warp != 0 || i >= count) return;
    for (int k = 1; k < 8; k++) sum += shared[k * 32 + lane];
    mover(table.moved[which], i, &sum, old);
}

template <class Spec> TEMPLATE void mean_loss(const Table<Spec>& table) {
    float sum = 0;
    for (int n = threadIdx.x; n < table.N; n += 256) sum += table.losses[n];
    sum = all_sum<256>(sum);
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
