// Rows added up by index, in the order in which they stand: total[v] = the sum of rows[i] where
// index[i] == v.
//
// First the keys v << 32 | i are put in order, then each row of total adds up its own, `piece` of
// them one after the other and then these sums, so that long rows are shared out. No atomics on
// floats: the same bits every run. An index out of range is written down in `fault` and left out.
#include "block.cuh"
#include "fault.cuh"

// What the launches leave to each other: the keys, where those of each row of total begin (size + 1
// of them; none where keys are sorted elsewhere), and counts of the sums that have arrived.
__device__ inline int32* starts_of(int64* keys, int count) {
    return reinterpret_cast<int32*>(keys + count);
}

// How many of what is sorted are less than a limit.
template <class T> __device__ int count_below(const T* sorted, int count, T limit) {
    int low = 0;
    while (low < count) {
        const int middle = low + (count - low) / 2;
        if (sorted[middle] < limit) low = middle + 1;
        else count = middle;
    }
    return low;
}

// The row of total that an index means; `size` where there is none.
template <class Index, class Size>
__device__ inline Size row_of(Index index, bool real, Size size) {
    const int64 given = int64(index);
    const bool fits = sizeof(Size) == 8 || int32(given >> 32) == int32(given) >> 31;
    const Size row = Size(given) + (given < 0 ? size : 0);
    const bool inside = sizeof(Size) == 8 ? uint64(row) < uint64(size) : uint32(row) < uint32(size);
    return real & fits & inside ? row : size;
}

