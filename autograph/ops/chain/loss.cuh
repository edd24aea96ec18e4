// The head of a chain that is trained: softmax cross entropy, a warp a sample.
#pragma once
#include "fault.cuh"
#include "parts.cuh"

// losses[n] = -log(softmax(z)[target]), and the gradient of scale times their sum. A class that
// is not there is written down in `fault`, and counts as a loss of zero.
template <int O, int sample, class T, class F>
TEMPLATE void cross_entropy(const float* scores, const T* target, float* losses, float scale,
                            uint64* fault, int n0, int N, F put) {
    constexpr int each = ceil_div(O, 32);
    const int lane = threadIdx.x % 32;
    for (int s = threadIdx.x / 32; s < S; s += WARPS) {
        const float* z = scores + s * sample;
        const bool real = n0 + s < N;
        const int64 wanted = real ? int64(target[s]) : 0;
        const bool inside = wanted >= 0 && wanted < O;
        float power[each], largest = Limits<float>::lowest(), sum = 0;
        for (int i = lane; i < O; i += 32) largest = max_with_nan(largest, z[i]);
        largest = merge_in_warp(largest, [](float a, float b) { return max_with_nan(a, b); });
        UNROLL for (int k = 0; k < each; k++) {
            const int i = lane + 32 * k;
            power[k] = i < O ? expf(z[i] - largest) : 0.f;
            sum += power[k];
        }
        sum = merge_in_warp(sum, [](float a, float b) { return a + b; });
        UNROLL for (int k = 0; k < each; k++) {
            const int i = lane + 32 * k;
            const float slope = (power[k] / sum - float(i == wanted)) * scale;
            if (i < O) put(s, i, real && inside ? slope : 0.f);
        }
        if (!real || lane != 0) continue;
        if (!inside) report_fault(fault, n0 + s, wanted);
        losses[n0 + s] = inside ? logf(sum) - (z[wanted] - largest) : 0.f;
    }
}
