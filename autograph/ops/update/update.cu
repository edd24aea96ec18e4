// Optimizer steps over flat arrays: of one parameter, or of an arena of all of them.
//
// Spec holds Scalar (of the parameter), Gradient, State (of what is remembered, and what is
// computed in), Rate, `pack` (numbers a thread), has_master and the settings of update.cuh.
// With a master, w is a rounded copy of it: `master` is what moves.
#include "update.cuh"

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
    if (Spec::has_master) values = load_pack<pack>(master + at);
    else rounded = load_pack<pack>(w + at);
#pragma unroll
    for (int i = 0; i < pack; i++) {
        if (!Spec::has_master) values[i] = State(widen(rounded[i]));
    }
    step(at, values, slopes);
#pragma unroll
    for (int i = 0; i < pack; i++) rounded[i] = narrow<typename Spec::Scalar>(values[i]);
    if (Spec::has_master) store_pack<pack>(master + at, values);
    store_pack<pack>(w + at, rounded);
}

template <class Spec>
__global__ void __launch_bounds__(256)
sgd_update(typename Spec::Scalar* w, typename Spec::State* master, const typename Spec::Gradient* dw,
           typename Spec::State* velocity, const typename Spec::Rate* learning_rate,
           double momentum, double dampening, double decay, int64 size) {
    using State = typename Spec::State;
    const Sgd<Spec, State> sgd = {State(momentum), State(1 - dampening), State(decay)};
    const State rate = State(*learning_rate);
    update_pack<Spec>(w, master, dw, size, [&](int64 at, auto& values, const auto& slopes) {
        Pack<State, Spec::pack> remembered;
        if (Spec::has_momentum) remembered = load_pack<Spec::pack>(velocity + at);
#pragma unroll
        for (int i = 0; i < Spec::pack; i++)
            sgd.step(values[i], State(widen(slopes[i])), remembered[i], rate);
        if (Spec::has_momentum) store_pack<Spec::pack>(velocity + at, remembered);
    });
}

// `count` holds the number of this step, the first being 1.
template <class Spec>
__global__ void __launch_bounds__(256)
adam_update(typename Spec::Scalar* w, typename Spec::State* master, const typename Spec::Gradient* dw,
            typename Spec::State* mean, typename Spec::State* square,
            const typename Spec::Rate* learning_rate, const typename Spec::Count* count,
            double beta1, double beta2, double eps, double decay, int64 size) {
    using State = typename Spec::State;
    __shared__ double pace, root;  // two powers in double: once a block
    if (threadIdx.x == 0) {
        pace = double(*learning_rate) / (1 - pow(beta1, double(*count)));
        root = sqrt(1 - pow(beta2, double(*count)));
    }
    __syncthreads();
    const Adam<Spec, State> adam = {State(1 - beta1), State(beta2), State(1 - beta2), State(eps),
                                    State(decay),     State(pace),  State(root)};
    const State rate = State(*learning_rate);
    update_pack<Spec>(w, master, dw, size, [&](int64 at, auto& values, const auto& slopes) {
        auto means = load_pack<Spec::pack>(mean + at), squares = load_pack<Spec::pack>(square + at);
#pragma unroll
        for (int i = 0; i < Spec::pack; i++)
            adam.step(values[i], State(widen(slopes[i])), means[i], squares[i], rate);
        store_pack<Spec::pack>(mean + at, means);
        store_pack<Spec::pack>(square + at, squares);
    });
}