// visit(j, before, all) for item j < used of each thread: how many items before it are kept, and
// how many of all. Item j of lane l of warp w is number (w * used + j) * 32 + l.
template <int threads, int each, class Keep, class Visit>
__device__ inline void count_kept(int used, Keep keep, Visit visit) {
    __shared__ int of_warp[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const auto add = [](int a, int b) { return a + b; };
    int own = 0;
#pragma unroll
    for (int j = 0; j < each && j < used; j++) own += __popc(__ballot_sync(~0u, keep(j)));
    if (lane == 0) of_warp[warp] = own;
    __syncthreads();
    const int found = lane < threads / 32 ? of_warp[lane] : 0, all = merge_in_warp(found, add);
    int before = merge_in_warp(lane < warp ? found : 0, add);
#pragma unroll
    for (int j = 0; j < each && j < used; j++) {
        const unsigned kept = __ballot_sync(~0u, keep(j));
        visit(j, before + __popc(kept & ((1u << lane) - 1)), all);
        before += __popc(kept);
    }
    __syncthreads();
}

// For few indices: a block picks those of its `range` rows out of all and sorts them.
// It also sets the `marks` counts to 0.
// Spec holds Index, `threads`, `each` (indices of a thread), and whether the list `is_shared`.
template <class Spec>
__global__ void __launch_bounds__(Spec::threads)
listed(const typename Spec::Index* __restrict__ index, int64* keys, uint64* fault, int count,
       int size, int range, int64 marks) {
    constexpr int threads = Spec::threads, each = Spec::each, low = 15;  // bits of a place
    constexpr int few = threads < 256 ? threads : 256;  // are sorted by how many are less
    constexpr uint32 none = ~0u, places = (1u << low) - 1;
    extern __shared__ __align__(16) unsigned char shared[];
    int32* const starts = starts_of(keys, count);
    const auto item = [](int j, int used) {
        return (int(threadIdx.x) / 32 * used + j) * 32 + int(threadIdx.x) % 32;
    };
    const int first = blockIdx.x * range, rows = min(range, size - first);
    constexpr int batch = each < 8 ? each : 8;  // so many loads fly at once
    uint32 own[each];
    int below = 0, kept = 0, greatest = 0;
#pragma unroll
    for (int start = 0; start < each; start += batch) {
        typename Spec::Index given[batch];
#pragma unroll
        for (int j = 0; j < batch; j++) given[j] = index[min(item(start + j, each), count - 1)];
#pragma unroll
        for (int j = 0; j < batch; j++) {
            const int i = item(start + j, each), row = row_of(given[j], i < count, size);
            const int ahead = row - first;
            greatest = max(greatest, row);
            below += uint32(ahead) >> 31;
            own[start + j] = uint32(ahead) < uint32(rows) ? uint32(ahead) << low | i : none;
        }
    }
    if (greatest == size && blockIdx.x == 0)
#pragma unroll 1
        for (int j = 0; j < each; j++) {
            const int i = item(j, each);
            if (i < count && row_of(index[i], true, size) == size)
                report_fault(fault, i, int64(index[i]));
        }
    below = all_sum<threads>(below);
    // row - first << low | i, of those it keeps; where they need not fit, they lie where keys will
    uint32* const list = Spec::is_shared ? reinterpret_cast<uint32*>(shared)
                                            : reinterpret_cast<uint32*>(keys + below);
    count_kept<threads, each>(each, [&](int j) { return own[j] != none; },
                              [&](int j, int before, int all) {
        if (own[j] != none) list[before] = own[j];
        kept = all;
    });
    if (kept <= few) {
        const bool real = threadIdx.x < kept;
        int before = 0;
        own[0] = real ? list[threadIdx.x] : none;
        for (int i = 0; i < kept && real; i++) before += list[i] < own[0];
        __syncthreads();
        if (real) list[before] = own[0];
        __syncthreads();
    }
    const int used = (kept + threads - 1) / threads;
    for (int bit = low; kept > few && (range - 1) >> (bit - low); bit++) {
#pragma unroll
        for (int j = 0; j < each && j < used; j++)
            own[j] = item(j, used) < kept ? list[item(j, used)] : none;
        const auto is_zero = [&](int j) { return own[j] != none && !(own[j] >> bit & 1); };
        count_kept<threads, each>(used, is_zero, [&](int j, int before, int zeros) {
            if (own[j] != none) list[is_zero(j) ? before : zeros + item(j, used) - before] = own[j];
        });
    }
    for (int i = threadIdx.x; i < rows + (first + rows == size); i += threads)
        starts[first + i] = below + count_below(list, kept, uint32(i) << low);
#pragma unroll
    for (int j = 0; j < each && j < used; j++)
        own[j] = item(j, used) < kept ? list[item(j, used)] : none;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < each && j < used; j++)
        if (own[j] != none)
            keys[below + item(j, used)] = int64(first + (own[j] >> low)) << 32 | (own[j] & places);
    const int64 apart = int64(gridDim.x) * threads;
    for (int64 i = int64(blockIdx.x) * threads + threadIdx.x; i < marks; i += apart)
        starts[size + 1 + i] = 0;
}

// For many: keys that are sorted elsewhere; what is out of range has row `size`.
template <class Spec>
__global__ void __launch_bounds__(256)
keys_of(const typename Spec::Index* __restrict__ index, int64* keys, uint64* fault, int count,
        int64 size) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    const int64 row = row_of(index[i], true, size);
    if (row == size) report_fault(fault, i, int64(index[i]));
    keys[i] = row << 32 | i;
}

template <class Spec> using Sums = Pack<typename Spec::Sum, Spec::pack>;

// Adds what is found at begin ... end - 1 in this order. Several of them fly at once, because all
// of a batch are asked for before one is added: beyond the end the last one again, which is there.
template <class Spec, class T, class Place, class Find>
__device__ inline void add_up(Sums<Spec>& sums, int begin, int end, Place place, Find find) {
    constexpr int bytes = sizeof(Pack<T, Spec::pack>), ahead = bytes > 16 ? 128 / bytes : 8;
    for (int at = begin; at < end; at += ahead) {
        int places[ahead];
        Pack<T, Spec::pack> found[ahead];
#pragma unroll
        for (int i = 0; i < ahead; i++) places[i] = place(min(at + i, end - 1));
#pragma unroll
        for (int i = 0; i < ahead; i++) found[i] = find(places[i]);
#pragma unroll
        for (int i = 0; i < ahead; i++)
            if (at + i < end)
#pragma unroll
                for (int k = 0; k < Spec::pack; k++)
                    sums[k] += typename Spec::Sum(widen(found[i][k]));
    }
}

