"""Random numbers in Numba: scalar functions for compiled loops, of the formulas in `_random`.

LLVM inlines them into a kernel, but Numba does not: so they keep their exact arithmetic in a kernel
that has fastmath. Keys and means are not checked here; the mean must be finite.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit
from numba.extending import register_jitable

from bregma.dynamics.randomness import _random as formulas
from bregma.dynamics.randomness._random import MAX_PART, NEGLIGIBLE

_exact = njit(cache=True, nogil=True, forceinline=True, error_model="numpy")

register_jitable(forceinline=True, error_model="numpy")(formulas.horner)
philox = _exact(formulas.philox)
_bits_53 = _exact(formulas.bits_53)
_exponent = _exact(formulas.exponent)
_log_of_parts = _exact(formulas.log_of_parts)
_sin_pi = _exact(formulas.sin_pi)
exp_minus = _exact(formulas.exp_minus)


@no_type_check
@_exact
def log(x):
    """Natural logarithm of a positive, normal float64."""
    bits = np.float64(x).view(np.int64)
    e = _exponent(bits)
    m = np.int64(bits - (e << 52)).view(np.float64)
    return _log_of_parts(m, np.float64(e))


@no_type_check
@_exact
def uniform_32(key, unit, step, stream, block):
    """Uniform float32 in [0, 1)."""
    x = philox(key, unit, step, stream, block)
    return np.float32(x[0] >> 8) * np.float32(2.0**-24)


@no_type_check
@_exact
def uniform_64(key, unit, step, stream, block):
    """Uniform float64 in [0, 1)."""
    x = philox(key, unit, step, stream, block)
    return _bits_53(x[0], x[1]) * 2.0**-53


@no_type_check
@_exact
def uniform_pair(key, unit, step, stream, block):
    """Two independent uniform float64 in [0, 1), the first being that of `uniform_64`."""
    x = philox(key, unit, step, stream, block)
    return _bits_53(x[0], x[1]) * 2.0**-53, _bits_53(x[2], x[3]) * 2.0**-53


@no_type_check
@_exact
def normal_64(key, unit, step, stream, block):
    """Standard normal float64."""
    u, v = uniform_pair(key, unit, step, stream, block)
    return math.sqrt(-2.0 * log(u + 2.0**-53)) * _sin_pi(v - 0.5)


@no_type_check
@_exact
def normal_32(key, unit, step, stream, block):
    """Standard normal float32, evaluated in float64."""
    return np.float32(normal_64(key, unit, step, stream, block))


@no_type_check
@_exact
def poisson_count(mean, key, unit, step, stream):
    """Poisson count; the time grows with the mean."""
    if mean <= 0.0:
        return 0
    n_parts = np.int64(math.ceil(mean / MAX_PART))
    part, count = mean / n_parts, 0
    for block in range(n_parts):
        u = uniform_64(key, unit, step, stream, block)
        if u < 1.0 - part - 1e-12:  # surely below exp(-part): the usual case in a short time step
            continue
        probability = exp_minus(part)
        below, k = probability, 0
        while u >= below and probability > NEGLIGIBLE:
            k += 1
            probability = probability * part / k
            below = below + probability
        count += k
    return count
