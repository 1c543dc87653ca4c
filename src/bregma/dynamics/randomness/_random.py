"""Random numbers as a pure function of a key and a counter: the same bits in every engine.

A draw is `f(key, unit, step, stream, block)`. Nothing is carried from one draw to the next, so
that the numbers do not depend on the number of threads, the order of units, or the machine that
holds them. `key` follows from the user's seed (`bregma.run.derive`), `stream` numbers the noise
sources of a model, and `block` the further draws of one unit in one step. All four are counted
modulo 2**32.

The cipher is Philox4x32-10 (Salmon et al. 2011). Its rounds and all formulas behind it are
written here once, in integer arithmetic modulo 2**64 and in float64 with + - * / sqrt in a fixed
order: these are rounded alike everywhere, where the log and cos of two libraries are not. They
take NumPy arrays, torch tensors and, compiled, Numba scalars; `_random_numba`, `_random_torch` and
`_random_triton` are thin spellings, and this file ends with the one of NumPy.
"""

from __future__ import annotations

import math
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int64, Integer

from bregma.errors import InvalidArgument

MASK = 0xFFFFFFFF
MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85

# The highest power comes first (Horner). Both series are cut below the rounding of float64.
ATANH = tuple(1 / (2 * k + 1) for k in range(11, -1, -1))  # atanh(s) / s in s^2, |s| < 0.172
SINE = tuple((-1) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1)
             for k in range(11, -1, -1))  # sin(pi v) / v in v^2, |v| <= 1/2  # fmt: skip
EXPONENTIAL = tuple((-1) ** k / math.factorial(k) for k in range(14, -1, -1))  # exp(-x), x < 0.5
LN_2 = 0.6931471805599453
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD  # of the float64 that is nearest to sqrt(1/2)

MAX_PART = 30.0  # largest Poisson mean that one uniform number is inverted for
NEGLIGIBLE = 2.0**-60  # probability below which the sum of the Poisson series stands still


# Formulas of all engines. They are compiled as they are, so nothing may wrap them to check types.


