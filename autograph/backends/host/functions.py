"""Functions of float32 numbers for kernels, as polynomials that LLVM can vectorise.

Largest errors over all finite arguments, in units of the last place, as
`tests/host/test_functions.py` measures them: exp 1, expm1 2, log 1, log1p 2, tanh 2, erf 1, erfc 4.
"""

from .intrinsics import absolute, bits, fma, from_bits, nearest


def exp(x):
    """e ** x: 2 ** n times a polynomial of the rest."""
    x = 89.0 if x > 89.0 else x  # either end is reached by then; NaN stays
    x = -104.5 if x < -104.5 else x
    n = nearest(x * 1.4426950408889634)
    y = exp_of_rest(x, n) + 1.0
    # n as an integer, without a conversion that NaN would break
    whole = bits(n + 12582912.0) - 0x4B400000
    half = whole >> 1
    return y * power_of_2(half) * power_of_2(whole - half)  # in two steps: results may be denormal


def expm1(x):
    """e ** x - 1, exact near 0 as well: 2 ** n * (e ** rest - 1) + (2 ** n - 1)."""
    inside = 80.0 if x > 80.0 else x
    inside = -80.0 if inside < -80.0 else inside
    n = nearest(inside * 1.4426950408889634)
    scale = power_of_2(bits(n + 12582912.0) - 0x4B400000)
    y = fma(exp_of_rest(inside, n), scale, scale - 1.0)
    y = x if absolute(x) < 1e-7 else y
    return exp(x) if x > 80.0 else y


def exp_of_rest(x, n):
    """e ** (x - n * log(2)) - 1, for rests of at most log(2) / 2."""
    r = fma(n, -0.693359375, x)
    r = fma(n, 2.12194440e-4, r)
    y = fma(1.9875691500e-4, r, 1.3981999507e-3)
    y = fma(y, r, 8.3334519073e-3)
    y = fma(y, r, 4.1665795894e-2)
    y = fma(y, r, 1.6666665459e-1)
    y = fma(y, r, 5.0000001201e-1)
    return fma(y * r, r, r)


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


def log1p(x):
    """log(1 + x), exact near 0 as well: what 1 + x rounds off is put back as a factor."""
    whole = 1.0 + x
    y = log(whole) * (x / (whole - 1.0))
    y = x if whole == 1.0 else y
    return x if x == INFINITY else y


def tanh(x):
    """A polynomial near 0, else 1 - 2 / (e ** 2x + 1)."""
    size = absolute(x)
    z = x * x
    y = fma(-5.70498872745e-3, z, 2.06390887954e-2)
    y = fma(y, z, -5.37397155531e-2)
    y = fma(y, z, 1.33314422036e-1)
    y = fma(y, z, -3.33332819422e-1)
    near = fma(y * z, x, x)
    near = x if z == 0.0 else near  # -0 stays -0
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


def erfc(x):
    """1 - erf(x), of few digits lost where it is small."""
    size = absolute(x)
    size = size if (size > 1.0) | (x != x) else 1.0
    square = size * size
    power = exp(-square) * (1.0 - fma(size, size, -square))
    q = 1.0 / size
    z = q * q
    near = fma(2.326819970068386e-2, z, -1.387039388740657e-1)
    near = fma(near, z, 3.687424674597105e-1)
    near = fma(near, z, -5.824733027278666e-1)
    near = fma(near, z, 6.210004621745983e-1)
    near = fma(near, z, -4.944515323274145e-1)
    near = fma(near, z, 3.404879937665872e-1)
    near = fma(near, z, -2.741127028184656e-1)
    near = fma(near, z, 5.638259427386472e-1)
    far = fma(-1.047766399936249e1, z, 1.297719955372516e1)
    far = fma(far, z, -7.495518717768503)
    far = fma(far, z, 2.921019019210786)
    far = fma(far, z, -1.015265279202700)
    far = fma(far, z, 4.218463358204948e-1)
    far = fma(far, z, -2.820767439740514e-1)
    far = fma(far, z, 5.641895067754075e-1)
    tail = power * q * (near if size < 2.0 else far)
    tail = 0.0 if size > 11.0 else tail
    tail = 2.0 - tail if x < 0.0 else tail
    return 1.0 - erf(x) if absolute(x) < 1.0 else tail


INFINITY, NAN = float("inf"), float("nan")
