// Optimizer steps: one launch moves up to a few dozen parameters, each over its own flat array.
//
// Spec holds Scalar (of the parameters), Gradient, State (of what is remembered, and what is
// computed in), `count` (parameters), `states` (arrays remembered of each), `pack` (numbers a
// thread) and `turns` (packs of a thread), has_master, and the settings of update.cuh.
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

// One pack of w, moved by step(values, slopes, remembered).
template <class Spec, class Step>
__device__ void update_pack(const Table<Spec>& table, int i, int64 at, Step step) {
    constexpr int pack = Spec::pack;
    using State = typename Spec::State;
    const Moved<Spec>& here = table.moved[i];
    if (at >= table.size[i]) return;
    const int left = int(min(int64(pack), table.size[i] - at));
    const auto slopes = load_part<pack>(here.dw + at, left);
    Pack<State, pack> values, remembered[Spec::states];
    Pack<typename Spec::Scalar, pack> rounded;
    if (Spec::has_master) {
        values = load_part<pack>(here.master + at, left);
    } else {
        rounded = load_part<pack>(here.w + at, left);
#pragma unroll
        for (int k = 0; k < pack; k++) values[k] = State(widen(rounded[k]));
    }
#pragma unroll
    for (int j = 0; j < Spec::states; j++)
        if (here.state[j]) remembered[j] = load_part<pack>(here.state[j] + at, left);
    step(values, slopes, remembered);
#pragma unroll
    for (int k = 0; k < pack; k++) rounded[k] = narrow<typename Spec::Scalar>(values[k]);
    if (Spec::has_master) store_part<pack>(here.master + at, values, left);
    store_part<pack>(here.w + at, rounded, left);
#pragma unroll
    for (int j = 0; j < Spec::states; j++)
        if (here.state[j]) store_part<pack>(here.state[j] + at, remembered[j], left);
}

// One thread's packs of w, each moved by step(values, slopes, remembered).
template <class Spec, class Step>
__device__ void update_packs(const Table<Spec>& table, int i, Step step) {
    const int64 first = (blockIdx.x - table.first[i]) * Spec::turns * blockDim.x + threadIdx.x;
#pragma unroll
    for (int turn = 0; turn < Spec::turns; turn++)
        update_pack(table, i, (first + turn * blockDim.x) * Spec::pack, step);
}

// Asks for what update_packs will read, so that it is near by then.
template <class Spec> __device__ void prefetch_packs(const Table<Spec>& table, int i) {
    const Moved<Spec>& here = table.moved[i];
    const int64 first = (blockIdx.x - table.first[i]) * Spec::turns * blockDim.x + threadIdx.x;
    auto ask = [](const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); };
#pragma unroll
    for (int turn = 0; turn < Spec::turns; turn++) {
        const int64 at = (first + turn * blockDim.x) * Spec::pack;
        if (at >= table.size[i]) continue;
        ask(here.dw + at);
        if (Spec::has_master) ask(here.master + at);
        else ask(here.w + at);
#pragma unroll
        for (int j = 0; j < Spec::states; j++)
            if (here.state[j]) ask(here.state[j] + at);
    }
}

// The last block to finish counts the steps: by then every block has read its count.
template <class Spec> __device__ void count_steps(const Table<Spec>& table) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(table.finished, 1u) == gridDim.x - 1;
        if (last) *table.finished = 0;
    }
    __syncthreads();
    if (last && threadIdx.x < Spec::count) *table.moved[threadIdx.x].step += 1;
}

// The numbers are momentum, dampening and decay; velocity is remembered.
template <class Spec>
__global__ void __launch_bounds__(256) sgd_update(const __grid_constant__ Table<Spec> table) {
    using State = typename Spec::State;
    const int i = parameter_of(table);
    const double share = *table.moved[i].step == 0 ? 1 : 1 - table.numbers[1];
    const Sgd<Spec, State> sgd = {State(*table.rate), State(table.numbers[0]), State(share),
                                  State(table.numbers[2])};
    update_packs(table, i, [&](auto& values, const auto& slopes, auto* remembered) {
#pragma unroll
        for (int k = 0; k < Spec::pack; k++)
            sgd.step(values[k], State(widen(slopes[k])), remembered[0][k]);
    });
    count_steps(table);
}

// The numbers are beta1, beta2, epsilon and decay; moment1, moment2 and largest are remembered.
template <class Spec>
__global__ void __launch_bounds__(256) adam_update(const __grid_constant__ Table<Spec> table) {
    using State = typename Spec::State;
    __shared__ double pace, root;  // two powers in double: once a block
    const int i = parameter_of(table);
    const double beta1 = table.numbers[0], beta2 = table.numbers[1], decay = table.numbers[3];
    const double count = double(*table.moved[i].step + 1);
    if (threadIdx.x == 0) pace = *table.rate / (1 - pow(beta1, count));
    if (threadIdx.x == 32) root = sqrt(1 - pow(beta2, count));
    prefetch_packs(table, i);
    __syncthreads();
    const Adam<Spec, State> adam = {
        State(1 - beta1), State(beta2), State(1 - beta2), State(table.numbers[2]), State(decay),
        State(1 - *table.rate * decay), State(pace), State(root)};
    update_packs(table, i, [&](auto& values, const auto& slopes, auto* remembered) {
#pragma unroll
        for (int k = 0; k < Spec::pack; k++)
            adam.step(values[k], State(widen(slopes[k])), remembered[0][k], remembered[1][k],
                      remembered[2][k]);
    });
    count_steps(table);
}

// rate = table[count], its last entry from then on; count = count + 1
template <class Spec>
__global__ void tick(double* rate, int64* count, const double* table, int64 size) {
    *rate = table[min(*count, size - 1)];
    *count += 1;
}
