// Random words: y[4 i .. 4 i + 3] = philox(counter = (i + first, stream), key).
#include "philox.cuh"

// `first` and `stream` are two 64-bit halves of the counter, read from the device: replays move on.
template <class Spec>
__global__ void __launch_bounds__(256)
random_words(uint32* __restrict__ y, uint64 key, const uint64* __restrict__ first_and_stream, int64 size) {
    const int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i * 4 >= size) return;
    const uint64 first = first_and_stream[0] + i, stream = first_and_stream[1];
    const Words4 words = philox({uint32(first), uint32(first >> 32), uint32(stream), uint32(stream >> 32)},
                                uint32(key), uint32(key >> 32));
    const uint32 values[4] = {words.a, words.b, words.c, words.d};
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (i * 4 + j < size) y[i * 4 + j] = values[j];
}
