"""Functions of equations in Numba: float32 as branch-free polynomials that LLVM vectorises.

A call of the C library keeps a loop scalar, which costs a factor of ten. The float32 functions
here are range reduction and a polynomial with selects in place of branches (Cephes, Moshier 1992),
within 2 units in the last place (dexprel: 4); float64 goes to the C library. NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any, no_type_check

import numpy as np
from numba import njit

F = np.float32
_inline = njit(cache=True, nogil=True, forceinline=True, error_model="numpy")

_LOG2_E = F(1.44269504088896341)
_LN2_HIGH, _LN2_LOW = F(0.693359375), F(-2.12194440e-4)  # their sum is ln 2, the first is short
_LOWEST, _HIGHEST = F(-104.0), F(89.0)  # beyond them exp is 0 and inf
_SQRT_HALF = F(0.707106781186547524)
_TINY, _TWO_23 = F(1.17549435e-38), F(8388608.0)
_INF, _NAN = F(np.inf), F(np.nan)


@no_type_check
@_inline
def _parts_of_exp(x):
    """n and r of x = n ln 2 + r, |r| <= ln 2 / 2, with 2^n as a product of two normal numbers."""
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    n = np.floor(x * _LOG2_E + F(0.5))
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    whole = np.int32(n if n == n else F(0.0))  # the integer of NaN is undefined
    half = whole >> np.int32(1)
    low = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    high = np.int32((whole - half + np.int32(127)) << np.int32(23)).view(np.float32)
    return r, low, high


@no_type_check
@_inline
def _expm1_of_small(r):
    """exp(r) - 1 for |r| <= ln 2 / 2."""
    q = F(1.9875691500e-4)
    q = q * r + F(1.3981999507e-3)
    q = q * r + F(8.3334519073e-3)
    q = q * r + F(4.1665795894e-2)
    q = q * r + F(1.6666665459e-1)
    q = q * r + F(5.0000001201e-1)
    return q * (r * r) + r


@no_type_check
@_inline
def exp_32(x):
    """Exponential of a float32."""
    r, low, high = _parts_of_exp(x)
    return (_expm1_of_small(r) + F(1.0)) * low * high


@no_type_check
@_inline
def expm1_32(x):
    """exp(x) - 1 of a float32, accurate near 0."""
    r, low, high = _parts_of_exp(x)
    small = _expm1_of_small(r)
    scale = low * high
    return small * scale + (scale - F(1.0)) if scale < _INF else (small + F(1.0)) * low * high


@no_type_check
@_inline
def log_32(x):
    """Natural logarithm of a float32: -inf at 0, NaN below."""
    denormal = x < _TINY
    y = x * _TWO_23 if denormal else x
    bits = np.float32(y).view(np.int32)
    e = np.float32((bits >> np.int32(23)) - np.int32(126))
    e = e - F(23.0) if denormal else e
    m = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F000000)).view(np.float32)
    below = m < _SQRT_HALF
    e = e - F(1.0) if below else e
    m = (m + m if below else m) - F(1.0)
    z = m * m
    q = F(7.0376836292e-2)
    q = q * m + F(-1.1514610310e-1)
    q = q * m + F(1.1676998740e-1)
    q = q * m + F(-1.2420140846e-1)
    q = q * m + F(1.4249322787e-1)
    q = q * m + F(-1.6668057665e-1)
    q = q * m + F(2.0000714765e-1)
    q = q * m + F(-2.4999993993e-1)
    q = q * m + F(3.3333331174e-1)
    y = m + ((q * m * z + e * _LN2_LOW) - F(0.5) * z) + e * _LN2_HIGH
    y = y if x < _INF else x  # infinity and NaN
    y = y if x != F(0.0) else -_INF
    return _NAN if x < F(0.0) else y


@no_type_check
@_inline
def tanh_32(x):
    """Hyperbolic tangent of a float32."""
    a = -x if x < F(0.0) else x
    z = x * x
    q = F(-5.70498872745e-3)
    q = q * z + F(2.06390887954e-2)
    q = q * z + F(-5.37397155531e-2)
    q = q * z + F(1.33314422036e-1)
    q = q * z + F(-3.33332819422e-1)
    near = x + x * (z * q)
    far = F(1.0) - F(2.0) / (exp_32(a + a) + F(1.0))
    return near if a < F(0.625) else (-far if x < F(0.0) else far)


@no_type_check
@_inline
def exprel_32(x):
    """(exp(x) - 1) / x of a float32, 1 at 0."""
    zero = x == F(0.0)
    x = _HIGHEST if x > _HIGHEST else x  # infinite there, and inf / inf would be NaN
    y = expm1_32(x) / (F(1.0) if zero else x)
    return F(1.0) if zero else y


@no_type_check
@_inline
def exprel_near_32(x):
    """(exp(x) - 1) / x of a float32 with |x| <= 0.5."""
    q = F(1.0 / 40320.0)
    q = q * x + F(1.0 / 5040.0)
    q = q * x + F(1.0 / 720.0)
    q = q * x + F(1.0 / 120.0)
    q = q * x + F(1.0 / 24.0)
    q = q * x + F(1.0 / 6.0)
    q = q * x + F(0.5)
    return q * x + F(1.0)


@no_type_check
@_inline
def exprel_near_64(x):
    """(exp(x) - 1) / x of a float64 with |x| <= 0.5."""
    q = 1.0 / 1307674368000.0
    q = q * x + 1.0 / 87178291200.0
    q = q * x + 1.0 / 6227020800.0
    q = q * x + 1.0 / 479001600.0
    q = q * x + 1.0 / 39916800.0
    q = q * x + 1.0 / 3628800.0
    q = q * x + 1.0 / 362880.0
    q = q * x + 1.0 / 40320.0
    q = q * x + 1.0 / 5040.0
    q = q * x + 1.0 / 720.0
    q = q * x + 1.0 / 120.0
    q = q * x + 1.0 / 24.0
    q = q * x + 1.0 / 6.0
    q = q * x + 1.0 / 2.0
    return q * x + 1.0


@no_type_check
@_inline
def dexprel_32(x):
    """Derivative of exprel of a float32: a series near 0, the difference elsewhere."""
    q = F(12.0 / 6227020800.0)  # (k + 1) / (k + 2)!, from k = 11 down
    q = q * x + F(11.0 / 479001600.0)
    q = q * x + F(10.0 / 39916800.0)
    q = q * x + F(9.0 / 3628800.0)
    q = q * x + F(8.0 / 362880.0)
    q = q * x + F(7.0 / 40320.0)
    q = q * x + F(6.0 / 5040.0)
    q = q * x + F(5.0 / 720.0)
    q = q * x + F(4.0 / 120.0)
    q = q * x + F(3.0 / 24.0)
    q = q * x + F(2.0 / 6.0)
    q = q * x + F(0.5)
    near = (F(1.25) > x) and (x > F(-1.25))
    safe = F(1.0) if near else x
    far = (exp_32(safe) - expm1_32(safe) / safe) / safe
    return q if near else far


@no_type_check
@_inline
def exprel_64(x):
    """(exp(x) - 1) / x of a float64, 1 at 0."""
    zero = x == 0.0
    y = math.expm1(x) / (1.0 if zero else x)
    return 1.0 if zero else y


@no_type_check
@_inline
def dexprel_64(x):
    """Derivative of exprel of a float64: a series near 0, the difference elsewhere."""
    if abs(x) < 0.5:
        total, term = 0.5, 0.5  # the term is x^k / (k + 2)!, times k + 1
        for k in range(1, 15):
            term = term * x / (k + 2.0)
            total += (k + 1.0) * term
        return total
    return (math.exp(x) - math.expm1(x) / x) / x


# What the names of the printer mean, for each precision
NAMES: dict[str, dict[str, Any]] = {
    "float32": {
        "F": np.float32, "exp": exp_32, "log": log_32, "tanh": tanh_32, "exprel": exprel_32,
        "exprel_near": exprel_near_32, "dexprel": dexprel_32, "sin": math.sin, "cos": math.cos,
        "sqrt": math.sqrt, "floor": np.floor, "power": math.pow,
    },
    "float64": {
        "F": np.float64, "exp": math.exp, "log": math.log, "tanh": math.tanh,
        "exprel": exprel_64, "exprel_near": exprel_near_64, "dexprel": dexprel_64,
        "sin": math.sin, "cos": math.cos, "sqrt": math.sqrt, "floor": np.floor, "power": math.pow,
    },
}  # fmt: skip
