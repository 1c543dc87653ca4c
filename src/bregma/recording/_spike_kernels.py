"""Counting sorted spikes into bins, and checking that they are sorted, on all cores.

The times are sorted, so a bin is a range of spikes: its two ends are found by bisection and
only the unit ids between them are read. Different threads fill different bins. Loops go over
slices: an index that starts at another one could be negative for all that the compiler knows,
and to look at each of them costs more than the work itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Float64, Int, Integer, Shaped
from numba import config, njit

BINS_PER_BLOCK = 256
_WORTH_A_THREAD = 200_000  # spikes or counts; below this a thread costs more than it saves


@no_type_check
@njit(cache=True, nogil=True)
def _bisect(times, edges, begin, end, positions):
    """For every edge, how many of times[begin:end] lie before it; all edges in step.

    One bisection after the other would wait for memory at every step. In step, the loads of
    all edges are on their way together.
    """
    for k in range(edges.size):
        positions[k] = begin
    n = end - begin
    while n > 0:
        half = (n + 1) >> 1
        for k in range(edges.size):
            p = positions[k]
            positions[k] = p + half if times[p + half - 1] < edges[k] else p
        n -= half


@no_type_check
@njit(cache=True, nogil=True)
def _count(times, unit_index, edges, first_edge, n_bins, first_row, counts, limit):
    """Fill counts (row, unit) block by block, as long as none is above a limit; the largest."""
    n_units = counts.shape[1]
    row = np.zeros(n_units, np.int32)  # stays in the fastest cache, unlike the rows of counts
    largest = np.int32(0)  # of the type of the row, so that the compiler can vectorise the maximum
    for block in range(first_edge.size):
        e = edges[first_edge[block] : first_edge[block] + n_bins[block] + 1]
        begin = np.searchsorted(times, e[0])
        end = np.searchsorted(times, e[-1])
        positions = np.empty(e.size, np.int64)
        _bisect(times, e, begin, end, positions)
        for k in range(n_bins[block]):
            for unit in unit_index[positions[k] : positions[k + 1]]:
                row[np.uint64(unit)] += 1
            filled = counts[first_row[block] + k]
            for u in range(n_units):
                c = row[u]
                if c > largest:
                    largest = c
                filled[u] = c
                row[u] = 0
        if largest > limit:
            break
    return largest


@no_type_check
@njit(cache=True, nogil=True)
def _first_fall(times, begin, end):
    """First i in [begin, end) that is not at or after its predecessor; -1 where there is none."""
    for start in range(begin, end, 4096):
        stop = min(end, start + 4096)
        before, after = times[start - 1 : stop - 1], times[start:stop]
        falls = 0
        for i in range(after.size):  # without an exit, so that the compiler can vectorise it
            falls += not after[i] >= before[i]
        if falls:
            for i in range(after.size):
                if not after[i] >= before[i]:
                    return start + i
    return -1


def _in_threads(function: Callable[[int, int], Any], n: int, work: int) -> Iterable[Any]:
    """Results of function(begin, end) over slices of range(n), on Numba's number of threads."""
    # Asking get_num_threads() would start Numba's own threads, and change how many torch has.
    most = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    threads = min(most, n, 1 + work // _WORTH_A_THREAD)
    if threads == 1:
        return [function(0, n)]
    cuts = np.linspace(0, n, min(n, 4 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, cuts[:-1], cuts[1:]))


def first_fall(times: Float64[np.ndarray, " spike"]) -> int | None:
    """Position of the first time that is not at or after the one before it (NaN included)."""
    if len(times) < 2:
        return None
    found = _in_threads(
        lambda begin, end: _first_fall(times, begin + 1, end + 1), len(times) - 1, len(times)
    )
    return next((int(i) for i in found if i >= 0), None)


def count_spikes(
    times: Float64[np.ndarray, " spike"],
    unit_index: Integer[np.ndarray, " spike"],
    n_units: int,
    edges: Float[np.ndarray, " edge"],
    first_edge: Int[np.ndarray, " block"],
    n_bins: Int[np.ndarray, " block"],
) -> Shaped[np.ndarray, "bin unit"]:
    """Count spikes of each unit in each bin of each block.

    Parameters
    ----------
    times : array (spike,)
        Sorted times.
    unit_index : array (spike,)
        Unit of each spike, between 0 and `n_units` - 1.
    n_units : int
        Number of units.
    edges : array (edge,)
        Rising edges of the blocks. Bin k of a block holds the spikes with
        ``edges[first_edge + k] <= t < edges[first_edge + k + 1]``.
    first_edge, n_bins : array (block,)
        Where the edges of each block begin, and its number of bins.

    Returns
    -------
    array (bin, unit)
        Counts in the smallest of int8, int16 and int32 that holds the differences of any two
        counts; the bins of all blocks one after the other.
    """
    first_row = np.cumsum(n_bins) - n_bins
    for dtype in (np.int8, np.int16, np.int32):
        counts = np.empty((int(n_bins.sum()), n_units), dtype)

        limit = int(np.iinfo(dtype).max)

        def fill(begin: int, end: int, counts: Any = counts, limit: int = limit) -> int:
            part = slice(begin, end)
            blocks = first_edge[part], n_bins[part], first_row[part]
            return _count(times, unit_index, edges, *blocks, counts, limit)

        work = max(counts.size, len(times))
        if max(_in_threads(fill, len(n_bins), work)) <= limit:
            break
    return counts


def blocks_of(n_bins: int) -> tuple[Int[np.ndarray, " block"], Int[np.ndarray, " block"]]:
    """Cut a long row of bins into blocks that threads can share: first edge, number of bins."""
    first = np.arange(0, n_bins, BINS_PER_BLOCK)
    return first, np.minimum(BINS_PER_BLOCK, n_bins - first)
