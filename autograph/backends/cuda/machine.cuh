// Machine instructions.
#pragma once
#include "scalar.cuh"

// The larger one; a NaN wins.
__device__ inline float larger(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

// Of two words their lower halves, and their upper ones.
__device__ inline uint32 lower_halves(uint32 a, uint32 b) { return __byte_perm(a, b, 0x5410); }
__device__ inline uint32 upper_halves(uint32 a, uint32 b) { return __byte_perm(a, b, 0x7632); }

// sum += a b, (16, 16) times (16, 8), by a warp on a tensor core. Lane 4 g + t has of a the rows g
// and g + 8 of the inner places 2 t and 2 t + 1, then of those 8 further; of b those places of
// column g; of sum the columns 2 t and 2 t + 1 of row g, then of row g + 8.
__device__ inline void multiply_add(float* sum, uint32 a0, uint32 a1, uint32 a2, uint32 a3,
                                    uint32 b0, uint32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
