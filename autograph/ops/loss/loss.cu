// Softmax cross entropy of scores x (N, C) and class indices, its gradient, and what metrics count.
//
// Spec holds Scalar, Target, and `lanes`: the threads that share a row, 1, 32 or 256. Each of them has
// `packs` times `pack` neighbours at once: rows are read in such parts, `whole` ones or not.
#include "block.cuh"
#include "fault.cuh"

template <class Spec> using Number = Wide<typename Spec::Scalar>;

// Whether this block is the last to finish: what the others wrote is then there to be read.
__device__ inline bool is_last_block(uint32* finished) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(finished, 1u) == gridDim.x - 1;
    __syncthreads();
    if (last) __threadfence();
    return last;
}

__device__ inline float largest_of(float a, float b) {  // a NaN wins
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
__device__ inline double largest_of(double a, double b) { return max_with_nan(a, b); }
__device__ inline float least_finite(float) { return __int_as_float(0xff7fffff); }
__device__ inline double least_finite(double) { return __longlong_as_double(0xffefffffffffffffll); }

// exp; of what is rounded to 16 bits in the end right to a few units of float's last place.
template <class Spec> __device__ inline Number<Spec> power(Number<Spec> x) {
    if constexpr (sizeof(typename Spec::Scalar) == 2) {
        constexpr float log2e = 1.4426950408889634f;
        float y;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * log2e));
        return y;
    } else {
        return exp(x);
    }
}

// The numbers of a row that a thread sees, part after part.
template <class Spec> struct Part {
    static constexpr int lanes = Spec::lanes, pack = Spec::pack, packs = Spec::packs;
    static constexpr int size = lanes * pack * packs;
    using Scalar = typename Spec::Scalar;
    Pack<Scalar, pack> found[packs];

    static __device__ int at(int start, int j) {
        return start + (j * lanes + threadIdx.x % lanes) * pack;
    }
    static __device__ bool inside(int start, int j, int C) {
        return Spec::whole || at(start, j) < C;
    }
    __device__ void load(const Scalar* row, int start, int C) {  // beyond the row its first pack
#pragma unroll
        for (int j = 0; j < packs; j++)
            found[j] = load_pack<pack>(row + (inside(start, j, C) ? at(start, j) : 0));
    }
    // visit(value) for all that are inside
    template <class Visit> __device__ void each(int start, int C, Visit visit) const {
#pragma unroll
        for (int j = 0; j < packs; j++)
            if (inside(start, j, C))
#pragma unroll
                for (int i = 0; i < pack; i++) visit(widen(found[j][i]));
    }
};

// rows (2, N) = the largest of each row of x, and the sum of exp(x - largest); loss = the mean of
// log(sum) - (x[n, target[n]] - largest).
// A class out of range is written down in `fault` and counts as a loss of zero.
// The last block to finish adds the losses, always in the same order.
template <class Spec>
__global__ void __launch_bounds__(256, 4)
cross_entropy_loss(const typename Spec::Scalar* __restrict__ x,
                   const typename Spec::Target* __restrict__ target,
                   typename Spec::Scalar* __restrict__ loss, Number<Spec>* __restrict__ rows,
                   Number<Spec>* losses, uint32* finished, uint64* fault, int N, int C) {
    constexpr int lanes = Spec::lanes, ahead = 8;
    using P = Part<Spec>;
    const int n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const bool real = n < N;
    const typename Spec::Scalar* const row = x + int64(real ? n : 0) * C;
    const int64 wanted = target[real ? n : 0];
    const bool inside = wanted >= 0 && wanted < C;
    const Number<Spec> chosen = widen(row[inside ? wanted : 0]);
    const Number<Spec> least = least_finite(Number<Spec>());  // below it is -infinity, which adds 0
    Number<Spec> largest = Limits<Number<Spec>>::lowest(), base = least, sum = 0;
    for (int start = 0; start < C; start += P::size) {
        P part;
        part.load(row, start, C);
        part.each(start, C, [&](Number<Spec> value) { largest = largest_of(largest, value); });
        const Number<Spec> before = base;
        base = largest_of(largest, least);
        sum *= power<Spec>(before - base);
        part.each(start, C, [&](Number<Spec> value) { sum += power<Spec>(value - base); });
    }
    largest = all_max<lanes>(largest);
    sum = all_sum<lanes>(sum * power<Spec>(base - largest));

    if (real && threadIdx.x % lanes == 0) {
        if (!inside) report_fault(fault, n, wanted);
        losses[n] = inside ? log(sum) - (chosen - largest) : Number<Spec>(0);
        rows[n] = largest;
        rows[N + n] = sum;
    }
    if (!is_last_block(finished)) return;
    Number<Spec> total = 0;
    const volatile Number<Spec>* const written = losses;
    for (int start = threadIdx.x; start < N; start += 256 * ahead) {
        Number<Spec> next[ahead];
#pragma unroll
        for (int i = 0; i < ahead; i++) next[i] = written[min(start + 256 * i, N - 1)];
#pragma unroll
        for (int i = 0; i < ahead; i++) total += start + 256 * i < N ? next[i] : Number<Spec>(0);
    }
    total = all_sum<256>(total);
    if (threadIdx.x == 0) {
        *loss = narrow<typename Spec::Scalar>(total / Number<Spec>(N));
        *finished = 0;
    }
}

