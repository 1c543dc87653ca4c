"""Random numbers in Triton, for use inside a kernel; imported only where Triton is present.

Launch the kernel with `enable_fp_fusion=False`: a fused multiply-add rounds once where all other
engines round twice, and normal numbers would differ in their last bits. `unit` is a block of
int32 or int64; step, stream and block may be scalars.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from bregma.dynamics.randomness import _random as formulas

MULTIPLIER_0, MULTIPLIER_1 = (
    tl.constexpr(formulas.MULTIPLIER_0),
    tl.constexpr(formulas.MULTIPLIER_1),
)
WEYL_0, WEYL_1 = tl.constexpr(formulas.WEYL_0), tl.constexpr(formulas.WEYL_1)
ATANH, SINE = tl.constexpr(formulas.ATANH), tl.constexpr(formulas.SINE)
EXPONENTIAL = tl.constexpr(formulas.EXPONENTIAL)
LN_2, SQRT_HALF_BITS = tl.constexpr(formulas.LN_2), tl.constexpr(formulas.SQRT_HALF_BITS)
MAX_PART, NEGLIGIBLE = tl.constexpr(formulas.MAX_PART), tl.constexpr(formulas.NEGLIGIBLE)


@no_type_check
@triton.jit
def philox(key, unit, step, stream, block):
    """Four random blocks of uint32."""
    zero = (unit * 0).to(tl.uint32)
    key_64 = tl.to_tensor(key).to(tl.int64)
    k0, k1 = zero + key_64.to(tl.uint32), zero + (key_64 >> 32).to(tl.uint32)
    c0, c1 = unit.to(tl.uint32), zero + tl.to_tensor(step).to(tl.uint32)
    c2, c3 = zero + tl.to_tensor(stream).to(tl.uint32), zero + tl.to_tensor(block).to(tl.uint32)
    a, b = zero + MULTIPLIER_0, zero + MULTIPLIER_1
    for _ in tl.static_range(10):
        high_0, low_0 = tl.umulhi(a, c0), a * c0
        high_1, low_1 = tl.umulhi(b, c2), b * c2
        c0, c1 = high_1 ^ c1 ^ k0, low_1
        c2, c3 = high_0 ^ c3 ^ k1, low_0
        k0, k1 = k0 + WEYL_0, k1 + WEYL_1
    return c0, c1, c2, c3


@no_type_check
@triton.jit
def _uniform_53(high, low):
    """Multiples of 2^-53 of two words."""
    bits = ((high >> 5).to(tl.int64) << 26) + (low >> 6).to(tl.int64)
    return bits.to(tl.float64) * 1.1102230246251565e-16


@no_type_check
@triton.jit
def _horner(coefficients: tl.constexpr, n: tl.constexpr, x):
    total = coefficients[0] * x + coefficients[1]
    for k in tl.static_range(2, n):
        total = total * x + coefficients[k]
    return total


@no_type_check
@triton.jit
def log(x):
    """Natural logarithm of a block of positive, normal float64."""
    bits = x.to(tl.int64, bitcast=True)
    e = (bits - SQRT_HALF_BITS) >> 52
    m = (bits - (e << 52)).to(tl.float64, bitcast=True)
    s = (m - 1.0) / (m + 1.0)
    return e.to(tl.float64) * LN_2 + 2.0 * s * _horner(ATANH, 12, s * s)


@no_type_check
@triton.jit
def uniform_32(key, unit, step, stream, block):
    """Uniform float32 in [0, 1)."""
    x0, _x1, _x2, _x3 = philox(key, unit, step, stream, block)
    return (x0 >> 8).to(tl.float32) * 5.960464477539063e-08


@no_type_check
@triton.jit
def uniform_64(key, unit, step, stream, block):
    """Uniform float64 in [0, 1)."""
    x0, x1, _x2, _x3 = philox(key, unit, step, stream, block)
    return _uniform_53(x0, x1)


@no_type_check
@triton.jit
def normal_64(key, unit, step, stream, block):
    """Standard normal float64."""
    x0, x1, x2, x3 = philox(key, unit, step, stream, block)
    u = _uniform_53(x0, x1) + 1.1102230246251565e-16
    v = _uniform_53(x2, x3) - 0.5
    return tl.sqrt(-2.0 * log(u)) * (v * _horner(SINE, 12, v * v))


@no_type_check
@triton.jit
def normal_32(key, unit, step, stream, block):
    """Standard normal float32, evaluated in float64."""
    return normal_64(key, unit, step, stream, block).to(tl.float32)


@no_type_check
@triton.jit
def poisson_count(mean, key, unit, step, stream):
    """Poisson counts (int64) of a block of finite float64 means of 0 or more."""
    n_parts = tl.maximum(tl.ceil(mean / MAX_PART), 1.0)
    part = mean / n_parts
    zero_probability = _horner(EXPONENTIAL, 15, part * 0.015625)
    for _ in tl.static_range(6):
        zero_probability = zero_probability * zero_probability
    count = (unit * 0).to(tl.int64)
    for block in range(tl.max(n_parts, 0).to(tl.int32)):
        u = uniform_64(key, unit, step, stream, block)
        probability, below, k = zero_probability, zero_probability, 0
        open_ = (u >= below) & (probability > NEGLIGIBLE) & (block < n_parts)
        while tl.max(open_.to(tl.int32), 0) > 0:
            k += 1
            count += open_.to(tl.int64)
            probability = probability * part / k
            below = below + probability
            open_ = open_ & (u >= below) & (probability > NEGLIGIBLE)
    return count
