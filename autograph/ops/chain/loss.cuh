// The head of a chain that is trained: softmax cross entropy, a warp a sample.
#pragma once
#include "fault.cuh"
#include "parts.cuh"

// losses[n] = -log(softmax(z)[target]), and the gradient of scale times their sum. A class that
// is not there is written down in `fault`, and counts as a loss of zero.
template <int O, int sample, class Target, class F>
TEMPLATE void cross_entropy(const float* scores, const Target* target, float* losses, float scale,
                            uint64* fault, int n0, int N, F put) {
    const int lane = threadIdx.x % 32;
    for (int s = threadIdx.x / 32; s < S; s += WARPS) {
        const float* z = scores + s * sample;
        const bool real = n0 + s < N;
        const int64 wanted = real ? int64(target[n0 + s]) : 0;
        const bool inside = wanted >= 0 && wanted < O;
        float largest = Limits<float>::lowest(), sum = 0;
        for (int i = lane; i < O; i += 32) largest = max_with_nan(largest, z[i]);
        largest = merge_in_warp(largest, [](float a, float b) { return max_with_nan(a, b); });
        for (int i = lane; i < O; i += 32) sum += expf(z[i] - largest);
        sum = merge_in_warp(sum, [](float a, float b) { return a + b; });
        for (int i = lane; i < O; i += 32) {
            const float p = expf(z[i] - largest) / sum;
            put(s, i, real && inside ? (p - float(i == wanted)) * scale : 0.f);
        }
        if (!real || lane != 0) continue;
        if (!inside) report_fault(fault, n0 + s, wanted);
        losses[n0 + s] = inside ? logf(sum) - (z[wanted] - largest) : 0.f;
    }
}
