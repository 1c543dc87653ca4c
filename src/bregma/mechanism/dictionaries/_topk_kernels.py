"""Compiled loops of a training step in which only k features of each sample take part."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

# Sums may be taken in any order, so that they vectorise; nothing here is NaN or infinite.
_kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})


@no_type_check
@_kernel
def select(pre, index, value, first, last):
    """The largest entries above 0 of each row; a heap with the smallest of them on top.

    Where fewer are above 0, the index is -1 and the value 0.
    """
    k = index.shape[1]
    for row in range(first, last):
        drive, keys, heap = pre[row], index[row], value[row]
        keys[:] = -1
        heap[:] = 0
        least = heap[0]
        for j in range(drive.shape[0]):
            v = drive[j]
            if v <= least:
                continue
            at = 0
            while True:
                child = 2 * at + 1
                if child >= k:
                    break
                if child + 1 < k and heap[child + 1] < heap[child]:
                    child += 1
                if heap[child] >= v:
                    break
                heap[at] = heap[child]
                keys[at] = keys[child]
                at = child
            heap[at] = v
            keys[at] = j
            least = heap[0]


@no_type_check
@_kernel
def drive(x, weight, bias, index, value, first, last):
    """Pre-activations of the selected features, anew and exactly; cut at 0."""
    for row in range(first, last):
        for h in range(index.shape[1]):
            j = index[row, h]
            if j < 0:
                continue
            total = np.float32(0)
            w, sample = weight[j], x[row]
            for i in range(sample.shape[0]):
                total += w[i] * sample[i]
            value[row, h] = max(total + bias[j], np.float32(0))


@no_type_check
@_kernel
def residuals(decoder, bias, target, index, value, scale, out, slope, squares, first, last):
    """Residual of each row, its square, and the derivatives of scale / 2 times the square.

    The derivative by the output goes to `out`, that by each value to `slope`.
    """
    n = bias.shape[0]
    for row in range(first, last):
        left = out[row]
        for i in range(n):
            left[i] = bias[i] - target[row, i]
        for h in range(index.shape[1]):
            j = index[row, h]
            if j >= 0:
                v, feature = value[row, h], decoder[j]
                for i in range(n):
                    left[i] += v * feature[i]
        total = np.float32(0)
        for i in range(n):
            total += left[i] * left[i]
            left[i] *= scale
        squares[row] = total
        for h in range(index.shape[1]):
            j = index[row, h]
            along = np.float32(0)
            if j >= 0 and value[row, h] > 0:
                feature = decoder[j]
                for i in range(n):
                    along += left[i] * feature[i]
            slope[row, h] = along


@no_type_check
@_kernel
def by_feature(index, value, slope, n_features):
    """Hits sorted by feature: where each feature begins, and sample, value and slope of each hit.

    Also the sum of slopes of each feature, the derivative by its bias.
    """
    starts = np.zeros(n_features + 1, np.int64)
    for row in range(index.shape[0]):
        for h in range(index.shape[1]):
            if value[row, h] > 0:
                starts[index[row, h] + 1] += 1
    for j in range(n_features):
        starts[j + 1] += starts[j]
    n = starts[n_features]
    place = starts[:-1].copy()
    samples = np.empty(n, np.int32)
    values, slopes = np.empty(n, np.float32), np.empty(n, np.float32)
    sums = np.zeros(n_features, np.float32)
    for row in range(index.shape[0]):
        for h in range(index.shape[1]):
            if value[row, h] > 0:
                j = index[row, h]
                samples[place[j]] = row
                values[place[j]] = value[row, h]
                slopes[place[j]] = slope[row, h]
                sums[j] += slope[row, h]
                place[j] += 1
    return starts, samples, values, slopes, sums


@no_type_check
@_kernel
def adam_rows(
    starts, samples, factors, vectors, weight, mean, square, settings, unit_length, first, last
):
    """Add each row's gradient up and make its step of Adam at once: it is never stored."""
    beta1, beta2, rate, root, epsilon = settings
    n = weight.shape[1]
    grad = np.empty(n, np.float32)
    for j in range(first, last):
        w, m, s = weight[j], mean[j], square[j]
        if starts[j] == starts[j + 1]:  # without hits the moments decay, and still move the row
            for i in range(n):
                m[i] *= beta1
                s[i] *= beta2
                w[i] -= rate * m[i] / (np.sqrt(s[i]) * root + epsilon)
        else:
            grad[:] = 0
            for hit in range(starts[j], starts[j + 1]):
                f, vector = factors[hit], vectors[samples[hit]]
                for i in range(n):
                    grad[i] += f * vector[i]
            for i in range(n):
                g = grad[i]
                m[i] = beta1 * m[i] + (np.float32(1) - beta1) * g
                s[i] = beta2 * s[i] + (np.float32(1) - beta2) * g * g
                w[i] -= rate * m[i] / (np.sqrt(s[i]) * root + epsilon)
        if unit_length:
            total = np.float32(0)
            for i in range(n):
                total += w[i] * w[i]
            length = np.float32(1) / max(np.sqrt(total), np.float32(1e-12))
            for i in range(n):
                w[i] *= length
