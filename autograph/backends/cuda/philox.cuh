// Philox 4x32-10 (Salmon et al., 2011): four random words from a counter and a key.
#pragma once
#include "scalar.cuh"

struct Words4 { uint32 a, b, c, d; };

__device__ inline Words4 philox(Words4 counter, uint32 key0, uint32 key1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32 high0 = __umulhi(0xD2511F53u, counter.a), low0 = 0xD2511F53u * counter.a;
        const uint32 high1 = __umulhi(0xCD9E8D57u, counter.c), low1 = 0xCD9E8D57u * counter.c;
        counter = {high1 ^ counter.b ^ key0, low1, high0 ^ counter.d ^ key1, low0};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// A float in [0, 1) from the upper 24 bits of a word.
__device__ inline float unit_float(uint32 word) { return (word >> 8) * (1.0f / 16777216.0f); }
