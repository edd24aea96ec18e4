// Scalar types as they are stored, as they are computed with, and how to get from one to the other.
#pragma once

using uint8 = unsigned char;
using uint16 = unsigned short;
using uint32 = unsigned int;
using uint64 = unsigned long long;
using int8 = signed char;
using int16 = short;
using int32 = int;
using int64 = long long;

struct bf16 { uint16 bits; };
struct f16 { uint16 bits; };

// The type that values of T are computed in: float for the 16-bit floats, else T itself.
template <class T> struct Arithmetic { using Type = T; };
template <> struct Arithmetic<bf16> { using Type = float; };
template <> struct Arithmetic<f16> { using Type = float; };
template <class T> using Wide = typename Arithmetic<T>::Type;

template <class T> __device__ inline T widen(T x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(uint32(x.bits) << 16); }
__device__ inline float widen(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

// Rounded to nearest even; a NaN stays one.
template <class T> struct Narrow {
    template <class From> static __device__ T from(From x) { return T(x); }
};
template <> struct Narrow<bf16> {
    template <class From> static __device__ bf16 from(From x) {
        bf16 y;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));
        return y;
    }
};
template <> struct Narrow<f16> {
    template <class From> static __device__ f16 from(From x) {
        f16 y;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(float(x)));
        return y;
    }
};
template <class T, class From> __device__ inline T narrow(From x) { return Narrow<T>::from(x); }

// `count` neighbours, read and written as one access where they fill 16 bytes.
template <class T, int count> struct alignas(sizeof(T) * count) Pack {
    T values[count];
    __device__ T& operator[](int i) { return values[i]; }
    __device__ const T& operator[](int i) const { return values[i]; }
};
template <int count, class T> __device__ inline Pack<T, count> load_pack(const T* from) {
    return *reinterpret_cast<const Pack<T, count>*>(from);
}
template <int count, class T> __device__ inline void store_pack(T* to, const Pack<T, count>& pack) {
    *reinterpret_cast<Pack<T, count>*>(to) = pack;
}
// The same where only the first `left` of them are there.
template <int count, class T> __device__ inline Pack<T, count> load_part(const T* from, int left) {
    if (left == count) return load_pack<count>(from);
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; i++) pack[i] = from[i < left ? i : 0];
    return pack;
}
template <int count, class T>
__device__ inline void store_part(T* to, const Pack<T, count>& pack, int left) {
    if (left == count) return store_pack<count>(to, pack);
#pragma unroll
    for (int i = 0; i < count; i++)
        if (i < left) to[i] = pack[i];
}

template <class T> __device__ inline bool is_nan(T x) { return x != x; }

template <class T> struct Limits;
template <> struct Limits<float> {
    static __device__ float lowest() { return __int_as_float(0xff800000); }
    static __device__ float highest() { return __int_as_float(0x7f800000); }
};
template <> struct Limits<double> {
    static __device__ double lowest() { return __longlong_as_double(0xfff0000000000000ll); }
    static __device__ double highest() { return __longlong_as_double(0x7ff0000000000000ll); }
};
template <class T, T low, T high> struct IntegerLimits {
    static __device__ T lowest() { return low; }
    static __device__ T highest() { return high; }
};
template <> struct Limits<bool> : IntegerLimits<bool, false, true> {};
template <> struct Limits<uint8> : IntegerLimits<uint8, 0, 255> {};
template <> struct Limits<uint16> : IntegerLimits<uint16, 0, 65535> {};
template <> struct Limits<uint32> : IntegerLimits<uint32, 0, 0xffffffffu> {};
template <> struct Limits<uint64> : IntegerLimits<uint64, 0, ~0ull> {};
template <> struct Limits<int8> : IntegerLimits<int8, -128, 127> {};
template <> struct Limits<int16> : IntegerLimits<int16, -32768, 32767> {};
template <> struct Limits<int32> : IntegerLimits<int32, -2147483647 - 1, 2147483647> {};
template <> struct Limits<int64>
    : IntegerLimits<int64, -9223372036854775807ll - 1, 9223372036854775807ll> {};

// Products and sums that are rounded where they are written, so that every kernel that updates a
// parameter gives the same bits whatever the compiler would have contracted.
__device__ inline float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return __fma_rn(a, b, c); }
__device__ inline float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double multiply(double a, double b) { return __dmul_rn(a, b); }
