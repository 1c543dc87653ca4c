"""Compiled loops that connect units by their distance, with a tree of boxes around the targets.

A target at distance d is connected with probability p_max f(d). Trying all targets would take a
square of their number, so boxes of targets are passed as a whole: no target in a box is likelier
than one at its nearest point. With that bound, jumps of geometric length give candidates, and a
candidate stays with the ratio of its own probability to the bound. Which boxes are passed whole
follows from their places alone and never from a random number, and nothing is cut off: so the
graph has exactly the probabilities that are asked for.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from bregma.dynamics.connect._connect_kernels import (
    compiled,
    exponential,
    grown,
    hazard_of,
    inlined,
)
from bregma.dynamics.randomness._random_numba import exp_minus, log, uniform_pair

GAUSSIAN, EXPONENTIAL, DISC = 0, 1, 2
LEAF = 8  # targets in a box that is not divided further
FEW = 0.25  # expected candidates in a box that is passed as a whole
FARTHEST = 30.0  # the bound stays at exp(-30) beyond, where f may go on to fall


@no_type_check
@compiled
def box_tree(points):
    """Boxes around halves of halves of points: order of points; begin, end, next, low, high.

    A box holds the points order[begin:end]. Boxes come in pre-order; `following` is the next one
    that is not inside.
    """
    n, n_axes = points.shape
    most = 4 * (n // LEAF) + 3
    order = np.arange(n)
    begin, end = np.empty(most, np.int64), np.empty(most, np.int64)
    low, high = np.empty((most, n_axes)), np.empty((most, n_axes))
    stack, n_boxes = [(0, n)], 0
    while len(stack) > 0 and n > 0:
        a, b = stack.pop()
        widest, width = 0, -1.0
        for axis in range(n_axes):
            x = points[order[a:b], axis]
            low[n_boxes, axis], high[n_boxes, axis] = x.min(), x.max()
            if x.max() - x.min() > width:
                widest, width = axis, x.max() - x.min()
        begin[n_boxes], end[n_boxes] = a, b
        n_boxes += 1
        if b - a > LEAF:
            members = order[a:b]
            order[a:b] = members[np.argsort(points[members, widest], kind="mergesort")]
            middle = (a + b) // 2
            stack.append((middle, b))
            stack.append((a, middle))
    following, first_at = np.empty(n_boxes, np.int64), np.full(n + 1, n_boxes)
    for box in range(n_boxes - 1, -1, -1):
        following[box] = first_at[end[box]]
        first_at[begin[box]] = box
    return order, begin[:n_boxes], end[:n_boxes], following, low[:n_boxes], high[:n_boxes]


@no_type_check
@inlined
def _fall(profile, squared, scale):
    """The x of f = exp(-x) at a squared distance."""
    if profile == GAUSSIAN:
        return squared / (2.0 * scale * scale)
    if profile == EXPONENTIAL:
        return np.sqrt(squared) / scale
    return 0.0 if squared <= scale * scale else np.inf


@no_type_check
@inlined
def _squared_distance(a, b, period):
    total = 0.0
    for axis in range(a.size):
        d = abs(a[axis] - b[axis])
        d = min(d, period[axis] - d)
        total += d * d
    return total


@no_type_check
@inlined
def _squared_distance_to_box(a, low, high, period):
    total = 0.0
    for axis in range(a.size):
        d = 0.0
        if a[axis] < low[axis]:
            d = min(low[axis] - a[axis], a[axis] + period[axis] - high[axis])
        elif a[axis] > high[axis]:
            d = min(a[axis] - high[axis], low[axis] + period[axis] - a[axis])
        total += d * d
    return total


@no_type_check
@compiled
def spatial_rows(
    key, first, last, pre, post, period, tree, profile, scale, p_max, self_connections, capacity
):
    """Each target with probability p_max f(distance)."""
    order, begin, end, following, low, high = tree
    indptr, targets = np.zeros(last - first + 1, np.int64), np.empty(capacity, np.int32)
    n = 0
    for i in range(first, last):
        u, v = uniform_pair(key, i, 0, 0, 0)
        hazard_left, block, box, row = exponential(u), 1, 0, n
        while box < begin.size:
            squared = _squared_distance_to_box(pre[i], low[box], high[box], period)
            fall = _fall(profile, squared, scale)
            if fall == np.inf:
                box = following[box]
                continue
            bound = exp_minus(min(fall, FARTHEST))
            hazard = hazard_of(p_max * bound)
            j, stop = begin[box], end[box]
            if stop - j > LEAF and (stop - j) * hazard > FEW:
                box += 1
                continue
            box = following[box]
            while hazard_left < (stop - j) * hazard:
                j = min(j + np.int64(hazard_left / hazard), stop - 1)
                target = order[j]
                fall = _fall(profile, _squared_distance(pre[i], post[target], period), scale)
                if exponential(v) - log(bound) >= fall and (self_connections or target != i):
                    if n == targets.size:
                        targets = grown(targets)
                    targets[n] = target
                    n += 1
                u, v = uniform_pair(key, i, 0, 0, block)
                hazard_left = exponential(u)
                block += 1
                j += 1
            hazard_left -= (stop - j) * hazard
        targets[row:n].sort()
        indptr[i - first + 1] = n
    return indptr, targets[:n]
