// Matrices laid out anew: y[b, c, r] = x[b, r, c], through shared memory.
//
// Spec holds Bits, an unsigned type of the size of what is moved, how `high` and `wide` tiles are and
// how many numbers an access has (`pack`); where one side is short, `few` (how short) and short_rows
// (whether R is the short side).
// Rows of x are `x_row` numbers apart and rows of y `y_row`, of which those beyond R become zero.
#include "scalar.cuh"

// x_row and y_row are whole numbers of packs, which lie in a tile's row in an order of that row's own
// (by xor), so that columns of numbers are written and rows of packs read in all banks at once.
// Blocks: (tiles of C, tiles of y_row and B at most)
template <class Spec>
__global__ void __launch_bounds__(256, 4)
transpose(const typename Spec::Bits* __restrict__ x, typename Spec::Bits* __restrict__ y, int B,
          int R, int C, int x_row, int y_row) {
    using Bits = typename Spec::Bits;
    constexpr int high = Spec::high, wide = Spec::wide, pack = Spec::pack;
    constexpr int across = wide / pack, down = high / pack;  // packs in a row of x's tile, and of y's
    constexpr int turns = (high * across + 255) / 256, most = pack == 1 ? 32 : 8;
    constexpr int orders = down < most ? down : most, lanes = across < most ? across : most;
    alignas(16) __shared__ Bits tile[wide][high];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;  // `lanes` of a warp in a row of x
    const int from_c = (warp % (across / lanes) * lanes + lane % lanes) * pack;
    const int from_r = warp / (across / lanes) * (32 / lanes) + lane / lanes;
    const int to_r = threadIdx.x % down * pack, to_c = threadIdx.x / down;
    const int c0 = blockIdx.x * wide;
    for (int b = blockIdx.z; b < B; b += gridDim.z) {
        for (int64 first = int64(blockIdx.y) * high; first < y_row; first += int64(gridDim.y) * high) {
            const int r0 = int(first);
            Pack<Bits, pack> found[turns];  // all of them fly at once
#pragma unroll
            for (int i = 0; i < turns; i++) {
                const int r = from_r + i * (256 / across);
                found[i] = {};
                if (r < high && r0 + r < R && c0 + from_c < C)
                    found[i] = load_pack<pack>(x + (int64(b) * R + r0 + r) * x_row + c0 + from_c);
            }
            __syncthreads();  // the tile before has been written
#pragma unroll
            for (int i = 0; i < turns; i++) {
                const int r = from_r + i * (256 / across);
                const int place = (r / pack ^ from_c / pack % orders) * pack + r % pack;
                if (r < high) {
#pragma unroll
                    for (int k = 0; k < pack; k++)
                        tile[from_c + k][place] = found[i][k];
                }
            }
            __syncthreads();
#pragma unroll
            for (int i = 0; i < turns; i++) {
                const int c = to_c + i * (256 / down), r = r0 + to_r;
                const int place = (to_r / pack ^ c / pack % orders) * pack;
                // y + (... + r), not y + ... + r, which is compiled to accesses of single numbers
                if (c < wide && c0 + c < C && r < y_row)
                    store_pack<pack>(y + ((int64(b) * C + c0 + c) * y_row + r),
                                     load_pack<pack>(&tile[c][place]));
            }
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
