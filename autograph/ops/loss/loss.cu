// Softmax cross entropy of scores x (N, C) and class indices, and its gradient.
//
// Spec holds Scalar, Target, and `lanes`: the threads that share a row, 32 or 256.
#include "block.cuh"
#include "fault.cuh"

// losses[n] = log(sum of exp(x[n])) - x[n, target[n]]; log_sums[n] the first term; loss their mean.
// A class out of range is written down in `fault` and counts as a loss of zero.
// The last block to finish adds the losses, always in the same order.
template <class Spec>
__global__ void __launch_bounds__(256)
cross_entropy(const typename Spec::Scalar* __restrict__ x, const typename Spec::Target* __restrict__ target,
              typename Spec::Scalar* __restrict__ loss, Wide<typename Spec::Scalar>* log_sums,
              Wide<typename Spec::Scalar>* losses, uint32* finished, uint64* fault, int N, int C) {
    using Number = Wide<typename Spec::Scalar>;
    constexpr int lanes = Spec::lanes;
    const int lane = threadIdx.x % lanes, n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const bool real = n < N;
    const typename Spec::Scalar* row = x + int64(real ? n : 0) * C;

    Number greatest = Limits<Number>::lowest();
    for (int c = lane; c < C; c += lanes) greatest = max_with_nan(greatest, Number(widen(row[c])));
    greatest = all_max<lanes>(greatest);
    Number sum = 0;
    for (int c = lane; c < C; c += lanes) sum += exp(Number(widen(row[c])) - greatest);
    sum = all_sum<lanes>(sum);

    if (real && lane == 0) {
        const int64 wanted = target[n];
        const bool inside = wanted >= 0 && wanted < C;
        if (!inside) report_fault(fault, n, wanted);
        const Number log_sum = greatest + log(sum);
        log_sums[n] = log_sum;
        losses[n] = inside ? log_sum - Number(widen(row[wanted])) : Number(0);
    }

    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(finished, 1) == gridDim.x - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    Number total = 0;
    for (int i = threadIdx.x; i < N; i += 256) total += *static_cast<volatile Number*>(losses + i);
    total = all_sum<256>(total);
    if (threadIdx.x == 0) {
        *loss = narrow<typename Spec::Scalar>(total / Number(N));
        *finished = 0;
    }
}

// dx[n, c] = (exp(x[n, c] - log_sums[n]) - (c == target[n])) * dy / N; zero for a class out of range
template <class Spec>
__global__ void __launch_bounds__(256)
cross_entropy_dx(const typename Spec::Scalar* __restrict__ dy, const typename Spec::Scalar* __restrict__ x,
                 const typename Spec::Target* __restrict__ target,
                 const Wide<typename Spec::Scalar>* __restrict__ log_sums,
                 typename Spec::Scalar* __restrict__ dx, int N, int C) {
    using Number = Wide<typename Spec::Scalar>;
    constexpr int lanes = Spec::lanes;
    const int lane = threadIdx.x % lanes, n = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    if (n >= N) return;
    const Number scale = Number(widen(*dy)) / Number(N), log_sum = log_sums[n];
    const int64 wanted = target[n], base = int64(n) * C;
    const bool inside = wanted >= 0 && wanted < C;
    for (int c = lane; c < C; c += lanes) {
        const Number probability = exp(Number(widen(x[base + c])) - log_sum);
        const Number slope = inside ? (probability - Number(c == wanted)) * scale : Number(0);
        dx[base + c] = narrow<typename Spec::Scalar>(slope);
    }
}
