// CUDA blocks on the host: the threads of a block are fibers that take turns at barriers.
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __global__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __shared__ static
#define __CUDA_ARCH__ 900

struct Index { int x; };
static Index threadIdx, blockIdx, gridDim;
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline long long min(long long a, long long b) { return a < b ? a : b; }
static inline long long max(long long a, long long b) { return a > b ? a : b; }

template <class To, class From> static inline To bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return bits<float>(x); }
static inline double __longlong_as_double(long long x) { return bits<double>(x); }
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned which) {
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned found = 0;
    for (int i = 0; i < 4; i++) found |= unsigned(both >> (which >> 4 * i & 7) * 8 & 255) << 8 * i;
    return found;
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, int by) {
    return unsigned(((unsigned long long)high << 32 | low) >> by);
}
static inline unsigned short rounded_to_bf16(float x) {
    const unsigned all = bits<unsigned>(x);
    return x != x ? 0x7fc0 : (all + 0x7fff + (all >> 16 & 1)) >> 16;
}
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline void __threadfence() {}
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T> static inline T atomicAdd(T* p, T v) { T old = *p; *p += v; return old; }
template <class T> static inline T atomicMin(T* p, T v) { T old = *p; if (v < old) *p = v; return old; }

static std::vector<ucontext_t> fibers;
static ucontext_t scheduler;
static int running;
static inline void give_turn() {
    const int self = running;
    swapcontext(&fibers[self], &scheduler);
    running = threadIdx.x = self;
}
struct Barrier {
    int size = 32, arrived = 0;
    long turn = 0;
    void wait() {
        const long mine = turn;
        if (++arrived == size) { arrived = 0; turn++; }
        while (turn == mine) give_turn();
    }
};
static Barrier of_block, of_warps[32];
static inline void __syncthreads() { of_block.wait(); }
static double exchanged[32][32];
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int distance) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    memcpy(&exchanged[warp][lane], &v, sizeof v);
    of_warps[warp].wait();
    T found;
    memcpy(&found, &exchanged[warp][lane ^ distance], sizeof found);
    of_warps[warp].wait();
    return found;
}

// A product of a warp: every lane reads what the lanes of its rows and columns have.
static unsigned operands[32][32][6];
static inline void multiply_add(float* sum, unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                unsigned b0, unsigned b1) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const unsigned mine[6] = {a0, a1, a2, a3, b0, b1};
    memcpy(operands[warp][threadIdx.x % 32], mine, sizeof mine);
    of_warps[warp].wait();
    auto number = [&](int lane, int word, int half) {
        return bits<float>(operands[warp][lane][word] >> 16 * half << 16);
    };
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++)
            sum[i] += number(4 * g + k % 8 / 2, i / 2 + k / 8 * 2, k % 2) *
                      number(4 * (2 * t + i % 2) + k % 8 / 2, 4 + k / 8, k % 2);
    of_warps[warp].wait();
}

static unsigned char* shared_memory;
static std::vector<char> is_done;
// Runs all blocks, the threads of each in this order or the reverse; shared memory starts as NaNs.
static void run_blocks(int blocks, int threads, int shared, bool reverse, void (*body)()) {
    constexpr size_t room = 1 << 16;
    std::vector<unsigned char> memory(shared + 128);
    std::vector<char> stacks(room * threads);
    shared_memory = (unsigned char*)((uintptr_t(memory.data()) + 127) / 128 * 128);
    fibers.resize(threads);
    of_block.size = threads;
    gridDim.x = blocks;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
        memset(shared_memory, 0xff, shared);
        is_done.assign(threads, 0);
        for (int i = 0; i < threads; i++) {
            getcontext(&fibers[i]);
            fibers[i].uc_stack.ss_sp = &stacks[room * i];
            fibers[i].uc_stack.ss_size = room;
            fibers[i].uc_link = &scheduler;
            makecontext(&fibers[i], body, 0);
        }
        for (int left = threads; left;)
            for (int k = 0; k < threads; k++) {
                const int i = reverse ? threads - 1 - k : k;
                if (is_done[i]) continue;
                running = threadIdx.x = i;
                swapcontext(&scheduler, &fibers[i]);
                left -= is_done[i];
            }
    }
}
