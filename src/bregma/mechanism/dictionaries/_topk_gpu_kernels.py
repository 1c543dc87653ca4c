"""Triton kernels of a training step in which only k features of each sample take part.

Each program owns a sample or a feature and adds up in a fixed order, without atomic operations: the
same input gives the same bits. A row lies in one block of the next power of two.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def drive(x, weight, bias, index, value, n, k, BLOCK: tl.constexpr):
    """Pre-activations of the selected features, anew and exactly; cut at 0."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    sample = tl.load(x + row * n + i, i < n, 0.0)
    for h in range(k):
        j = tl.load(index + row * k + h).to(tl.int64)
        along = tl.sum(sample * tl.load(weight + j * n + i, i < n, 0.0), 0)
        tl.store(value + row * k + h, tl.maximum(along + tl.load(bias + j), 0.0))


@no_type_check
@triton.jit
def residuals(decoder, bias, target, index, value, scale, out, slope, squares, n, k,
              BLOCK: tl.constexpr):  # fmt: skip
    """Residual of each row, its square, and the derivatives of scale / 2 times the square.

    The derivative by the output goes to `out`, that by each value to `slope`.
    """
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    left = tl.load(bias + i, i < n, 0.0) - tl.load(target + row * n + i, i < n, 0.0)
    for h in range(k):
        j = tl.load(index + row * k + h).to(tl.int64)
        v = tl.load(value + row * k + h)
        left += v * tl.load(decoder + j * n + i, i < n, 0.0)
    tl.store(squares + row, tl.sum(left * left, 0))
    left *= scale
    tl.store(out + row * n + i, left, i < n)
    for h in range(k):
        j = tl.load(index + row * k + h).to(tl.int64)
        along = tl.sum(left * tl.load(decoder + j * n + i, i < n, 0.0), 0)
        tl.store(slope + row * k + h, tl.where(tl.load(value + row * k + h) > 0, along, 0.0))


@no_type_check
@triton.jit
def sums(starts, slopes, out):
    """Sum of the slopes of each feature."""
    feature = tl.program_id(0).to(tl.int64)
    total = 0.0
    for hit in range(tl.load(starts + feature), tl.load(starts + feature + 1)):
        total += tl.load(slopes + hit)
    tl.store(out + feature, total)


@no_type_check
@triton.jit
def adam_rows(starts, samples, factors, vectors, weight, mean, square, beta1, beta2, rate, root,
              epsilon, n, UNIT_LENGTH: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Add each row's gradient up and make its step of Adam at once: it is never stored."""
    feature = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    grad = tl.zeros((BLOCK,), tl.float32)
    for hit in range(tl.load(starts + feature), tl.load(starts + feature + 1)):
        sample = tl.load(samples + hit).to(tl.int64)
        grad += tl.load(factors + hit) * tl.load(vectors + sample * n + i, i < n, 0.0)
    at = feature * n + i
    m = beta1 * tl.load(mean + at, i < n, 0.0) + (1 - beta1) * grad
    s = beta2 * tl.load(square + at, i < n, 0.0) + (1 - beta2) * grad * grad
    w = tl.load(weight + at, i < n, 0.0) - rate * m / (tl.sqrt(s) * root + epsilon)
    if UNIT_LENGTH:
        w /= tl.maximum(tl.sqrt(tl.sum(tl.where(i < n, w * w, 0.0), 0)), 1e-12)
    tl.store(mean + at, m, i < n)
    tl.store(square + at, s, i < n)
    tl.store(weight + at, w, i < n)
