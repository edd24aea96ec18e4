// A device's word for what went wrong: the first index out of range, with where it stood.
#pragma once
#include "scalar.cuh"

// The least position wins, so that every run reports the same one. Values beyond int32 are cut.
__device__ inline void report_fault(uint64* fault, int64 position, int64 value) {
    const int64 low = -2147483647 - 1, high = 2147483647;
    const int32 cut = int32(value < low ? low : value > high ? high : value);
    atomicMin(fault, uint64(min(position, high)) << 32 | uint32(cut));
}
