"""Parts of a step that are the same for every network: random numbers, spike lists, looking."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from bregma.dynamics.randomness import _random_numba as random

_part = njit(cache=True, nogil=True, error_model="numpy")
_SURELY_NONE = 1e-12  # as in `_random_numba.poisson_count`


@no_type_check
@_part
def normals(out, key, first, k, stream):
    """Standard normal numbers of all units in one step."""
    for i in range(out.size):
        out[i] = random.normal_64(key, first + i, k, stream, 0)


@no_type_check
@_part
def fires(mask, chance, key, first, k):
    """Mark units of which a uniform number lies below their chance."""
    for i in range(chance.size):
        mask[i] = random.uniform_32(key, first + i, k, 0, 0) < chance[i]


@no_type_check
@_part
def poisson_events(values, numbers, mean, weight, key, first, k):
    """Add the events of one step: almost all units have none, and are passed over in one go."""
    if mean > random.MAX_PART:
        for i in range(values.size):
            count = random.poisson_count(mean, key, first + i, k, 0)
            values[i] += values.dtype.type(count * weight)
        return
    for i in range(numbers.size):
        numbers[i] = random.uniform_64(key, first + i, k, 0, 0)
    for i in range(values.size):
        if numbers[i] >= 1.0 - mean - _SURELY_NONE:
            count = random.poisson_count(mean, key, first + i, k, 0)
            values[i] += values.dtype.type(count * weight)


@no_type_check
@_part
def hold(out, units, values, n_done, first, last, frame):
    """Set the units of a variable that are held after some steps."""
    if first <= n_done < last:
        row = values[min((n_done - first) // frame, values.shape[0] - 1)]
        for i in range(units.size):
            if row[i] == row[i]:  # not NaN
                out[units[i]] = row[i]


@no_type_check
@_part
def give(given, units, values, k, first, last, frame):
    """Note who is to spike (1) or not (0) at a step."""
    if first <= k < last:
        row = values[min((k - first) // frame, values.shape[0] - 1)]
        for i in range(units.size):
            if row[i] >= 0:
                given[units[i]] = row[i]


@no_type_check
@_part
def impose(words, mask, given, units, begin, n):
    """Spikes of a step, from `begin` on, as they are given where they are."""
    mask[:] = 0
    for e in range(begin, n):
        mask[units[e]] = 1
    for i in range(given.size):
        if given[i] >= 0:
            mask[i] = given[i]
    return collect(words, mask, units, begin)


@no_type_check
@_part
def row_of(k, first, last, frame, n):
    """Row of a drive in a window, and the last one of `n`, which is all zeros, outside."""
    if first <= k < last:
        return min((k - first) // frame, n - 2)
    return n - 1


@no_type_check
@_part
def collect(words, mask, units, n):
    """Append the marked units to a list of spikes, looking at eight at a time."""
    for w in range(words.size):
        if words[w] != 0:
            for i in range(8 * w, 8 * w + 8):
                if mask[i]:
                    units[n] = i
                    n += 1
    return n


@no_type_check
@_part
def planned(steps, planned_units, k, units, n):
    """Append the units that are to spike at a step."""
    j = np.searchsorted(steps, k)
    while j < steps.size and steps[j] == k:
        units[n] = planned_units[j]
        n += 1
        j += 1
    return n


@no_type_check
@_part
def enter(begin, end, units, due, place, born, now, indptr, delay):
    """Where spikes of step `born` are in their rows, which are sorted by delay, at step `now`."""
    for e in range(begin, end):
        s, stop = indptr[units[e]], indptr[units[e] + 1]
        while s < stop and born + delay[s] < now:
            s += np.uint64(1)
        place[e] = s
        due[e] = born + delay[s] if s < stop else -1


@no_type_check
@_part
def write_down(out, row, values, which):
    """Copy the values that a probe asks for."""
    for i in range(which.size):
        out[row, i] = values[which[i]]
