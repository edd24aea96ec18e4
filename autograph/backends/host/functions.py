"""Functions of float32 numbers for kernels, as polynomials that LLVM can vectorise.

Largest errors over all finite arguments, in units of the last place, as
`tests/host/test_functions.py` measures them: exp 1, log 1, tanh 2, erf 1.
"""

from .intrinsics import absolute, bits, fma, from_bits, nearest


def exp(x):
    """e ** x: 2 ** n times a polynomial of the rest."""
    x = 89.0 if x > 89.0 else x  # either end is reached by then; NaN stays
    x = -104.5 if x < -104.5 else x
    n = nearest(x * 1.4426950408889634)
    r = fma(n, -0.693359375, x)
    r = fma(n, 2.12194440e-4, r)
    y = fma(1.9875691500e-4, r, 1.3981999507e-3)
    y = fma(y, r, 8.3334519073e-3)
    y = fma(y, r, 4.1665795894e-2)
    y = fma(y, r, 1.6666665459e-1)
    y = fma(y, r, 5.0000001201e-1)
    y = fma(y * r, r, r) + 1.0
    # n as an integer, without a conversion that NaN would break
    whole = bits(n + 12582912.0) - 0x4B400000
    half = whole >> 1
    return y * power_of_2(half) * power_of_2(whole - half)  # in two steps: results may be denormal


def power_of_2(n):
    """2 ** n of an integer from -126 to 127."""
    return from_bits((n + 127) << 23)


def log(x):
    """The natural logarithm; -inf at 0, NaN below."""
    small = x < 1.17549435e-38
    scaled = x * 8388608.0 if small else x
    n = bits(scaled) - 0x3F3504F3  # so that the mantissa is from sqrt(1/2) to sqrt(2)
    exponent = n >> 23
    m = from_bits(bits(scaled) - (exponent << 23)) - 1.0
    e = float(exponent) - (23.0 if small else 0.0)
    z = m * m
    y = fma(7.0376836292e-2, m, -1.1514610310e-1)
    y = fma(y, m, 1.1676998740e-1)
    y = fma(y, m, -1.2420140846e-1)
    y = fma(y, m, 1.4249322787e-1)
    y = fma(y, m, -1.6668057665e-1)
    y = fma(y, m, 2.0000714765e-1)
    y = fma(y, m, -2.4999993993e-1)
    y = fma(y, m, 3.3333331174e-1)
    y = y * m * z
    y = fma(e, -2.12194440e-4, y)
    y = fma(-0.5, z, y)
    y = fma(e, 0.693359375, m + y)
    y = x if (x != x) | (x == INFINITY) else y
    y = -INFINITY if x == 0.0 else y
    return NAN if x < 0.0 else y


def tanh(x):
    """A polynomial near 0, else 1 - 2 / (e ** 2x + 1)."""
    size = absolute(x)
    z = x * x
    y = fma(-5.70498872745e-3, z, 2.06390887954e-2)
    y = fma(y, z, -5.37397155531e-2)
    y = fma(y, z, 1.33314422036e-1)
    y = fma(y, z, -3.33332819422e-1)
    near = fma(y * z, x, x)
    far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0)
    return near if size < 0.625 else -far if x < 0.0 else far


def erf(x):
    """A polynomial near 0, else 1 - e ** polynomial."""
    size = absolute(x)
    z = x * x
    y = fma(-1.72853470e-5, size, 3.83197126e-4)
    u = fma(-3.88396438e-3, size, 2.42546219e-2)
    y = fma(y, z, u)
    y = fma(y, size, -1.06777877e-1)
    y = fma(y, size, -6.34846687e-1)
    y = fma(y, size, -1.28717512e-1)
    y = fma(y, size, -size)
    far = 1.0 - exp(y)
    y = fma(-5.96761703e-4, z, 4.99119423e-3)
    y = fma(y, z, -2.67681349e-2)
    y = fma(y, z, 1.12819925e-1)
    y = fma(y, z, -3.76125336e-1)
    y = fma(y, z, 1.28379166e-1)
    near = fma(y, x, x)
    return near if size <= 0.927734375 else -far if x < 0.0 else far


INFINITY, NAN = float("inf"), float("nan")
