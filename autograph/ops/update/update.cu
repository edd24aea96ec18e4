// Optimizer steps: one launch moves up to a few dozen parameters, each over its own flat array.
//
// Spec holds Scalar (of the parameters), Gradient, State (of what is remembered, and what is
// computed in), `count` (parameters), `states` (arrays remembered of each), `pack` (numbers a
// thread), has_master, and the settings of update.cuh.
// With a master, w is a rounded copy of it: `master` is what moves.
#include "update.cuh"

template <class Spec> struct Moved {
    typename Spec::Scalar* w;
    const typename Spec::Gradient* dw;
    int64* step;
    typename Spec::State* state[Spec::states];
    typename Spec::State* master;
};

// What a launch is given, as one argument of words of 8 bytes.
template <class Spec> struct Table {
    const double* rate;
    uint32* finished;
    double* paces;  // of Adam: two of each parameter
    double numbers[4];  // settings
    int64 size[Spec::count], first[Spec::count];  // numbers of a parameter, and its first block
    Moved<Spec> moved[Spec::count];
};

// The parameter that this block works on.
template <class Spec> __device__ int parameter_of(const Table<Spec>& table) {
    int found = 0;
#pragma unroll
    for (int i = 1; i < Spec::count; i++) found += blockIdx.x >= table.first[i];
    return found;
}

// What a thread moves, asked for before anything is waited for.
template <class Spec> struct Held {
    static constexpr int pack = Spec::pack;
    using Scalar = typename Spec::Scalar;
    using State = typename Spec::State;
    Pack<typename Spec::Gradient, pack> slopes;
    Pack<Scalar, pack> rounded;
    Pack<State, pack> values, remembered[Spec::states];
    const Moved<Spec>& here;
    const int64 at;
    const int left;  // how much of a pack there is

    __device__ Held(const Table<Spec>& table, int i)
        : here(table.moved[i]), at(((blockIdx.x - table.first[i]) * blockDim.x + threadIdx.x) * pack),
          left(int(min(int64(pack), table.size[i] - at))) {
        if (left <= 0) return;
        slopes = load_part<pack>(here.dw + at, left);
        if (Spec::has_master) values = load_part<pack>(here.master + at, left);
        else rounded = load_part<pack>(here.w + at, left);
#pragma unroll
        for (int j = 0; j < Spec::states; j++)
            if (here.state[j]) remembered[j] = load_part<pack>(here.state[j] + at, left);
    }

    // step(w, dw, k, remembered) for every number, k its place in the packs that are remembered
    template <class Step> __device__ void move(Step step) {
        if (left <= 0) return;
#pragma unroll
        for (int k = 0; k < pack; k++) {
            if (!Spec::has_master) values[k] = State(widen(rounded[k]));
            step(values[k], State(widen(slopes[k])), k, remembered);
            rounded[k] = narrow<Scalar>(values[k]);
        }
        if (Spec::has_master) store_part<pack>(here.master + at, values, left);
        store_part<pack>(here.w + at, rounded, left);
#pragma unroll
        for (int j = 0; j < Spec::states; j++)
            if (here.state[j]) store_part<pack>(here.state[j] + at, remembered[j], left);
    }
};

// The last block to finish counts the steps: by then every block has read its count.
template <class Spec> __device__ void count_steps(const Table<Spec>& table) {
    if (is_last_block(table.finished) && threadIdx.x < Spec::count)
        *table.moved[threadIdx.x].step += 1;
}

// The numbers are momentum, dampening and decay; velocity is remembered.
template <class Spec>
__global__ void __launch_bounds__(256) sgd_update(const __grid_constant__ Table<Spec> table) {
    using State = typename Spec::State;
    const int i = parameter_of(table);
    Held<Spec> held(table, i);
    const double share = *table.moved[i].step == 0 ? 1 : 1 - table.numbers[1];
    const Sgd<Spec, State> sgd = {State(*table.rate), State(table.numbers[0]), State(share),
                                  State(table.numbers[2])};
    held.move([&](State& w, State dw, int k, auto* remembered) {
        sgd.step(w, dw, remembered[0][k]);
    });
    count_steps(table);
}

// Counts the steps, and works out of each parameter what its count decides: rate / (1 - beta1^t) and
// sqrt(1 - beta2^t), a warp each. One block.
template <class Spec>
__global__ void __launch_bounds__(64) adam_paces(const __grid_constant__ Table<Spec> table) {
    const int i = threadIdx.x % 32;
    int64 count = 0;
    if (i < Spec::count) {
        count = *table.moved[i].step + 1;
        const double left = 1 - pow(table.numbers[threadIdx.x / 32], double(count));
        table.paces[2 * i + threadIdx.x / 32] = threadIdx.x < 32 ? *table.rate / left : sqrt(left);
    }
    __syncthreads();  // both have read it
    if (threadIdx.x < Spec::count) *table.moved[i].step = count;
}

// The numbers are beta1, beta2, epsilon and decay; moment1, moment2 and largest are remembered.
template <class Spec>
__global__ void __launch_bounds__(256) adam_update(const __grid_constant__ Table<Spec> table) {
    using State = typename Spec::State;
    const int i = parameter_of(table);
    Held<Spec> held(table, i);
    const double beta1 = table.numbers[0], beta2 = table.numbers[1], decay = table.numbers[3];
    const Adam<Spec, State> adam = {
        State(1 - beta1), State(beta2), State(1 - beta2), State(table.numbers[2]), State(decay),
        State(1 - *table.rate * decay), State(table.paces[2 * i]), State(table.paces[2 * i + 1])};
    held.move([&](State& w, State dw, int k, auto* remembered) {
        adam.step(w, dw, remembered[0][k], remembered[1][k], remembered[2][k]);
    });
}

// rate = table[count], its last entry from then on; count = count + 1
template <class Spec>
__global__ void tick(double* rate, int64* count, const double* table, int64 size) {
    *rate = table[min(*count, size - 1)];
    *count += 1;
}

// Of a product that is added to w: its factor, and that of w. The step is counted.
template <class Spec>
__global__ void sgd_factors(const double* rate, int64* step, float* factors) {
    factors[0] = float(Spec::maximizes ? *rate : -*rate);
    factors[1] = 1;
    *step += 1;
}

// scaled = rate * x, downhill, where the product of that is added as it is. The step is counted.
template <class Spec>
__global__ void __launch_bounds__(256)
sgd_scaled(const typename Spec::Scalar* __restrict__ x, const double* rate, int64* step,
           typename Spec::Scalar* __restrict__ scaled, int64 size) {
    constexpr int pack = Spec::pack;
    const int64 at = (int64(blockIdx.x) * 256 + threadIdx.x) * pack;
    using T = Wide<typename Spec::Scalar>;
    const T factor = T(Spec::maximizes ? *rate : -*rate);
    if (at == 0) *step += 1;
    if (at >= size) return;
    auto values = load_pack<pack>(x + at);
#pragma unroll
    for (int k = 0; k < pack; k++)
        values[k] = narrow<typename Spec::Scalar>(factor * T(widen(values[k])));
    store_pack<pack>(scaled + at, values);
}
