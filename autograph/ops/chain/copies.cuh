// Copies from global to shared memory that go on while a block computes.
#pragma once
#include "scalar.cuh"

__device__ inline uint32 shared_address(const void* p) {
    return uint32(__cvta_generic_to_shared(p)); }

// 4, 8 or 16 bytes at a time; they have arrived after copies_wait() and a barrier.
template <int bytes> __device__ inline void copy_async(void* to, const void* from) {
    if constexpr (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                     ::"r"(shared_address(to)), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                     ::"r"(shared_address(to)), "l"(from), "n"(bytes) : "memory");
}
__device__ inline void copies_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#if __CUDA_ARCH__ >= 900
// One thread asks for whole arrays, and all wait for the bytes that a barrier was told of.
constexpr bool has_bulk_copies = true;
__device__ inline void barrier_init(uint64* barrier, uint32 bytes) {
    const uint32 at = shared_address(barrier);
    asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(at));
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;"
                 ::"r"(at), "r"(bytes) : "memory");
}
__device__ inline void copy_bulk(void* to, const void* from, uint32 bytes, uint64* barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
        ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}
__device__ inline void barrier_wait(uint64* barrier) {
    asm volatile(
        "{\n.reg .pred P;\nW%=:\nmbarrier.try_wait.parity.shared.b64 P, [%0], 0;\n"
        "@P bra D%=;\nbra W%=;\nD%=:\n}" ::"r"(shared_address(barrier)) : "memory");
}
#else
constexpr bool has_bulk_copies = false;
__device__ inline void barrier_init(uint64*, uint32) {}
__device__ inline void copy_bulk(void*, const void*, uint32, uint64*) {}
__device__ inline void barrier_wait(uint64*) {}
#endif
