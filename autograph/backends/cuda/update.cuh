// How optimizers move one number. Whole steps and single updates share these lines, and every
// operation is rounded where it is written: the bits do not depend on which of them ran.
#pragma once
#include "scalar.cuh"

// velocity = momentum * velocity + (1 - dampening) * dw;  w = w - rate * velocity
// Spec holds has_momentum, nesterov and has_decay.
template <class Spec, class Number> struct Sgd {
    Number momentum, damped, decay;  // damped = 1 - dampening

    __device__ void step(Number& w, Number dw, Number& velocity, Number rate) const {
        if (Spec::has_decay) dw = multiply_add(decay, w, dw);
        if (Spec::has_momentum) {
            velocity = multiply_add(momentum, velocity, multiply(damped, dw));
            dw = Spec::nesterov ? multiply_add(momentum, velocity, dw) : velocity;
        }
        w = multiply_add(-rate, dw, w);
    }
};

// mean = beta1 * mean + (1 - beta1) * dw;  square = beta2 * square + (1 - beta2) * dw * dw
// w = w - rate / (1 - beta1^t) * mean / (sqrt(square / (1 - beta2^t)) + eps)
// Spec holds has_decay, and `decoupled`: decay acts on w (AdamW), not on dw.
template <class Spec, class Number> struct Adam {
    Number fresh1, beta2, fresh2, eps, decay;  // fresh = 1 - beta
    Number pace, root;  // rate / (1 - beta1^t) and sqrt(1 - beta2^t)

    __device__ void step(Number& w, Number dw, Number& mean, Number& square, Number rate) const {
        if (Spec::has_decay && Spec::decoupled) w = multiply(w, multiply_add(-rate, decay, Number(1)));
        if (Spec::has_decay && !Spec::decoupled) dw = multiply_add(decay, w, dw);
        mean = multiply_add(dw - mean, fresh1, mean);
        square = multiply_add(multiply(fresh2, dw), dw, multiply(beta2, square));
        const Number size = sqrt(square) / root + eps;
        w = multiply_add(-pace, mean / size, w);
    }
};
