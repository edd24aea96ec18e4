// CUDA on the host: what kernels use of it. The threads of a block are fibers of host_machine.cpp,
// and take turns where they wait for each other; blocks run one after the other.
#include <math.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

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
extern Index threadIdx, blockIdx, gridDim, blockDim;
extern unsigned char* shared_memory;
// Of the machine. `from` and `place` are where in the program they are called.
void wait_for_block();
void exchange(void* value, int size, int distance, const void* from);
unsigned vote(bool value, const void* from);
void multiply_in_warp(float* sum, const unsigned* operands, const void* from);
void touch(const void* p, int bytes), count();  // in whatever order
void copy_async(void* to, const void* from, int bytes, const void* place), copies_wait();
void barrier_init(unsigned long long* barrier, unsigned bytes, const void* place);
void copy_bulk(void* to, const void* from, unsigned bytes, unsigned long long* barrier,
               const void* place);
void barrier_wait(unsigned long long* barrier, const void* place);
#define FROM __builtin_return_address(0)
#define APART __attribute__((noinline, no_sanitize("thread")))  // no access of a kernel's own
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
template <class T> APART static T __ldcg(const T* p) {
    touch(p, sizeof *p);
    return *p;
}
template <class T, class V> APART static T atomicAdd(T* p, V v) {
    touch(p, sizeof *p), count();
    T old = *p;
    *p += v;
    return old;
}
template <class T, class V> APART static T atomicExch(T* p, V v) {
    touch(p, sizeof *p);
    T old = *p;
    *p = v;
    return old;
}
template <class T, class V> APART static T atomicMin(T* p, V v) {
    touch(p, sizeof *p);
    T old = *p;
    if (T(v) < old) *p = v;
    return old;
}

APART static void __syncthreads() { wait_for_block(); }
template <class T> APART static T __shfl_xor_sync(unsigned, T v, int distance) {
    exchange(&v, sizeof v, distance, FROM);
    return v;
}
APART static unsigned __ballot_sync(unsigned, int value) { return vote(value, FROM); }

template <class... A, size_t... at>
APART static void call_with(void (*kernel)(A...), void** words, std::index_sequence<at...>) {
    kernel(*(std::remove_cv_t<std::remove_reference_t<A>>*)words[at]...);
}
template <class... A> static void call_kernel(void (*kernel)(A...), void** words) {
    call_with(kernel, words, std::index_sequence_for<A...>());
}

// Where a library keeps what it writes: shared memory that is declared in kernels.
extern "C" __attribute__((visibility("hidden"))) char _end;
extern "C" void* __dso_handle;
void run_grid(const int* grid, int threads, int shared, unsigned order, void (*kernel)(),
              const void* data, const void* end);
#define RUN_GRID(grid, threads, shared, order, kernel) \
    run_grid(grid, threads, shared, order, kernel, &__dso_handle, &_end)
