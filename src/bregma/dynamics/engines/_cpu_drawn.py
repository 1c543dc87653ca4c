"""Deliver spikes along synapses that are drawn on the spot, instead of read from memory."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from numba import njit

from bregma.dynamics.connect import _connect_kernels as connect
from bregma.dynamics.connect._connect import FixedProbability, capacity_for
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.network._plan_parts import ProjectionPlan

_part = njit(cache=True, nogil=True, error_model="numpy")


def names_of_drawn(j: int) -> list[str]:
    """Arguments of the kernel that say which rows to draw."""
    return [f"q{j}__{n}" for n in ("key", "n_post", "degree", "others", "room", "part")]


def values_of_drawn(j: int, q: ProjectionPlan, dtype: np.dtype) -> dict[str, Any]:
    """What these arguments stand for, and the weight of each statement.

    The degree is the number of targets of each unit, or -log(1 - p) of a probability p.
    """
    assert q.drawn is not None
    rule, n_post = q.drawn.rule, q.drawn.n_post
    if isinstance(rule, FixedProbability):
        degree, room = _hazard(rule.p), capacity_for(n_post, rule.p)
    else:
        degree, room = rule.k, rule.k
    found = {
        "key": q.drawn.key,
        "n_post": n_post,
        "degree": degree,
        "others": 0 if rule.self_connections else 1,
        "room": room,
        "part": np.array([q.drawn.begin, q.drawn.end]),
    }
    values = {f"q{j}__{n}": v for n, v in found.items()}
    for number, s in enumerate(q.on_pre):
        weight = np.asarray(evaluate(s.value, q.constants))
        values[f"q{j}__weight{number}"] = weight.astype(dtype)[()]
    return values


def _hazard(p: float) -> float:
    """-log(1 - p), as `FixedProbability` has it; 0 and infinity where nothing is drawn."""
    return {0.0: 0.0, 1.0: np.inf}.get(p, connect.hazard_of(float(p)))


@no_type_check
@_part
def add_rows(values, weight, units, begin, stop, key, n_post, degree, others, room, part):
    """Add a weight at the targets of the units that spiked, drawn for each of them."""
    first, last = part
    whole = degree == np.inf
    for e in range(begin, stop):
        i = np.int64(units[e])
        if whole:
            for t in range(first, last):
                if t != i or not others:
                    values[t - first] += weight
        elif degree > 0:
            _, targets = connect.bernoulli_rows(key, i, i + 1, n_post, degree, others, room)
            for t in targets:
                if first <= t < last:
                    values[t - first] += weight


@no_type_check
@_part
def add_subsets(values, weight, units, begin, stop, key, n_post, degree, others, room, part):
    """The same where every unit has as many targets."""
    if begin == stop:
        return
    first, last = part
    taken, row = np.zeros(n_post, np.bool_), np.empty(room, np.int32)
    for e in range(begin, stop):
        i = np.int64(units[e])
        connect._subset(key, i, n_post - others, degree, taken, row)
        for c in range(degree):
            t = row[c] + (others and row[c] >= i)
            if first <= t < last:
                values[t - first] += weight
