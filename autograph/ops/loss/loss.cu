// Softmax cross entropy of scores x (N, C) and class indices, its gradient, and what metrics count.
//
// Spec holds Scalar, Target, and `lanes`: the threads that share a row, 32 or 256.
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

// probability = softmax of x; loss = the mean of -log(probability[n, target[n]]).
// A class out of range is written down in `fault` and counts as a loss of zero.
// The last block to finish adds the losses, always in the same order.
template <class Spec>
__global__ void __launch_bounds__(256)
cross_entropy_loss(const typename Spec::Scalar* __restrict__ x,
                   const typename Spec::Target* __restrict__ target,
                   typename Spec::Scalar* __restrict__ loss, Number<Spec>* __restrict__ probability,
                   Number<Spec>* losses, uint32* finished, uint64* fault, int N, int C) {
    constexpr int lanes = Spec::lanes;
    const int lane = threadIdx.x % lanes;
    const int n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const bool real = n < N;
    const int64 base = int64(real ? n : 0) * C;

    Number<Spec> greatest = Limits<Number<Spec>>::lowest();
    for (int c = lane; c < C; c += lanes) greatest = max_with_nan(greatest, widen(x[base + c]));
    greatest = all_max<lanes>(greatest);
    Number<Spec> sum = 0;
    for (int c = lane; c < C; c += lanes) sum += exp(widen(x[base + c]) - greatest);
    sum = all_sum<lanes>(sum);

    if (real) {
        for (int c = lane; c < C; c += lanes)
            probability[base + c] = exp(widen(x[base + c]) - greatest) / sum;
        if (lane == 0) {
            const int64 wanted = target[n];
            const bool inside = wanted >= 0 && wanted < C;
            if (!inside) report_fault(fault, n, wanted);
            losses[n] = inside ? log(sum) - (widen(x[base + wanted]) - greatest) : Number<Spec>(0);
        }
    }
    if (!is_last_block(finished)) return;
    Number<Spec> total = 0;
    for (int i = threadIdx.x; i < N; i += 256)
        total += *static_cast<volatile Number<Spec>*>(losses + i);
    total = all_sum<256>(total);
    if (threadIdx.x == 0) {
        *loss = narrow<typename Spec::Scalar>(total / Number<Spec>(N));
        *finished = 0;
    }
}

// dx[n, c] = (probability[n, c] - (c == target[n])) * dy / N; zero for a class out of range
template <class Spec>
__global__ void __launch_bounds__(256)
cross_entropy_loss_dx(const typename Spec::Scalar* __restrict__ dy,
                      const typename Spec::Probability* __restrict__ probability,
                      const typename Spec::Target* __restrict__ target,
                      typename Spec::Scalar* __restrict__ dx, int N, int C) {
    constexpr int lanes = Spec::lanes;
    const int lane = threadIdx.x % lanes;
    const int n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    if (n >= N) return;
    const Number<Spec> scale = widen(*dy) / Number<Spec>(N);
    const int64 wanted = target[n], base = int64(n) * C;
    const bool inside = wanted >= 0 && wanted < C;
    for (int c = lane; c < C; c += lanes) {
        const Number<Spec> p = widen(probability[base + c]);
        const Number<Spec> slope = inside ? (p - Number<Spec>(c == wanted)) * scale : 0;
        dx[base + c] = narrow<typename Spec::Scalar>(slope);
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
