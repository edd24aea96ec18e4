// CUDA on the host: what kernels use of it. The threads of a block are fibers that take turns where
// they wait for each other; blocks run one after the other.
#include <math.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __global__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __restrict__
#define __shared__ static
#define __CUDA_ARCH__ 900

struct Index { unsigned x = 0, y = 0, z = 0; };
static Index threadIdx, blockIdx, gridDim, blockDim;
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(b) < T(a) || T(a) != T(a) ? T(b) : T(a);
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) || T(a) != T(a) ? T(b) : T(a);
}

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
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline unsigned short rounded_to_bf16(float x) {
    const unsigned all = bits<unsigned>(x);
    return x != x ? 0x7fff : (all + 0x7fff + (all >> 16 & 1)) >> 16;
}
static inline float from_f16(unsigned short x) {
    const unsigned sign = unsigned(x >> 15) << 31, rest = x & 0x7fff;
    if (rest >= 0x7c00) return bits<float>(sign | 0x7f800000u | (rest & 0x3ff) << 13);
    return bits<float>(bits<unsigned>(ldexpf(bits<float>(rest << 13), 112)) | sign);
}
static inline unsigned short rounded_to_f16(float x) {
    const unsigned sign = bits<unsigned>(x) >> 31 << 15;
    if (x != x) return 0x7fff;
    const float size = fabsf(x);
    if (size >= 65520) return sign | 0x7c00;
    if (size < 0x1p-14f) return sign | unsigned(nearbyintf(ldexpf(size, 24)));
    const unsigned all = bits<unsigned>(size) - (112u << 23);
    return sign | (all + 0xfff + (all >> 13 & 1)) >> 13;
}
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float __expf(float x) { return expf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline void __threadfence() {}
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T, class V> static inline T atomicAdd(T* p, V v) { T old = *p; *p += v; return old; }
template <class T, class V> static inline T atomicExch(T* p, V v) { T old = *p; *p = v; return old; }
template <class T, class V> static inline T atomicMin(T* p, V v) {
    T old = *p;
    if (T(v) < old) *p = v;
    return old;
}

// -- threads that take turns ---------------------------------------------------------------

static std::vector<ucontext_t> fibers;
static ucontext_t scheduler;
static std::vector<char> is_done;
static int running;
static long progress;  // barriers passed and threads ended: none of a whole round is a deadlock
static inline void give_turn() {
    const int self = running;
    swapcontext(&fibers[self], &scheduler);
    running = threadIdx.x = self;
}
struct Barrier {
    int size = 32, arrived = 0;
    long turn = 0;
    void pass() {
        if (arrived && arrived >= size) arrived = 0, turn++, progress++;
    }
    void wait() {
        const long mine = turn;
        arrived++;
        pass();
        while (turn == mine) give_turn();
    }
    void leave() { size--, pass(); }  // who has ended keeps nobody waiting
};
static Barrier of_block, of_warps[32];
static inline void __syncthreads() { of_block.wait(); }
static double exchanged[32][32];
template <class T> static inline T of_lane(T v, int lane) {
    const int warp = threadIdx.x / 32;
    memcpy(&exchanged[warp][threadIdx.x % 32], &v, sizeof v);
    of_warps[warp].wait();
    T found;
    memcpy(&found, &exchanged[warp][lane & 31], sizeof found);
    of_warps[warp].wait();
    return found;
}
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int distance) {
    return of_lane(v, threadIdx.x % 32 ^ distance);
}
static inline unsigned __ballot_sync(unsigned, int predicate) {
    const int warp = threadIdx.x / 32;
    static char votes[32][32];
    votes[warp][threadIdx.x % 32] = predicate != 0;
    of_warps[warp].wait();
    unsigned found = 0;
    for (int i = 0; i < 32; i++) found |= unsigned(votes[warp][i]) << i;
    of_warps[warp].wait();
    return found;
}

// A product of a warp, (16, 16) times (16, 8): every lane reads what those of its rows and columns have.
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
static void run_block(int threads, bool reverse) {
    for (int left = threads; left;) {
        const long before = progress;
        for (int k = 0; k < threads; k++) {
            const int i = reverse ? threads - 1 - k : k;
            if (is_done[i]) continue;
            running = threadIdx.x = i;
            swapcontext(&scheduler, &fibers[i]);
            if (is_done[i]) left--, progress++, of_block.leave(), of_warps[i / 32].leave();
        }
        if (progress == before) fprintf(stderr, "threads wait for each other forever\n"), abort();
    }
}
// Runs all blocks, the threads of each in this order or the reverse; shared memory starts as NaNs.
static void run_grid(const int* grid, int threads, int shared, bool reverse, void (*body)()) {
    constexpr size_t room = 1 << 16;
    std::vector<unsigned char> memory(shared + 128);
    std::vector<char> stacks(room * threads);
    shared_memory = (unsigned char*)((uintptr_t(memory.data()) + 127) / 128 * 128);
    fibers.resize(threads);
    blockDim = {unsigned(threads), 1, 1};
    gridDim = {unsigned(grid[0]), unsigned(grid[1]), unsigned(grid[2])};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) {
                memset(shared_memory, 0xff, shared);
                is_done.assign(threads, 0);
                of_block = Barrier();
                of_block.size = threads;
                for (int w = 0; w < 32; w++) {
                    of_warps[w] = Barrier();
                    of_warps[w].size = min(32, max(0, threads - 32 * w));
                }
                for (int i = 0; i < threads; i++) {
                    getcontext(&fibers[i]);
                    fibers[i].uc_stack.ss_sp = &stacks[room * i];
                    fibers[i].uc_stack.ss_size = room;
                    fibers[i].uc_link = &scheduler;
                    makecontext(&fibers[i], body, 0);
                }
                run_block(threads, reverse);
            }
}

template <class... A, size_t... at>
static void call_with(void (*kernel)(A...), void** words, std::index_sequence<at...>) {
    kernel(*(std::remove_cv_t<std::remove_reference_t<A>>*)words[at]...);
}
template <class... A> static void call_kernel(void (*kernel)(A...), void** words) {
    call_with(kernel, words, std::index_sequence_for<A...>());
}