// The same of few short rows: one block, which waits for nobody, and a thread has whole rows.
template <class Spec>
__global__ void __launch_bounds__(Spec::threads)
cross_entropy_loss_short(const typename Spec::Scalar* __restrict__ x,
                         const typename Spec::Target* __restrict__ target,
                         typename Spec::Scalar* __restrict__ loss, Number<Spec>* __restrict__ rows,
                         uint64* fault, int N) {
    using P = Part<Spec>;
    constexpr int C = P::size;
    Number<Spec> total = 0;
    for (int n = threadIdx.x; n < N; n += Spec::threads) {
        const int64 wanted = target[n];
        const bool inside = wanted >= 0 && wanted < C;
        const int at = inside ? int(wanted) : 0;
        P part;
        part.load(x + int64(n) * C, 0, C);
        int c = 0;
        Number<Spec> largest = Limits<Number<Spec>>::lowest(), chosen = 0, sum = 0;
        part.each(0, C, [&](Number<Spec> value) {
            largest = largest_of(largest, value);
            if (c++ == at) chosen = value;
        });
        const Number<Spec> base = largest_of(largest, least_finite(Number<Spec>()));
        part.each(0, C, [&](Number<Spec> value) { sum += power<Spec>(value - base); });
        sum *= power<Spec>(base - largest);
        if (inside) total += log(sum) - (chosen - largest);
        else report_fault(fault, n, wanted);
        rows[n] = largest;
        rows[N + n] = sum;
    }
    total = all_sum<Spec::threads>(total);
    if (threadIdx.x == 0) *loss = narrow<typename Spec::Scalar>(total / Number<Spec>(N));
}

// dx[n, c] = (exp(x - largest) / sum - (c == target[n])) * dy / N; zero for a class out of range.
// Blocks: (some rows, parts of a row)
template <class Spec>
__global__ void __launch_bounds__(256, 4)
cross_entropy_loss_dx(const typename Spec::Scalar* __restrict__ dy,
                      const typename Spec::Scalar* __restrict__ x,
                      const typename Spec::Target* __restrict__ target,
                      const typename Spec::Rows* __restrict__ rows,
                      typename Spec::Scalar* __restrict__ dx, int N, int C) {
    constexpr int lanes = Spec::lanes, pack = Spec::pack;
    using P = Part<Spec>;
    const int n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes, start = blockIdx.y * P::size;
    if (n >= N) return;
    const int64 wanted = target[n], base = int64(n) * C;
    const int chosen = wanted >= 0 && wanted < C ? int(wanted) : -1;
    P part;
    part.load(x + base, start, C);
    const Number<Spec> largest = rows[n], share = Number<Spec>(1) / Number<Spec>(rows[N + n]);
    const Number<Spec> scale = widen(*dy) / Number<Spec>(N);
#pragma unroll
    for (int j = 0; j < Spec::packs; j++) {
        if (!P::inside(start, j, C)) continue;
        const int at = P::at(start, j);
        if (chosen < 0) {
#pragma unroll
            for (int i = 0; i < pack; i++) part.found[j][i] = narrow<typename Spec::Scalar>(0);
        } else {
#pragma unroll
            for (int i = 0; i < pack; i++) {
                const Number<Spec> p = power<Spec>(widen(part.found[j][i]) - largest) * share;
                const Number<Spec> slope = (p - Number<Spec>(at + i == chosen)) * scale;
                part.found[j][i] = narrow<typename Spec::Scalar>(slope);
            }
        }
        store_pack<pack>(dx + base + at, part.found[j]);
    }
}

// sums += [N, loss * N, rows whose first largest score is the target's]
template <class Spec>
__global__ void __launch_bounds__(256)
tally(double* sums, const typename Spec::Loss* __restrict__ loss,
      const typename Spec::Scalar* __restrict__ x, const typename Spec::Target* __restrict__ target,
      uint32* finished, uint32* hits, int N, int C) {
    const int lane = threadIdx.x % 32, n = blockIdx.x * 8 + threadIdx.x / 32;
    if (n < N) {
        Number<Spec> best = Limits<Number<Spec>>::lowest();
        int found = C;
        auto take = [&](Number<Spec> value, int c) {
            const bool level = value == best || (is_nan(value) && is_nan(best));
            if (value > best || (is_nan(value) && !is_nan(best)) || (level && c < found)) {
                best = value;
                found = c;
            }
        };
        for (int c = lane; c < C; c += 32) take(widen(x[int64(n) * C + c]), c);
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2)
            take(__shfl_xor_sync(~0u, best, distance), __shfl_xor_sync(~0u, found, distance));
        if (lane == 0 && int64(found) == int64(target[n])) atomicAdd(hits, 1u);
    }
    if (!is_last_block(finished) || threadIdx.x != 0) return;
    sums[0] += N;
    sums[1] += double(widen(*loss)) * N;
    sums[2] += double(atomicExch(hits, 0u));
    *finished = 0;
}
