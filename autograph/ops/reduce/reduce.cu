// Reductions: outputs[k] = the sum (mean, product, maximum, ...) over i of x[kept(k) + reduced(i)].
//
// Spec holds Scalar, Number (what is computed in), Result, Reduction, Offset, the two functions,
// `outputs_a_block` (its 256 threads share one output among 256 / outputs_a_block of them),
// `along_depth` (neighbouring threads read along i, else along k), and `finishes`.
// A long sum is cut into shares, whose states a second launch adds in order. No atomics: same bits.
#include "scalar.cuh"

template <class Spec> struct Sum {
    using Number = typename Spec::Number;
    Number value = 0;
    __device__ void add(Number x, int64) { value += x; }
    __device__ void merge(const Sum& other) { value += other.value; }
    __device__ Number finish(int64) const { return value; }
};

template <class Spec> struct Mean : Sum<Spec> {
    __device__ typename Spec::Number finish(int64 count) const {
        return this->value / typename Spec::Number(count);
    }
};

template <class Spec> struct Product {
    using Number = typename Spec::Number;
    Number value = 1;
    __device__ void add(Number x, int64) { value *= x; }
    __device__ void merge(const Product& other) { value *= other.value; }
    __device__ Number finish(int64) const { return value; }
};

template <class Spec> struct Any {
    bool value = false;
    __device__ void add(typename Spec::Number x, int64) { value |= x != 0; }
    __device__ void merge(const Any& other) { value |= other.value; }
    __device__ bool finish(int64) const { return value; }
};

template <class Spec> struct All {
    bool value = true;
    __device__ void add(typename Spec::Number x, int64) { value &= x != 0; }
    __device__ void merge(const All& other) { value &= other.value; }
    __device__ bool finish(int64) const { return value; }
};

// The greatest (or least) with its index: the first of equals; a NaN wins, the first one of them.
template <class Spec, bool greatest> struct Extreme {
    using Number = typename Spec::Number;
    Number value = greatest ? Limits<Number>::lowest() : Limits<Number>::highest();
    int64 index = 0x7fffffffffffffffll;
    __device__ void add(Number x, int64 i) { take(x, i); }
    __device__ void merge(const Extreme& other) { take(other.value, other.index); }
    __device__ void take(Number x, int64 i) {
        const bool better = greatest ? x > value : x < value;
        const bool level = x == value || (is_nan(x) && is_nan(value));
        if (better || (is_nan(x) && !is_nan(value)) || (level && i < index)) {
            value = x;
            index = i;
        }
    }
};
template <class Spec> struct Max : Extreme<Spec, true> {
    __device__ typename Spec::Number finish(int64) const { return this->value; }
};
template <class Spec> struct Min : Extreme<Spec, false> {
    __device__ typename Spec::Number finish(int64) const { return this->value; }
};
template <class Spec> struct ArgMax : Extreme<Spec, true> {
    __device__ int64 finish(int64) const { return this->index; }
};
template <class Spec> struct ArgMin : Extreme<Spec, false> {
    __device__ int64 finish(int64) const { return this->index; }
};

// The states of the threads that share an output, merged in the first of them.
template <class Spec, class State> __device__ void merge_in_block(State& state, int output, int lane) {
    constexpr int outputs = Spec::outputs_a_block, lanes = 256 / outputs;
    alignas(16) __shared__ unsigned char memory[256 * sizeof(State)];
    State* states = reinterpret_cast<State*>(memory);
#pragma unroll
    for (int half = lanes / 2; half > 0; half /= 2) {
        if (lane >= half && lane < 2 * half) states[lane * outputs + output] = state;
        __syncthreads();
        if (lane < half) state.merge(states[(lane + half) * outputs + output]);
    }
}

template <class Spec> struct Place {
    static constexpr int outputs = Spec::outputs_a_block, lanes = 256 / outputs;
    static __device__ int output() { return Spec::along_depth ? threadIdx.x / lanes : threadIdx.x % outputs; }
    static __device__ int lane() { return Spec::along_depth ? threadIdx.x % lanes : threadIdx.x / outputs; }
};

// Blocks: (outputs / outputs_a_block, shares). `y` takes results, or the states of each share.
template <class Spec>
__global__ void __launch_bounds__(256)
reduce(const typename Spec::Scalar* __restrict__ x, void* __restrict__ y,
       typename Spec::Offset outputs, typename Spec::Offset depth, typename Spec::Offset length) {
    using Offset = typename Spec::Offset;
    using State = typename Spec::template Reduction<Spec>;
    const int place = Place<Spec>::output(), lane = Place<Spec>::lane();
    const Offset output = Offset(blockIdx.x) * Spec::outputs_a_block + place;
    const Offset begin = Offset(blockIdx.y) * length, end = min(depth, begin + length);
    State state;
    if (output < outputs) {
        const typename Spec::Scalar* from = x + Spec::kept(output);
#pragma unroll 4
        for (Offset i = begin + lane; i < end; i += Place<Spec>::lanes)
            state.add(typename Spec::Number(widen(from[Spec::reduced(i)])), i);
    }
    merge_in_block<Spec>(state, place, lane);
    if (lane != 0 || output >= outputs) return;
    if (Spec::finishes)
        static_cast<typename Spec::Result*>(y)[output] = narrow<typename Spec::Result>(state.finish(depth));
    else
        static_cast<State*>(y)[Offset(blockIdx.y) * outputs + output] = state;
}

// The shares' states of each output, merged in order.
template <class Spec>
__global__ void __launch_bounds__(256)
reduce_shares(const void* __restrict__ states, typename Spec::Result* __restrict__ y,
              typename Spec::Offset outputs, typename Spec::Offset depth, int shares) {
    using Offset = typename Spec::Offset;
    using State = typename Spec::template Reduction<Spec>;
    const int place = Place<Spec>::output(), lane = Place<Spec>::lane();
    const Offset output = Offset(blockIdx.x) * Spec::outputs_a_block + place;
    State state;
    if (output < outputs)
        for (int i = lane; i < shares; i += Place<Spec>::lanes)
            state.merge(static_cast<const State*>(states)[Offset(i) * outputs + output]);
    merge_in_block<Spec>(state, place, lane);
    if (lane == 0 && output < outputs) y[output] = narrow<typename Spec::Result>(state.finish(depth));
}
