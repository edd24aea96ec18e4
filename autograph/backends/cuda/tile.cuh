// One block's tile of a product, y[m, n] = sum over k of a[m, k] * b[k, n], read through a view.
//
// 256 threads stand 8 rows by 32 columns; each owns `rows` neighbouring rows and `columns` columns
// that are 32 apart, so that a warp reads a as one broadcast and b without conflicts.
//
// A view says what the operands are. It decodes each index once and reads with what it decoded:
//   Row row(int m), Column column(int n), Depth depth(int k)
//   Number a(Row, Depth), Number b(Depth, Column)      zero outside of the operands
#pragma once
#include "scalar.cuh"

template <class T, int rows_, int columns_, int depth_, bool a_along_k_, bool b_along_k_,
          bool thin_ = false>
struct Tile {
    using Number = T;
    static constexpr int threads = 256;
    static constexpr int rows = rows_, columns = columns_, depth = depth_;
    static constexpr int height = 8 * rows, width = 32 * columns;
    static constexpr bool a_along_k = a_along_k_, b_along_k = b_along_k_;
    static constexpr bool thin = thin_ && rows == 1 && columns == 1;
    static constexpr int a_stride = height + 4, b_stride = width + (b_along_k ? 1 : 0);
    static constexpr int a_loads = (height * depth + threads - 1) / threads;
    static constexpr int b_loads = (width * depth + threads - 1) / threads;

    static __device__ int a_m(int i) { return a_along_k ? i / depth : i % height; }
    static __device__ int a_k(int i) { return a_along_k ? i % depth : i / height; }
    static __device__ int b_n(int i) { return b_along_k ? i / depth : i % width; }
    static __device__ int b_k(int i) { return b_along_k ? i % depth : i / width; }
    static __device__ int first_row() { return threadIdx.x / 32 * rows; }
    static __device__ int first_column() { return threadIdx.x % 32; }
};

// The same for tiles of one number a thread, where waiting for memory is what takes the time: the
// block loads a long piece of the sum at once, each warp adds up its share of it for the whole tile,
// and the shares meet at the end.
template <class Tile, class View>
__device__ void multiply_thin(const View& view, int m0, int n0, int k0, int k1,
                              typename Tile::Number& sum) {
    using Number = typename Tile::Number;
    constexpr int depth = 512 / sizeof(Number), share = depth / 8, loads = depth / 8;
    constexpr int a_stride = 12, b_stride = Tile::b_along_k ? 33 : 32;
    alignas(16) __shared__ Number a_shared[depth * a_stride];
    alignas(16) __shared__ Number b_shared[depth * b_stride];
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    Number sums[8];
#pragma unroll
    for (int i = 0; i < 8; i++) sums[i] = 0;
    for (int k = k0; k < k1; k += depth) {
        Number a_next[loads / 4], b_next[loads];
#pragma unroll
        for (int i = 0; i < loads / 4; i++) {
            const int at = thread + i * 256;
            const int m = Tile::a_along_k ? at / depth : at % 8;
            const int inner = k + (Tile::a_along_k ? at % depth : at / 8);
            a_next[i] = inner < k1 ? view.a(view.row(m0 + m), view.depth(inner)) : Number(0);
        }
#pragma unroll
        for (int i = 0; i < loads; i++) {
            const int at = thread + i * 256;
            const int n = Tile::b_along_k ? at / depth : at % 32;
            const int inner = k + (Tile::b_along_k ? at % depth : at / 32);
            b_next[i] = inner < k1 ? view.b(view.depth(inner), view.column(n0 + n)) : Number(0);
        }
        __syncthreads();  // the piece before has been read
#pragma unroll
        for (int i = 0; i < loads / 4; i++) {
            const int at = thread + i * 256;
            const int m = Tile::a_along_k ? at / depth : at % 8;
            a_shared[(Tile::a_along_k ? at % depth : at / 8) * a_stride + m] = a_next[i];
        }
#pragma unroll
        for (int i = 0; i < loads; i++) {
            const int at = thread + i * 256;
            const int n = Tile::b_along_k ? at / depth : at % 32;
            b_shared[(Tile::b_along_k ? at % depth : at / 32) * b_stride + n] = b_next[i];
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < share; i++) {
            const int at = warp * share + i;
            const auto low = load_pack<4>(a_shared + at * a_stride);
            const auto high = load_pack<4>(a_shared + at * a_stride + 4);
            const Number b = b_shared[at * b_stride + lane];
#pragma unroll
            for (int m = 0; m < 4; m++) sums[m] += low[m] * b, sums[m + 4] += high[m] * b;
        }
    }
    __syncthreads();
    static_assert(depth * b_stride >= 8 * 256, "the shares need room");
    Number* parts = b_shared;
#pragma unroll
    for (int m = 0; m < 8; m++) parts[(warp * 8 + m) * 32 + lane] = sums[m];
    __syncthreads();
    sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += parts[(i * 8 + warp) * 32 + lane];
}

