"""Functions of equations in Triton, rounded as those of the CPU in float32.

Triton's own division, square root and exponential of float32 are approximations of the hardware.
Those here are exact, or the polynomials of `_math_numba` in the same order, so that a kernel
compiled with ``enable_fp_fusion=False`` gives the bits of the CPU. In float64 exp, log, sin and cos
are those of the device's library. Arguments are tensors of float32 or float64.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.44269504088896341)
LN2_HIGH, LN2_LOW = tl.constexpr(0.693359375), tl.constexpr(-2.12194440e-4)
LOWEST, HIGHEST = tl.constexpr(-104.0), tl.constexpr(89.0)  # beyond them exp is 0 and inf
SQRT_HALF = tl.constexpr(0.707106781186547524)
TINY, TWO_23 = tl.constexpr(1.17549435e-38), tl.constexpr(8388608.0)
INF = tl.constexpr(float("inf"))
SERIES_32 = tl.constexpr(
    (12 / 6227020800, 11 / 479001600, 10 / 39916800, 9 / 3628800, 8 / 362880, 7 / 40320, 6 / 5040,
     5 / 720, 4 / 120, 3 / 24, 2 / 6, 0.5)
)  # (k + 1) / (k + 2)!, from k = 11 down  # fmt: skip


@no_type_check
@triton.jit
def divide(a, b):
    """Quotient, rounded once."""
    if a.dtype == tl.float32 and b.dtype == tl.float32:
        return tl.div_rn(a, b)
    else:
        return a / b


@no_type_check
@triton.jit
def sqrt(x):
    """Square root, rounded once."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@no_type_check
@triton.jit
def floor(x):
    """Largest whole number that is not above x."""
    return tl.floor(x)


@no_type_check
@triton.jit
def sin(x):
    """Sine."""
    return tl.sin(x.to(tl.float64)).to(x.dtype)


@no_type_check
@triton.jit
def cos(x):
    """Cosine."""
    return tl.cos(x.to(tl.float64)).to(x.dtype)


@no_type_check
@triton.jit
def power(x, y):
    """x to the power of y, computed in float64."""
    base, exponent = x.to(tl.float64), y.to(tl.float64)
    base, exponent = tl.broadcast(base, exponent)
    none = base == 0.0
    size = tl.exp(exponent * tl.log(tl.where(none, 1.0, tl.abs(base))))
    size = tl.where(none, tl.where(exponent > 0.0, 0.0, INF), size)
    whole = tl.floor(exponent) == exponent
    odd = whole & (2.0 * tl.floor(0.5 * exponent) != exponent)
    signed = tl.where(odd, -size, tl.where(whole, size, INF - INF))
    size = tl.where(base < 0.0, signed, size)
    return tl.where(exponent == 0.0, 1.0, size).to(x.dtype)


# Exponential


@no_type_check
@triton.jit
def _parts_of_exp(x):
    """r of x = n ln 2 + r, |r| <= ln 2 / 2, and 2^n as a product of two normal numbers."""
    x = tl.where(x < LOWEST, LOWEST, x)
    x = tl.where(x > HIGHEST, HIGHEST, x)
    n = tl.floor(x * LOG2_E + 0.5)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    whole = tl.where(n == n, n, 0.0).to(tl.int32)  # the integer of NaN is undefined
    half = whole >> 1
    low = ((half + 127) << 23).to(tl.float32, bitcast=True)
    high = ((whole - half + 127) << 23).to(tl.float32, bitcast=True)
    return r, low, high


@no_type_check
@triton.jit
def _expm1_of_small(r):
    """exp(r) - 1 for |r| <= ln 2 / 2."""
    q = r * 1.9875691500e-4 + 1.3981999507e-3
    q = q * r + 8.3334519073e-3
    q = q * r + 4.1665795894e-2
    q = q * r + 1.6666665459e-1
    q = q * r + 5.0000001201e-1
    return q * (r * r) + r


@no_type_check
@triton.jit
def exp(x):
    """Exponential."""
    if x.dtype == tl.float32:
        r, low, high = _parts_of_exp(x)
        return (_expm1_of_small(r) + 1.0) * low * high
    else:
        return tl.exp(x)


