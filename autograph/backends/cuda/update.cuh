// How optimizers move one number. Whole steps and single updates share these lines, and every
// operation is rounded where it is written: the bits do not depend on which of them ran.
#pragma once
#include "scalar.cuh"

// velocity = momentum * velocity + (1 - dampening) * dw, at first dw;  w = w - rate * velocity
// Spec holds has_momentum, nesterov, has_decay and maximizes.
template <class Spec, class Number> struct Sgd {
    Number rate, momentum, share, decay;  // share = 1 - dampening, in the first step 1

    __device__ void step(Number& w, Number dw, Number& velocity) const {
        if (Spec::maximizes) dw = -dw;
        if (Spec::has_decay) dw = multiply_add(decay, w, dw);
        if (Spec::has_momentum) {
            velocity = multiply_add(momentum, velocity, multiply(share, dw));
            dw = Spec::nesterov ? multiply_add(momentum, velocity, dw) : velocity;
        }
        w = multiply_add(-rate, dw, w);
    }
};

// moment1 = beta1 * moment1 + (1 - beta1) * dw;  moment2 = beta2 * moment2 + (1 - beta2) * dw * dw
// w = w - rate / (1 - beta1^t) * moment1 / (sqrt(moment2 / (1 - beta2^t)) + epsilon)
// Spec holds has_decay, decoupled (decay acts on w, as in AdamW, not on dw), has_largest (the
// largest moment2 so far is divided by) and maximizes.
template <class Spec, class Number> struct Adam {
    Number fresh1, beta2, fresh2, epsilon, decay;  // fresh = 1 - beta
    Number kept, pace, root;  // 1 - rate * decay, rate / (1 - beta1^t), sqrt(1 - beta2^t)

    __device__ void step(Number& w, Number dw, Number& moment1, Number& moment2,
                         Number& largest) const {
        if (Spec::maximizes) dw = -dw;
        if (Spec::has_decay && Spec::decoupled) w = multiply(w, kept);
        if (Spec::has_decay && !Spec::decoupled) dw = multiply_add(decay, w, dw);
        moment1 = multiply_add(dw - moment1, fresh1, moment1);
        moment2 = multiply_add(multiply(fresh2, dw), dw, multiply(beta2, moment2));
        if (Spec::has_largest) largest = largest > moment2 || is_nan(largest) ? largest : moment2;
        const Number size = sqrt(Spec::has_largest ? largest : moment2) / root + epsilon;
        w = multiply_add(-pace, moment1 / size, w);
    }
};

// Whether this is the last block of a launch to come here, with all of its threads: what the others
// have read may be written then. `finished` is zero between launches.
__device__ inline bool is_last_block(uint32* finished) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(finished, 1u) == gridDim.x - 1;
        if (last) *finished = 0;
    }
    __syncthreads();
    return last;
}
