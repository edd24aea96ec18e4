"""The error function and its complement over NumPy arrays.

Rational approximations of fdlibm's s_erf.c (Sun Microsystems, 1993; freely granted), exact to
one unit in the last place in f64. Each range of |x| is computed for its own elements alone;
f32 is computed in f64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 1 << 14  # elements at a time, so that what is between stays in the cache

_ERX = 8.45062911510467529297e-01
# erf(x) = x + x * P(x²) / Q(x²) for |x| < 0.84375
_P = (
    1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
    -5.77027029648944159157e-03, -2.37630166566501626084e-05,
)  # fmt: skip
_Q = (
    1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
    1.32494738004321644526e-04, -3.96022827877536812320e-06,
)  # fmt: skip
# erf(x) = ERX + P(|x| - 1) / Q(|x| - 1) for |x| < 1.25
_PA = (
    -2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
    3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)  # fmt: skip
_QA = (
    1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
    1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02,
)  # fmt: skip
# erfc(x) = exp(-x² - 0.5625 + R(1/x²) / S(1/x²)) / x, below 1 / 0.35 and above
_RA = (
    -9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e01,
    -6.23753324503260060396e01, -1.62396669462573470355e02, -1.84605092906711035994e02,
    -8.12874355063065934246e01, -9.81432934416914548592e00,
)  # fmt: skip
_SA = (
    1.0, 1.96512716674392571292e01, 1.37657754143519042600e02, 4.34565877475229228821e02,
    6.45387271733267880336e02, 4.29008140027567833386e02, 1.08635005541779435134e02,
    6.57024977031928170135e00, -6.04244152148580987438e-02,
)  # fmt: skip
_RB = (
    -9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e01,
    -1.60636384855821916062e02, -6.37566443368389627722e02, -1.02509513161107724954e03,
    -4.83519191608651397019e02,
)  # fmt: skip
_SB = (
    1.0, 3.03380607434824582924e01, 3.25792512996573918826e02, 1.53672958608443695994e03,
    3.19985821950859553908e03, 2.55305040643316442583e03, 4.74528541206955367215e02,
    -2.24409524465858183362e01,
)  # fmt: skip


def erf(x: Any) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t²) from 0 to x."""
    return _blocks(x, complement=False)


def erfc(x: Any) -> Any:
    """1 - erf(x), without losing the digits of small values."""
    return _blocks(x, complement=True)


def _blocks(x: Any, *, complement: bool) -> Any:
    x = np.asarray(x)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    flat = np.ascontiguousarray(x).reshape(-1)
    y = np.empty(flat.size, dtype)
    for start in range(0, flat.size, BLOCK):
        part = slice(start, start + BLOCK)
        y[part] = _block(flat[part].astype(np.float64), complement)
    return y.reshape(x.shape)


def _block(x: Any, complement: bool) -> Any:
    """erf or erfc of f64 numbers."""
    a = np.abs(x)
    low = a < 0.84375
    y = np.empty_like(x)
    near = x[low]
    ratio = near * _ratio(_P, _Q, near * near)
    if complement:
        y[low] = np.where(near < 0.25, 1 - (near + ratio), 0.5 - (near - 0.5 + ratio))
    else:
        y[low] = near + ratio
    at = np.flatnonzero(~low & (a < 1.25))
    value = _ratio(_PA, _QA, a[at] - 1)
    if complement:
        y[at] = np.where(x[at] < 0, 1 + (_ERX + value), (1 - _ERX) - value)
    else:
        y[at] = np.copysign(_ERX + value, x[at])
    for at, r, s in (
        (np.flatnonzero((a >= 1.25) & (a < 1 / 0.35)), _RA, _SA),
        (np.flatnonzero(~(a < 1 / 0.35)), _RB, _SB),  # and NaN
    ):
        tail = _tail(a[at], r, s)
        if complement:
            y[at] = np.where(x[at] < 0, 2 - tail, tail)
        else:
            y[at] = np.copysign(1 - tail, x[at])
    return y


def _tail(a: Any, r: Any, s: Any) -> Any:
    """erfc(a) for a >= 1.25; exp(-a²) in two factors, of which the first is exact."""
    a = np.minimum(a, 28.0)  # erfc is 0 from there on
    head = (a.view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64)
    rest = np.exp((head - a) * (head + a) + _ratio(r, s, 1 / (a * a)))
    return np.exp(-head * head - 0.5625) * rest / a


def _ratio(p: Any, q: Any, z: Any) -> Any:
    return _polynomial(p, z) / _polynomial(q, z)


def _polynomial(coefficients: Any, z: Any) -> Any:
    total = np.full_like(z, coefficients[-1])
    for each in coefficients[-2::-1]:
        total *= z
        total += each
    return total