@no_type_check
@triton.jit
def expm1(x):
    """exp(x) - 1, accurate near 0."""
    if x.dtype == tl.float32:
        r, low, high = _parts_of_exp(x)
        small, scale = _expm1_of_small(r), low * high
        return tl.where(scale < INF, small * scale + (scale - 1.0), (small + 1.0) * low * high)
    else:  # Kahan: the errors of exp and log cancel
        u = tl.exp(x)
        far = (x > 40.0) | (x < -40.0)
        log_u = tl.log(tl.where(far | (u == 1.0), 2.0, u))
        return tl.where(far, u - 1.0, tl.where(u == 1.0, x, (u - 1.0) * x / log_u))


@no_type_check
@triton.jit
def exprel(x):
    """(exp(x) - 1) / x, 1 at 0."""
    none = x == 0.0
    x = tl.where(x > HIGHEST, HIGHEST, x) if x.dtype == tl.float32 else x
    y = divide(expm1(x), tl.where(none, x + 1.0, x))
    return tl.where(none, 1.0, y)


@no_type_check
@triton.jit
def dexprel(x):
    """Derivative of `exprel`: a series near 0, the difference elsewhere."""
    if x.dtype == tl.float32:
        q = x * SERIES_32[0] + SERIES_32[1]
        for k in tl.static_range(2, 12):
            q = q * x + SERIES_32[k]
        near = (x < 1.25) & (x > -1.25)
        safe = tl.where(near, 1.0, x)
        far = tl.div_rn(exp(safe) - tl.div_rn(expm1(safe), safe), safe)
        return tl.where(near, q, far)
    else:
        term = x * 0.0 + 0.5  # x^k / (k + 2)!, times k + 1
        total = term
        for k in tl.static_range(1, 15):
            term = term * x / (k + 2.0)
            total += (k + 1.0) * term
        near = (x < 0.5) & (x > -0.5)
        safe = tl.where(near, 1.0, x)
        return tl.where(near, total, (tl.exp(safe) - expm1(safe) / safe) / safe)


@no_type_check
@triton.jit
def tanh(x):
    """Hyperbolic tangent."""
    a = tl.abs(x)
    if x.dtype == tl.float32:
        z = x * x
        q = z * -5.70498872745e-3 + 2.06390887954e-2
        q = q * z + -5.37397155531e-2
        q = q * z + 1.33314422036e-1
        q = q * z + -3.33332819422e-1
        near = x + x * (z * q)
        far = 1.0 - tl.div_rn(tl.full((), 2.0, tl.float32), exp(a + a) + 1.0)
        return tl.where(a < 0.625, near, tl.where(x < 0.0, -far, far))
    else:
        e = expm1(-2.0 * a)
        far = -e / (2.0 + e)
        return tl.where(x < 0.0, -far, far)


@no_type_check
@triton.jit
def log(x):
    """Natural logarithm: -inf at 0, NaN below."""
    if x.dtype == tl.float32:
        denormal = x < TINY
        y = tl.where(denormal, x * TWO_23, x)
        bits = y.to(tl.int32, bitcast=True)
        e = ((bits >> 23) - 126).to(tl.float32)
        e = tl.where(denormal, e - 23.0, e)
        m = ((bits & 0x007FFFFF) | 0x3F000000).to(tl.float32, bitcast=True)
        below = m < SQRT_HALF
        e = tl.where(below, e - 1.0, e)
        m = tl.where(below, m + m, m) - 1.0
        z = m * m
        q = m * 7.0376836292e-2 + -1.1514610310e-1
        q = q * m + 1.1676998740e-1
        q = q * m + -1.2420140846e-1
        q = q * m + 1.4249322787e-1
        q = q * m + -1.6668057665e-1
        q = q * m + 2.0000714765e-1
        q = q * m + -2.4999993993e-1
        q = q * m + 3.3333331174e-1
        y = m + ((q * m * z + e * LN2_LOW) - 0.5 * z) + e * LN2_HIGH
        y = tl.where(x < INF, y, x)  # infinity and NaN
        y = tl.where(x != 0.0, y, -INF)
        return tl.where(x < 0.0, INF - INF, y)
    else:
        return tl.log(x)
