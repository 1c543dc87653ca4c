"""Random numbers in torch, on any device: int64 tensors take the place of 32-bit words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64

from bregma.dynamics.randomness._random import (
    MAX_PART,
    NEGLIGIBLE,
    bits_53,
    exp_minus,
    exponent,
    log_of_parts,
    philox,
    sin_pi,
)

Counter = int | torch.Tensor  # one number or int64 of any shape; counters are broadcast


def words(
    key: int, unit: Int64[torch.Tensor, "*unit"], step: Counter, stream: Counter, block: Counter
) -> Sequence[Int64[torch.Tensor, "*shape"]]:
    """Four random 32-bit words for each counter, on the device of `unit`."""
    return torch.broadcast_tensors(*philox(key, unit, step, stream, block))


def uniform(
    key: int,
    unit: Int64[torch.Tensor, "*unit"],
    step: Counter,
    stream: Counter,
    block: Counter = 0,
    *,
    dtype: torch.dtype = torch.float64,
) -> Float[torch.Tensor, "*shape"]:
    """Uniform numbers in [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64."""
    x0, x1, _, _ = words(key, unit, step, stream, block)
    if dtype == torch.float32:
        return (x0 >> 8).to(dtype) * 2.0**-24
    return bits_53(x0, x1).double() * 2.0**-53


def log(x: Float[torch.Tensor, "*shape"]) -> Float[torch.Tensor, "*shape"]:
    """Natural logarithm of positive, normal float64 numbers."""
    bits = x.view(torch.int64)
    e = exponent(bits)
    return log_of_parts((bits - (e << 52)).view(torch.float64), e.double())


def _sqrt(x: Float[torch.Tensor, "*shape"]) -> Float[torch.Tensor, "*shape"]:
    """Square root to the nearest float64."""
    if x.device.type == "cpu":  # torch asks MKL there, whose last bit is not always right
        return torch.from_numpy(np.sqrt(x.numpy()))
    return torch.sqrt(x)


def normal(
    key: int,
    unit: Int64[torch.Tensor, "*unit"],
    step: Counter,
    stream: Counter,
    block: Counter = 0,
    *,
    dtype: torch.dtype = torch.float64,
) -> Float[torch.Tensor, "*shape"]:
    """Standard normal numbers (Box-Muller), evaluated in float64 and rounded to `dtype`."""
    x0, x1, x2, x3 = words(key, unit, step, stream, block)
    u = (bits_53(x0, x1) + 1).double() * 2.0**-53
    v = bits_53(x2, x3).double() * 2.0**-53 - 0.5
    return (_sqrt(-2.0 * log(u)) * sin_pi(v)).to(dtype)


def poisson_count(
    mean: Float[torch.Tensor, "*mean"],
    key: int,
    unit: Int64[torch.Tensor, "*unit"],
    step: Counter,
    stream: Counter,
) -> Int64[torch.Tensor, "*shape"]:
    """Poisson counts of finite means of 0 or more; the time grows with the largest mean."""
    mean, unit = torch.broadcast_tensors(mean.double(), unit)
    n_parts = torch.ceil(mean / MAX_PART).clamp(min=1.0)
    part, count = mean / n_parts, torch.zeros_like(unit)
    for block in range(int(n_parts.max()) if n_parts.numel() else 0):
        u = uniform(key, unit, step, stream, block)
        count = count + _invert(u, part) * (block < n_parts)
    return count


def _invert(
    u: Float[torch.Tensor, "*shape"], mean: Float[torch.Tensor, "*shape"]
) -> Int64[torch.Tensor, "*shape"]:
    """Smallest k whose cumulative probability is above u."""
    probability = exp_minus(mean)
    below, k = probability, 0
    count = torch.zeros_like(u + below, dtype=torch.int64)
    while bool((more := (u >= below) & (probability > NEGLIGIBLE)).any()):
        k += 1
        count = count + more
        probability = probability * mean / k
        below = below + probability
    return count