// sums[i][j] is y[m0 + first_row() + i, n0 + first_column() + 32 * j] over k0 <= k < k1.
template <class Tile, class View>
__device__ void multiply_wide(const View& view, int m0, int n0, int k0, int k1,
                              typename Tile::Number (&sums)[Tile::rows][Tile::columns]) {
    using Number = typename Tile::Number;
    constexpr int height = Tile::height, width = Tile::width, depth = Tile::depth;
    alignas(16) __shared__ Number a_shared[depth * Tile::a_stride];
    alignas(16) __shared__ Number b_shared[depth * Tile::b_stride];
    const int thread = threadIdx.x;

    typename View::Row row[Tile::a_loads];
    typename View::Column column[Tile::b_loads];
    Number a_next[Tile::a_loads], b_next[Tile::b_loads];
#pragma unroll
    for (int i = 0; i < Tile::a_loads; i++)
        row[i] = view.row(m0 + Tile::a_m(thread + i * Tile::threads));
#pragma unroll
    for (int i = 0; i < Tile::b_loads; i++)
        column[i] = view.column(n0 + Tile::b_n(thread + i * Tile::threads));

    auto fetch = [&](int k) {
#pragma unroll
        for (int i = 0; i < Tile::a_loads; i++) {
            const int at = k + Tile::a_k(thread + i * Tile::threads);
            a_next[i] = at < k1 ? view.a(row[i], view.depth(at)) : Number(0);
        }
#pragma unroll
        for (int i = 0; i < Tile::b_loads; i++) {
            const int at = k + Tile::b_k(thread + i * Tile::threads);
            b_next[i] = at < k1 ? view.b(view.depth(at), column[i]) : Number(0);
        }
    };

#pragma unroll
    for (int i = 0; i < Tile::rows; i++)
#pragma unroll
        for (int j = 0; j < Tile::columns; j++) sums[i][j] = 0;

    fetch(k0);
    for (int k = k0; k < k1; k += depth) {
        __syncthreads();  // the tile before has been read
#pragma unroll
        for (int i = 0; i < Tile::a_loads; i++) {
            const int at = thread + i * Tile::threads;
            if (at < height * depth) a_shared[Tile::a_k(at) * Tile::a_stride + Tile::a_m(at)] = a_next[i];
        }
#pragma unroll
        for (int i = 0; i < Tile::b_loads; i++) {
            const int at = thread + i * Tile::threads;
            if (at < width * depth) b_shared[Tile::b_k(at) * Tile::b_stride + Tile::b_n(at)] = b_next[i];
        }
        __syncthreads();
        if (k + depth < k1) fetch(k + depth);  // the loads fly while this tile is multiplied

#pragma unroll 4
        for (int at = 0; at < depth; at++) {
            Number a[Tile::rows], b[Tile::columns];
#pragma unroll
            for (int i = 0; i < Tile::rows; i++)
                a[i] = a_shared[at * Tile::a_stride + Tile::first_row() + i];
#pragma unroll
            for (int j = 0; j < Tile::columns; j++)
                b[j] = b_shared[at * Tile::b_stride + Tile::first_column() + 32 * j];
#pragma unroll
            for (int i = 0; i < Tile::rows; i++)
#pragma unroll
                for (int j = 0; j < Tile::columns; j++) sums[i][j] += a[i] * b[j];
        }
    }
}

template <class Tile, class View>
__device__ void multiply_tile(const View& view, int m0, int n0, int k0, int k1,
                              typename Tile::Number (&sums)[Tile::rows][Tile::columns]) {
    if constexpr (Tile::thin)
        multiply_thin<Tile>(view, m0, n0, k0, k1, sums[0][0]);
    else
        multiply_wide<Tile>(view, m0, n0, k0, k1, sums);
}
