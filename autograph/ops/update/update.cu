// Optimizer steps over flat arrays: of one parameter, or of an arena of all of them.
//
// Spec holds Scalar (of the parameter), Gradient, State (of what is remembered, and what is
// computed in), `pack` (numbers a thread), has_master, and the settings of update.cuh.
// With a master, w is a rounded copy of it: `master` is what moves.
#include "update.cuh"

// One thread's pack of w, moved by step(at, values, slopes).
template <class Spec, class Step>
__device__ void update_pack(typename Spec::Scalar* w, typename Spec::State* master,
                            const typename Spec::Gradient* dw, int64 size, Step step) {
    constexpr int pack = Spec::pack;
    using State = typename Spec::State;
    const int64 at = (int64(blockIdx.x) * blockDim.x + threadIdx.x) * pack;
    if (at >= size) return;
    const auto slopes = load_pack<pack>(dw + at);
    Pack<State, pack> values;
    Pack<typename Spec::Scalar, pack> rounded;
    if (Spec::has_master) {
        values = load_pack<pack>(master + at);
    } else {
        rounded = load_pack<pack>(w + at);
#pragma unroll
        for (int i = 0; i < pack; i++) values[i] = State(widen(rounded[i]));
    }
    step(at, values, slopes);
#pragma unroll
    for (int i = 0; i < pack; i++) rounded[i] = narrow<typename Spec::Scalar>(values[i]);
    if (Spec::has_master) store_pack<pack>(master + at, values);
    store_pack<pack>(w + at, rounded);
}

// The last block to finish counts the step: by then every block has read the count.
__device__ inline void count_step(int64* step, uint32* finished) {
    __syncthreads();
    if (threadIdx.x != 0) return;
    __threadfence();
    if (atomicAdd(finished, 1u) == gridDim.x - 1) {
        *finished = 0;
        *step += 1;
    }
}

template <class Spec>
__global__ void __launch_bounds__(256)
sgd_update(typename Spec::Scalar* w, const typename Spec::Gradient* dw, int64* step,
           const double* rate, typename Spec::State* velocity, typename Spec::State* master,
           double momentum, double dampening, double decay, uint32* finished, int64 size) {
    using State = typename Spec::State;
    const double share = *step == 0 ? 1 : 1 - dampening;
    const Sgd<Spec, State> sgd = {State(*rate), State(momentum), State(share), State(decay)};
    update_pack<Spec>(w, master, dw, size, [&](int64 at, auto& values, const auto& slopes) {
        Pack<State, Spec::pack> remembered;
        if (Spec::has_momentum) remembered = load_pack<Spec::pack>(velocity + at);
#pragma unroll
        for (int i = 0; i < Spec::pack; i++)
            sgd.step(values[i], State(widen(slopes[i])), remembered[i]);
        if (Spec::has_momentum) store_pack<Spec::pack>(velocity + at, remembered);
    });
    count_step(step, finished);
}

template <class Spec>
__global__ void __launch_bounds__(256)
adam_update(typename Spec::Scalar* w, const typename Spec::Gradient* dw, int64* step,
            const double* rate, typename Spec::State* moment1, typename Spec::State* moment2,
            typename Spec::State* largest, typename Spec::State* master, double beta1, double beta2,
            double epsilon, double decay, uint32* finished, int64 size) {
    using State = typename Spec::State;
    __shared__ double pace, root;  // two powers in double: once a block
    if (threadIdx.x == 0) {
        const double count = double(*step + 1);
        pace = *rate / (1 - pow(beta1, count));
        root = sqrt(1 - pow(beta2, count));
    }
    __syncthreads();
    const Adam<Spec, State> adam = {State(1 - beta1), State(beta2), State(1 - beta2),
                                    State(epsilon),   State(decay), State(1 - *rate * decay),
                                    State(pace),      State(root)};
    update_pack<Spec>(w, master, dw, size, [&](int64 at, auto& values, const auto& slopes) {
        constexpr int pack = Spec::pack;
        auto first = load_pack<pack>(moment1 + at), second = load_pack<pack>(moment2 + at);
        Pack<State, pack> top;
        if (Spec::has_largest) top = load_pack<pack>(largest + at);
#pragma unroll
        for (int i = 0; i < pack; i++)
            adam.step(values[i], State(widen(slopes[i])), first[i], second[i], top[i]);
        store_pack<pack>(moment1 + at, first);
        store_pack<pack>(moment2 + at, second);
        if (Spec::has_largest) store_pack<pack>(largest + at, top);
    });
    count_step(step, finished);
}

// rate = table[count], its last entry from then on; count = count + 1
template <class Spec>
__global__ void tick(double* rate, int64* count, const double* table, int64 size) {
    *rate = table[min(*count, size - 1)];
    *count += 1;
}
