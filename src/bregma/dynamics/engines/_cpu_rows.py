"""Synapses of a network in parts, by the ranges that their targets are in."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

Array = np.ndarray
_part = njit(cache=True, nogil=True, error_model="numpy")


class Rows(NamedTuple):
    """Synapses onto one range.

    indptr : where those of each presynaptic unit begin.
    targets : numbers of units, counted from the first of the range.
    order : where each synapse was, empty where nobody asked.
    """

    indptr: Array
    targets: Array
    order: Array


def rows_of_parts(indptr: Array, targets: Array, edges: Array, with_order: bool) -> list[Rows]:
    """Divide synapses by their targets, and leave those of a range in the order they were in.

    Parameters
    ----------
    indptr, targets : array
        All synapses, by presynaptic unit.
    edges : array of int
        Where ranges of targets begin, and where the last one ends.
    with_order : bool
        Whether to say where each synapse was.

    Returns
    -------
    list of Rows
        One for each range.
    """
    n_parts = len(edges) - 1
    small = edges[-1] <= 2**16
    range_of = np.repeat(np.arange(n_parts), np.diff(edges)).astype(np.int32)
    begins = np.zeros((n_parts, len(indptr)), np.int64)
    _count(indptr, targets, range_of, begins)
    np.cumsum(begins, axis=1, out=begins)
    first = np.append(0, np.cumsum(begins[:, -1]))
    found = np.empty(len(targets), np.uint16 if small else np.uint32)
    order = np.empty(
        len(targets) if with_order else 0, np.uint32 if len(targets) < 2**32 else np.int64
    )
    _place(targets, range_of, edges, first[:-1].copy(), found, order)
    return [
        Rows(begins[i], found[a:b], order[a:b] if with_order else order)
        for i, (a, b) in enumerate(pairwise(first))
    ]


@no_type_check
@_part
def _count(indptr, targets, range_of, counts):
    for row in range(indptr.size - 1):
        for s in range(indptr[row], indptr[row + 1]):
            counts[range_of[targets[s]], row + 1] += 1


@no_type_check
@_part
def _place(targets, range_of, edges, at, found, order):
    for s in range(targets.size):
        part = range_of[targets[s]]
        found[at[part]] = targets[s] - edges[part]
        if order.size:
            order[at[part]] = s
        at[part] += 1
