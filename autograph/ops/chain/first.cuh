// All templates of the first kernel of a chain, in which Scalar, S and NT are defined.
#include "convolution_back.cuh"
#include "dense.cuh"
#include "loss.cuh"
#include "pooling.cuh"
