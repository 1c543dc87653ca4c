"""Compiled loops that draw rows of synapses; every row is a function of its own counters.

Uniform numbers have 53 bits and functions come from `_random_numba`, so that a graph is the same
on every machine. In all loops `others` is 1 where a unit may not target itself, else 0: then
targets are drawn among one unit fewer, and those from the unit itself on move up by one.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from bregma.dynamics.randomness._random import ATANH, horner
from bregma.dynamics.randomness._random_numba import log, uniform_pair

compiled = njit(cache=True, nogil=True, error_model="numpy")
inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


@no_type_check
@inlined
def exponential(u):
    """Exponential number of a uniform one."""
    return -log(1.0 - u)


@no_type_check
@inlined
def hazard_of(p):
    """-log(1 - p) for 0 <= p < 1; where p is 1, as for the largest number below it."""
    s = p / (2.0 - p)
    return 2.0 * s * horner(ATANH, s * s) if p < 0.25 else -log(max(1.0 - p, 2.0**-53))


@no_type_check
@inlined
def grown(targets):
    larger = np.empty(targets.size + targets.size // 4 + 64, np.int32)
    larger[: targets.size] = targets
    return larger


@no_type_check
@compiled
def bernoulli_rows(key, first, last, n_post, hazard, others, capacity):
    """Each target with probability 1 - exp(-hazard): jumps of geometric length."""
    indptr, targets = np.zeros(last - first + 1, np.int64), np.empty(capacity, np.int32)
    n, n_candidates = 0, n_post - others
    mean_gap = min(1.0 / hazard, 1e300)  # finite, so that a jump never is 0 times infinity
    for i in range(first, last):
        after_self = i if others else n_post
        j, block = 0, 0
        while True:
            if n + 2 > targets.size:
                targets = grown(targets)
            u, v = uniform_pair(key, i, 0, 0, block)
            gap = exponential(u) * mean_gap
            next_gap = exponential(v) * mean_gap
            if gap >= n_candidates - j:
                break
            j += np.int64(gap)
            targets[n] = j + (j >= after_self)
            n += 1
            j += 1
            if next_gap >= n_candidates - j:
                break
            j += np.int64(next_gap)
            targets[n] = j + (j >= after_self)
            n += 1
            j += 1
            block += 1
        indptr[i - first + 1] = n
    return indptr, targets[:n]


@no_type_check
@inlined
def _subset(key, i, n, k, taken, out):
    """k different numbers below n, each set equally likely (Floyd's algorithm)."""
    for c in range(0, k, 2):
        pair = uniform_pair(key, i, 0, 0, c // 2)
        for d in range(min(2, k - c)):
            largest = n - k + c + d
            x = np.int64(pair[d] * (largest + 1))
            if taken[x]:
                x = largest
            taken[x] = True
            out[c + d] = x
    for c in range(k):
        taken[out[c]] = False


@no_type_check
@compiled
def out_degree_rows(key, first, last, n_post, k, others):
    """k different targets of each unit."""
    targets = np.empty((last - first, k), np.int32)
    taken = np.zeros(n_post, np.bool_)
    for i in range(first, last):
        row = targets[i - first]
        _subset(key, i, n_post - others, k, taken, row)
        row.sort()
        if others:
            for c in range(k):
                row[c] += row[c] >= i
    return np.arange(last - first + 1) * k, targets.ravel()


@no_type_check
@compiled
def in_degree_rows(key, first, last, n_pre, begin, end, k, others):
    """k different sources of each target of a part; those of the slice are kept, by target."""
    taken, sources = np.zeros(n_pre, np.bool_), np.empty(k, np.int32)
    indptr = np.zeros(last - first + 1, np.int64)
    targets = np.empty(0, np.int32)
    place = indptr[:-1].copy()
    for filling in (False, True):  # drawn twice: to count, and to fill
        for j in range(begin, end):
            _subset(key, j, n_pre - others, k, taken, sources)
            for c in range(k):
                i = sources[c] + (others and sources[c] >= j) - first
                if 0 <= i < last - first:
                    if filling:
                        targets[place[i]] = j
                        place[i] += 1
                    else:
                        indptr[i + 1] += 1
        if not filling:
            indptr[:] = np.cumsum(indptr)
            place[:] = indptr[:-1]
            targets = np.empty(indptr[-1], np.int32)
    return indptr, targets


@no_type_check
@compiled
def small_world_rows(key, first, last, n, k, p):
    """k nearest neighbours on a ring, each exchanged with probability p for a unit that is free."""
    targets = np.empty((last - first, k), np.int32)
    taken = np.zeros(n, np.bool_)
    for i in range(first, last):
        row, block = targets[i - first], 0
        for c in range(k):
            distance = c // 2 + 1
            row[c] = (i + distance if c % 2 else i - distance) % n
            taken[row[c]] = True
        taken[i] = True
        for c in range(k):
            u, v = uniform_pair(key, i, 0, 0, block)
            block += 1
            if u < p and k < n - 1:
                x = np.int64(v * n)
                while taken[x]:
                    u, v = uniform_pair(key, i, 0, 0, block)
                    block += 1
                    x = np.int64(u * n)
                taken[row[c]] = False
                taken[x] = True
                row[c] = x
        taken[i] = False
        for c in range(k):
            taken[row[c]] = False
        row.sort()
    return np.arange(last - first + 1) * k, targets.ravel()


@no_type_check
@compiled
def transposed(indptr, targets, n_post):
    """Synapses in the order of their targets, in one counting sort."""
    begin = np.zeros(n_post + 1, np.int64)
    for s in range(targets.size):
        begin[targets[s] + 1] += 1
    begin[:] = np.cumsum(begin)
    place = begin[:-1].copy()
    sources, synapses = np.empty(targets.size, np.int32), np.empty(targets.size, np.int64)
    for i in range(indptr.size - 1):
        for s in range(indptr[i], indptr[i + 1]):
            q = place[targets[s]]
            place[targets[s]] = q + 1
            sources[q] = i
            synapses[q] = s
    return begin, sources, synapses
