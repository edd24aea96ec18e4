// The functions of autograph's expressions, with NumPy's meaning for every type.
#pragma once
#include "scalar.cuh"

__device__ inline float infinity() { return __int_as_float(0x7f800000); }
__device__ inline float not_a_number() { return __int_as_float(0x7fc00000); }

template <class N> __device__ inline bool truth(N a) { return a != N(0); }

#define FLOAT_FUNCTION(name, call)                                                       \
    __device__ inline float name##_of(float a) { return call##f(a); }                    \
    __device__ inline double name##_of(double a) { return call(a); }                     \
    template <class N> __device__ inline float name##_of(N a) { return call##f(float(a)); }
FLOAT_FUNCTION(sqrt, sqrt)
FLOAT_FUNCTION(rsqrt, rsqrt)
FLOAT_FUNCTION(exp, exp)
FLOAT_FUNCTION(exp2, exp2)
FLOAT_FUNCTION(expm1, expm1)
FLOAT_FUNCTION(log, log)
FLOAT_FUNCTION(log1p, log1p)
FLOAT_FUNCTION(log2, log2)
FLOAT_FUNCTION(log10, log10)
FLOAT_FUNCTION(sin, sin)
FLOAT_FUNCTION(cos, cos)
FLOAT_FUNCTION(tan, tan)
FLOAT_FUNCTION(asin, asin)
FLOAT_FUNCTION(acos, acos)
FLOAT_FUNCTION(atan, atan)
FLOAT_FUNCTION(sinh, sinh)
FLOAT_FUNCTION(cosh, cosh)
FLOAT_FUNCTION(tanh, tanh)
FLOAT_FUNCTION(asinh, asinh)
FLOAT_FUNCTION(acosh, acosh)
FLOAT_FUNCTION(atanh, atanh)
FLOAT_FUNCTION(erf, erf)
FLOAT_FUNCTION(erfc, erfc)
#undef FLOAT_FUNCTION

// For what is rounded to 16 bits: right to a few units of float's last place.
__device__ inline float short_exp_of(float a) { return __expf(a); }
__device__ inline float short_tanh_of(float a) {
    const float near = a * (1 - a * a * 0.33333333f);
    return fabsf(a) < 0.03f ? near : 1 - __fdividef(2, __expf(a > 40 ? 80 : 2 * a) + 1);
}

// Integers are their own floor.
#define ROUNDING_FUNCTION(name, call)                                                    \
    __device__ inline float name##_of(float a) { return call##f(a); }                    \
    __device__ inline double name##_of(double a) { return call(a); }                     \
    template <class N> __device__ inline N name##_of(N a) { return a; }
ROUNDING_FUNCTION(floor, floor)
ROUNDING_FUNCTION(ceil, ceil)
ROUNDING_FUNCTION(round, rint)
ROUNDING_FUNCTION(trunc, trunc)
#undef ROUNDING_FUNCTION

#define BINARY_FLOAT_FUNCTION(name, call)                                                \
    __device__ inline float name##_of(float a, float b) { return call##f(a, b); }        \
    __device__ inline double name##_of(double a, double b) { return call(a, b); }        \
    template <class A, class B> __device__ inline float name##_of(A a, B b) {            \
        return call##f(float(a), float(b));                                              \
    }
BINARY_FLOAT_FUNCTION(atan2, atan2)
BINARY_FLOAT_FUNCTION(hypot, hypot)
BINARY_FLOAT_FUNCTION(copysign, copysign)
#undef BINARY_FLOAT_FUNCTION

template <class N> struct IsFloat { static constexpr bool value = false; };
template <> struct IsFloat<float> { static constexpr bool value = true; };
template <> struct IsFloat<double> { static constexpr bool value = true; };

template <class A, class B> __device__ inline auto divide_of(A a, B b) {
    using N = decltype(a + b);
    if constexpr (IsFloat<N>::value) return N(a) / N(b);
    else return float(a) / float(b);
}