// A group of `lanes` threads, each with `pack` columns, adds up the first piece of a row, or one of
// the others; those of a long row go into `partial`, and whoever is the last to come adds them.
// Groups: one a row where there are `starts`, else one a key, of total zero before; and more of
// which each takes the piece that begins among its `piece` keys: of the others at most one does.
// Blocks: `slabs` for every 256 / lanes groups.
// Spec holds Scalar, Sum (what is added in), `lanes`, `pack`, and `has_starts`. Told that 4 blocks
// are to fit, the compiler keeps all loads of a batch in flight, for which there are registers.
template <class Spec>
__global__ void __launch_bounds__(256, 4)
added(const typename Spec::Scalar* __restrict__ rows, int64* keys, typename Spec::Scalar* total,
      typename Spec::Sum* partial, int count, int64 size, int width, int slabs, int piece) {
    constexpr int lanes = Spec::lanes, pack = Spec::pack;
    int32* const starts = starts_of(keys, count);
    const int64 group = int64(blockIdx.x / slabs) * (256 / lanes) + threadIdx.x / lanes;
    const int column = (blockIdx.x % slabs * lanes + threadIdx.x % lanes) * pack;
    const int64 heads = Spec::has_starts ? size : count, at = (group - heads) * piece;
    const bool is_head = group < heads;
    if (column >= width || (!is_head && at >= (Spec::has_starts ? starts[size] : count))) return;
    const int64 row = is_head && Spec::has_starts ? group : keys[is_head ? group : at] >> 32;
    if (row >= size) return;
    int first, end;
    if constexpr (Spec::has_starts) {
        first = starts[row], end = starts[row + 1];
    } else {
        if (is_head && group > 0 && keys[group - 1] >> 32 == row) return;
        first = is_head ? int(group) : count_below(keys, count, row << 32);
        const int left = count - first, near = min(left, piece + 1);  // most rows are short
        const int some = count_below(keys + first, near, (row + 1) << 32);
        end = first + (some > piece ? count_below(keys + first, left, (row + 1) << 32) : some);
    }
    const int begin = is_head ? first : first + (int(at) - first + piece - 1) / piece * piece;
    if (!is_head && (begin == first || begin >= end)) return;
    Sums<Spec> sums;
#pragma unroll
    for (int k = 0; k < pack; k++) sums[k] = 0;
    add_up<Spec, typename Spec::Scalar>(
        sums, begin, min(begin + piece, end), [&](int i) { return int32(keys[i]); },
        [&](int i) { return load_pack<pack>(rows + int64(i) * width + column); });
    if (end - first > piece) {
        const int windows = (count + piece - 1) / piece, window = first / piece;
        const auto place = [&](int i) {  // of piece i of this row: the first ones have their own
            return partial + int64(i ? window + i : windows + window) * width + column;
        };
        const int pieces = (end - first + piece - 1) / piece;
        store_pack<pack>(place((begin - first) / piece), sums);
        __threadfence();
        int32* const arrived = starts + (Spec::has_starts ? size + 1 : 0);
        if (atomicAdd(arrived + (int64(window) * width + column) / pack, 1) != pieces - 1) return;
        __threadfence();
#pragma unroll
        for (int k = 0; k < pack; k++) sums[k] = 0;
        add_up<Spec, typename Spec::Sum>(sums, 0, pieces, [](int i) { return i; }, [&](int i) {
            const volatile typename Spec::Sum* from = place(i);  // others wrote it just now
            Sums<Spec> found;
#pragma unroll
            for (int k = 0; k < pack; k++) found[k] = from[k];
            return found;
        });
    }
    Pack<typename Spec::Scalar, pack> rounded;
#pragma unroll
    for (int k = 0; k < pack; k++) rounded[k] = narrow<typename Spec::Scalar>(sums[k]);
    store_pack<pack>(total + row * width + column, rounded);
}