@no_type_check
def philox(key: Any, unit: Any, step: Any, stream: Any, block: Any) -> Any:
    """Four random 32-bit words, in 64-bit integers."""
    k0, k1 = key & MASK, (key >> 32) & MASK
    c0, c1, c2, c3 = unit & MASK, step & MASK, stream & MASK, block & MASK
    for _ in range(10):
        p0, p1 = MULTIPLIER_0 * c0, MULTIPLIER_1 * c2  # may wrap to negative: the masks undo it
        c0, c1 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK
        c2, c3 = ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + WEYL_0) & MASK, (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


@no_type_check
def bits_53(high: Any, low: Any) -> Any:
    """Whole number below 2**53 of two words."""
    return ((high >> 5) << 26) + (low >> 6)


@no_type_check
def horner(coefficients: tuple[float, ...], x: Any) -> Any:
    """Polynomial with the highest power first."""
    total = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        total = total * x + c
    return total


@no_type_check
def exponent(bits: Any) -> Any:
    """The e of x = m 2^e with sqrt(1/2) <= m < sqrt(2), of the bits of a float64 x."""
    return (bits - SQRT_HALF_BITS) >> 52


@no_type_check
def log_of_parts(m: Any, e: Any) -> Any:
    """Natural logarithm of m 2^e: log(m) = 2 atanh((m - 1) / (m + 1))."""
    s = (m - 1.0) / (m + 1.0)
    return e * LN_2 + 2.0 * s * horner(ATANH, s * s)


@no_type_check
def sin_pi(v: Any) -> Any:
    """Sine of pi v, -1/2 <= v <= 1/2."""
    return v * horner(SINE, v * v)


@no_type_check
def exp_minus(x: Any) -> Any:
    """exp(-x) for 0 <= x <= 30: exp(-x/64) to the 64th power."""
    y = horner(EXPONENTIAL, x * 0.015625)
    for _ in range(6):
        y = y * y
    return y


# NumPy


def _counter(key: int, *words: Any) -> list[Any]:
    """Words as Python numbers or arrays of one dimension or more, whose products wrap silently."""
    if not 0 <= key < 2**63:
        raise InvalidArgument(f"key must lie between 0 and 2**63 - 1, not {key}; use run.derive")
    return [w if isinstance(w, int) else np.atleast_1d(np.asarray(w, np.int64)) for w in words]


def words(
    key: int,
    unit: Integer[np.ndarray, "*#shape"] | int,
    step: Integer[np.ndarray, "*#shape"] | int,
    stream: Integer[np.ndarray, "*#shape"] | int,
    block: Integer[np.ndarray, "*#shape"] | int,
) -> tuple[Int64[np.ndarray, "*shape"], ...]:
    """Four random 32-bit words for each counter; the counters are broadcast."""
    shape = np.broadcast_shapes(*(np.shape(w) for w in (unit, step, stream, block)))
    drawn = philox(key, *_counter(key, unit, step, stream, block))
    return tuple(np.asarray(x, np.int64).reshape(shape) for x in drawn)


def uniform(
    key: int, unit: Any, step: Any, stream: Any, block: Any = 0, *, dtype: Any = np.float64
) -> Float[np.ndarray, "*shape"]:
    """Uniform numbers in [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64."""
    x0, x1, _, _ = words(key, unit, step, stream, block)
    if dtype == np.float32:
        return np.asarray((x0 >> 8) * 2.0**-24, np.float32)
    return np.asarray(bits_53(x0, x1) * 2.0**-53)


def log(x: Float[np.ndarray, "*shape"] | float) -> Any:
    """Natural logarithm of positive, normal float64 numbers."""
    bits = np.asarray(x, np.float64).view(np.int64)
    e = exponent(bits)
    return log_of_parts((bits - (e << 52)).view(np.float64), e.astype(np.float64))


def normal(
    key: int, unit: Any, step: Any, stream: Any, block: Any = 0, *, dtype: Any = np.float64
) -> Float[np.ndarray, "*shape"]:
    """Standard normal numbers (Box-Muller), evaluated in float64 and rounded to `dtype`.

    The sine of an angle between -pi/2 and pi/2 has the distribution of the cosine of any angle.
    """
    x0, x1, x2, x3 = words(key, unit, step, stream, block)
    u = (bits_53(x0, x1) + 1) * 2.0**-53  # in (0, 1]
    v = bits_53(x2, x3) * 2.0**-53 - 0.5
    return np.asarray(np.sqrt(-2.0 * log(u)) * sin_pi(v), dtype)


def poisson_count(
    mean: Any, key: int, unit: Any, step: Any, stream: Any
) -> Int64[np.ndarray, "*shape"]:
    """Poisson counts, exact for every mean.

    Up to a mean of 30 one uniform number is inverted. A larger mean is cut into equal parts of at
    most 30, one per block, whose counts are added: a sum of Poisson counts is Poisson. The time
    grows with the mean.
    """
    mean = np.asarray(mean, np.float64)
    if not (np.isfinite(mean) & (mean >= 0)).all():
        raise InvalidArgument(f"the mean of a Poisson count must be finite, 0 or more: {mean}")
    shape = np.broadcast_shapes(*(np.shape(x) for x in (mean, unit, step, stream)))
    n_parts = np.maximum(np.ceil(mean / MAX_PART), 1.0)
    part, count = mean / n_parts, np.zeros(shape, np.int64)
    for block in range(int(n_parts.max(initial=0.0))):
        count += np.where(
            block < n_parts, _invert(uniform(key, unit, step, stream, block), part), 0
        )
    return count


def _invert(u: Any, mean: Any) -> Any:
    """Smallest k whose cumulative probability is above u."""
    u, mean = np.broadcast_arrays(u, mean)
    probability = exp_minus(mean)
    below, count, k = probability, np.zeros(u.shape, np.int64), 0
    while (more := (u >= below) & (probability > NEGLIGIBLE)).any():
        k += 1
        count = count + more
        probability = probability * mean / k
        below = below + probability
    return count