// x**y. Integers by squaring, in their own ring; a negative power of one gives zero but for 1 and -1.
template <class A, class B> __device__ inline auto power_of(A a, B b) {
    using N = decltype(a + b);
    if constexpr (IsFloat<N>::value) {
        return N(b) == N(2) ? N(a) * N(a) : N(pow(N(a), N(b)));
    } else {
        N base = a, power = b, result = 1;
        if (power < 0) return base == 1 ? N(1) : base == N(-1) ? N(power % 2 ? -1 : 1) : N(0);
        for (; power > 0; power /= 2, base *= base)
            if (power % 2) result *= base;
        return result;
    }
}

// Python's // and %: rounded towards minus infinity; a division of integers by zero gives zero.
template <class A, class B> __device__ inline auto remainder_of(A a, B b) {
    using N = decltype(a + b);
    const N x = a, y = b;
    if constexpr (IsFloat<N>::value) {
        N left = fmod(x, y);
        if (left != 0 && (left < 0) != (y < 0)) left += y;
        else if (left == 0) left = copysign(N(0), y);
        return left;
    } else {
        if (y == 0) return N(0);
        const N left = y == N(-1) ? N(0) : x % y;
        return left != 0 && (left < 0) != (y < 0) ? N(left + y) : left;
    }
}
template <class A, class B> __device__ inline auto floor_divide_of(A a, B b) {
    using N = decltype(a + b);
    const N x = a, y = b;
    if constexpr (IsFloat<N>::value) {
        if (y == 0) return x / y;
        const N whole = (x - remainder_of(x, y)) / y, down = floor(whole);
        return whole == 0 ? copysign(N(0), x / y) : whole - down > N(0.5) ? down + 1 : down;
    } else {
        if (y == 0) return N(0);
        if (y == N(-1)) return N(0 - x);
        const N whole = x / y;
        return x % y != 0 && (x < 0) != (y < 0) ? N(whole - 1) : whole;
    }
}
template <class A, class B> __device__ inline auto fmod_of(A a, B b) {
    using N = decltype(a + b);
    if constexpr (IsFloat<N>::value) return N(fmod(N(a), N(b)));
    else return N(b) == 0 || N(b) == N(-1) ? N(0) : N(N(a) % N(b));
}

template <class N> __device__ inline N abs_of(N a) {
    if constexpr (IsFloat<N>::value) return fabs(a);
    else return a < 0 ? N(0 - a) : a;
}
template <class N> __device__ inline N sign_of(N a) {
    return a != a ? a : N(N(a > N(0)) - N(a < N(0)));
}

// A NaN in either wins, the first one of them.
template <class A, class B> __device__ inline auto maximum_of(A a, B b) {
    using N = decltype(a + b);
    return N(a) > N(b) || a != a ? N(a) : N(b);
}
template <class A, class B> __device__ inline auto minimum_of(A a, B b) {
    using N = decltype(a + b);
    return N(a) < N(b) || a != a ? N(a) : N(b);
}

template <class N> __device__ inline bool isnan_of(N a) { return a != a; }
template <class N> __device__ inline bool isinf_of(N a) {
    if constexpr (IsFloat<N>::value) return fabs(a) == N(infinity());
    else return false;
}
template <class N> __device__ inline bool isfinite_of(N a) {
    if constexpr (IsFloat<N>::value) return fabs(a) < N(infinity());
    else return true;
}

#define BIT_FUNCTION(name, sign)                                                                   \
    template <class A, class B> __device__ inline auto name##_of(A a, B b) { return a sign b; }    \
    __device__ inline bool name##_of(bool a, bool b) { return bool(a sign b); }
BIT_FUNCTION(bitwise_and, &)
BIT_FUNCTION(bitwise_or, |)
BIT_FUNCTION(bitwise_xor, ^)
#undef BIT_FUNCTION
template <class N> __device__ inline N bitwise_not_of(N a) { return ~a; }
__device__ inline bool bitwise_not_of(bool a) { return !a; }
template <class A, class B> __device__ inline A shift_left_of(A a, B b) {
    return b < 0 || b >= B(8 * sizeof(A)) ? A(0) : A(a << b);
}
template <class A, class B> __device__ inline A shift_right_of(A a, B b) {
    return b < 0 || b >= B(8 * sizeof(A)) ? A(a < 0 ? -1 : 0) : A(a >> b);
}
