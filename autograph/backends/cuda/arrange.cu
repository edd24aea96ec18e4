// Matrices laid out anew: y[b, c, r] = x[b, r, c], through shared memory.
//
// Spec holds Bits, an unsigned type of the size of what is moved, and the `side` of tiles; where one
// side is short, `few` (how short) and short_rows (whether R is the short side).
// Rows of x are `x_row` numbers apart and rows of y `y_row`, of which those beyond R become zero.
#include "scalar.cuh"

// Tiles have Spec::side rows. Blocks: (tiles of C, tiles of y_row and B at most)
template <class Spec>
__global__ void __launch_bounds__(256)
transpose(const typename Spec::Bits* __restrict__ x, typename Spec::Bits* __restrict__ y, int B,
          int R, int C, int x_row, int y_row) {
    constexpr int side = Spec::side;
    __shared__ typename Spec::Bits tile[side][side + 1];
    const int lane = threadIdx.x % 32, depth = threadIdx.x / 32;
    const int c0 = blockIdx.x * side;
    for (int b = blockIdx.z; b < B; b += gridDim.z) {
        for (int64 first = int64(blockIdx.y) * side; first < y_row; first += int64(gridDim.y) * side) {
            const int r0 = int(first);
            __syncthreads();  // the tile before has been written
#pragma unroll
            for (int i = depth; i < side; i += 8)
#pragma unroll
                for (int j = lane; j < side; j += 32) {
                    const bool inside = r0 + i < R && c0 + j < C;
                    tile[i][j] = inside ? x[(int64(b) * R + r0 + i) * x_row + c0 + j]
                                        : typename Spec::Bits(0);
                }
            __syncthreads();
#pragma unroll
            for (int i = depth; i < side; i += 8)
#pragma unroll
                for (int j = lane; j < side; j += 32)
                    if (c0 + i < C && r0 + j < y_row)
                        y[(int64(b) * C + c0 + i) * y_row + r0 + j] = tile[j][i];
        }
    }
}

// The same where one side is short. Blocks: (pieces of the long side, B at most)
template <class Spec>
__global__ void __launch_bounds__(256)
transpose_short(const typename Spec::Bits* __restrict__ x, typename Spec::Bits* __restrict__ y, int B,
                int R, int C, int x_row, int y_row) {
    constexpr int wide = 128, few = Spec::few;
    __shared__ typename Spec::Bits tile[few][wide + 4 / sizeof(typename Spec::Bits) + 1];
    const int first = blockIdx.x * wide, left = min(wide, (Spec::short_rows ? C : y_row) - first);
    for (int b = blockIdx.y; b < B; b += gridDim.y) {
        __syncthreads();
        for (int i = threadIdx.x; i < few * wide; i += 256) {
            const int s = Spec::short_rows ? i / wide : i % few;
            const int l = Spec::short_rows ? i % wide : i / few;
            const int r = Spec::short_rows ? s : first + l, c = Spec::short_rows ? first + l : s;
            if (l < left) tile[s][l] = r < R && c < C ? x[(int64(b) * R + r) * x_row + c] : 0;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < few * wide; i += 256) {
            const int s = Spec::short_rows ? i % few : i / wide;
            const int l = Spec::short_rows ? i / few : i % wide;
            const int r = Spec::short_rows ? s : first + l, c = Spec::short_rows ? first + l : s;
            if (l < left && c < C) y[(int64(b) * C + c) * y_row + r] = tile[s][l];
        }
    }
}

// The same where a row of y is one access. Blocks: (pieces of C, B at most)
template <class Spec>
__global__ void __launch_bounds__(256)
transpose_narrow(const typename Spec::Bits* __restrict__ x, typename Spec::Bits* __restrict__ y, int B,
                 int R, int C, int x_row, int) {
    constexpr int few = Spec::few;
    const int c = blockIdx.x * 256 + threadIdx.x;
    if (c >= C) return;
    for (int b = blockIdx.y; b < B; b += gridDim.y) {
        Pack<typename Spec::Bits, few> row;
#pragma unroll
        for (int r = 0; r < few; r++) row[r] = r < R ? x[(int64(b) * R + r) * x_row + c] : 0;
        store_pack<few>(y + (int64(b) * C + c) * few, row);
    }
}

// The same for whole matrices whose long side is a whole number of accesses of 16 bytes: x is read, or
// with short_rows y written, as it lies, and the other one in accesses along its rows.
template <class Spec>
__global__ void __launch_bounds__(256)
transpose_whole(const typename Spec::Bits* __restrict__ x, typename Spec::Bits* __restrict__ y, int B,
                int R, int C, int, int) {
    using Bits = typename Spec::Bits;
    constexpr int wide = 256, few = Spec::few, pack = 16 / sizeof(Bits);
    alignas(16) __shared__ Bits tile[wide * few];  // as the side of short rows lies: [wide][few]
    const int length = Spec::short_rows ? C : R, first = blockIdx.x * wide;
    const int left = min(wide, length - first);
    for (int b = blockIdx.y; b < B; b += gridDim.y) {
        const int64 whole = int64(b) * few * length;
        const Bits* from = x + whole;
        Bits* to = y + whole;
        __syncthreads();  // the piece before has been written
        for (int i = threadIdx.x * pack; i < left * few; i += 256 * pack) {
            if (!Spec::short_rows) {
                store_pack<pack>(tile + i, load_pack<pack>(from + first * few + i));
            } else {
                const int s = i / left, l = i % left;
                const auto found = load_pack<pack>(from + s * length + first + l);
#pragma unroll
                for (int k = 0; k < pack; k++) tile[(l + k) * few + s] = found[k];
            }
        }
        __syncthreads();
        for (int i = threadIdx.x * pack; i < left * few; i += 256 * pack) {
            if (Spec::short_rows) {
                store_pack<pack>(to + first * few + i, load_pack<pack>(tile + i));
            } else {
                const int s = i / left, l = i % left;
                Pack<Bits, pack> found;
#pragma unroll
                for (int k = 0; k < pack; k++) found[k] = tile[(l + k) * few + s];
                store_pack<pack>(to + s * length + first + l, found);
            }
        }
    }
}
